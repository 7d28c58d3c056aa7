//! Level 2: the factory release, by itself, where the version before could not be brought back.
//!
//! It is a change of its own, recorded in the same transaction that closes the one it comes from, so that a process
//! killed in between leaves exactly one of them open. It is never undone: it pushes on, brings up what can run, and
//! commits only when all of it does.

use std::time::Instant;

use super::change::{self, MOST_ATTEMPTS, Tools};
use super::effects::archiving;
use super::ending::{Ended, Ending, end, end_as, remove_work};
use super::journal::{Change, ChangeState, Journal};
use super::plan::{Facts, Failure, Kind, Plan, PreviousAfter};
use super::rollback::{back_to, bundle_of, data_to_restore};
use super::runner::Runner;
use super::world::World;
use super::{api::DataChoice, pointers, quarantine, report, soak};
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress;
use crate::release::Version;

/// Installs the factory release in place of `parent`, which failed by `first` and could not be undone because of
/// `level1`.
pub async fn escalate(
    parent: &mut World<'_>,
    journal: &Journal,
    first: Fault,
    level1: Fault,
    started: Instant,
) -> Ended {
    let factory = match pointers::read(parent.layout(), Pointer::Factory) {
        Ok(Some(factory)) => factory,
        found => {
            let failures: Vec<Fault> = std::iter::once(level1).chain(found.err()).collect();
            let stuck = change::stuck(parent, &failures, &first);
            return end(parent, journal, Ending::Stuck(stuck), started);
        }
    };
    // Its own backup would wait for the one that is still being archived; the copy of that stays until later.
    if let Err(broken) = archiving::stop_archiving(parent).await {
        parent.unwritten.push(broken);
    }
    let cause = level1.message(parent.progress.lang());
    let say = Say::ToFactory { to: factory.to_string(), cause };
    parent.progress.started(progress::Step::RollingBack, say);
    let opened = open(parent, journal, &factory, &first, &level1);
    let mut world = match opened {
        Ok(world) => world,
        Err(broken) => {
            let stuck = change::stuck(parent, &[level1, broken], &first);
            return end(parent, journal, Ending::Stuck(stuck), started);
        }
    };
    let pushed = push_on(&mut world, journal).await;
    conclude(&mut world, parent, journal, pushed, first, started)
}

/// Goes on with the installation of the factory release that an earlier process had begun.
pub async fn resume(
    world: &mut World<'_>,
    journal: &Journal,
    tools: &Tools,
    change: &Change,
    started: Instant,
) -> Result<Ended> {
    let unknown = || Fault::new(Code::JournalIllegal, &change.id, "the change it comes from is not recorded");
    let parent = change.parent.as_ref().ok_or_else(unknown)?;
    let parent = journal.get(parent)?.ok_or_else(unknown)?;
    let mut parent = change::world_of(world.installation, tools, &world.progress, &parent)?;
    let first = change::first_failure(&parent);
    let version = world.plan.to.to_string();
    world.progress.started(progress::Step::CheckingUpdates, Say::Continuing { version });
    journal.attempt(&change.id, change.state)?;
    if change.state == ChangeState::Running && change.attempts >= MOST_ATTEMPTS {
        let cause = "it was begun too often without coming to an end";
        let pushed = Err(Fault::new(Code::Interrupted, &world.plan.to, cause));
        return Ok(conclude(world, &mut parent, journal, pushed, first, started));
    }
    journal.set_state(&change.id, ChangeState::Running)?;
    let pushed = push_on(world, journal).await;
    Ok(conclude(world, &mut parent, journal, pushed, first, started))
}

fn open<'a>(
    parent: &mut World<'a>,
    journal: &Journal,
    factory: &Version,
    first: &Fault,
    level1: &Fault,
) -> Result<World<'a>> {
    let (failure, level1) = (Failure::of(first), Failure::of(level1));
    parent.learn(|facts| {
        facts.first_failure.get_or_insert(failure);
        facts.level1 = Some(level1);
    })?;
    let plan = plan(parent, factory)?;
    let id = change::new_id();
    let from = plan.from.as_ref().map(ToString::to_string);
    journal.escalate(
        &parent.id,
        &id,
        plan.kind.name(),
        from.as_deref(),
        &factory.to_string(),
        &plan.to_json(),
    )?;
    Ok(World::new(
        parent.installation,
        &parent.engine,
        parent.compose,
        // It is one command with one stream of events.
        parent.progress.clone(),
        &id,
        plan,
        Facts::default(),
    ))
}

fn plan(parent: &mut World<'_>, factory: &Version) -> Result<Plan> {
    let installation = parent.installation;
    let from = parent.plan.from.clone();
    let restore = match &from {
        Some(from) if from != factory => {
            match data_to_restore(installation, DataChoice::AsDeclared, from, factory) {
                // The factory release has a better chance with the present data than no release at all.
                Err(fault) if fault.code() == Code::BackupUnknown => {
                    let text = fault.message(parent.progress.lang());
                    parent.warn(progress::Step::RollingBack, Say::Warning { text })?;
                    None
                }
                other => other?,
            }
        }
        _ => None,
    };
    let previous = pointers::read(&installation.layout, Pointer::Previous)?;
    Ok(Plan {
        reason: "factory".into(),
        restore,
        previous_after: PreviousAfter::Other(previous.filter(|version| version != factory)),
        prepare: back_to(bundle_of(installation, factory)?),
        ..Plan::new(Kind::Factory, from, factory.clone())
    })
}

async fn push_on(world: &mut World<'_>, journal: &Journal) -> Result<Vec<Fault>> {
    let id = world.id.clone();
    if world.plan.change.is_none() {
        Runner::new(journal, &id, world.plan.steps())?.forward(world).await?;
        change::plan_change(world, journal).await?;
    }
    Runner::new(journal, &id, world.plan.steps())?.push_on(world).await
}

/// Both changes end together, with one outcome: that of the change which was asked for.
fn conclude(
    world: &mut World<'_>,
    parent: &mut World<'_>,
    journal: &Journal,
    pushed: Result<Vec<Fault>>,
    first: Fault,
    started: Instant,
) -> Ended {
    let id = world.id.clone();
    let committed = Runner::new(journal, &id, world.plan.steps()).is_ok_and(|runner| runner.committed());
    let failures = pushed.unwrap_or_else(|fault| vec![fault]);
    parent.undoing = true;
    let learnt = world.facts().clone();
    let merged = parent.learn(|facts| {
        facts.downtime_ms.extend(learnt.downtime_ms);
        facts.frozen_ms.extend(learnt.frozen_ms);
        facts.warnings.extend(learnt.warnings);
        facts.backup_id = facts.backup_id.take().or(learnt.backup_id);
    });
    parent.unwritten.extend(merged.err());
    let factory = world.plan.to.clone();
    if committed {
        world.progress.finished(progress::Step::RollingBack, Say::RolledBack { to: factory.to_string() });
        let kept = change::quarantine(parent, &first);
        parent.unwritten.extend(kept.err());
        let told = tell_why(parent, &factory);
        parent.unwritten.extend(told.err());
        // What is left to tidy up is told; the release runs.
        parent.unwritten.extend(failures);
        let ended = end_as(parent, journal, Ending::Factory(first, factory), ChangeState::Escalated, started);
        return close(world, parent, journal, ended, ChangeState::Completed);
    }
    for failure in &failures {
        world.progress.failed(progress::Step::RollingBack, failure);
    }
    let stuck = change::stuck(parent, &failures, &first);
    let ended = end_as(parent, journal, Ending::Stuck(stuck), ChangeState::Escalated, started);
    close(world, parent, journal, ended, ChangeState::NeedsAttention)
}

/// Tells why it is the factory release and not the version before, which goes into quarantine where its own state was
/// the cause: it is not taken again by itself.
fn tell_why(parent: &mut World<'_>, factory: &Version) -> Result<()> {
    let before = match soak::is_rollback(&parent.plan) {
        true => Some(parent.plan.to.clone()),
        false => parent.plan.from.clone(),
    };
    let level1 = parent.facts().level1.as_ref().map(Failure::to_fault);
    let (Some(before), Some(level1)) = (before, level1) else { return Ok(()) };
    let cause = level1.message(parent.progress.lang());
    let say = Say::AtFactory { factory: factory.to_string(), before: before.to_string(), cause };
    parent.warn(progress::Step::RollingBack, say)?;
    if before == *factory || !quarantine::speaks_against(level1.code()) {
        return Ok(());
    }
    quarantine::quarantine(parent.installation, &before, None, &level1.to_string())
}

/// The parent is closed whatever came of it: what is still to be done is the child's.
fn close(
    world: &World<'_>,
    parent: &World<'_>,
    journal: &Journal,
    mut ended: Ended,
    state: ChangeState,
) -> Ended {
    let both = [&world.id, &parent.id];
    let closed = report::conclude(journal, world.installation, &world.id, &ended.outcome, state)
        .and_then(|()| both.into_iter().try_for_each(|id| remove_work(world.layout(), id, state)));
    if let Err(broken) = closed {
        ended.outcome.warnings.push(broken.message(world.progress.lang()));
    }
    Ended { state, ..ended }
}
