//! Where progress goes: bars on a terminal, plain lines, JSON lines, or nowhere.

mod jsonl;
mod plain;
mod terminal;

use std::io::Write;
use std::sync::atomic::{AtomicBool, Ordering};

pub use jsonl::JsonLines;
pub use plain::Plain;
pub use terminal::Terminal;

use crate::progress::{Event, Outcome, Reporter, Silent};

/// A reporter that shares a stream with other talk and can leave it clean.
pub trait Sink: Reporter {
    /// Says a line to the person, without disturbing what is drawn.
    fn talk(&self, line: &str) {
        to_stderr(line);
    }

    /// Removes what is drawn; nothing follows.
    fn close(&self) {}
}

impl Sink for Silent {}

/// Writes a line to stderr. A stderr that cannot be written leaves nobody to tell, so that is let pass.
pub fn to_stderr(line: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = writeln!(stderr, "{line}").and_then(|()| stderr.flush());
}

/// Keeps the promise that the result is told once and is the last thing told, whoever tells it.
pub struct Once {
    inner: Box<dyn Sink>,
    told: AtomicBool,
}

impl Once {
    /// Around a sink.
    pub fn new(inner: impl Sink + 'static) -> Self {
        Self { inner: Box::new(inner), told: AtomicBool::new(false) }
    }
}

impl Reporter for Once {
    fn report(&self, event: &Event) {
        if !self.told.load(Ordering::SeqCst) {
            self.inner.report(event);
        }
    }

    fn outcome(&self, outcome: &Outcome) {
        if !self.told.swap(true, Ordering::SeqCst) {
            self.inner.outcome(outcome);
        }
    }
}

impl Sink for Once {
    fn talk(&self, line: &str) {
        self.inner.talk(line);
    }

    fn close(&self) {
        self.inner.close();
    }
}

#[cfg(test)]
mod tests;
