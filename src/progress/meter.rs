//! Counts work and turns it into progress events with a smoothed rate and the time left.

use std::time::{Duration, Instant};

use super::event::{Amount, Kind, Step, Unit};
use super::{Progress, Say};

/// Weight of the newest second in the smoothed rate.
const SMOOTHING: f64 = 0.3;
/// At most this many events a second leave a meter, so that a sink is never flooded by a tight loop.
const INTERVAL: Duration = Duration::from_millis(100);

/// Reports `done` of `total` for one piece of work.
pub struct Meter {
    progress: Progress,
    step: Step,
    say: Say,
    unit: Unit,
    total: Option<u64>,
    done: u64,
    rate: Option<f64>,
    window_start: Instant,
    window_done: u64,
    last_event: Option<Instant>,
}

impl Meter {
    pub(super) fn new(progress: Progress, step: Step, say: Say, unit: Unit, total: Option<u64>) -> Self {
        Self {
            progress,
            step,
            say,
            unit,
            total,
            done: 0,
            rate: None,
            window_start: Instant::now(),
            window_done: 0,
            last_event: None,
        }
    }

    /// Units done so far.
    pub fn done(&self) -> u64 {
        self.done
    }

    /// Work that was done before (a resumed download); does not count towards the rate.
    pub fn skip(&mut self, units: u64) {
        self.done += units;
        self.tick(false);
    }

    /// The total became known or changed.
    pub fn set_total(&mut self, total: Option<u64>) {
        self.total = total;
    }

    /// `units` more are done.
    pub fn add(&mut self, units: u64) {
        self.done += units;
        self.window_done += units;
        self.tick(self.total == Some(self.done));
    }

    fn tick(&mut self, force: bool) {
        let now = Instant::now();
        let window = now.duration_since(self.window_start);
        if window >= Duration::from_millis(500) {
            let current = self.window_done as f64 / window.as_secs_f64();
            self.rate = Some(self.rate.map_or(current, |old| old + SMOOTHING * (current - old)));
            self.window_start = now;
            self.window_done = 0;
        }
        if !force && self.last_event.is_some_and(|last| now.duration_since(last) < INTERVAL) {
            return;
        }
        self.last_event = Some(now);
        let eta_ms = match (self.total, self.rate) {
            (Some(total), Some(rate)) if rate > 0.0 => {
                Some((total.saturating_sub(self.done) as f64 * 1000.0 / rate) as u64)
            }
            _ => None,
        };
        let amount = Amount {
            done: self.done,
            total: self.total,
            unit: self.unit,
            rate: self.rate.map(|rate| rate as u64),
            eta_ms,
        };
        self.progress.emit(self.step, Kind::Progress, self.say.clone(), Some(amount));
    }
}
