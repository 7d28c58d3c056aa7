//! How a change ended, recorded and told.

use std::io::ErrorKind;
use std::time::Instant;

use super::journal::{ChangeState, Journal};
use super::plan::Kind;
use super::report;
use super::world::World;
use crate::durable;
use crate::exit::{self, Disposition};
use crate::fault::{Fault, Result};
use crate::layout::Layout;
use crate::messages::Say;
use crate::progress::{self, ErrorBody, Outcome, Progress};
use crate::release::Version;
use crate::release::strategy::Reason;

/// How a change ended.
pub struct Ended {
    /// What is told.
    pub outcome: Outcome,
    /// Its final state.
    pub state: ChangeState,
    /// What kind of change it was.
    pub kind: Kind,
}

/// Where a change led.
pub enum Ending {
    /// To where it was asked to lead.
    There,
    /// There, and something is left to be tidied up by the next run.
    Untidy(Fault),
    /// Nowhere: the running stack was never touched.
    Untouched(Fault),
    /// Back to the version before; what lies about is listed.
    Back(Fault, Vec<Fault>),
    /// A version that failed on probation was left for the one before it.
    Soaked(Fault),
    /// To the factory version, after the way back failed.
    Factory(Fault, Version),
    /// Neither forward nor back.
    Stuck(Fault),
}

impl Ending {
    fn state(&self) -> ChangeState {
        match self {
            Self::There | Self::Soaked(_) => ChangeState::Completed,
            Self::Untidy(_) => ChangeState::Running,
            Self::Untouched(_) => ChangeState::Failed,
            Self::Back(..) => ChangeState::RolledBack,
            Self::Factory(..) => ChangeState::Escalated,
            Self::Stuck(_) => ChangeState::NeedsAttention,
        }
    }

    fn failure(&self) -> Option<(&Fault, Disposition)> {
        match self {
            Self::There | Self::Untidy(_) => None,
            Self::Untouched(fault) => Some((fault, Disposition::Untouched)),
            Self::Back(fault, _) | Self::Soaked(fault) => Some((fault, Disposition::RolledBack)),
            Self::Factory(fault, _) => Some((fault, Disposition::Factory)),
            Self::Stuck(fault) => Some((fault, Disposition::Stuck)),
        }
    }
}

/// Records the end and words the outcome. What cannot be recorded (the disk may be full) is told all the same.
pub fn end(world: &mut World<'_>, journal: &Journal, ending: Ending, started: Instant) -> Ended {
    let state = ending.state();
    end_as(world, journal, ending, state, started)
}

/// As [`end`], where another change takes over what is still to be done.
pub fn end_as(
    world: &mut World<'_>,
    journal: &Journal,
    ending: Ending,
    state: ChangeState,
    started: Instant,
) -> Ended {
    let mut outcome = outcome(world, &ending, started);
    let lang = world.progress.lang();
    let remains = match &ending {
        Ending::Untidy(fault) => std::slice::from_ref(fault),
        Ending::Back(_, remains) => remains.as_slice(),
        _ => &[],
    };
    for text in remains.iter().chain(&world.unwritten).map(|fault| fault.message(lang)) {
        if !outcome.warnings.contains(&text) {
            outcome.warnings.push(text);
        }
    }
    if let Err(broken) = report::conclude(journal, world.installation, &world.id, &outcome, state) {
        outcome.warnings.push(broken.message(lang));
    }
    if let Err(broken) = remove_work(world.layout(), &world.id, state) {
        outcome.warnings.push(broken.message(lang));
    }
    if outcome.ok {
        let from = outcome.from.clone().unwrap_or_default();
        let to = outcome.to.clone().unwrap_or_default();
        world.progress.finished(progress::Step::Completed, Say::Completed { from, to });
    }
    Ended { outcome, state, kind: world.plan.kind }
}

/// Removes the work files of the change `id` where it is over; one that may still be gone on with needs them, and so does
/// whoever took over from it.
pub fn remove_work(layout: &Layout, id: &str, state: ChangeState) -> Result<()> {
    use ChangeState::*;
    if matches!(state, Running | Undoing | NeedsAttention | Escalated) {
        return Ok(());
    }
    let folder = layout.work(id);
    durable::remove_dir_all(&folder)?;
    // Another change may have its files there, or nobody ever had.
    match std::fs::remove_dir(layout.all_work()) {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Fault::io(layout.all_work(), error))
        }
        _ => Ok(()),
    }
}

fn outcome(world: &World<'_>, ending: &Ending, started: Instant) -> Outcome {
    let (facts, plan) = (world.facts(), &world.plan);
    let failure = ending.failure();
    let back_on = match ending {
        Ending::Back(..) => plan.from.as_ref(),
        Ending::Soaked(_) => Some(&plan.to),
        Ending::Factory(_, factory) => Some(factory),
        _ => None,
    };
    let (from, to) = match ending {
        // What is told is how the upgrade ended whose probation it was.
        Ending::Soaked(_) => (Some(&plan.to), plan.from.as_ref()),
        _ => (plan.from.as_ref(), Some(&plan.to)),
    };
    Outcome {
        schema: 1,
        kind: progress::Kind::Result,
        ok: failure.is_none(),
        from: from.map(ToString::to_string),
        to: to.map(ToString::to_string),
        strategy: plan.strategy.clone(),
        reason: plan.reason.clone(),
        exit_code: failure.map_or(exit::OK, |(fault, disposition)| exit::of_failure(fault, disposition)),
        rolled_back_to: back_on.map(ToString::to_string),
        bytes_downloaded: facts.bytes_downloaded,
        bytes_bundle: plan.bytes_bundle,
        backup_id: facts.backup_id.clone(),
        downtime_ms: facts.downtime_ms.clone(),
        frozen_ms: facts.frozen_ms.clone(),
        duration_ms: started.elapsed().as_millis() as u64,
        error: failure.map(|(fault, _)| ErrorBody::new(fault, world.progress.lang())),
        warnings: facts.warnings.clone(),
        upgrade_id: world.id.clone(),
        fetched_ahead: false,
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
