//! Images: the missing ones are loaded straight out of the bundle, all are pinned, references are moved.

use crate::fault::{Code, Result};
use crate::release::ReleaseInfo;
use crate::release::info::ImageInfo;
use crate::upgrade::step::TagMove;
use crate::upgrade::ways::{self, Keeper};
use crate::upgrade::world::World;

/// A reference of our own that keeps an image from being pruned and gives it a name that never moves.
pub fn pin(project: &str, image: &ImageInfo) -> String {
    format!("compose-upgrade.pin/{project}:{}", image.id.short())
}

/// Loads what the engine lacks, from `file` or from any other bundle here, and pins every image of the release. Where that
/// was fetched only in part and does not suffice, the rest is fetched.
pub async fn load(world: &mut World<'_>, file: Option<&str>) -> Result<()> {
    let info = world.target()?;
    let Err(fault) = ways::bring(&Keeper::of(world), &info, file).await else { return Ok(()) };
    let curable = fault.code() == Code::ImageMissing || ways::speaks_against_bundle(fault.code());
    if !curable || !super::prepare::complete(world, &fault).await? {
        return Err(fault);
    }
    ways::bring(&Keeper::of(world), &info, file).await.map(drop)
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
