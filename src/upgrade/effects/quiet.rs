//! Holding services still while their data is read. Which containers are frozen, and which are stopped, is durable before
//! the first is, so that whoever comes after a crash lets them go on.

use std::time::{Duration, Instant};

use rusqlite::Connection;

use super::volume;
use crate::docker::{Container, Engine, Model, ReadyPolicy, State, Watched};
use crate::fault::{Code, Fault, Result};
use crate::release::ReleaseInfo;
use crate::state::meta;
use crate::upgrade::world::World;
use crate::upgrade::{Installation, killpoint, step};

/// The keys in `meta` that name the containers which are frozen, and those which are stopped.
const FROZEN: &str = "frozen";
/// See [`FROZEN`].
const HALTED: &str = "halted";

/// The running containers that may write to data while it is read.
#[derive(Debug, Default)]
pub struct Writers {
    /// They are frozen.
    pub freeze: Vec<Container>,
    /// They are stopped; what others depend on comes first.
    pub stop: Vec<Container>,
    /// They end by themselves, and the engine starts them again and again: they are stopped, too, but nobody waits until
    /// they are well afterwards.
    pub restless: Vec<Container>,
}

impl Writers {
    /// Orders what is stopped as `model` has its services.
    pub fn ordered(mut self, model: &Model) -> Self {
        let order: Vec<String> = model.services().into_iter().map(|service| service.name).collect();
        self.stop.sort_by_key(|one| order.iter().position(|name| *name == one.service));
        self
    }

    /// These did not hold still where they were to be frozen: the next time they are stopped.
    pub fn stopping(mut self, restless: &[String]) -> Self {
        let (more, freeze) = self.freeze.into_iter().partition(|one| restless.contains(&one.id));
        self.freeze = freeze;
        self.restless.extend::<Vec<_>>(more);
        self
    }

    /// Holds them still.
    pub async fn hold(&self, world: &mut World<'_>) -> Result<()> {
        let held = self.try_hold(world).await;
        if held.is_err() {
            let_go(world).await?;
        } else {
            killpoint::reached("frozen", &step::Step::Backup);
        }
        held
    }

    async fn try_hold(&self, world: &mut World<'_>) -> Result<()> {
        let ids = |one: &Container| one.id.clone();
        let frozen: Vec<String> = self.freeze.iter().map(ids).collect();
        let halted: Vec<String> = self.stop.iter().chain(&self.restless).map(ids).collect();
        world.installation.store.with(|db| remember(db, &frozen, &halted))?;
        world.learn(|facts| (facts.frozen, facts.halted) = (frozen, halted))?;
        for one in self.restless.iter().chain(self.stop.iter().rev()) {
            world.engine.stop(&one.id, None).await?;
        }
        for one in &self.freeze {
            world.engine.pause(&one.id).await?;
        }
        Ok(())
    }

    /// The IDs of those that ended in the moment in which they were to be frozen, and were started again by the engine
    /// while their data was read. An error where somebody let one go on meanwhile.
    pub async fn check_held(&self, world: &World<'_>) -> Result<Vec<String>> {
        let stopped = self.stop.iter().chain(&self.restless).map(|one| (one, State::Exited));
        let frozen = self.freeze.iter().map(|one| (one, State::Paused));
        let mut restless = Vec::new();
        for (one, held_as) in stopped.chain(frozen) {
            let Some(now) = world.engine.container(&one.id).await? else { continue };
            // The engine takes a container that is about to be started again for a running one, and freezes it.
            let again = now.state != State::Paused && now.restart_count > one.restart_count;
            match disturbed(held_as, now.state) {
                _ if held_as == State::Paused && again => restless.push(now.id),
                Some(cause) => return Err(Fault::new(Code::BackupFailed, &one.service, cause)),
                None => {}
            }
        }
        Ok(restless)
    }

    /// Lets them go on, waits until what was stopped is ready again, and remembers how long each stood still since
    /// `began`.
    pub async fn release(&self, world: &mut World<'_>, info: &ReleaseInfo, began: Instant) -> Result<()> {
        let_go(world).await?;
        let frozen = began.elapsed();
        for one in &self.stop {
            world.engine.wait_ready(&as_before(info, one)).await?;
        }
        let stopped = began.elapsed();
        let ms = |all: &[Container], time: Duration| -> Vec<(String, u64)> {
            all.iter().map(|one| (one.service.clone(), time.as_millis() as u64)).collect()
        };
        let halted = [&self.stop[..], &self.restless].concat();
        let stood = [ms(&self.freeze, frozen), ms(&halted, stopped)].concat();
        world.learn(|facts| facts.frozen_ms.extend(stood))
    }
}

/// What somebody did to a container that was held in one state and is found in another, where it may have written since.
fn disturbed(held_as: State, now: State) -> Option<&'static str> {
    match (held_as, now) {
        (State::Paused, State::Running | State::Restarting) => {
            Some("it was unpaused by somebody else while its data was read")
        }
        (State::Exited, State::Running | State::Restarting | State::Paused) => {
            Some("it was started by somebody else while its data was read")
        }
        _ => None,
    }
}

/// What is asked of a container that was stopped only for a moment.
pub fn as_before(info: &ReleaseInfo, container: &Container) -> Watched {
    let service = &container.service;
    Watched {
        service: service.clone(),
        container: container.id.clone(),
        policy: ReadyPolicy {
            timeout: info.timeout_of(service),
            patient: !info.chooses_timeout_of(service),
            may_recover: true,
            stability: info.stability_of(service),
            one_shot: false,
            image_ids: Vec::new(),
        },
    }
}

/// What a backup that did not end well may have left as it was: the containers by what was done to them.
#[derive(Default)]
struct Held {
    frozen: Option<String>,
    halted: Option<String>,
}

impl Held {
    fn read(installation: &Installation) -> Result<Self> {
        installation
            .store
            .with(|db| Ok(Self { frozen: meta::get(db, FROZEN)?, halted: meta::get(db, HALTED)? }))
    }

    fn forget(installation: &Installation) -> Result<()> {
        installation.store.with(|db| {
            meta::forget(db, FROZEN)?;
            meta::forget(db, HALTED)
        })
    }

    /// Lets all of them go on; where one cannot, the others do all the same, and the first fault is told at the end.
    async fn let_go(&self, installation: &Installation, engine: &Engine) -> Result<()> {
        let mut result = Ok(());
        for id in self.frozen.iter().flat_map(|ids| ids.split_whitespace()) {
            result = result.and(engine.unpause(id).await);
        }
        for id in self.halted.iter().flat_map(|ids| ids.split_whitespace()) {
            result = result.and(start(engine, id).await);
        }
        if self.frozen.is_some() {
            let reader = volume::reader(&installation.settings.project);
            result = result.and(engine.remove(&reader, true).await);
        }
        result
    }
}

/// Starts a container; one that is gone was replaced meanwhile.
async fn start(engine: &Engine, id: &str) -> Result<()> {
    match engine.container(id).await? {
        Some(_) => engine.start(id).await,
        None => Ok(()),
    }
}

/// Whether a backup that did not end well may have left containers frozen or stopped.
pub fn is_held(installation: &Installation) -> Result<bool> {
    let held = Held::read(installation)?;
    Ok(held.frozen.is_some() || held.halted.is_some())
}

/// Writes down what is held still by a backup.
pub fn remember(db: &Connection, frozen: &[String], halted: &[String]) -> rusqlite::Result<()> {
    meta::set(db, FROZEN, &frozen.join(" "))?;
    meta::set(db, HALTED, &halted.join(" "))
}

/// As [`thaw`], where it is a change that held them: it knows it, too.
pub async fn let_go(world: &mut World<'_>) -> Result<()> {
    thaw(world.installation, &world.engine).await?;
    forget(world)
}

/// What comes next may stop for good what was held: it must not be started again.
fn forget(world: &mut World<'_>) -> Result<()> {
    world.learn(|facts| (facts.frozen, facts.halted) = Default::default())
}

/// Lets everything go on that was held for a backup, by this process or one that was killed.
pub async fn thaw(installation: &Installation, engine: &Engine) -> Result<()> {
    Held::read(installation)?.let_go(installation, engine).await?;
    Held::forget(installation)
}

/// As [`thaw`], on the way back, which needs no state.
pub async fn thaw_going_back(world: &mut World<'_>) -> Result<()> {
    match Held::read(world.installation) {
        Ok(held) => {
            held.let_go(world.installation, &world.engine).await?;
            let forgotten = Held::forget(world.installation);
            world.written(forgotten)?;
            forget(world)
        }
        Err(unreadable) => world.written(Err(unreadable)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_lets_one_go_on_meanwhile_spoils_the_backup() {
        use State::*;
        assert!(disturbed(Paused, Running).is_some_and(|cause| cause.contains("unpaused")));
        assert!(disturbed(Exited, Running).is_some_and(|cause| cause.contains("started")));
        // Paused by somebody who had started it first.
        assert!(disturbed(Exited, Paused).is_some());
        for (held_as, now) in [(Paused, Paused), (Exited, Exited), (Paused, Exited), (Exited, Dead)] {
            assert_eq!(disturbed(held_as, now), None, "{held_as:?} {now:?}");
        }
    }
}
