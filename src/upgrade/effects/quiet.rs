//! Holding services still while their data is read. Which containers are frozen, and which are stopped, is durable before
//! the first is, so that whoever comes after a crash lets them go on.

use std::time::{Duration, Instant};

use super::volume;
use crate::docker::{Container, Engine, Model, ReadyPolicy, Watched};
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

    /// An error where one that was stopped runs again: somebody started it while its data was read.
    pub async fn check_held(&self, world: &World<'_>) -> Result<()> {
        for one in &self.stop {
            let now = world.engine.container(&one.id).await?;
            if now.is_some_and(|now| now.is_running()) {
                let cause = "it was started by somebody else while its data was read";
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

    async fn let_go(&self, installation: &Installation, engine: &Engine) -> Result<()> {
        for id in self.frozen.iter().flat_map(|ids| ids.split_whitespace()) {
            engine.unpause(id).await?;
        }
        for id in self.halted.iter().flat_map(|ids| ids.split_whitespace()) {
            // One that is gone was replaced meanwhile.
            if engine.container(id).await?.is_some() {
                engine.start(id).await?;
            }
        }
        if self.frozen.is_some() {
            engine.remove(&volume::reader(&installation.settings.project), true).await?;
        }
        Ok(())
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
