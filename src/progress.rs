//! Progress as a stream of typed, numbered events through one [`Reporter`].
//!
//! ```
//! use std::sync::{Arc, Mutex};
//! use compose_upgrade::messages::{Lang, Say};
//! use compose_upgrade::progress::{Event, Progress, Reporter, Step};
//!
//! /// A frontend that keeps the last line.
//! #[derive(Default)]
//! struct LastLine(Mutex<String>);
//!
//! impl Reporter for LastLine {
//!     fn report(&self, event: &Event) {
//!         *self.0.lock().unwrap() = format!("{} {}", event.step.name(), event.message);
//!     }
//! }
//!
//! let frontend = Arc::new(LastLine::default());
//! let progress = Progress::new(frontend.clone(), "upgrade-1", Lang::En);
//! progress.started(Step::CreatingBackup, Say::BackupStarted);
//! assert_eq!(*frontend.0.lock().unwrap(), "CreatingBackup making a backup");
//! ```

mod event;
mod meter;

pub use event::{Amount, ErrorBody, Event, Kind, Outcome, Step, Unit};
pub use meter::Meter;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use time::OffsetDateTime;

use crate::messages::{Lang, Say};

/// Receives every event, in order, on the thread that caused it. Must not block for long: a sink that
/// draws or sends throttles by itself.
pub trait Reporter: Send + Sync {
    /// One event.
    fn report(&self, event: &Event);

    /// The final result; nothing follows it.
    fn outcome(&self, _outcome: &Outcome) {}
}

/// A reporter that drops everything.
#[derive(Debug, Default, Clone, Copy)]
pub struct Silent;

impl Reporter for Silent {
    fn report(&self, _event: &Event) {}
}

/// Numbers events and hands them to the reporter; cheap to clone.
#[derive(Clone)]
pub struct Progress {
    inner: Arc<Inner>,
}

struct Inner {
    reporter: Arc<dyn Reporter>,
    sequence: AtomicU64,
    upgrade_id: String,
    lang: Lang,
}

impl Progress {
    /// A stream of events for the upgrade `upgrade_id`, worded in `lang`.
    pub fn new(reporter: Arc<dyn Reporter>, upgrade_id: impl Into<String>, lang: Lang) -> Self {
        let inner = Inner { reporter, sequence: AtomicU64::new(0), upgrade_id: upgrade_id.into(), lang };
        Self { inner: Arc::new(inner) }
    }

    /// A stream nobody listens to.
    pub fn silent() -> Self {
        Self::new(Arc::new(Silent), "", Lang::En)
    }

    /// The same reporter and language, for another upgrade.
    pub fn for_upgrade(&self, upgrade_id: impl Into<String>) -> Self {
        let next = Self::new(self.inner.reporter.clone(), upgrade_id, self.inner.lang);
        next.inner.sequence.store(self.inner.sequence.load(Ordering::SeqCst), Ordering::SeqCst);
        next
    }

    /// The language events are worded in.
    pub fn lang(&self) -> Lang {
        self.inner.lang
    }

    /// A step begins.
    pub fn started(&self, step: Step, say: Say) {
        self.emit(step, Kind::Started, say, None);
    }

    /// Something worth a line happened within a step.
    pub fn note(&self, step: Step, say: Say) {
        self.emit(step, Kind::Progress, say, None);
    }

    /// A step ended well.
    pub fn finished(&self, step: Step, say: Say) {
        self.emit(step, Kind::Finished, say, None);
    }

    /// Something a person should know, without ending the step.
    pub fn warning(&self, step: Step, say: Say) {
        self.emit(step, Kind::Warning, say, None);
    }

    /// A step failed.
    pub fn failed(&self, step: Step, fault: &crate::fault::Fault) {
        let text = fault.message(self.inner.lang);
        self.emit(step, Kind::Failed, Say::Warning { text }, None);
    }

    /// A meter that reports `done` of `total` as it moves.
    pub fn meter(&self, step: Step, say: Say, unit: Unit, total: Option<u64>) -> Meter {
        Meter::new(self.clone(), step, say, unit, total)
    }

    /// The final result.
    pub fn outcome(&self, outcome: &Outcome) {
        self.inner.reporter.outcome(outcome);
    }

    fn emit(&self, step: Step, kind: Kind, say: Say, amount: Option<event::Amount>) {
        let event = Event {
            schema: 1,
            seq: self.inner.sequence.fetch_add(1, Ordering::SeqCst) + 1,
            at: OffsetDateTime::now_utc(),
            upgrade_id: self.inner.upgrade_id.clone(),
            step,
            kind,
            message: say.text(self.inner.lang),
            amount,
        };
        tracing::debug!(step = step.name(), kind = ?kind, "{}", event.message);
        self.inner.reporter.report(&event);
    }
}
