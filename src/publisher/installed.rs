//! Packs a release that is installed: its files from a folder, its images from the engine under the names they have
//! there. Nothing is compiled or chosen anew; the bundle is of the very release that `info` describes.

use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

use crate::docker::Engine;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::ReleaseInfo;
use crate::release::bundle::{BundleSummary, Limits, fault_of, pack};
use crate::release::dockersave::SavedImages;

/// Packs the release `info` into `out`. `stack` holds its files as they were shipped, `names` are tags of its images.
/// The images are spooled beside `out`.
pub async fn pack_installed(
    info: &ReleaseInfo,
    stack: &Path,
    names: Vec<String>,
    out: &Path,
    engine: &Engine,
) -> Result<BundleSummary> {
    let stream = match names.is_empty() {
        true => None,
        false => Some(engine.save_images(&names).await?),
    };
    let (info, stack, out) = (info.clone(), stack.to_owned(), out.to_owned());
    let name = out.display().to_string();
    let work = tokio::task::spawn_blocking(move || write(&info, &stack, stream, &out));
    work.await.map_err(|error| Fault::from_error(Code::Io, name, error))?
}

fn write(
    info: &ReleaseInfo,
    stack: &Path,
    stream: Option<impl io::Read>,
    out: &Path,
) -> Result<BundleSummary> {
    let mut images = SavedImages::none();
    let spool: PathBuf = out.with_extension("saved");
    if let Some(mut stream) = stream {
        let mut file = File::create(&spool).at(&spool)?;
        io::copy(&mut stream, &mut file).map_err(|error| fault_of(error, "docker save"))?;
        images.add_archive(&spool, &Limits::default())?;
    }
    if let Some(image) = info.images.iter().find(|image| !images.contains(&image.id)) {
        return Err(Fault::new(Code::ImageMissing, &image.reference, "the engine did not save it"));
    }
    pack(out, info, stack, |_| true, &images)
}
