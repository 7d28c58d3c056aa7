//! Getting a release here: fetched, verified, unpacked. Nothing that runs is touched.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress;
use crate::release::bundle::Bundle;
use crate::release::bundle::sparse::sparse_path;
use crate::release::operations::Operations;
use crate::release::tree::verify_release;
use crate::release::unpack::{apply_patch, unpack_stack};
use crate::release::{ReleaseInfo, legacy};
use crate::transfer::{FileRequest, Location, Seed};
use crate::upgrade::installation::Installation;
use crate::upgrade::step::{Package, Step};
use crate::upgrade::ways::{self, Keeper, speaks_against_bundle};
use crate::upgrade::world::World;
use crate::upgrade::{pointers, releases, renew};

/// Fetches the package into `bundles/`, or as much of it as is needed.
pub async fn fetch(world: &mut World<'_>, package: &Package) -> Result<()> {
    let request = request(world.installation, package)?;
    // The bundles of the ways back are read meanwhile: the network is slower than the disk.
    let keeper = Keeper::of(world);
    let file = renew::get(&keeper, &world.plan.to, package, request);
    let (came, bundles) = tokio::join!(file, ways::bundles(&keeper));
    let came = came?;
    for way in bundles? {
        ways::tell(world, way)?;
    }
    world.learn(|facts| facts.bytes_downloaded += came)
}

/// The request for the whole package.
pub fn request(installation: &Installation, package: &Package) -> Result<FileRequest> {
    let locations = package.locations.iter().map(|text| Location::parse(text)).collect::<Result<Vec<_>>>()?;
    Ok(FileRequest {
        locations,
        name: package.name(),
        destination: installation.layout.bundles().join(&package.file),
        expect: package.hash,
        size: package.size,
    })
}

/// Fetches the rest of the package, where only a part of it is here; false where that is not so.
pub async fn complete(world: &mut World<'_>, cause: &Fault) -> Result<bool> {
    let fetched = world.plan.prepare.iter().find_map(|step| match step {
        Step::Fetch(package) => Some(package.clone()),
        _ => None,
    });
    let Some(package) = fetched else { return Ok(false) };
    let bundle = world.layout().bundles().join(&package.file);
    if bundle.is_file() || !sparse_path(&bundle).is_file() {
        return Ok(false);
    }
    let cause = cause.message(world.progress.lang());
    world.progress.warning(progress::Step::DownloadingUpdate, Say::FetchingWhole { cause });
    let request = request(world.installation, &package)?;
    let fetcher = world.installation.fetcher(&world.progress)?;
    let came = Keeper::of(world).whole(&fetcher, &request, Seed::default()).await?;
    world.learn(|facts| facts.bytes_downloaded += came)?;
    Ok(true)
}

/// The bundle a fetched package is, or was converted into, or what was fetched of it.
pub fn bundle_path(bundles: &Path, file: &str) -> PathBuf {
    let converted = bundles.join(format!("{file}.converted"));
    let whole = bundles.join(file);
    let sparse = sparse_path(&whole);
    match () {
        () if converted.is_file() => converted,
        () if !whole.is_file() && sparse.is_file() => sparse,
        () => whole,
    }
}

/// Makes the release folder, unless it is here and whole already.
pub async fn unpack(world: &mut World<'_>, file: &str, patch: Option<&Operations>) -> Result<()> {
    let version = world.plan.to.clone();
    world
        .progress
        .started(progress::Step::ExtractingUpdate, Say::UnpackStarted { version: version.to_string() });
    let job = UnpackJob {
        layout: world.layout().clone(),
        settings: world.installation.settings.clone(),
        version: version.clone(),
        arch: world.engine.arch().to_owned(),
        package: world.layout().bundles().join(file),
        patch: patch.cloned(),
        id: world.id.clone(),
    };
    let again = job.clone();
    let staged = match blocking(move || again.stage()).await {
        Err(fault) if speaks_against_bundle(fault.code()) && complete(world, &fault).await? => {
            let again = job.clone();
            blocking(move || again.stage()).await?
        }
        other => other?,
    };
    if let Some(info) = staged {
        if job.place().exists() {
            // Before the folders change places, so that a killed process leaves no edit behind in the one that goes.
            super::edits::carry_before_exchange(world, &job.staging(), &info)?;
            // Containers that were started from the former folder still hold it.
            let (old, new) = (version.to_string(), super::edits::replaced_folder(&version, &world.id));
            world.installation.store.with(|db| {
                db.execute("UPDATE containers SET release = ?2 WHERE release = ?1", [&old, &new]).map(drop)
            })?;
        }
        blocking(move || job.exchange()).await?;
    }
    world
        .progress
        .finished(progress::Step::ExtractingUpdate, Say::UnpackFinished { version: version.to_string() });
    Ok(())
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.map_err(|error| Fault::from_error(Code::Io, "unpack", error))?
}

/// Unpacking off the async runtime.
#[derive(Clone)]
struct UnpackJob {
    layout: crate::layout::Layout,
    settings: crate::settings::Settings,
    version: crate::release::Version,
    arch: String,
    package: PathBuf,
    patch: Option<Operations>,
    id: String,
}

impl UnpackJob {
    fn staging(&self) -> PathBuf {
        self.layout.releases().join(format!(".{}.new", self.version))
    }

    fn place(&self) -> PathBuf {
        self.layout.release(&self.version.to_string())
    }

    /// Makes the release beside its place; none where it is here and whole already.
    fn stage(&self) -> Result<Option<ReleaseInfo>> {
        let staging = self.staging();
        if staging.exists() {
            fs::remove_dir_all(&staging).at(&staging)?;
        }
        fs::create_dir_all(&staging).at(&staging)?;
        let Some(info) = self.fill(&staging)? else {
            fs::remove_dir_all(&staging).at(&staging)?;
            return Ok(None);
        };
        releases::adopt_shared(&self.layout, &staging, &info, &self.settings)?;
        Ok(Some(info))
    }

    /// Puts it in its place; the former release of the same version keeps a name for those who hold it.
    fn exchange(&self) -> Result<()> {
        let staging = self.staging();
        let folder = fs::File::open(&staging).at(&staging)?;
        rustix::fs::syncfs(&folder).map_err(|error| Fault::io(&staging, error.into()))?;
        let reinstall = self.place().exists();
        releases::put_in_place(&self.layout, &staging, &self.version)?;
        if !reinstall {
            return Ok(());
        }
        let former = super::edits::replaced_folder(&self.version, &self.id);
        let place = self.layout.releases().join(former);
        fs::rename(&staging, &place).at(&place)
    }

    /// Fills the staging folder with the release; none where the release is here and whole already.
    fn fill(&self, staging: &Path) -> Result<Option<ReleaseInfo>> {
        let base = || -> Result<(PathBuf, ReleaseInfo)> {
            let from = pointers::read(&self.layout, Pointer::Current)?;
            let from = from.ok_or_else(|| Fault::new(Code::NoPrevious, "current", "a patch needs it"))?;
            Ok((self.layout.release(&from.to_string()), releases::require(&self.layout, &from)?))
        };
        if let Some(operations) = &self.patch
            && self.package.is_file()
            && legacy::is_legacy(&self.package)?
        {
            let (folder, old) = base()?;
            let scratch = self.package.with_extension("scratch");
            let info = legacy::apply_legacy_patch(
                &self.package,
                &folder,
                &old,
                operations,
                &self.version,
                staging,
                &scratch,
            )?;
            return Ok(Some(info));
        }
        let bundle = self.bundle()?;
        let info = bundle.info().clone();
        if info.version != self.version {
            let cause = format!("it holds version {}, not {}", info.version, self.version);
            return Err(Fault::new(Code::BundleInvalid, self.package.display(), cause));
        }
        if self.is_here(&info)? {
            return Ok(None);
        }
        match &self.patch {
            None => unpack_stack(&bundle, staging)?,
            Some(operations) => {
                let (folder, old) = base()?;
                apply_patch(&folder, &old, &bundle, operations, staging)?;
            }
        }
        Ok(Some(info))
    }

    /// The package as a bundle; one of the older kind is converted first.
    fn bundle(&self) -> Result<Bundle> {
        let file = self.package.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let folder = self.layout.bundles();
        let path = bundle_path(&folder, &file);
        if path != self.package || !legacy::is_legacy(&path)? {
            return Bundle::open(&path);
        }
        let converted = folder.join(format!("{file}.converted"));
        let scratch = folder.join(format!("{file}.scratch"));
        legacy::convert(&path, &self.version, &self.arch, &converted, &scratch)?;
        Bundle::open(&converted)
    }

    /// Whether the release folder is here, is this very release, and is whole.
    fn is_here(&self, info: &ReleaseInfo) -> Result<bool> {
        let Some(present) = releases::info(&self.layout, &self.version)? else {
            return Ok(false);
        };
        if present.files != info.files || present.images != info.images {
            return Ok(false);
        }
        Ok(verify_release(
            &self.layout.release(&self.version.to_string()),
            info,
            &releases::editable(info, &self.settings),
        )?
        .is_empty())
    }
}
