//! Carrying a change out from beginning to end: begun, continued after a crash, undone, told.

use std::time::Instant;

use super::analyse;
use super::effects::data;
use super::installation::Installation;
use super::journal::{Change, ChangeState, Journal};
use super::plan::{Facts, Kind, Plan};
use super::resolve;
use super::runner::Runner;
use super::step::Step;
use super::world::World;
use crate::backup::BackupManager;
use crate::docker::{Compose, Engine};
use crate::exit::{self, Disposition};
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{self, ErrorBody, Outcome, Progress};
use crate::release::strategy::Reason;

/// Beginnings of one change after which it is undone, and undoings after which a person is needed.
const MOST_ATTEMPTS: u32 = 3;

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

/// How a change ended.
pub struct Ended {
    /// What is told.
    pub outcome: Outcome,
    /// Its final state.
    pub state: ChangeState,
    /// What kind of change it was.
    pub kind: Kind,
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
    let id = uuid::Uuid::now_v7().simple().to_string();
    let progress = progress.for_upgrade(&id);
    let started = Instant::now();
    let journal = Journal::new(installation.store.clone());
    let from = plan.from.as_ref().map(ToString::to_string);
    let opened = journal.open(&id, plan.kind.name(), from.as_deref(), &plan.to.to_string(), &plan.to_json());
    let mut world =
        World::new(installation, &tools.engine, &tools.compose, progress, &id, plan, Facts::default());
    let result = match opened {
        Ok(()) => forward(&mut world, &journal, restore).await,
        Err(fault) => Err(fault),
    };
    settle(&mut world, &journal, result, started).await
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
    data::thaw(installation, &tools.engine).await?;
    // A backup whose process was killed is not running any more.
    BackupManager::new(installation.store.clone(), installation.layout.backups()).reconcile()?;
    let Some(change) = journal.unfinished()? else {
        return Ok(None);
    };
    let started = Instant::now();
    let plan = Plan::from_json(&change.plan, &change.id)?;
    let facts: Facts = serde_json::from_str(&change.facts)
        .map_err(|error| Fault::from_error(Code::JournalIllegal, &change.id, error))?;
    let progress = progress.for_upgrade(&change.id);
    let prepared_only = plan.change.is_none();
    let to = plan.to.to_string();
    let mut world =
        World::new(installation, &tools.engine, &tools.compose, progress, &change.id, plan, facts);
    if prepared_only {
        put_aside(&mut world, &journal).await?;
        return Ok(None);
    }
    world.progress.started(progress::Step::CheckingUpdates, Say::Continuing { version: to });
    journal.attempt(&change.id)?;
    let result = match cause_to_go_back(&change, &world)? {
        None => forward(&mut world, &journal, None).await,
        Some(fault) => Err(fault),
    };
    Ok(Some(settle(&mut world, &journal, result, started).await))
}

/// Why an unfinished change is undone instead of finished.
fn cause_to_go_back(change: &Change, world: &World<'_>) -> Result<Option<Fault>> {
    let runner = Runner::new(&Journal::new(world.installation.store.clone()), &change.id, world.plan.steps())
        .map(|runner| runner.committed())?;
    let cause = match change.state {
        ChangeState::Undoing | ChangeState::NeedsAttention => {
            let journal = Journal::new(world.installation.store.clone());
            let first = journal.last_failure(&change.id)?.map(|text| format!("; first: {text}"));
            format!("it was being undone when it was interrupted{}", first.unwrap_or_default())
        }
        _ if change.attempts >= MOST_ATTEMPTS && !runner => {
            "it was begun too often without coming to an end".to_owned()
        }
        _ => return Ok(None),
    };
    Ok(Some(Fault::new(Code::Interrupted, &world.plan.to, cause)))
}

async fn put_aside(world: &mut World<'_>, journal: &Journal) -> Result<()> {
    let id = world.id.clone();
    let mut runner = Runner::new(journal, &id, world.plan.steps())?;
    let left = runner.back(world).await?;
    journal.set_state(&id, ChangeState::Failed)?;
    left.into_iter().next().map_or(Ok(()), Err)
}

async fn forward(world: &mut World<'_>, journal: &Journal, restore: Option<&str>) -> Result<()> {
    let id = world.id.clone();
    if world.plan.change.is_none() {
        Runner::new(journal, &id, world.plan.steps())?.forward(world).await?;
        world.plan.change = Some(analyse::analyse(world, restore).await?);
        journal.set_plan(&id, &world.plan.to_json())?;
    }
    Runner::new(journal, &id, world.plan.steps())?.forward(world).await
}

/// Ends a change: records and tells it, after undoing it where it failed before the commit.
async fn settle(world: &mut World<'_>, journal: &Journal, result: Result<()>, started: Instant) -> Ended {
    let id = world.id.clone();
    let fault = match result {
        Ok(()) => return end(world, journal, ChangeState::Completed, None, None, started),
        Err(fault) => fault,
    };
    world.progress.failed(progress::Step::Failed, &fault);
    let runner = Runner::new(journal, &id, world.plan.steps());
    match runner {
        Ok(runner) if runner.committed() => {
            // Only forward from here: the stack is on the new version, and the rest is repeated next time.
            let text = fault.message(world.progress.lang());
            let warned = world.warn(progress::Step::CleaningUp, Say::Warning { text });
            end(world, journal, ChangeState::Running, None, warned.err(), started)
        }
        Ok(runner) => go_back(world, journal, runner, fault, started).await,
        Err(broken) => {
            end(world, journal, ChangeState::NeedsAttention, Some(Disposition::Stuck), Some(broken), started)
        }
    }
}

async fn go_back(
    world: &mut World<'_>,
    journal: &Journal,
    mut runner: Runner<'_>,
    fault: Fault,
    started: Instant,
) -> Ended {
    let touched = runner.touched();
    if touched && world.plan.from.is_some() {
        let to = world.plan.from.as_ref().map(ToString::to_string).unwrap_or_default();
        let cause = fault.message(world.progress.lang());
        world.progress.started(progress::Step::RollingBack, Say::RollingBack { to, cause });
    }
    let undone = match journal.set_state(&world.id, ChangeState::Undoing) {
        Ok(()) => runner.back(world).await,
        Err(broken) => Err(broken),
    };
    let left = undone.unwrap_or_else(|broken| vec![broken]);
    if !left.is_empty() {
        let causes: Vec<String> = left.iter().map(|fault| fault.message(world.progress.lang())).collect();
        let cause = format!("{}; first: {}", causes.join("; "), fault.message(world.progress.lang()));
        world.progress.failed(progress::Step::RollingBack, &left[0]);
        let stuck = Fault::new(Code::RollbackFailed, world.project(), cause);
        return end(
            world,
            journal,
            ChangeState::NeedsAttention,
            Some(Disposition::Stuck),
            Some(stuck),
            started,
        );
    }
    // A first installation that failed has no stack to be back on.
    if !touched || world.plan.from.is_none() {
        return end(world, journal, ChangeState::Failed, Some(Disposition::Untouched), Some(fault), started);
    }
    let to = world.plan.from.as_ref().map(ToString::to_string).unwrap_or_default();
    world.progress.finished(progress::Step::RollingBack, Say::RolledBack { to });
    if world.plan.kind == Kind::Upgrade && speaks_against_release(fault.code()) {
        let why = fault.to_string();
        let kept = resolve::quarantine(world.installation, &world.plan.to, world.plan.manifest_hash, &why);
        if let Err(broken) = kept {
            world.progress.failed(progress::Step::RollingBack, &broken);
        }
    }
    end(world, journal, ChangeState::RolledBack, Some(Disposition::RolledBack), Some(fault), started)
}

/// Whether a failure says something about the release. A port that somebody else holds or a full disk does not, and
/// the next try may well work.
fn speaks_against_release(code: Code) -> bool {
    use Code::*;
    matches!(
        code,
        Unhealthy | HealthTimeout | Exited | ProbeFailed | ContainerFailed | ImageWrong | ComposeFailed
    )
}

/// Records the end and words the outcome.
fn end(
    world: &mut World<'_>,
    journal: &Journal,
    state: ChangeState,
    disposition: Option<Disposition>,
    fault: Option<Fault>,
    started: Instant,
) -> Ended {
    let mut outcome = outcome(world, disposition, fault.as_ref(), started);
    let text = serde_json::to_string(&outcome).expect("an outcome is always valid JSON");
    let recorded = journal.set_outcome(&world.id, &text).and_then(|()| journal.set_state(&world.id, state));
    if let Err(broken) = recorded {
        outcome.warnings.push(broken.message(world.progress.lang()));
    }
    let step = if outcome.ok { progress::Step::Completed } else { progress::Step::Failed };
    let from = outcome.from.clone().unwrap_or_default();
    let to = outcome.to.clone().unwrap_or_default();
    if outcome.ok {
        world.progress.finished(step, Say::Completed { from, to });
    }
    Ended { outcome, state, kind: world.plan.kind }
}

fn outcome(
    world: &World<'_>,
    disposition: Option<Disposition>,
    fault: Option<&Fault>,
    started: Instant,
) -> Outcome {
    let facts = world.facts();
    let exit_code = match (disposition, fault) {
        (Some(disposition), Some(fault)) => exit::of_failure(fault, disposition),
        _ => exit::OK,
    };
    let rolled_back = disposition == Some(Disposition::RolledBack);
    Outcome {
        schema: 1,
        kind: progress::Kind::Result,
        ok: disposition.is_none(),
        from: world.plan.from.as_ref().map(ToString::to_string),
        to: Some(world.plan.to.to_string()),
        strategy: world.plan.strategy.clone(),
        reason: world.plan.reason.clone(),
        exit_code,
        rolled_back_to: world.plan.from.as_ref().filter(|_| rolled_back).map(ToString::to_string),
        bytes_downloaded: facts.bytes_downloaded,
        bytes_bundle: world.plan.bytes_bundle,
        backup_id: facts.backup_id.clone(),
        downtime_ms: facts.downtime_ms.clone(),
        frozen_ms: facts.frozen_ms.clone(),
        duration_ms: started.elapsed().as_millis() as u64,
        error: fault.map(|fault| ErrorBody::new(fault, world.progress.lang())),
        warnings: facts.warnings.clone(),
        upgrade_id: world.id.clone(),
    }
}

/// The outcome of a change that did not begin.
pub fn not_begun(fault: &Fault, from: Option<String>, to: Option<String>, progress: &Progress) -> Outcome {
    Outcome {
        ok: false,
        from,
        to,
        reason: fault.code().name().to_ascii_lowercase(),
        exit_code: exit::of_fault(fault),
        error: Some(ErrorBody::new(fault, progress.lang())),
        ..Outcome::blank()
    }
}

/// The outcome where there was nothing to do.
pub fn nothing() -> Outcome {
    Outcome { ok: true, reason: Reason::UpToDate.name().into(), exit_code: exit::OK, ..Outcome::blank() }
}

/// The preparation of a change that brings a package.
pub fn preparation(
    package: super::step::Package,
    patch: Option<crate::release::operations::Operations>,
) -> Vec<Step> {
    let file = package.file.clone();
    vec![
        Step::Fetch(package),
        Step::Unpack { file: file.clone(), patch },
        Step::CarryEdits,
        Step::LoadImages { file: Some(file) },
    ]
}
