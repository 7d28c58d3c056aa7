//! How much one request asks for. Pure.
//!
//! What a killed process loses is what was on its way to it, and on a fast link that is all it asked for. So a request
//! is long beside the time that it takes to be answered, but no longer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// The bytes of a request take so many times as long as the wait for the first of them.
const PATIENCE: f64 = 4.0;
/// No request is for less, unless less is missing.
const LEAST: u64 = 1024 * 1024;
/// None is for more.
const MOST: u64 = 8 * 1024 * 1024;

/// Learnt from the latest answer; shared by all connections.
pub(super) struct Stride(AtomicU64);

impl Stride {
    /// Before the first answer.
    pub(super) fn new() -> Self {
        Self(AtomicU64::new(2 * LEAST))
    }

    /// Bytes of the next request at most.
    pub(super) fn bytes(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    /// An answer began after `waited`, and its `bytes` then took `took`.
    pub(super) fn learn(&self, waited: Duration, took: Duration, bytes: u64) {
        let ratio = waited.as_secs_f64() * PATIENCE / took.as_secs_f64().max(1e-6);
        // A float becomes the nearest number there is, so no answer is too odd.
        self.0.store((bytes as f64 * ratio) as u64, Ordering::Relaxed);
        self.0.fetch_max(LEAST, Ordering::Relaxed);
        self.0.fetch_min(MOST, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_long_beside_its_round_trip() {
        let ms = Duration::from_millis;
        for (waited, took, bytes, expected) in [
            (ms(40), ms(160), 2_000_000, 2_000_000),   // as it should be
            (ms(40), ms(80), 2_000_000, 4_000_000),    // a long way, twice as fast
            (ms(1), ms(20), 2_000_000, LEAST),         // a short way
            (ms(40), ms(5000), 2_000_000, LEAST),      // a slow link
            (ms(600), ms(100), 2_000_000, MOST),       // by satellite
            (ms(40), Duration::ZERO, 2_000_000, MOST), // all of it at once
            (Duration::ZERO, Duration::ZERO, 0, LEAST),
            (Duration::MAX, Duration::ZERO, u64::MAX, MOST),
        ] {
            let stride = Stride::new();
            stride.learn(waited, took, bytes);
            assert_eq!(stride.bytes(), expected, "{waited:?} {took:?}");
        }
    }
}
