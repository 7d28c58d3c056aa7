//! Bringing containers back: the old ones on the way back, and those an engine lost.

use std::collections::BTreeSet;
use std::time::Duration;

use rusqlite::Connection;

use super::containers::{downtime_of, make, put_up, replace, up_and_ready};
use super::data;
use crate::docker::{Container, Model};
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::Step;
use crate::release::{ReleaseInfo, Version};
use crate::upgrade::analyse::{NEW_MODEL, OLD_MODEL};
use crate::upgrade::plan::{Action, ServicePlan};
use crate::upgrade::world::World;
use crate::upgrade::{origin, pointers, ways};

/// Brings the old containers back, dependencies first, and waits until they are ready.
pub async fn bring_back(world: &mut World<'_>) -> Result<()> {
    let touched = world.facts().touched;
    if !touched && !world.lost {
        return Ok(());
    }
    let change = world.change()?.clone();
    // A first installation has nothing to bring back.
    let Some(from) = world.plan.from.clone() else {
        return Ok(());
    };
    // What is mounted by way of `current` must be there before anything is started.
    if !matches!(pointers::read(world.layout(), Pointer::Current), Ok(Some(_))) {
        pointers::set(world.layout(), Pointer::Current, &from)?;
    }
    let unknown = || Fault::new(Code::ReleaseUnknown, &from, "nothing says what it consists of");
    let info = ways::info_of(world.installation, &from)?.ok_or_else(unknown)?;
    let mut failures = Vec::new();
    let down = stays_down(world)?;
    let present: BTreeSet<String> =
        world.engine.containers(world.project()).await?.into_iter().map(|container| container.id).collect();
    for name in &change.old_order {
        let Some(service) = change.services.iter().find(|service| service.name == *name) else {
            continue;
        };
        let gone = service.was_running.iter().any(|id| !present.contains(id));
        let stopped = touched && service.action != Action::Unchanged;
        if service.was_running.is_empty() || !(gone || stopped) {
            continue;
        }
        if down.contains(name) {
            failures.push(Fault::new(Code::RestoreFailed, name, "it stays down until its data is restored"));
            continue;
        }
        world.progress.note(Step::RollingBack, Say::ServiceStarting { service: name.clone() });
        match bring_one_back(world, service, info.timeout_of(name)).await {
            Err(fault) => {
                world.progress.failed(Step::RollingBack, &fault);
                failures.push(fault);
            }
            // Until now it was not what its users know.
            Ok(()) => {
                if let Some(ms) = downtime_of(world, name) {
                    world.learn(|facts| facts.downtime_ms.extend([(name.clone(), ms)]))?;
                }
            }
        }
    }
    match failures.into_iter().next() {
        None => Ok(()),
        Some(first) => Err(first),
    }
}

/// What holds data whose restore did not end: it would write to what is neither the old data nor the new.
fn stays_down(world: &World<'_>) -> Result<BTreeSet<String>> {
    if !world.facts().data_unrestored {
        return Ok(BTreeSet::new());
    }
    Ok(data::holders(world, &Model::from_file(&world.work_file(OLD_MODEL)?)?))
}

async fn bring_one_back(world: &mut World<'_>, service: &ServicePlan, timeout: Duration) -> Result<()> {
    let present = world.engine.containers(world.project()).await?;
    let is_there = |id: &String| present.iter().any(|container| container.id == *id);
    let remade = world.facts().remade.get(&service.name).cloned().unwrap_or_default();
    let ids: Vec<String> = if service.was_running.iter().all(is_there) {
        service.was_running.clone()
    } else if !remade.is_empty() && remade.iter().all(is_there) {
        remade
    } else {
        recreate_old(world, service).await?
    };
    up_and_ready(world, service, &ids, timeout, false).await
}

/// Makes the old containers anew where Compose's recreate has replaced them. Their image references may
/// still name the new images, so they are moved back first.
async fn recreate_old(world: &mut World<'_>, service: &ServicePlan) -> Result<Vec<String>> {
    if let Some(from) = &world.plan.from
        && let Some(info) = ways::info_of(world.installation, from)?
    {
        have_images(world, &info).await?;
    }
    replace(world, OLD_MODEL, service).await?;
    let ids = ids_of(world, &service.name).await?;
    let known = ids.clone();
    world.learn(|facts| {
        facts.remade.insert(service.name.clone(), known);
    })?;
    if let Some(from) = &world.plan.from {
        let recorded = record(world, service, &ids, from);
        world.written(recorded)?;
    }
    Ok(ids)
}

/// The images of a release are in the engine, and its references name them.
async fn have_images(world: &World<'_>, info: &ReleaseInfo) -> Result<()> {
    ways::images_for(world, info).await?;
    for image in &info.images {
        let missing = || Fault::new(Code::ImageMissing, &image.reference, format!("wanted {}", image.id));
        let id = world.engine.find_image(image).await?.ok_or_else(missing)?;
        world.engine.tag_image(&id, &image.reference).await?;
    }
    Ok(())
}

async fn ids_of(world: &World<'_>, service: &str) -> Result<Vec<String>> {
    let all = world.engine.containers(world.project()).await?;
    Ok(all.into_iter().filter(|c| c.service == service && !c.one_off).map(|c| c.id).collect())
}

fn record(world: &World<'_>, service: &ServicePlan, ids: &[String], release: &Version) -> Result<()> {
    let release = release.to_string();
    let record =
        |db: &Connection| ids.iter().try_for_each(|id| origin::record(db, id, &service.name, &release));
    world.installation.store.with(record)
}

/// Whether the containers of before are those of the new release.
fn keeps(service: &ServicePlan) -> bool {
    matches!(service.action, Action::Unchanged | Action::Restart)
}

/// After the commit: makes and starts what is gone of the new release. An engine that was switched to another image
/// store has nothing of it, and a person may have removed a container.
pub async fn make_again(world: &mut World<'_>) -> Result<()> {
    let change = world.change()?.clone();
    let mut missing = Vec::new();
    let present = world.engine.containers(world.project()).await?;
    for service in change.services.iter().filter(|service| service.replicas > 0) {
        let own = present.iter().filter(|one| one.service == service.name && !one.one_off);
        let new: Vec<&Container> =
            own.filter(|one| keeps(service) || !service.old.contains_key(&one.id)).collect();
        if (new.len() as u32) < service.replicas {
            missing.push(service.clone());
        }
        let ended = new.iter().filter(|one| !one.is_running() && !service.one_shot && !keeps(service));
        for container in ended {
            put_up(world, &container.id).await?;
        }
    }
    if missing.is_empty() {
        return Ok(());
    }
    have_images(world, &world.target()?).await?;
    let wanted = missing.iter().map(|service| (service.name.clone(), service.replicas)).collect();
    make(world, NEW_MODEL, &wanted).await?;
    for service in missing {
        let ids = ids_of(world, &service.name).await?;
        record(world, &service, &ids, &world.plan.to)?;
        up_and_ready(world, &service, &ids, Duration::from_millis(service.timeout_ms), false).await?;
    }
    Ok(())
}
