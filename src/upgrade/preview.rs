//! What an upgrade would do to each service, worked out beside the installation without changing it.

use std::fs;
use std::path::{Path, PathBuf};

use super::change::Tools;
use super::effects::prepare::{bundle_path, request};
use super::installation::Installation;
use super::plan::{ChangePlan, Facts, Kind, Plan};
use super::resolve::Offer;
use super::ways::{Keeper, Lacking};
use super::world::World;
use super::{analyse, envfile, releases};
use crate::docker::Engine;
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::progress::Progress;
use crate::release::bundle::Bundle;
use crate::release::operations::Operations;
use crate::release::unpack::{apply_patch, unpack_stack};
use crate::release::{ReleaseInfo, legacy};
use crate::transfer::Location;

/// The change as it would be planned; none where the package is not on this machine yet.
pub async fn preview(
    installation: &Installation,
    tools: &Tools,
    offer: &Offer,
    progress: &Progress,
) -> Result<Option<ChangePlan>> {
    let Some(package) = package_here(installation, offer) else {
        return Ok(None);
    };
    let id = format!("preview-{}", uuid::Uuid::now_v7().simple());
    let work = installation.layout.work(&id);
    let result = in_folder(installation, tools, offer, progress, &id, package).await;
    fs::remove_dir_all(&work).at(&work)?;
    result.map(Some)
}

/// What an upgrade would fetch: nothing where the package is in `bundles/` already, and less than the package where the
/// engine or other bundles have some of it. Where that cannot be found out, an upgrade would fetch everything.
pub async fn to_fetch(
    installation: &Installation,
    engine: &Engine,
    offer: &Offer,
    progress: &Progress,
) -> Result<Lacking> {
    let Some(package) = &offer.package else { return Ok(Lacking { fetch: 0, keep: 0 }) };
    let size = package.size.unwrap_or(0);
    let request = request(installation, package)?;
    if package.hash.is_some() && request.destination.is_file() {
        return Ok(Lacking { fetch: 0, keep: size });
    }
    let keeper = Keeper::new(installation, engine, progress);
    let lacking = keeper.lacking(&installation.fetcher(progress)?, package, &request).await;
    Ok(lacking.ok().flatten().unwrap_or(Lacking { fetch: size, keep: size }))
}

/// The package, where it is a file of this machine.
fn package_here(installation: &Installation, offer: &Offer) -> Option<PathBuf> {
    let package = offer.package.as_ref()?;
    let cached = bundle_path(&installation.layout.bundles(), &package.file);
    let sources = package.locations.iter().filter_map(|text| Location::parse(text).ok());
    let local = sources.filter_map(|location| location.path().map(Path::to_owned));
    std::iter::once(cached)
        .chain(local)
        .find(|path| path.is_file() && legacy::is_legacy(path).is_ok_and(|old| !old))
}

async fn in_folder(
    installation: &Installation,
    tools: &Tools,
    offer: &Offer,
    progress: &Progress,
    id: &str,
    package: PathBuf,
) -> Result<ChangePlan> {
    let work = installation.layout.work(id);
    let staged = work.join("release");
    fs::create_dir_all(&staged).at(&staged)?;
    let job = StageJob {
        layout: installation.layout.clone(),
        settings: installation.settings.clone(),
        base: offer.installed.clone(),
        patch: offer.patch.clone(),
        package,
        staged: staged.clone(),
    };
    tokio::task::spawn_blocking(move || job.run())
        .await
        .map_err(|error| Fault::from_error(Code::Io, "preview", error))??;
    let plan = Plan {
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        ..Plan::new(
            if offer.installed.is_some() { Kind::Upgrade } else { Kind::Install },
            offer.installed.clone(),
            offer.manifest.version.clone(),
        )
    };
    let mut world =
        World::new(installation, &tools.engine, &tools.compose, progress.clone(), id, plan, Facts::default());
    world.staged = Some(staged);
    analyse::analyse(&mut world, None).await
}

/// Unpacking off the async runtime.
struct StageJob {
    layout: crate::layout::Layout,
    settings: crate::settings::Settings,
    base: Option<crate::release::Version>,
    patch: Option<Operations>,
    package: PathBuf,
    staged: PathBuf,
}

impl StageJob {
    fn run(&self) -> Result<()> {
        let bundle = Bundle::open(&self.package)?;
        match (&self.patch, &self.base) {
            (Some(operations), Some(base)) => {
                let folder = self.layout.release(&base.to_string());
                apply_patch(
                    &folder,
                    &releases::require(&self.layout, base)?,
                    &bundle,
                    operations,
                    &self.staged,
                )?;
            }
            _ => unpack_stack(&bundle, &self.staged)?,
        }
        self.link_shared(bundle.info())
    }

    /// As it would be after the upgrade, but with nothing in `shared/` touched.
    fn link_shared(&self, info: &ReleaseInfo) -> Result<()> {
        for path in releases::persist(info, &self.settings) {
            let (own, link) = (self.layout.shared().join(&path), self.staged.join(&path));
            if !own.exists() {
                continue;
            }
            if path == ".env" {
                let template = fs::read_to_string(&link).unwrap_or_default();
                let merged = envfile::merge(&fs::read_to_string(&own).at(&own)?, None, &template);
                if link.exists() {
                    fs::remove_file(&link).at(&link)?;
                }
                durable::write_private(&link, merged.text.as_bytes())?;
                continue;
            }
            if link.is_dir() && !link.is_symlink() {
                fs::remove_dir_all(&link).at(&link)?;
            } else if link.symlink_metadata().is_ok() {
                fs::remove_file(&link).at(&link)?;
            }
            releases::make_parent(&link)?;
            // The same text as in place, so that the link does not count as a changed file.
            std::os::unix::fs::symlink(releases::shared_link(&path), &link).at(&link)?;
        }
        Ok(())
    }
}
