//! Carrying a change out from beginning to end: begun, continued after a crash, undone.
//!
//! The levels of the way back: a failure before the commit undoes the change (level 1, [`go_back`]); where that
//! does not bring the version before back, the factory release is installed (level 2, [`super::factory`]); where that
//! fails too, a person is told what to do.

mod stuck;

use std::time::Instant;

use super::analyse;
use super::effects::finish::prune_backups;
use super::effects::{archiving, images, quiet};
use super::ending::{Ended, Ending, end, remove_work};
use super::factory;
use super::installation::Installation;
use super::journal::{Change, ChangeState, Journal};
use super::plan::{Facts, Failure, Kind, Plan};
use super::quarantine;
use super::releases;
use super::runner::{Left, Runner};
use super::soak;
use super::step::Step;
use super::world::World;
use crate::docker::{Compose, Engine};
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{self, Progress};

pub use stuck::{next_commands, stuck};

/// Beginnings of one change after which it is undone; undoings after which the factory release is installed; attempts
/// at that after which a person is needed.
pub const MOST_ATTEMPTS: u32 = 3;

/// The engine and Compose, once both answer.
pub struct Tools {
    /// The engine.
    pub engine: Engine,
    /// The Compose command.
    pub compose: Compose,
}

impl Tools {
    /// Finds both.
    pub async fn find() -> Result<Self> {
        Ok(Self { engine: Engine::connect().await?, compose: Compose::find().await? })
    }
}

/// Begins a change with `plan`, whose second half is planned when the preparation is done; `restore` names the
/// backup whose data comes back.
pub async fn begin(
    installation: &Installation,
    tools: &Tools,
    plan: Plan,
    restore: Option<&str>,
    progress: &Progress,
) -> Ended {
    begin_with(installation, tools, plan, Facts::default(), restore, progress).await
}

/// As [`begin`], where something is known from the beginning.
pub async fn begin_with(
    installation: &Installation,
    tools: &Tools,
    mut plan: Plan,
    facts: Facts,
    restore: Option<&str>,
    progress: &Progress,
) -> Ended {
    let id = new_id();
    let progress = progress.for_upgrade(&id);
    let started = Instant::now();
    let journal = Journal::new(installation.store.clone());
    plan.restore = restore.map(str::to_owned);
    let from = plan.from.as_ref().map(ToString::to_string);
    let opened = journal.open(&id, plan.kind.name(), from.as_deref(), &plan.to.to_string(), &plan.to_json());
    let mut world =
        World::new(installation, &tools.engine, &tools.compose, progress, &id, plan, Facts::default());
    let result = match opened.and_then(|()| world.learn(|known| *known = facts)) {
        Ok(()) => forward(&mut world, &journal).await,
        Err(fault) => Err(fault),
    };
    settle(&mut world, &journal, result, started).await
}

/// An ID for a change, ordered by time.
pub fn new_id() -> String {
    uuid::Uuid::now_v7().simple().to_string()
}

/// Deals with a change that an earlier process left unfinished; none where there is nothing left to tell.
///
/// What was only prepared is put aside, because whoever asks again finds all of it by its content. A change
/// that was under way is finished; one that was going back goes on going back.
pub async fn finish(
    installation: &Installation,
    tools: &Tools,
    progress: &Progress,
) -> Result<Option<Ended>> {
    let journal = Journal::new(installation.store.clone());
    quiet::thaw(installation, &tools.engine).await?;
    super::rebuild::rebuild_from_engine(installation, &tools.engine).await?;
    // A backup whose process was killed is not running any more.
    installation.backup_manager().reconcile()?;
    let Some(change) = journal.unfinished()? else {
        return Ok(None);
    };
    let started = Instant::now();
    let progress = progress.for_upgrade(&change.id);
    let mut world = world_of(installation, tools, &progress, &change)?;
    quiet::let_go(&mut world).await?;
    if world.plan.kind == Kind::Factory {
        return factory::resume(&mut world, &journal, tools, &change, started).await.map(Some);
    }
    if world.plan.change.is_none() && !soak::is_rollback(&world.plan) {
        put_aside(&mut world, &journal).await?;
        return Ok(None);
    }
    let version = world.plan.to.to_string();
    world.progress.started(progress::Step::CheckingUpdates, Say::Continuing { version });
    journal.attempt(&change.id, change.state)?;
    // Each step that was undone is progress.
    let most = MOST_ATTEMPTS * (1 + journal.undone(&change.id)?);
    if change.state == ChangeState::Undoing && change.undo_attempts >= most {
        let cause = "the way back was begun too often without coming to an end";
        let level1 = Fault::new(Code::Interrupted, world.project(), cause);
        let first = first_failure(&world);
        return Ok(Some(factory::escalate(&mut world, &journal, first, level1, started).await));
    }
    let result = match cause_to_go_back(&change, &world, &journal) {
        Ok(None) => forward(&mut world, &journal).await,
        Ok(Some(fault)) | Err(fault) => Err(fault),
    };
    Ok(Some(settle(&mut world, &journal, result, started).await))
}

/// The world of a recorded change.
pub fn world_of<'a>(
    installation: &'a Installation,
    tools: &'a Tools,
    progress: &Progress,
    change: &Change,
) -> Result<World<'a>> {
    let plan = Plan::from_json(&change.plan, &change.id)?;
    let facts: Facts = serde_json::from_str(&change.facts)
        .map_err(|error| Fault::from_error(Code::JournalIllegal, &change.id, error))?;
    Ok(World::new(installation, &tools.engine, &tools.compose, progress.clone(), &change.id, plan, facts))
}

/// Why an unfinished change is undone instead of finished.
fn cause_to_go_back(change: &Change, world: &World<'_>, journal: &Journal) -> Result<Option<Fault>> {
    if matches!(change.state, ChangeState::Undoing | ChangeState::NeedsAttention) {
        return Ok(Some(first_failure(world)));
    }
    let committed = Runner::new(journal, &change.id, world.plan.steps())?.committed();
    let too_often = change.attempts >= MOST_ATTEMPTS && !committed;
    let cause = "it was begun too often without coming to an end";
    Ok(too_often.then(|| Fault::new(Code::Interrupted, &world.plan.to, cause)))
}

/// Why a change is being undone, as it was known when that began.
pub fn first_failure(world: &World<'_>) -> Fault {
    match &world.facts().first_failure {
        Some(failure) => failure.to_fault(),
        None => Fault::new(Code::Interrupted, &world.plan.to, "it was being undone when it was interrupted"),
    }
}

/// Lets the change be that needs attention: a person goes on with something else.
pub fn supersede(installation: &Installation, progress: &Progress) -> Result<()> {
    let journal = Journal::new(installation.store.clone());
    if let Some(change) = journal.unfinished()? {
        journal.set_state(&change.id, ChangeState::Superseded)?;
        for id in change.parent.iter().chain([&change.id]) {
            remove_work(&installation.layout, id, ChangeState::Superseded)?;
        }
        progress.warning(progress::Step::CheckingUpdates, Say::Superseded { id: change.id });
    }
    Ok(())
}

async fn put_aside(world: &mut World<'_>, journal: &Journal) -> Result<()> {
    let id = world.id.clone();
    let mut runner = Runner::new(journal, &id, world.plan.steps())?;
    let left = runner.back(world).await;
    journal.set_state(&id, ChangeState::Failed)?;
    remove_work(world.layout(), &id, ChangeState::Failed)?;
    left.vital.into_iter().chain(left.remains).next().map_or(Ok(()), Err)
}

async fn forward(world: &mut World<'_>, journal: &Journal) -> Result<()> {
    let id = world.id.clone();
    if world.plan.change.is_none() {
        Runner::new(journal, &id, world.plan.steps())?.forward(world).await?;
        plan_change(world, journal).await?;
        // Before anybody is stopped or held still for what would come to nothing.
        analyse::check_ports(world).await?;
    }
    Runner::new(journal, &id, world.plan.steps())?.forward(world).await
}

/// Plans the second half, now that the preparation is done.
pub async fn plan_change(world: &mut World<'_>, journal: &Journal) -> Result<()> {
    world.plan.change = Some(analyse::analyse(world, world.plan.restore.clone().as_deref()).await?);
    journal.set_plan(&world.id, &world.plan.to_json())
}

/// Ends a change, after undoing it where it failed before the commit.
async fn settle(world: &mut World<'_>, journal: &Journal, result: Result<()>, started: Instant) -> Ended {
    let id = world.id.clone();
    let fault = match result {
        Ok(()) => return arrived(world, journal, started),
        Err(fault) => fault,
    };
    world.progress.failed(progress::Step::Failed, &fault);
    match Runner::new(journal, &id, world.plan.steps()) {
        Ok(runner) if runner.committed() => tidy_up(world, journal, started).await,
        // The version it came from had failed already; there is no point in going back there.
        Ok(_) if soak::is_rollback(&world.plan) && speaks_against_way(fault.code()) => {
            let first = first_failure(world);
            factory::escalate(world, journal, first, fault, started).await
        }
        Ok(runner) => go_back(world, journal, runner, fault, started).await,
        Err(broken) => {
            let stuck = stuck(world, &[broken], &fault);
            end(world, journal, Ending::Stuck(stuck), started)
        }
    }
}

fn arrived(world: &mut World<'_>, journal: &Journal, started: Instant) -> Ended {
    let ending = match soak::is_rollback(&world.plan) {
        true => Ending::Soaked(first_failure(world)),
        false => Ending::There,
    };
    end(world, journal, ending, started)
}

/// After the commit there is only forward: the stack is on the new version. What could not be tidied up is tried once
/// more at once, then by the next run, and let be where that does not help either.
async fn tidy_up(world: &mut World<'_>, journal: &Journal, started: Instant) -> Ended {
    let Err(fault) = forward(world, journal).await else {
        return arrived(world, journal, started);
    };
    let tried = journal.attempts(&world.id).unwrap_or(MOST_ATTEMPTS);
    let text = fault.message(world.progress.lang());
    match world.warn(progress::Step::CleaningUp, Say::Warning { text }) {
        Ok(()) if tried >= MOST_ATTEMPTS => arrived(world, journal, started),
        Ok(()) => end(world, journal, Ending::Untidy(fault), started),
        Err(broken) => end(world, journal, Ending::Untidy(broken), started),
    }
}

/// Level 1: undoes the change, which brings the version before back.
async fn go_back(
    world: &mut World<'_>,
    journal: &Journal,
    mut runner: Runner<'_>,
    fault: Fault,
    started: Instant,
) -> Ended {
    world.undoing = true;
    // An engine that lost what ran has touched it, too.
    let touched = runner.touched() || world.lost;
    let from = world.plan.from.as_ref().map(ToString::to_string);
    if let (true, Some(to)) = (touched, from.clone()) {
        let cause = fault.message(world.progress.lang());
        world.progress.started(progress::Step::RollingBack, Say::RollingBack { to, cause });
    }
    let mut left = Left::default();
    let failure = Failure::of(&fault);
    // Where neither can be written, the undoing is not remembered, but done.
    left.remains.extend(
        world
            .learn(|facts| {
                facts.first_failure.get_or_insert(failure);
            })
            .err(),
    );
    left.remains.extend(journal.set_state(&world.id, ChangeState::Undoing).err());
    let undone = runner.back(world).await;
    left.vital.extend(undone.vital);
    left.remains.extend(undone.remains);
    left.remains.extend(archiving::archived(world).await.err());
    // An upgrade that fails every night must not fill the disk.
    if world.facts().backup_id.is_some() && left.vital.is_empty() {
        left.remains.extend(prune_backups(world).err());
    }
    if !left.vital.is_empty() {
        return level_one_failed(world, journal, fault, left.vital, started).await;
    }
    let down = not_running_before(world);
    // Where a service of the version that runs was to be mended, it is as broken as it was.
    let mending = world.plan.kind == Kind::Upgrade && world.plan.from.as_ref() == Some(&world.plan.to);
    let mended = mending && !down.is_empty();
    // A first installation that failed has no stack to be back on.
    let Some(to) = from.filter(|_| touched && !mended) else {
        if world.plan.kind == Kind::Install {
            let unpinned = unpin_installed(world).await;
            world.unwritten.extend(unpinned.err());
        }
        world.unwritten.extend(left.remains);
        return end(world, journal, Ending::Untouched(fault), started);
    };
    world.progress.finished(progress::Step::RollingBack, Say::RolledBack { to });
    if !down.is_empty() {
        let services = down.join(", ");
        left.remains
            .extend(world.warn(progress::Step::RollingBack, Say::NotRunningBefore { services }).err());
    }
    // That an engine lost its containers says nothing about the release.
    if !world.lost {
        left.remains.extend(quarantine(world, &fault).err());
    }
    end(world, journal, Ending::Back(fault, left.remains), started)
}

/// The services of the version before that did not run when the change was planned: nothing brings them back.
fn not_running_before(world: &World<'_>) -> Vec<String> {
    let Some(change) = &world.plan.change else { return Vec::new() };
    let down = change
        .services
        .iter()
        .filter(|service| service.was_running.is_empty() && service.replicas > 0 && !service.one_shot);
    let known = down.filter(|service| change.old_order.contains(&service.name));
    known.map(|service| service.name.clone()).collect()
}

/// A first installation that failed leaves its package for the next try, but keeps no image from being pruned.
async fn unpin_installed(world: &World<'_>) -> Result<()> {
    match releases::info(world.layout(), &world.plan.to)? {
        Some(info) => images::unpin(world, &info, &[]).await,
        None => Ok(()),
    }
}

async fn level_one_failed(
    world: &mut World<'_>,
    journal: &Journal,
    fault: Fault,
    mut vital: Vec<Fault>,
    started: Instant,
) -> Ended {
    world.progress.failed(progress::Step::RollingBack, &vital[0]);
    // The factory release helps where the version before does not run. It does not bring data or an engine back.
    let hopeless =
        |fault: &Fault| matches!(fault.code(), Code::EngineUnreachable | Code::DiskFull | Code::DiskReadOnly);
    let helps = !world.facts().data_unrestored && !vital.iter().any(hopeless) && world.plan.from.is_some();
    if helps {
        // What speaks against the version before says most.
        let worst = vital.iter().position(|fault| quarantine::speaks_against(fault.code())).unwrap_or(0);
        return factory::escalate(world, journal, fault, vital.swap_remove(worst), started).await;
    }
    let stuck = stuck(world, &vital, &fault);
    end(world, journal, Ending::Stuck(stuck), started)
}

/// Puts the version a failed upgrade led to in quarantine, where the failure says something about it.
pub fn quarantine(world: &World<'_>, fault: &Fault) -> Result<()> {
    // A version that was only to be mended runs all the same.
    let mended = world.plan.from.as_ref() == Some(&world.plan.to);
    if world.plan.kind != Kind::Upgrade || mended || !quarantine::speaks_against(fault.code()) {
        return Ok(());
    }
    let content = world.plan.manifest_hash.as_ref();
    quarantine::quarantine(world.installation, &world.plan.to, content, &fault.to_string())
}

/// Whether a failure will be met again by whoever takes the same way.
fn speaks_against_way(code: Code) -> bool {
    use Code::*;
    quarantine::speaks_against(code)
        || matches!(
            code,
            ImageMissing
                | ImageLoadFailed
                | ReleaseUnknown
                | ReleaseDamaged
                | BundleInvalid
                | BundleTruncated
        )
}

/// The preparation of a change that brings a package.
pub fn preparation(
    package: super::step::Package,
    patch: Option<crate::release::operations::Operations>,
) -> Vec<Step> {
    let file = package.file.clone();
    vec![
        Step::SecureWays,
        Step::Fetch(package),
        Step::Unpack { file: file.clone(), patch },
        Step::CarryEdits,
        Step::LoadImages { file: Some(file) },
    ]
}
