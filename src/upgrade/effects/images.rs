//! Images: the missing ones are loaded straight out of the bundle, all are pinned, references are moved.

use std::collections::{BTreeMap, BTreeSet};

use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Step, Unit};
use crate::release::ReleaseInfo;
use crate::release::bundle::Bundle;
use crate::release::info::ImageInfo;
use crate::upgrade::effects::prepare::bundle_path;
use crate::upgrade::step::TagMove;
use crate::upgrade::world::World;

/// A reference of our own that keeps an image from being pruned and gives it a name that never moves.
pub fn pin(project: &str, image: &ImageInfo) -> String {
    format!("compose-upgrade.pin/{project}:{}", image.id.short())
}

/// Loads what the engine lacks and pins every image of the release.
pub async fn load(world: &mut World<'_>, file: Option<&str>) -> Result<()> {
    let info = world.target()?;
    let mut missing = Vec::new();
    for image in &info.images {
        if world.engine.find_image(image).await?.is_none() {
            missing.push(image.clone());
        }
    }
    world.progress.started(Step::LoadingImages, Say::ImagesStarted { count: missing.len() });
    if !missing.is_empty() {
        match load_missing(world, file, &missing).await {
            // The containerd store may throw a layer away that it just got, when another image with the same
            // layer is removed meanwhile.
            Err(fault) if fault.code() == Code::ImageWrong => load_missing(world, file, &missing).await?,
            other => other?,
        }
    }
    for image in &info.images {
        let id = engine_id(world, image).await?;
        world.engine.tag_image(&id, &pin(world.project(), image)).await?;
        if missing.contains(image) {
            world.progress.note(Step::LoadingImages, Say::ImageParsed { image: image.reference.clone() });
        }
    }
    world.progress.finished(Step::LoadingImages, Say::ImagesFinished);
    Ok(())
}

async fn load_missing(world: &World<'_>, file: Option<&str>, missing: &[ImageInfo]) -> Result<()> {
    let file = file.ok_or_else(|| {
        Fault::new(Code::ImageMissing, &missing[0].reference, "and there is no bundle here to load it from")
    })?;
    check_room(world, missing).await?;
    let path = bundle_path(&world.layout().bundles(), file);
    let named: Vec<_> =
        missing.iter().map(|image| (image.clone(), vec![pin(world.project(), image)])).collect();
    let archive = tokio::task::spawn_blocking(move || Bundle::open(&path)?.image_archive(&named))
        .await
        .map_err(|error| Fault::from_error(Code::Io, file, error))??;
    let names = missing.iter().map(|image| image.reference.as_str()).collect::<Vec<_>>().join(", ");
    let total = Some(archive.length());
    let mut meter =
        world.progress.meter(Step::LoadingImages, Say::ImageLoading { image: names }, Unit::Bytes, total);
    world.engine.load_images(archive, missing, move |bytes| meter.add(bytes)).await
}

/// The layers the engine lacks must fit on its disk, or it would fail halfway through a load.
async fn check_room(world: &World<'_>, missing: &[ImageInfo]) -> Result<()> {
    let folder = world.engine.root_dir();
    let stat = match rustix::fs::statvfs(folder) {
        Ok(stat) if world.engine.is_local() => stat,
        // The engine's disk is not ours to look at.
        _ => return Ok(()),
    };
    let present: BTreeSet<String> = world.engine.layer_chains().await?.into_iter().flatten().collect();
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

/// The engine's ID of an image that must be there.
pub async fn engine_id(world: &World<'_>, image: &ImageInfo) -> Result<String> {
    let found = world.engine.find_image(image).await?;
    found.ok_or_else(|| Fault::new(Code::ImageMissing, &image.reference, format!("wanted {}", image.id)))
}

/// Moves references to the new images.
pub async fn tag(world: &mut World<'_>, moves: &[TagMove]) -> Result<()> {
    for step in moves {
        world.engine.tag_image(&step.to, &step.reference).await?;
    }
    Ok(())
}

/// Moves them back; a reference that did not exist is removed.
pub async fn untag(world: &mut World<'_>, moves: &[TagMove]) -> Result<()> {
    for step in moves {
        match &step.from {
            Some(former) => world.engine.tag_image(former, &step.reference).await?,
            None => world.engine.untag_image(&step.reference).await?,
        }
    }
    Ok(())
}

/// Removes the pins of a release's images that none of the `kept` releases needs; images that nothing else
/// names or uses go with them.
pub async fn unpin(world: &World<'_>, gone: &ReleaseInfo, kept: &[ReleaseInfo]) -> Result<()> {
    for image in &gone.images {
        let needed = kept.iter().flat_map(|info| &info.images).any(|other| other.id == image.id);
        if !needed {
            world.engine.untag_image(&pin(world.project(), image)).await?;
        }
    }
    Ok(())
}
