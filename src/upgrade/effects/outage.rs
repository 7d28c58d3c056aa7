//! An engine that goes away in the middle (restarted, upgraded) and comes back.

use std::collections::BTreeSet;
use std::time::Duration;

use super::containers::put_up;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::Step;
use crate::upgrade::world::World;

/// How long an engine may be away. Its upgrade by a package manager takes less.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether `fault` came of an engine that was away and is back by now. What it took down with it runs again by then.
pub async fn outlasted(world: &mut World<'_>, fault: &Fault) -> bool {
    if fault.code() != Code::EngineUnreachable && world.engine.answers().await {
        return false;
    }
    if world.engine_lost {
        return false;
    }
    let text = fault.message(world.progress.lang());
    world.progress.warning(Step::CheckingUpdates, Say::EngineAway { text });
    match back_again(world).await {
        Ok(()) => true,
        Err(fault) => {
            world.engine_lost = true;
            world.progress.failed(Step::CheckingUpdates, &fault);
            false
        }
    }
}

async fn back_again(world: &mut World<'_>) -> Result<()> {
    world.engine = world.engine.reconnect(PATIENCE).await?;
    world.progress.note(Step::CheckingUpdates, Say::EngineBack { version: world.engine.version().into() });
    world.unverified = true;
    for id in up(world) {
        match world.engine.container(&id).await? {
            Some(container) if !container.is_running() => put_up(world, &id).await?,
            Some(_) => {}
            // It was switched to another image store, which knows nothing of what was in the former.
            None => world.lost = true,
        }
    }
    Ok(())
}

/// The containers that ran when the engine went away: an engine that is killed takes them all down, and starts only those
/// again whose restart policy says so.
///
/// What an earlier process stopped, or brought up, is in the facts.
fn up(world: &World<'_>) -> BTreeSet<String> {
    let facts = world.facts();
    let mut found = world.started.clone();
    for service in world.plan.change.iter().flat_map(|change| &change.services) {
        if !facts.stopped_at.contains_key(&service.name) {
            found.extend(service.was_running.iter().cloned());
        } else if facts.downtime_ms.contains_key(&service.name) && !world.undoing {
            found.extend(facts.created.get(&service.name).into_iter().flatten().cloned());
        }
    }
    found.difference(&world.stopped).cloned().collect()
}
