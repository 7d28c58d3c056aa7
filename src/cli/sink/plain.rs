//! One line per event, for pipes and logs; a meter speaks at most every five seconds or every tenth.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::cli::view::{Look, clean};
use crate::messages::cli::Words;
use crate::progress::{Event, Kind, Reporter};

use super::Sink;
use super::terminal::{figures, percent};

const INTERVAL: Duration = Duration::from_secs(5);
const TENTH: u64 = 10;

/// Writes plain lines.
pub struct Plain<W> {
    look: Look,
    state: Mutex<(W, Throttle)>,
}

impl<W: Write + Send> Plain<W> {
    /// Lines to `writer`.
    pub fn new(writer: W, look: Look) -> Self {
        Self { look, state: Mutex::new((writer, Throttle::default())) }
    }
}

impl<W: Write + Send> Reporter for Plain<W> {
    fn report(&self, event: &Event) {
        let mut guard = self.state.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let (writer, throttle) = &mut *guard;
        if throttle.lets_pass(event, Instant::now()) {
            // Nobody is left to be told when stderr is gone, and the work goes on without it.
            let _ = writeln!(writer, "{}", line(event, self.look)).and_then(|()| writer.flush());
        }
    }
}

impl<W: Write + Send> Sink for Plain<W> {}

/// `08:00:00Z DownloadingUpdate: message`.
pub fn line(event: &Event, look: Look) -> String {
    let (hour, minute, second) = event.at.to_hms();
    let message = clean(&event.message).replace('\n', " ");
    let message = match (&event.amount, event.kind) {
        (Some(amount), _) => format!("{message}: {}", figures(amount, look)),
        (None, Kind::Warning) => format!("{}: {message}", look.say(Words::WarningHead)),
        (None, Kind::Failed) => format!("{}: {message}", look.say(Words::Failed)),
        (None, _) => message,
    };
    format!("{hour:02}:{minute:02}:{second:02}Z {}: {message}", event.step.name())
}

/// Decides which events of a meter are worth a line.
#[derive(Debug, Default)]
pub struct Throttle {
    meters: HashMap<String, (Instant, u64)>,
}

impl Throttle {
    /// Whether `event`, which came at `now`, becomes a line.
    pub fn lets_pass(&mut self, event: &Event, now: Instant) -> bool {
        let Some(amount) = &event.amount else { return true };
        let reached = percent(amount).unwrap_or(0);
        if amount.total.is_some_and(|total| amount.done >= total) {
            self.meters.remove(&event.message);
            return true;
        }
        let (at, from) = self.meters.entry(event.message.clone()).or_insert((now, reached));
        let due = now.duration_since(*at) >= INTERVAL || reached >= *from + TENTH;
        if due {
            (*at, *from) = (now, reached);
        }
        due
    }
}
