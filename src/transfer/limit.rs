//! How much of the link downloads take, and how little of it a server may give.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use chrono::Timelike;

use crate::settings::{DownloadSettings, TimeOfDay};

/// So many seconds' worth may come at once after a pause. Little, so that the limit holds for small files, too.
const BURST: f64 = 0.1;
/// The hour is looked at so often while something waits.
const LOOK: Duration = Duration::from_secs(1);

/// One bucket of tokens for all connections of all downloads of an installation. Whoever received bytes takes as many
/// tokens and waits until nothing is owed: what is not read meanwhile holds up the sender.
pub(super) struct Limiter {
    settings: DownloadSettings,
    bucket: Mutex<Bucket>,
}

impl Limiter {
    pub(super) fn new(settings: &DownloadSettings) -> Self {
        Self { settings: settings.clone(), bucket: Mutex::new(Bucket::new(Instant::now())) }
    }

    /// The limit of this hour.
    pub(super) fn rate(&self) -> Option<u64> {
        if self.settings.limits.is_empty() && self.settings.limit_rate.is_none() {
            return None;
        }
        let now = chrono::Local::now();
        // Below 24 * 60, so it fits.
        let minute = u16::try_from(now.hour() * 60 + now.minute()).unwrap_or_default();
        self.settings.limit_at(TimeOfDay(minute))
    }

    /// `bytes` were received.
    pub(super) async fn take(&self, bytes: usize) {
        let mut taken = bytes as f64;
        loop {
            let Some(rate) = self.rate() else { return };
            let wait = {
                let mut bucket = self.bucket.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                bucket.take(std::mem::take(&mut taken), rate as f64, Instant::now())
            };
            if wait.is_zero() {
                return;
            }
            tokio::time::sleep(wait.min(LOOK)).await;
        }
    }
}

/// Pure: moments come in.
struct Bucket {
    /// Below zero: what is owed.
    tokens: f64,
    filled: Instant,
}

impl Bucket {
    fn new(now: Instant) -> Self {
        Self { tokens: 0.0, filled: now }
    }

    /// Takes tokens; how long until nothing is owed.
    fn take(&mut self, tokens: f64, rate: f64, now: Instant) -> Duration {
        let grown = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + grown).min(rate * BURST) - tokens;
        self.filled = now;
        match self.tokens < 0.0 {
            // At least a moment: an owed token is not there yet, however short the wait for it is.
            true => Duration::try_from_secs_f64(-self.tokens / rate)
                .unwrap_or(Duration::MAX)
                .max(Duration::from_millis(1)),
            false => Duration::ZERO,
        }
    }
}

/// Whether a server gives less than it must: a connection on which a byte comes now and then never stalls, and never ends
/// either. Pure: moments come in.
pub(super) struct Trickle {
    /// Bytes a second; 0: however few.
    least: u64,
    window: Duration,
    begun: Instant,
    had: u64,
}

impl Trickle {
    /// From `now` on at least `least` bytes a second in every `window`.
    pub(super) fn new(least: u64, window: Duration, now: Instant) -> Self {
        Self { least, window, begun: now, had: 0 }
    }

    /// `received` bytes in all came until `now`; false where they are too few.
    pub(super) fn is_enough(&mut self, received: u64, now: Instant) -> bool {
        let span = now.saturating_duration_since(self.begun);
        if self.least == 0 || span < self.window {
            return true;
        }
        let enough = received.saturating_sub(self.had) as f64 >= self.least as f64 * span.as_secs_f64();
        (self.begun, self.had) = (now, received);
        enough
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How long it takes to receive `chunks` through a bucket, in milliseconds.
    fn takes(chunks: &[f64], rate: f64) -> u128 {
        let start = Instant::now();
        let (mut bucket, mut now) = (Bucket::new(start), start);
        for chunk in chunks {
            now += bucket.take(*chunk, rate, now);
            assert!(bucket.take(0.0, rate, now).as_millis() <= 1, "nothing is owed any more");
        }
        (now - start).as_millis()
    }

    #[test]
    fn the_rate_holds_however_the_bytes_come() {
        for (chunks, rate, ms) in [
            (vec![1000.0; 100], 50_000.0, 2000),
            (vec![100_000.0], 50_000.0, 2000),
            (vec![10.0; 1000], 1_000.0, 10_000),
            (vec![0.0; 5], 1.0, 0),
        ] {
            let took = takes(&chunks, rate);
            assert!(took.abs_diff(ms) <= ms / 50 + 1, "{took} instead of {ms}");
        }
    }

    #[test]
    fn a_pause_saves_up_little() {
        let start = Instant::now();
        let mut bucket = Bucket::new(start);
        let later = start + Duration::from_secs(3600);
        assert_eq!(bucket.take(100.0, 1000.0, later), Duration::ZERO);
        assert_eq!(bucket.take(100.0, 1000.0, later), Duration::from_millis(100));
    }

    #[test]
    fn a_trickle_is_told_from_a_slow_link() {
        let start = Instant::now();
        let at = |s: u64| start + Duration::from_secs(s);
        let mut trickle = Trickle::new(1000, Duration::from_secs(30), start);
        assert!(trickle.is_enough(0, at(29)), "too early to tell");
        assert!(trickle.is_enough(30_000, at(30)));
        assert!(trickle.is_enough(60_000, at(60)));
        assert!(!trickle.is_enough(89_000, at(90)));
        assert!(Trickle::new(0, Duration::from_secs(1), start).is_enough(0, at(100)));
    }
}
