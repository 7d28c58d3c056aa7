//! Only what this machine lacks of a bundle is fetched: the layers that the engine has in other images stay away.
//!
//! What is got that way is no bundle that a way back could be made from without the engine. So a sparse one counts as
//! there only while the engine has the images, and whoever needs more fetches the rest: see [`Keeper::whole`].

use std::fs::File;
use std::path::{Path, PathBuf};

use super::bundle::hash_of;
use super::images::blocking;
use super::survey::Survey;
use super::{Keeper, deltas, donors, recorded};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::Step;
use crate::release::bundle::{Member, Selection, Sparse, blob, sparse};
use crate::release::info::ImageInfo;
use crate::release::{Bundle, Digest, ReleaseInfo, Version};
use crate::transfer::{Fetcher, FileRequest, Seed};
use crate::upgrade::pointers;
use crate::upgrade::step::Package;

/// What came of an attempt to fetch only some of a package.
pub struct Got {
    /// The bytes that came.
    pub came: u64,
    /// The whole package is needed all the same, and other bundles have this of it.
    pub rest: Option<Seed>,
}

impl Got {
    fn sparse(came: u64) -> Self {
        Self { came, rest: None }
    }

    fn nothing(came: u64) -> Self {
        Self { came, rest: Some(Seed::default()) }
    }
}

/// What an upgrade would fetch of a package.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lacking {
    /// Bytes that come over the network.
    pub fetch: u64,
    /// Bytes it then takes in `bundles/`.
    pub keep: u64,
}

impl Keeper<'_> {
    /// What an upgrade would fetch of `package`, all of which is what `request` asks for; none where that is all of it.
    pub async fn lacking(
        &self,
        fetcher: &Fetcher,
        package: &Package,
        request: &FileRequest,
    ) -> Result<Option<Lacking>> {
        let path = sparse::sparse_path(&request.destination);
        if exists(&path) {
            return Ok(self.suffices(&path, package.hash).await?.then_some(Lacking { fetch: 0, keep: 0 }));
        }
        let (mut spent, size) = (0, package.size.unwrap_or_default());
        let survey = self.look_at(fetcher, package, &request.locations, &mut spent).await?;
        let Some(survey) = survey else { return Ok(None) };
        let some = |fetch: u64, keep: u64| Lacking { fetch: spent + fetch, keep };
        Ok(match survey.bytes_for_whole(size) {
            Some(fetch) => Some(some(fetch, size)),
            None => survey.selection.pays(size).then(|| some(survey.selection.bytes(), survey.bytes_kept())),
        })
    }

    /// Those of `images` that the engine has not.
    pub(super) async fn missing(&self, images: &[ImageInfo]) -> Result<Vec<ImageInfo>> {
        let mut missing = Vec::new();
        for image in images {
            if self.engine.find_image(image).await?.is_none() {
                missing.push(image.clone());
            }
        }
        Ok(missing)
    }

    /// Gets what is needed of `package`, all of which is what `request` asks for; gives the bytes that came.
    pub async fn get(&self, fetcher: &Fetcher, package: &Package, request: &FileRequest) -> Result<u64> {
        let got = self.fetch_lacking(fetcher, package, request).await?;
        Ok(match got.rest {
            None => got.came,
            Some(seed) => got.came + self.whole(fetcher, request, seed).await?,
        })
    }

    /// Fetches what the engine lacks, unless other bundles here have so much of the package that it may as well become
    /// whole.
    async fn fetch_lacking(
        &self,
        fetcher: &Fetcher,
        package: &Package,
        request: &FileRequest,
    ) -> Result<Got> {
        if package.index.is_none() || exists(&request.destination) {
            return Ok(Got::nothing(0));
        }
        let path = sparse::sparse_path(&request.destination);
        if exists(&path) {
            let suffices = self.suffices(&path, package.hash).await?;
            return Ok(if suffices { Got::sparse(0) } else { Got::nothing(0) });
        }
        let mut came = 0;
        let survey = match self.look_at(fetcher, package, &request.locations, &mut came).await {
            Ok(Some(survey)) => survey,
            Ok(None) => return Ok(Got::nothing(came)),
            // That is waited for, and then this is tried again.
            Err(fault) if matches!(fault.code(), Code::EngineUnreachable | Code::EngineFailed) => {
                return Err(fault);
            }
            Err(fault) => return Ok(self.rather_whole(&fault, came)),
        };
        let part = FileRequest { destination: path, expect: None, ..request.clone() };
        match self.try_lacking(fetcher, package, &part, survey, &mut came).await {
            Ok(rest) => Ok(Got { came, rest }),
            Err(fault) if would_fail_again(fault.code()) => Err(fault),
            Err(fault) => Ok(self.rather_whole(&fault, came)),
        }
    }

    /// Whatever is wrong with the index or with single members: the whole bundle has a hash of its own.
    fn rather_whole(&self, fault: &Fault, came: u64) -> Got {
        let cause = fault.message(self.progress.lang());
        self.progress.warning(Step::DownloadingUpdate, Say::FetchingWhole { cause });
        Got::nothing(came)
    }

    /// What is to be done about the rest; none where what came is all that is needed.
    async fn try_lacking(
        &self,
        fetcher: &Fetcher,
        package: &Package,
        request: &FileRequest,
        survey: Survey,
        came: &mut u64,
    ) -> Result<Option<Seed>> {
        let size = package.size.unwrap_or_default();
        if let Some(bytes) = survey.bytes_for_whole(size) {
            let reused = survey.seed.bytes();
            self.progress.note(Step::DownloadingUpdate, Say::FetchingLacking { bytes, reused });
            return Ok(Some(survey.seed));
        }
        let Some(bundle) = package.hash.filter(|_| survey.selection.pays(size)) else {
            return Ok(Some(Seed::default()));
        };
        let mut selection = &survey.selection;
        loop {
            let (bytes, reused) = (selection.bytes(), size.saturating_sub(selection.bytes()));
            self.progress.note(Step::DownloadingUpdate, Say::FetchingLacking { bytes, reused });
            let sparse = Sparse::new(bundle, size, survey.index, selection);
            let Some(part) = self.members(fetcher, package, request, (selection, &sparse), came).await?
            else {
                return Ok(Some(Seed::default()));
            };
            match self.complete(&part, sparse, selection, &survey).await {
                Ok(sparse) => {
                    let path = request.destination.clone();
                    blocking(move || sparse.write(&path)).await?;
                    fetcher.keep_pieces(request).await?;
                    return Ok(None);
                }
                Err(fault) if *selection == survey.plain => return Err(fault),
                Err(fault) => {
                    let cause = fault.message(self.progress.lang());
                    self.progress.warning(Step::DownloadingUpdate, Say::FetchingLayers { cause });
                    selection = &survey.plain;
                    if !selection.pays(size) {
                        fetcher.drop_pieces(request).await?;
                        return Ok(Some(survey.seed));
                    }
                }
            }
        }
    }

    /// Fetches what is selected and verifies it; none where it is not served in pieces.
    async fn members(
        &self,
        fetcher: &Fetcher,
        package: &Package,
        request: &FileRequest,
        (selection, sparse): (&Selection, &Sparse),
        came: &mut u64,
    ) -> Result<Option<PathBuf>> {
        let mut wrong = Vec::new();
        // Members that are not what they must be are fetched again once.
        for _ in 0..2 {
            let pieces = fetcher.pieces(request, &selection.ranges, &wrong).await?;
            *came += pieces.transferred;
            let Some(part) = pieces.part else {
                fetcher.drop_pieces(request).await?;
                return Ok(None);
            };
            let (checked, file) = (sparse.clone(), part.clone());
            wrong = blocking(move || checked.wrong(&file)).await?;
            if wrong.is_empty() {
                return Ok(Some(part));
            }
        }
        fetcher.drop_pieces(request).await?;
        let first = wrong.first().map(|range| range.start).unwrap_or_default();
        let cause = format!("what is at byte {first} is not what the index says");
        Err(Fault::new(Code::HashMismatch, package.name(), cause))
    }

    /// Adds to the file `part` what need not be fetched, and says what is in it then.
    async fn complete(
        &self,
        part: &Path,
        mut sparse: Sparse,
        selection: &Selection,
        survey: &Survey,
    ) -> Result<Sparse> {
        let (path, end) = (part.to_owned(), sparse.end());
        let (seed, absent) = (survey.here.clone(), selection.absent.clone());
        let copied = blocking(move || {
            // A run that was killed may have left layers there that it had made.
            let file = File::options().write(true).open(&path).at(&path)?;
            file.set_len(end).at(&path)?;
            deltas::copy_members(&path, &seed, &absent)
        });
        sparse.has_also(copied.await?);
        sparse.was_made(self.make_layers(part, end, &selection.deltas).await?);
        match survey.wanted.iter().find(|layer| !sparse.has(&blob(layer))) {
            None => Ok(sparse),
            Some(layer) => {
                let cause = format!("{layer} could not be copied from the bundles here");
                Err(Fault::new(Code::HashMismatch, part.display(), cause))
            }
        }
    }

    /// Whether what is here in the sparse bundle `path` is sound, and with what the engine has all that is needed.
    async fn suffices(&self, path: &Path, hash: Option<Digest>) -> Result<bool> {
        let sound = path.to_owned();
        let Some(bundle) = blocking(move || Ok(sound_bundle(&sound, hash))).await? else { return Ok(false) };
        let missing = self.missing(&bundle.info().images).await?;
        let present = self.present_layers(&missing).await?;
        Ok(missing.iter().all(|image| bundle.has_image_without(image, &present)))
    }

    /// Bytes to fetch for the images of `version`, where its bundle is here only in part and they cannot be loaded from
    /// that.
    pub async fn rest_of(&self, version: &Version) -> Result<u64> {
        let Some(file) = recorded(self.installation, version)? else { return Ok(0) };
        let bundle = self.bundles().join(&file);
        let path = sparse::sparse_path(&bundle);
        if exists(&bundle) || !exists(&path) || self.suffices(&path, hash_of(&file)).await? {
            return Ok(0);
        }
        let sparse = blocking(move || Sparse::read(&path)).await?;
        Ok(sparse.lacking())
    }

    /// Fetches the whole bundle, but for what is here of it in part and in `seed`; gives the bytes that came.
    pub async fn whole(&self, fetcher: &Fetcher, request: &FileRequest, seed: Seed) -> Result<u64> {
        let path = sparse::sparse_path(&request.destination);
        let (from, expect) = (path.clone(), request.expect);
        let seed = blocking(move || {
            let sparse = Sparse::read(&from).ok().filter(|sparse| expect == Some(sparse.bundle()));
            Ok(sparse.filter(|_| exists(&from)).map_or(seed, |sparse| own_seed(&from, &sparse)))
        });
        let fetched = fetcher.file_from(request, &seed.await?).await?;
        blocking(move || Sparse::remove(&path)).await?;
        Ok(fetched.transferred)
    }

    /// The images of the release `info` that need be in no bundle as a whole, because the engine has them, where nothing
    /// prunes them. None for the last line of defence, which does not rely on that.
    pub(super) async fn relied_on(&self, info: &ReleaseInfo) -> Result<Option<Vec<ImageInfo>>> {
        let factory = pointers::read(&self.installation.layout, Pointer::Factory)?;
        if factory.as_ref() == Some(&info.version) {
            return Ok(None);
        }
        let lacking = self.images_lack(info).await?;
        let kept = info.images.iter().filter(|image| !lacking.contains(&image.reference));
        Ok(Some(kept.cloned().collect()))
    }
}

/// Whether the whole bundle could not be fetched either; the next attempt goes on with what came.
fn would_fail_again(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        DiskFull | DiskReadOnly | Io | DownloadFailed | SourceUnreachable | LinkExpired | Interrupted
    )
}

/// What a sparse bundle has of the whole one.
fn own_seed(path: &Path, sparse: &Sparse) -> Seed {
    let piece = |member: &Member| donors::piece(path, member.offset, member);
    Seed { pieces: sparse.members().iter().map(piece).collect() }
}

/// Whether `path` is what was fetched of the bundle with this hash, undamaged.
pub(super) fn is_sound(path: &Path, hash: Option<Digest>) -> bool {
    exists(path) && sound_bundle(path, hash).is_some()
}

/// The bundle of which `path` is a part, if all that should be here of it is.
fn sound_bundle(path: &Path, hash: Option<Digest>) -> Option<Bundle> {
    let sparse = Sparse::read(path).ok()?;
    let sound = hash == Some(sparse.bundle()) && sparse.wrong(path).is_ok_and(|wrong| wrong.is_empty());
    if sound { Bundle::open(path).ok() } else { None }
}

fn exists(path: &Path) -> bool {
    path.is_file()
}

/// Whether the file `name` in `bundles/` is a sparse bundle, or says what is in one, and of which bundle.
pub fn sparse_of(name: &str) -> Option<String> {
    let stem = name.strip_suffix(".json").unwrap_or(name).strip_suffix(".sparse")?;
    Some(format!("{stem}.bundle"))
}
