//! One JSON object a line, flushed, the result last.

use std::io::{ErrorKind, Write};
use std::sync::Mutex;

use serde::Serialize;

use crate::progress::{Event, Outcome, Reporter};

use super::{Sink, to_stderr};

/// Writes JSON lines until nobody reads them any more.
pub struct JsonLines<W> {
    /// Gone once a write failed: an upgrade does not stop because its listener did.
    writer: Mutex<Option<W>>,
}

impl<W: Write + Send> JsonLines<W> {
    /// Lines to `writer`.
    pub fn new(writer: W) -> Self {
        Self { writer: Mutex::new(Some(writer)) }
    }

    fn write(&self, document: &impl Serialize) {
        let mut guard = self.writer.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let Some(writer) = guard.as_mut() else { return };
        let written = serde_json::to_vec(document).map_err(std::io::Error::from).and_then(|mut line| {
            line.push(b'\n');
            writer.write_all(&line)?;
            writer.flush()
        });
        if let Err(error) = written {
            *guard = None;
            if error.kind() != ErrorKind::BrokenPipe {
                to_stderr(&format!("stdout: {error}"));
            }
        }
    }
}

impl<W: Write + Send> Reporter for JsonLines<W> {
    fn report(&self, event: &Event) {
        self.write(event);
    }

    fn outcome(&self, outcome: &Outcome) {
        self.write(outcome);
    }
}

impl<W: Write + Send> Sink for JsonLines<W> {}
