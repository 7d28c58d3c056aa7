//! How long to wait before the next attempt.

use std::time::Duration;

/// Exponential back-off with full jitter: the n-th wait is a random part of `base * 2^n`, at most `longest`.
/// Full jitter, because many devices lose the same server at the same moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Backoff {
    /// The first wait's upper end.
    pub base: Duration,
    /// No wait is longer by itself.
    pub longest: Duration,
    /// A server's `Retry-After` is honoured up to here.
    pub longest_asked: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            base: Duration::from_secs(1),
            longest: Duration::from_secs(60),
            longest_asked: Duration::from_secs(120),
        }
    }
}

impl Backoff {
    /// The wait after `failures` failed attempts in a row (1, 2, …). `fraction` is the dice, 0 to 1; `asked` is
    /// what the server wants.
    pub fn wait(&self, failures: u32, fraction: f64, asked: Option<Duration>) -> Duration {
        let doublings = failures.saturating_sub(1).min(16);
        let ceiling = self.base.saturating_mul(1 << doublings).min(self.longest);
        let own = ceiling.mul_f64(fraction.clamp(0.0, 1.0));
        asked.map_or(own, |asked| own.max(asked.min(self.longest_asked)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_and_stay_bounded() {
        let backoff = Backoff::default();
        let full: Vec<_> = (1..=8).map(|n| backoff.wait(n, 1.0, None).as_secs()).collect();
        assert_eq!(full, [1, 2, 4, 8, 16, 32, 60, 60]);
        assert_eq!(backoff.wait(u32::MAX, 1.0, None).as_secs(), 60);
        assert_eq!(backoff.wait(3, 0.25, None).as_secs(), 1);
        assert_eq!(backoff.wait(3, 0.0, None), Duration::ZERO);
    }

    #[test]
    fn the_server_is_heard_within_bounds() {
        let backoff = Backoff::default();
        let asked = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(backoff.wait(1, 0.0, asked(7)).as_secs(), 7);
        assert_eq!(backoff.wait(4, 1.0, asked(2)).as_secs(), 8);
        assert_eq!(backoff.wait(1, 0.5, asked(86_400)).as_secs(), 120);
    }
}
