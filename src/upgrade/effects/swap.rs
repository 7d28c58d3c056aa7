//! The swap of one service, and the verification of all.

use std::time::Duration;

use super::containers::{
    check_created, downtime_begins, downtime_of, extra, grace, half_made, mark_touched, put_down, replace,
    stop_old, up_and_ready, watched,
};
use crate::docker::Health;
use crate::fault::Result;
use crate::messages::Say;
use crate::progress::Step;
use crate::upgrade::analyse::NEW_MODEL;
use crate::upgrade::plan::{Action, ServicePlan};
use crate::upgrade::world::World;

/// Takes `service` from its old containers to its new ones.
pub async fn swap(world: &mut World<'_>, service: &str) -> Result<()> {
    let service = world.plan.service(service)?.clone();
    mark_touched(world)?;
    world.learn(|facts| facts.data_at_risk = true)?;
    match service.action {
        Action::Unchanged => Ok(()),
        Action::Remove => stop_old(world, &service).await,
        Action::Add => {
            let new = created(world, &service);
            start(world, &service, &new).await
        }
        Action::Restart => {
            stop_old(world, &service).await?;
            start(world, &service, &service.was_running).await?;
            downtime(world, &service)
        }
        Action::Recreate => {
            stop_old(world, &service).await?;
            let new = recreate(world, &service).await?;
            start(world, &service, &new).await?;
            downtime(world, &service)
        }
        Action::Swap => {
            swap_pairs(world, &service).await?;
            downtime(world, &service)
        }
    }
}

/// With several replicas one goes down at a time.
async fn swap_pairs(world: &mut World<'_>, service: &ServicePlan) -> Result<()> {
    let new = created(world, service);
    if new.len() < 2 || service.old.len() < 2 {
        stop_old(world, service).await?;
        return start(world, service, &new).await;
    }
    let mut old = service.old.keys();
    downtime_begins(world, &service.name)?;
    for id in &new {
        if let Some(former) = old.next() {
            put_down(world, former, grace(service)).await?;
        }
        start(world, service, std::slice::from_ref(id)).await?;
    }
    for former in old {
        put_down(world, former, grace(service)).await?;
    }
    Ok(())
}

fn created(world: &World<'_>, service: &ServicePlan) -> Vec<String> {
    world.facts().created.get(&service.name).cloned().unwrap_or_default()
}

async fn recreate(world: &mut World<'_>, service: &ServicePlan) -> Result<Vec<String>> {
    let mut new = extra(world, service).await?;
    let unfinished = new.iter().any(|container| half_made(&container.name).is_some());
    if unfinished || check_created(service, &new).is_err() {
        replace(world, NEW_MODEL, service).await?;
        new = extra(world, service).await?;
        check_created(service, &new)?;
    }
    let ids: Vec<String> = new.into_iter().map(|container| container.id).collect();
    let known = ids.clone();
    world.learn(|facts| {
        facts.created.insert(service.name.clone(), known);
    })?;
    Ok(ids)
}

async fn start(world: &mut World<'_>, service: &ServicePlan, ids: &[String]) -> Result<()> {
    world.progress.note(Step::StartingServices, Say::ServiceStarting { service: service.name.clone() });
    for id in ids {
        // Where an earlier try left it, its healthcheck may not have noticed yet that the cause is mended.
        if world.engine.container(id).await?.is_some_and(|one| one.health == Health::Unhealthy) {
            put_down(world, id, grace(service)).await?;
        }
    }
    up_and_ready(world, service, ids, Duration::from_millis(service.timeout_ms), true).await
}

fn downtime(world: &mut World<'_>, service: &ServicePlan) -> Result<()> {
    let Some(ms) = downtime_of(world, &service.name) else {
        return Ok(());
    };
    world.learn(|facts| {
        facts.downtime_ms.entry(service.name.clone()).or_insert(ms);
    })?;
    let say = Say::ServiceSwapped { service: service.name.clone(), ms };
    world.progress.note(Step::StartingServices, say);
    Ok(())
}

/// Stops the new containers; `Protect` brings the old ones back once everything they need is back.
pub async fn swap_back(world: &mut World<'_>, service: &str) -> Result<()> {
    let service = world.plan.service(service)?.clone();
    if matches!(service.action, Action::Restart | Action::Unchanged | Action::Remove) {
        return Ok(());
    }
    world.progress.note(Step::RollingBack, Say::ServiceStopping { service: service.name.clone() });
    for container in extra(world, &service).await? {
        put_down(world, &container.id, grace(&service)).await?;
        // Compose did not come to the end of its own recreate: beside the old container it is one too many.
        if half_made(&container.name).is_some() && is_old_there(world, &service).await? {
            world.engine.remove(&container.id, false).await?;
        }
    }
    Ok(())
}

async fn is_old_there(world: &World<'_>, service: &ServicePlan) -> Result<bool> {
    for id in service.old.keys() {
        if world.engine.container(id).await?.is_none() {
            return Ok(false);
        }
    }
    Ok(!service.old.is_empty())
}

/// Verifies every service over the stability window, then the probes.
pub async fn verify(world: &mut World<'_>) -> Result<()> {
    let info = world.target()?;
    world.progress.started(Step::VerifyingServices, Say::VerifyStarted);
    let change = world.change()?.clone();
    let changed = change.services.iter().any(|service| service.action != Action::Unchanged);
    let mut all = Vec::new();
    for service in change.services.iter().filter(|service| service.replicas > 0) {
        let ids: Vec<String> = match service.action {
            Action::Unchanged | Action::Restart => service.old.keys().cloned().collect(),
            _ => created(world, service),
        };
        let timeout = Duration::from_millis(service.timeout_ms);
        for id in ids {
            let mut one = watched(service, id, timeout, true);
            if !changed {
                one.policy.stability = Duration::ZERO;
            }
            all.push(one);
        }
    }
    world.engine.verify_stable(&all).await?;
    for probe in &info.health.probes {
        world.engine.probe(world.project(), probe).await?;
    }
    world.unverified = false;
    world.progress.finished(Step::VerifyingServices, Say::VerifyFinished);
    Ok(())
}
