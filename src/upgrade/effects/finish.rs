//! Switching `current`, committing, and tidying up after it.

use std::collections::BTreeSet;
use std::fs;

use rusqlite::params;

use super::containers::grace;
use super::{archiving, back, images, swap};
use crate::durable;
use crate::fault::{IoContext, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::Step;
use crate::release::{ReleaseInfo, Version};
use crate::upgrade::plan::{Action, Kind, PreviousAfter};
use crate::upgrade::soak::{self, Probation};
use crate::upgrade::world::World;
use crate::upgrade::{ahead, journal, origin, pointers, quarantine, rebuild, releases, ways};

/// Points `current` at the new release.
pub fn flip(world: &mut World<'_>) -> Result<()> {
    pointers::set(world.layout(), Pointer::Current, &world.plan.to)?;
    releases::name_compose_files(world.layout(), &world.target()?)
}

/// Points it back.
pub fn flip_back(world: &mut World<'_>) -> Result<()> {
    put_pointer(world, Pointer::Current, world.plan.from.as_ref())?;
    match &world.plan.from {
        Some(from) => releases::name_compose_files(world.layout(), &releases::require(world.layout(), from)?),
        None => Ok(()),
    }
}

fn put_pointer(world: &World<'_>, pointer: Pointer, version: Option<&Version>) -> Result<()> {
    match version {
        Some(version) => pointers::set(world.layout(), pointer, version),
        None => pointers::clear(world.layout(), pointer),
    }
}

/// The point of no return: the other pointers and the records follow.
pub async fn commit(world: &mut World<'_>) -> Result<()> {
    // An engine that went away since may have taken everything with it.
    if world.unverified {
        swap::verify(world).await?;
    }
    // What the new version changes from now on is only in the backup as it was.
    archiving::archived(world).await?;
    let plan = &world.plan;
    // Somebody may have pointed it elsewhere meanwhile.
    pointers::set(world.layout(), Pointer::Current, &plan.to)?;
    match (&plan.from, &plan.previous_after) {
        (None, _) => pointers::set(world.layout(), Pointer::Factory, &plan.to)?,
        (_, PreviousAfter::Other(previous)) => {
            let there =
                previous.as_ref().filter(|version| world.layout().release(&version.to_string()).is_dir());
            put_pointer(world, Pointer::Previous, there)?;
        }
        (Some(from), _) if *from != plan.to => pointers::set(world.layout(), Pointer::Previous, from)?,
        _ => {}
    }
    let probation = soak::of(world).await?;
    record(world, probation.as_ref())
}

fn record(world: &World<'_>, probation: Option<&Probation>) -> Result<()> {
    let info = world.target()?;
    let text = String::from_utf8_lossy(&info.to_json()).into_owned();
    let version = world.plan.to.to_string();
    let change = world.change()?;
    let content = world.plan.manifest_hash.as_ref().map(ToString::to_string);
    let facts = world.facts();
    let path = world.installation.store.path();
    world.installation.store.transaction(|db| {
        let write = || -> rusqlite::Result<()> {
            if world.plan.kind != Kind::Restore {
                db.execute(
                    "INSERT INTO releases (version, info, bundle_hash, strategy, installed_at, content)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT (version) DO UPDATE SET info = ?2, bundle_hash = coalesce(?3, bundle_hash),
                       strategy = ?4, installed_at = ?5, content = coalesce(?6, content)",
                    params![
                        version,
                        text,
                        world.plan.bundle_file(),
                        world.plan.strategy,
                        journal::now(),
                        content
                    ],
                )?;
                quarantine::at_commit(db, &world.plan)?;
                // What only mends the version that runs does not end its probation.
                if world.plan.from.as_ref() != Some(&world.plan.to) {
                    soak::record(db, probation)?;
                }
            }
            for service in &change.services {
                let replaced = !matches!(service.action, Action::Unchanged);
                for id in service.old.keys().filter(|_| replaced) {
                    origin::forget(db, id)?;
                }
                let restarted = service.old.keys().filter(|_| service.action == Action::Restart);
                let created = facts.created.get(&service.name).into_iter().flatten();
                for id in created.chain(restarted) {
                    origin::record(db, id, &service.name, &version)?;
                }
            }
            // Every service was compared: nothing is left of a state that was rebuilt.
            rebuild::made_whole(db)?;
            db.execute("UPDATE upgrades SET committed = 1 WHERE id = ?1", [&world.id]).map(drop)
        };
        write().map_err(|error| crate::state::fault(path, error))
    })
}

/// Takes a commit back that failed halfway.
pub fn take_back_commit(world: &mut World<'_>) -> Result<()> {
    let before = world.change()?.previous_before.clone();
    put_pointer(world, Pointer::Previous, before.as_ref())?;
    if world.plan.from.is_none() {
        pointers::clear(world.layout(), Pointer::Factory)?;
    }
    Ok(())
}

/// Removes the old containers and gives the new ones the usual names.
pub async fn finalize(world: &mut World<'_>) -> Result<()> {
    world.progress.started(Step::CleaningUp, Say::CleanupStarted);
    let change = world.change()?.clone();
    let facts = world.facts().clone();
    for service in &change.services {
        if matches!(service.action, Action::Unchanged | Action::Restart) {
            continue;
        }
        for id in service.old.keys() {
            world.engine.stop(id, grace(service)).await?;
            world.engine.remove(id, false).await?;
        }
        let new = facts.created.get(&service.name).into_iter().flatten();
        // Beside nothing, Compose has given the right names at once; they may be the release's own.
        if matches!(service.action, Action::Recreate | Action::Add) {
            continue;
        }
        for (number, id) in (1..=service.replicas).zip(new) {
            if world.engine.container(id).await?.is_none() {
                continue;
            }
            let name = format!("{}-{}-{number}", world.project(), service.name);
            if let Err(fault) = world.engine.rename(id, &name).await {
                // A stranger's container that took the name is no reason to call the upgrade unfinished.
                let holder = world.engine.container(&name).await?;
                if holder.is_none_or(|holder| holder.id == *id) {
                    return Err(fault);
                }
                let text = fault.message(world.progress.lang());
                world.warn(Step::CleaningUp, Say::Warning { text })?;
            }
        }
    }
    back::make_again(world).await
}

/// Removes what is no longer needed: work files, old releases with their pins and bundles, old backups.
pub async fn clean_up(world: &mut World<'_>) -> Result<()> {
    durable::remove_dir_all(&world.layout().all_work())?;
    let in_use = folders_in_use(world).await?;
    let mut living: BTreeSet<Version> = in_use.iter().filter_map(|folder| folder.parse().ok()).collect();
    // A probation that fails makes it `previous` again.
    living.extend(soak::open(world.installation)?.and_then(|probation| probation.previous_before));
    living.extend(world.installation.wish().cloned());
    let keep = world.installation.settings.keep.releases;
    for version in releases::superfluous(world.layout(), &living, keep)? {
        remove_release(world, &version).await?;
    }
    for leftover in releases::leftovers(world.layout())? {
        let name = leftover.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if !in_use.contains(&name) {
            durable::remove_dir_all(&leftover)?;
        }
    }
    remove_bundles(world)?;
    prune_backups(world)?;
    world.progress.finished(Step::CleaningUp, Say::CleanupFinished);
    Ok(())
}

/// Deletes the backups that the rules no longer keep, but none that this change made or was asked for.
pub fn prune_backups(world: &World<'_>) -> Result<()> {
    let facts = world.facts();
    let protected = [&facts.backup_id, &facts.safety_backup_id, &world.plan.restore];
    let protected: Vec<String> = protected.into_iter().flatten().cloned().collect();
    world.installation.prune_backups(&protected).map(drop)
}

/// The release folders that living containers were started from; records of dead ones are dropped.
async fn folders_in_use(world: &World<'_>) -> Result<BTreeSet<String>> {
    let living: BTreeSet<String> =
        world.engine.containers(world.project()).await?.into_iter().map(|container| container.id).collect();
    let store = &world.installation.store;
    let (alive, dead): (Vec<_>, Vec<_>) =
        store.with(origin::all)?.into_iter().partition(|(id, _)| living.contains(id));
    for (id, _) in dead {
        store.with(|db| origin::forget(db, &id))?;
    }
    Ok(alive.into_iter().map(|(_, release)| release).collect())
}

async fn remove_release(world: &World<'_>, version: &Version) -> Result<()> {
    let mut kept: Vec<ReleaseInfo> = Vec::new();
    for other in releases::versions(world.layout())? {
        if other != *version {
            kept.extend(releases::info(world.layout(), &other)?);
        }
    }
    if let Some(info) = releases::info(world.layout(), version)? {
        images::unpin(world, &info, &kept).await?;
    }
    durable::remove_dir_all(&world.layout().release(&version.to_string()))?;
    let version = version.to_string();
    world
        .installation
        .store
        // The row stays: whether this release migrated data is asked by a later rollback past it.
        .with(|db| {
            db.execute("UPDATE releases SET bundle_hash = NULL WHERE version = ?1", [&version]).map(drop)
        })
}

/// Bundles that no recorded release came from and no release here needs for its images.
fn remove_bundles(world: &World<'_>) -> Result<()> {
    let wanted: BTreeSet<String> = world.installation.store.with(|db| {
        db.prepare("SELECT bundle_hash FROM releases WHERE bundle_hash IS NOT NULL")?
            .query_map([], |row| row.get(0))?
            .collect()
    })?;
    let folder = world.layout().bundles();
    if !folder.exists() {
        return Ok(());
    }
    let mut images = Vec::new();
    for version in releases::versions(world.layout())? {
        images.extend(releases::info(world.layout(), &version)?.into_iter().flat_map(|info| info.images));
    }
    let wanted = ways::needed(&folder, &wanted, &images)?;
    let current = pointers::read(world.layout(), Pointer::Current)?;
    let awaited = ahead::awaited(world.installation, current.as_ref())?;
    let mut spare = Vec::new();
    for entry in fs::read_dir(&folder).at(&folder)? {
        let entry = entry.at(&folder)?;
        let name = entry.file_name().to_string_lossy().into_owned();
        let needed = wanted.contains(&name)
            || name.strip_suffix(".json").is_some_and(|part| wanted.contains(part))
            || ways::sparse_of(&name).is_some_and(|bundle| {
                // Until the whole one is there.
                wanted.contains(&bundle) && !folder.join(bundle).is_file()
            })
            || name.strip_suffix(".converted").is_some_and(|origin| wanted.contains(origin));
        if !entry.file_type().at(entry.path())?.is_file() {
            continue;
        }
        let path = entry.path();
        match needed {
            true => ahead::touch(&path)?,
            false if awaited.iter().any(|file| ahead::belongs(&name, file)) => {}
            false if name.ends_with(".bundle") && !name.starts_with("unverified-") => {
                spare.push(ahead::Spare::at(&path)?)
            }
            false => fs::remove_file(&path).at(&path)?,
        }
    }
    let max = world.installation.settings.download.cache_max.0;
    ahead::surplus(spare, max).iter().try_for_each(|path| fs::remove_file(path).at(path))
}
