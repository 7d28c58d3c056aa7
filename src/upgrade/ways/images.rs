//! Images come back from whatever bundle has them: a patch lacks those the version before had.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::Keeper;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Step, Unit};
use crate::release::bundle::Bundle;
use crate::release::bundle::sparse::is_sparse_path;
use crate::release::info::ImageInfo;
use crate::release::{Digest, ReleaseInfo};
use crate::upgrade::effects::images::pin;
use crate::upgrade::effects::prepare::bundle_path;

/// Loads what the engine lacks of the images of `info`, from the package `first` where it has them, else from any
/// bundle here, and pins all of them. Gives what was loaded.
pub async fn bring(keeper: &Keeper<'_>, info: &ReleaseInfo, first: Option<&str>) -> Result<Vec<ImageInfo>> {
    let missing = keeper.missing(&info.images).await?;
    keeper.progress.started(Step::LoadingImages, Say::ImagesStarted { count: missing.len() });
    if !missing.is_empty() {
        keeper.check_room(&missing).await?;
        keeper.load_from_any(&missing, first).await?;
    }
    for image in &info.images {
        let found = keeper.engine.find_image(image).await?;
        let id = found.ok_or_else(|| {
            Fault::new(Code::ImageMissing, &image.reference, format!("wanted {}", image.id))
        })?;
        keeper.engine.tag_image(&id, &pin(keeper.project(), image)).await?;
        if missing.contains(image) {
            let image = image.reference.clone();
            keeper.progress.note(Step::LoadingImages, Say::ImageParsed { image });
        }
    }
    keeper.progress.finished(Step::LoadingImages, Say::ImagesFinished);
    Ok(missing)
}

impl Keeper<'_> {
    pub(super) fn project(&self) -> &str {
        &self.installation.settings.project
    }

    pub(super) fn bundles(&self) -> PathBuf {
        self.installation.layout.bundles()
    }

    /// The images of a release that the engine has not, or that nothing keeps from being pruned.
    pub(super) async fn images_lack(&self, info: &ReleaseInfo) -> Result<Vec<String>> {
        let mut lacking = Vec::new();
        for image in &info.images {
            let found = self.engine.find_image(image).await?;
            let pinned = self.engine.image_id(&pin(self.project(), image)).await?;
            if found.is_none() || pinned != found {
                lacking.push(image.reference.clone());
            }
        }
        Ok(lacking)
    }

    async fn load_from_any(&self, missing: &[ImageInfo], first: Option<&str>) -> Result<()> {
        let folder = self.bundles();
        let first = first.map(|file| bundle_path(&folder, file));
        let mut left = missing.to_vec();
        let mut failures = Vec::new();
        for path in candidates(&folder, first.clone())? {
            if left.is_empty() {
                return Ok(());
            }
            let wanted = left.clone();
            let present = match is_sparse_path(&path) {
                true => self.present_layers(&left).await?,
                false => BTreeSet::new(),
            };
            let found = blocking(move || Ok(holds_without(&path, wanted, &present))).await?;
            let Some((bundle, held)) = found else { continue };
            match self.load(&bundle, &held).await {
                Ok(()) => left.retain(|image| !held.contains(image)),
                Err(fault) if !speaks_against_bundle(fault.code()) => return Err(fault),
                Err(fault) => failures.push(fault),
            }
        }
        let Some(image) = left.first() else { return Ok(()) };
        if first.is_none() && !failures.is_empty() {
            let causes: Vec<String> = failures.iter().map(Fault::to_string).collect();
            return Err(Fault::new(Code::ImageMissing, &image.reference, causes.join("; ")));
        }
        if let Some(fault) = failures.into_iter().next() {
            return Err(fault);
        }
        // The package that should have it says best what is wrong with it.
        if let Some(path) = first {
            let named = self.named(&left);
            blocking(move || Bundle::open(&path)?.image_archive(&named).map(drop)).await?;
        }
        Err(Fault::new(Code::ImageMissing, &image.reference, "and there is no bundle here to load it from"))
    }

    /// Loads only the layers that the engine lacks; where it does not take that, everything.
    async fn load(&self, bundle: &Bundle, images: &[ImageInfo]) -> Result<()> {
        let present = self.present_layers(images).await?;
        if !present.is_empty() {
            match self.load_once(bundle, images, present).await {
                // The rest of a sparse bundle is not here; whoever can fetch it tries again.
                Err(fault) if bundle.is_sparse() => return Err(fault),
                Err(fault) if matches!(fault.code(), Code::ImageLoadFailed | Code::ImageWrong) => {
                    let text = fault.message(self.progress.lang());
                    self.progress.note(Step::LoadingImages, Say::LoadingWhole { cause: text });
                }
                other => return other,
            }
        }
        match self.load_once(bundle, images, BTreeSet::new()).await {
            // The containerd store may throw a layer away that it just got, when another image with the same
            // layer is removed meanwhile.
            Err(fault) if fault.code() == Code::ImageWrong => {
                self.load_once(bundle, images, BTreeSet::new()).await
            }
            other => other,
        }
    }

    async fn load_once(
        &self,
        bundle: &Bundle,
        images: &[ImageInfo],
        without: BTreeSet<Digest>,
    ) -> Result<()> {
        let (bundle, named) = (bundle.clone(), self.named(images));
        let archive = blocking(move || bundle.image_archive_without(&named, &without)).await?;
        let names = images.iter().map(|image| image.reference.as_str()).collect::<Vec<_>>().join(", ");
        let total = Some(archive.length());
        let say = Say::ImageLoading { image: names };
        let mut meter = self.progress.meter(Step::LoadingImages, say, Unit::Bytes, total);
        self.engine.load_images(archive, images, move |bytes| meter.add(bytes)).await
    }

    fn named(&self, images: &[ImageInfo]) -> Vec<(ImageInfo, Vec<String>)> {
        images.iter().map(|image| (image.clone(), vec![pin(self.project(), image)])).collect()
    }

    /// The layers the engine lacks must fit on its disk, or it would fail halfway through a load.
    async fn check_room(&self, missing: &[ImageInfo]) -> Result<()> {
        let folder = self.engine.root_dir();
        let stat = match rustix::fs::statvfs(folder) {
            Ok(stat) if self.engine.is_local() => stat,
            // The engine's disk is not ours to look at.
            _ => return Ok(()),
        };
        let chains = self.engine.layer_chains().await?;
        let present: BTreeSet<String> = chains.into_iter().flat_map(|(_, chain)| chain).collect();
        let layers = missing.iter().flat_map(|image| &image.layers);
        let lacking: BTreeMap<String, u64> = layers
            .map(|layer| (layer.diff_id.to_string(), layer.size))
            .filter(|(id, _)| !present.contains(id))
            .collect();
        let need: u64 = lacking.values().sum();
        let free = stat.f_bavail.saturating_mul(stat.f_frsize);
        if free < need {
            let cause = format!("the images need {need} bytes, {free} are free");
            return Err(Fault::new(Code::DiskFull, folder.display(), cause));
        }
        Ok(())
    }
}

/// Whether another bundle may do better.
pub fn speaks_against_bundle(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        BundleInvalid
            | BundleTruncated
            | BundleUnsafe
            | BundleTooLarge
            | HashMismatch
            | SizeMismatch
            | ImageWrong
            | ImageLoadFailed
            | MemberNotFetched
            | Io
    )
}

/// The bundles here, `first` first; the rest in a fixed order.
pub(super) fn candidates(folder: &Path, first: Option<PathBuf>) -> Result<Vec<PathBuf>> {
    let mut found: Vec<PathBuf> = files(folder)?
        .into_iter()
        .filter(|name| [".bundle", ".converted", ".sparse"].iter().any(|end| name.ends_with(end)))
        .map(|name| folder.join(name))
        .filter(|path| Some(path) != first.as_ref())
        .collect();
    found.sort();
    Ok(first.into_iter().chain(found).collect())
}

/// The names of the files in `folder`; none where it is not there.
pub(super) fn files(folder: &Path) -> Result<Vec<String>> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(Fault::io(folder, error)),
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| Fault::io(folder, error))?;
        if entry.file_type().is_ok_and(|kind| kind.is_file()) {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    Ok(names)
}

/// The bundle at `path` and those of `images` it has; none where it has none of them or is no bundle that can be read.
pub(super) fn holds(path: &Path, images: Vec<ImageInfo>) -> Option<(Bundle, Vec<ImageInfo>)> {
    holds_without(path, images, &BTreeSet::new())
}

/// Like [`holds`], also for a bundle that has none of them but says what some consist of.
pub(super) fn holds_or_describes(path: &Path, images: Vec<ImageInfo>) -> Option<(Bundle, Vec<ImageInfo>)> {
    let bundle = Bundle::open(path).ok()?;
    let described = images.iter().any(|image| bundle.describes(image));
    let held = images.into_iter().filter(|image| bundle.has_image(image)).collect();
    described.then_some((bundle, held))
}

/// The same where the layers in `present` need not be in it.
fn holds_without(
    path: &Path,
    images: Vec<ImageInfo>,
    present: &BTreeSet<Digest>,
) -> Option<(Bundle, Vec<ImageInfo>)> {
    let bundle = Bundle::open(path).ok()?;
    let has = |image: &ImageInfo| bundle.has_image_without(image, present);
    let held: Vec<ImageInfo> = images.into_iter().filter(has).collect();
    (!held.is_empty()).then_some((bundle, held))
}

/// Runs `work` off the async runtime.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::from_error(Code::Io, "bundles", error))?
}
