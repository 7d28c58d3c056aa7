//! How much one request asks for. Pure.
//!
//! What a killed process loses is what was on its way to it, and on a fast link that is all it asked for. So a request
//! is long beside the time that it takes to be answered, but no longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bytes of a request take so many times as long as the shortest wait for the first of them.
const PATIENCE: f64 = 2.0;
/// So many answers come before the shortest wait among them is believed.
const SAMPLES: u64 = 8;
/// No request is for less, unless less is missing; the first is for this much.
pub(super) const LEAST: u64 = 512 * 1024;
/// None is for more.
const MOST: u64 = 4 * 1024 * 1024;

/// Learnt from the answers; shared by all connections.
pub(super) struct Stride {
    bytes: AtomicU64,
    /// The shortest wait for an answer, in nanoseconds: longer ones tell of a busy machine, not of the way.
    wait: AtomicU64,
    answers: AtomicU64,
}

impl Stride {
    /// Before the first answer.
    pub(super) fn new() -> Self {
        Self { bytes: AtomicU64::new(LEAST), wait: AtomicU64::new(u64::MAX), answers: AtomicU64::new(0) }
    }

    /// Bytes of the next request at most.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// How long answers take to begin; none before the first.
    pub(super) fn latency(&self) -> Option<Duration> {
        let nanos = self.wait.load(Ordering::Relaxed);
        (nanos != u64::MAX).then(|| Duration::from_nanos(nanos))
    }

    /// An answer began after `waited`, and its `bytes` then took `took`.
    pub(super) fn learn(&self, waited: Duration, took: Duration, bytes: u64) {
        let waited = u64::try_from(waited.as_nanos()).unwrap_or(u64::MAX);
        let wait = Duration::from_nanos(self.wait.fetch_min(waited, Ordering::Relaxed).min(waited));
        if self.answers.fetch_add(1, Ordering::Relaxed) + 1 < SAMPLES {
            return;
        }
        let ratio = wait.as_secs_f64() * PATIENCE / took.as_secs_f64().max(1e-6);
        // A float becomes the nearest number there is, so no answer is too odd.
        let bytes = ((bytes as f64 * ratio) as u64).clamp(LEAST, MOST);
        self.bytes.store(bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn learnt(answers: u64, waited: Duration, took: Duration, bytes: u64) -> u64 {
        let stride = Stride::new();
        (0..answers).for_each(|_| stride.learn(waited, took, bytes));
        stride.bytes()
    }

    #[test]
    fn a_request_is_long_beside_its_round_trip() {
        let ms = Duration::from_millis;
        for (waited, took, bytes, expected) in [
            (ms(40), ms(80), 2_000_000, 2_000_000),    // as it should be
            (ms(40), ms(40), 1_500_000, 3_000_000),    // a long way, twice as fast
            (ms(1), ms(20), 2_000_000, LEAST),         // a short way
            (ms(40), ms(5000), 2_000_000, LEAST),      // a slow link
            (ms(600), ms(100), 2_000_000, MOST),       // by satellite
            (ms(40), Duration::ZERO, 2_000_000, MOST), // all of it at once
            (Duration::ZERO, Duration::ZERO, 0, LEAST),
            (Duration::MAX, Duration::ZERO, u64::MAX, MOST),
        ] {
            assert_eq!(learnt(SAMPLES, waited, took, bytes), expected, "{waited:?} {took:?}");
            assert_eq!(learnt(SAMPLES - 1, waited, took, bytes), LEAST, "too early to tell");
        }
        let stride = Stride::new();
        stride.learn(ms(40), ms(80), 2_000_000);
        (0..SAMPLES).for_each(|_| stride.learn(ms(900), ms(80), 2_000_000));
        assert_eq!(stride.bytes(), 2_000_000, "the shortest wait counts");
    }
}
