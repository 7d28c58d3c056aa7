//! An engine that goes away in the middle (restarted, upgraded) and comes back.

use std::time::Duration;

use super::containers::put_up;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::Step;
use crate::upgrade::plan::Action;
use crate::upgrade::world::World;

/// How long an engine may be away. Its upgrade by a package manager takes less.
const PATIENCE: Duration = Duration::from_secs(180);

/// Whether `fault` came of an engine that was away and is back by now. What it took down with it, and what this change
/// does not touch, runs again by then.
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
    let Ok(change) = world.change() else { return Ok(()) };
    let untouched = change.services.iter().filter(|service| service.action == Action::Unchanged);
    let ran: Vec<String> = untouched.flat_map(|service| service.was_running.clone()).collect();
    for id in ran {
        // One that a person removed meanwhile is theirs.
        if world.engine.container(&id).await?.is_some_and(|container| !container.is_running()) {
            put_up(world, &id).await?;
        }
    }
    Ok(())
}
