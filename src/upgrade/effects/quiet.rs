//! Holding services still while their data is read. Which containers are frozen, and which are stopped, is durable before
//! the first is, so that whoever comes after a crash lets them go on.

use std::time::{Duration, Instant};

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
}

impl Writers {
    /// Orders what is stopped as `model` has its services.
    pub fn ordered(mut self, model: &Model) -> Self {
        let order: Vec<String> = model.services().into_iter().map(|service| service.name).collect();
        self.stop.sort_by_key(|one| order.iter().position(|name| *name == one.service));
        self
    }

    /// Holds them still.
    pub async fn hold(&self, world: &mut World<'_>) -> Result<()> {
        let held = self.try_hold(world).await;
        if held.is_err() {
            thaw(world.installation, &world.engine).await?;
        } else {
            killpoint::reached("frozen", &step::Step::Backup);
        }
        held
    }

    async fn try_hold(&self, world: &mut World<'_>) -> Result<()> {
        let ids = |all: &[Container]| all.iter().map(|one| one.id.as_str()).collect::<Vec<_>>().join(" ");
        let (freeze, stop) = (ids(&self.freeze), ids(&self.stop));
        world.installation.store.with(|db| {
            meta::set(db, FROZEN, &freeze)?;
            meta::set(db, HALTED, &stop)
        })?;
        for one in self.stop.iter().rev() {
            world.engine.stop(&one.id, None).await?;
        }
        for one in &self.freeze {
            world.engine.pause(&one.id).await?;
        }
        Ok(())
    }

    /// An error where one that was held runs again: somebody let it go on while its data was read.
    pub async fn check_held(&self, world: &World<'_>) -> Result<()> {
        let stopped = self.stop.iter().map(|one| (one, State::Exited));
        let frozen = self.freeze.iter().map(|one| (one, State::Paused));
        for (one, held_as) in stopped.chain(frozen) {
            let Some(now) = world.engine.container(&one.id).await? else { continue };
            if let Some(cause) = disturbed(held_as, now.state) {
                return Err(Fault::new(Code::BackupFailed, &one.service, cause));
            }
        }
        Ok(())
    }

    /// Lets them go on, waits until what was stopped is ready again, and remembers how long each stood still since
    /// `began`.
    pub async fn release(&self, world: &mut World<'_>, info: &ReleaseInfo, began: Instant) -> Result<()> {
        thaw(world.installation, &world.engine).await?;
        let frozen = began.elapsed();
        for one in &self.stop {
            world.engine.wait_ready(&as_before(info, one)).await?;
        }
        let stopped = began.elapsed();
        let ms = |all: &[Container], time: Duration| -> Vec<(String, u64)> {
            all.iter().map(|one| (one.service.clone(), time.as_millis() as u64)).collect()
        };
        let stood = [ms(&self.freeze, frozen), ms(&self.stop, stopped)].concat();
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
            world.written(forgotten)
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
