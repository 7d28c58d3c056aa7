//! Bringing data back: what a failed release did to it is undone, or a person wants that of a backup.

use std::collections::BTreeSet;
use std::sync::atomic::AtomicBool;

use super::archiving::stop_archiving;
use super::backup::{Archive, make_backup};
use super::containers::{downtime_begins, grace, put_down, put_up};
use super::data::{Data, Place, Purpose, all_data, info_of, inside, mounts_any};
use super::dump;
use super::quiet::thaw_going_back;
use super::volume::Volume;
use crate::backup::{Kind as BackupKind, PartKind, RestoreTarget, Scope, TOP};
use crate::docker::{Container, Model, Program};
use crate::fault::{Code, Fault, Result};
use crate::messages::{DataNote, Say};
use crate::progress::Step;
use crate::upgrade::analyse::OLD_MODEL;
use crate::upgrade::plan::Action;
use crate::upgrade::rollback;
use crate::upgrade::world::World;

/// Undoes a backup step: nothing stays frozen, and where the new release migrates data and was started, the
/// data is put back as it was.
pub async fn undo_backup(world: &mut World<'_>) -> Result<()> {
    thaw_going_back(world).await?;
    let facts = world.facts().clone();
    match facts.backup_id {
        Some(id) if world.change()?.restores_data && facts.data_at_risk => {
            // There is one writer of backups at a time, and what is copied is enough for now.
            stop_archiving(world).await?;
            keep_what_was_written(world, &id).await?;
            restore_from(world, &id).await
        }
        _ => Ok(()),
    }
}

/// What the new release wrote before it is replaced by the data of before: nobody acknowledged the upgrade, but clients
/// may have been answered. A copy that cannot be made, or takes the room that `backup` needs to come back, does not keep
/// the old data from coming back.
async fn keep_what_was_written(world: &mut World<'_>, backup: &str) -> Result<()> {
    if world.facts().data_unrestored {
        // What is there now is of neither release; what was kept of the newer one stays.
        return Ok(());
    }
    let manager = world.installation.backup_manager();
    let kept = match world
        .facts()
        .safety_backup_id
        .clone()
        .map_or_else(|| copied(world, backup), |id| Ok(Some(id)))?
    {
        Some(id) => Ok(Some(id)),
        None => {
            let to = world.plan.to.clone();
            make_backup(world, BackupKind::Safety, Some((to, None)), Archive::Later).await
        }
    };
    let cause = match kept {
        Err(fault) => fault,
        Ok(kept) => {
            // Known before anything else, so that it is not made again by whoever goes on with this.
            world.learn(|facts| facts.safety_backup_id = kept.clone())?;
            match (kept, check_restorable(world, Some(backup)).await) {
                (Some(kept), Err(full)) if full.code() == Code::DiskFull => {
                    // In this order, so that nothing names what is not there.
                    world.learn(|facts| facts.safety_backup_id = None)?;
                    manager.delete(&kept)?;
                    full
                }
                // Any other is met by the restore itself.
                _ => return Ok(()),
            }
        }
    };
    let cause = cause.message(world.progress.lang());
    world.warn(Step::RollingBack, Say::Data(DataNote::NotKept { cause }))
}

/// The copy that a process made for this and was killed before it could say so: of what the new release wrote, later than
/// `backup`.
fn copied(world: &World<'_>, backup: &str) -> Result<Option<String>> {
    let manager = world.installation.backup_manager();
    let begun = manager.get(backup)?.started_at;
    let mut left = manager.staged()?.into_iter();
    let kept = left.find(|record| {
        let of = (record.kind, record.version.as_ref());
        of == (BackupKind::Safety, Some(&world.plan.to)) && record.started_at >= begun && record.id != backup
    });
    Ok(kept.map(|record| record.id))
}

/// Restores the data of backup `id`; everything that mounts it is stopped by then or is stopped for it.
pub async fn restore(world: &mut World<'_>, id: &str) -> Result<()> {
    world.learn(|facts| facts.data_at_risk = true)?;
    restore_from(world, id).await
}

/// Puts the data back that was there before [`restore`].
pub async fn undo_restore(world: &mut World<'_>) -> Result<()> {
    match world.facts().backup_id.clone() {
        Some(safety) => restore_from(world, &safety).await,
        None => {
            let cause = "no backup of the data before it was made";
            Err(Fault::new(Code::RestoreFailed, world.project(), cause))
        }
    }
}

async fn restore_from(world: &mut World<'_>, id: &str) -> Result<()> {
    stop_archiving(world).await?;
    // Until it has ended well, nothing may write to what is neither one nor the other.
    world.learn(|facts| facts.data_unrestored = true)?;
    let model = Model::from_file(&world.work_file(OLD_MODEL)?)?;
    let containers = world.engine.containers(world.project()).await?;
    let data = all_data(world, &model, &containers, Purpose::Restore).await?;
    let users: Vec<&Container> = containers
        .iter()
        .filter(|container| container.is_running() && mounts_any(container, &model, &data))
        .collect();
    let plans = world.change()?.services.clone();
    for container in &users {
        let plan = plans.iter().find(|plan| plan.name == container.service);
        downtime_begins(world, &container.service)?;
        put_down(world, &container.id, plan.and_then(grace)).await?;
    }
    world.progress.note(Step::StoppingServices, Say::RestoreStarted { id: id.into() });
    let warnings = unpack(world, id, data, &containers).await?;
    world.learn(|facts| facts.data_unrestored = false)?;
    // Old containers that the change does not replace would otherwise stay down, also those that a killed process
    // had stopped for the same restore.
    let unchanged = plans.iter().filter(|plan| plan.action == Action::Unchanged);
    let strangers = users.iter().filter(|user| !plans.iter().any(|plan| plan.name == user.service));
    let start: BTreeSet<&String> =
        unchanged.flat_map(|plan| &plan.was_running).chain(strangers.map(|user| &user.id)).collect();
    for id in start {
        put_up(world, id).await?;
    }
    for text in warnings {
        world.warn(Step::StoppingServices, Say::Warning { text })?;
    }
    let facts = world.facts();
    let kept = facts.safety_backup_id.clone().or_else(|| facts.backup_id.clone()).filter(|kept| kept != id);
    // The data is back, whether or not it can be told what became of the other.
    let plain = Say::DataPutBack { backup: id.to_owned(), kept: kept.clone() };
    let say = put_back_words(world, id, kept).unwrap_or_else(|fault| {
        tracing::warn!(%fault, "it is not known which release can read the data that was put aside");
        plain
    });
    world.warn(Step::StoppingServices, say)
}

/// What is told of data that came back, and of the backup `kept` of what was there until now.
fn put_back_words(world: &World<'_>, id: &str, kept: Option<String>) -> Result<Say> {
    let backup = id.to_owned();
    let stays = if world.undoing { world.plan.from.as_ref() } else { Some(&world.plan.to) };
    let of = match &kept {
        Some(kept) => world.installation.backup_manager().get(kept)?.version,
        None => None,
    };
    Ok(match (kept, of, stays) {
        (Some(kept), Some(of), Some(stays)) if rollback::outgrew(world.installation, &of, stays)? => {
            Say::DataPutAside { backup, kept, of: of.to_string() }
        }
        (kept, ..) => Say::DataPutBack { backup, kept },
    })
}

/// The program that replaces what only the engine can reach; none where it is not needed. An error where it is needed
/// and would not run.
fn helper_for(world: &World<'_>, data: &[Data]) -> Result<Option<Program>> {
    let needed = data.iter().any(|data| matches!(data.place, Place::Engine { .. }));
    needed.then(|| Program::own(&world.engine)).transpose()
}

/// Refuses a change that restores the backup `wanted`, or may have to restore data, where that is not possible, before
/// anything is stopped for it.
pub async fn check_restorable(world: &World<'_>, wanted: Option<&str>) -> Result<()> {
    let path = world.work_file(OLD_MODEL)?;
    if !path.is_file() {
        return Ok(());
    }
    let containers = world.engine.containers(world.project()).await?;
    let data = all_data(world, &Model::from_file(&path)?, &containers, Purpose::Restore).await?;
    helper_for(world, &data)?;
    let Some(id) = wanted else { return Ok(()) };
    let paths = &world.plan.only;
    let place = |kind: &PartKind| {
        let found = data.iter().find(|data| data.kind == *kind)?;
        match &found.place {
            Place::Disk(path) if inside(paths, &found.name).is_empty() => Some(path.clone()),
            // How much of it is wanted is not known by its record; what only the engine reaches, by nobody.
            Place::Disk(_) | Place::Engine { .. } => None,
        }
    };
    world.installation.backup_manager().check_room_for(id, &place)
}

/// Restores every part of the backup that the stack has a place for; gives back warnings.
async fn unpack(
    world: &World<'_>,
    id: &str,
    data: Vec<Data>,
    containers: &[Container],
) -> Result<Vec<String>> {
    let manager = world.installation.backup_manager();
    let program = helper_for(world, &data)?;
    let info = info_of(world)?;
    let takers = dump::takers(world, &manager.get(id)?, containers)?;
    let takers: Vec<(PartKind, Container)> =
        takers.into_iter().map(|(kind, one)| (kind, one.clone())).collect();
    let paths = world.plan.only.clone();
    let project = world.project().to_owned();
    let (engine, progress, id) = (world.engine.clone(), world.progress.clone(), id.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let targets = |kind: &PartKind| {
            if let Some((PartKind::Dump { restore, .. }, container)) =
                takers.iter().find(|(taken, _)| taken == kind)
            {
                let (engine, runtime, info) = (&engine, &runtime, &info);
                let take = move |content| {
                    runtime.block_on(dump::put_back(engine, info, container, restore, content))
                };
                return Some(RestoreTarget::Content(Box::new(take)));
            }
            let found = data.iter().find(|data| data.kind == *kind)?;
            let only = inside(&paths, &found.name);
            Some(match &found.place {
                Place::Disk(path) if only.is_empty() => RestoreTarget::Disk(path.clone()),
                Place::Disk(path) => RestoreTarget::Within { folder: path.clone(), only },
                Place::Engine { volume, container, .. } => {
                    let (engine, runtime, program) = (engine.clone(), runtime.clone(), program.clone()?);
                    let volume = Volume::new(&project, container.clone(), volume.clone());
                    let take = move |tar, scope: Scope| {
                        runtime.block_on(volume.replace(&engine, &program, &scope, tar))
                    };
                    RestoreTarget::Tar { top: TOP.into(), only, take: Box::new(take) }
                }
            })
        };
        let never = AtomicBool::new(false);
        manager.restore(&id, &targets, Step::RollingBack, &progress, &never)
    });
    let restored =
        work.await.map_err(|error| Fault::from_error(Code::RestoreFailed, world.project(), error))??;
    Ok(restored.warnings)
}
