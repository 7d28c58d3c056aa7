//! Moments that can be compared after a restart of the process or the machine, and after the clock was set.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Where Linux names the present boot.
const BOOT_ID: &str = "/proc/sys/kernel/random/boot_id";

/// A moment by two clocks: within one boot the one that nobody can set, else the calendar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// The boot it was taken in; empty where the system does not say.
    pub boot: String,
    /// Milliseconds since that boot, suspended ones included.
    pub since_boot_ms: u64,
    /// Milliseconds since 1970 by the wall clock.
    pub wall_ms: u64,
}

impl Moment {
    /// Now.
    pub fn now() -> Self {
        let time = clock_gettime(ClockId::Boottime);
        let since_boot = Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec.unsigned_abs() as u32);
        Self {
            // Where it cannot be read, the wall clock decides.
            boot: std::fs::read_to_string(BOOT_ID).unwrap_or_default().trim().to_owned(),
            since_boot_ms: since_boot.as_millis() as u64,
            wall_ms: wall_ms(),
        }
    }

    /// From this moment to `later`, never negative. Across a reboot a clock that was set back gives at least the time
    /// since that boot.
    pub fn until(&self, later: &Self) -> Duration {
        if !self.boot.is_empty() && self.boot == later.boot {
            return Duration::from_millis(later.since_boot_ms.saturating_sub(self.since_boot_ms));
        }
        let wall = later.wall_ms.saturating_sub(self.wall_ms);
        let least = if self.boot.is_empty() { 0 } else { later.since_boot_ms };
        Duration::from_millis(wall.max(least))
    }

    /// [`Moment::until`] now.
    pub fn elapsed(&self) -> Duration {
        self.until(&Self::now())
    }
}

/// Milliseconds since 1970.
fn wall_ms() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    now.map_or(0, |since| since.as_millis() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moment(boot: &str, since_boot_ms: u64, wall_ms: u64) -> Moment {
        Moment { boot: boot.into(), since_boot_ms, wall_ms }
    }

    #[test]
    fn a_clock_that_is_set_does_not_change_how_much_time_went_by() {
        let table = [
            ("the same boot", moment("a", 1_000, 50_000), moment("a", 4_000, 53_000), 3_000),
            ("set a year ahead", moment("a", 1_000, 50_000), moment("a", 4_000, 31_000_000_000), 3_000),
            ("set back", moment("a", 1_000, 50_000), moment("a", 4_000, 7), 3_000),
            ("rebooted", moment("a", 9_000, 50_000), moment("b", 2_000, 58_000), 8_000),
            ("rebooted and set back", moment("a", 9_000, 50_000), moment("b", 2_000, 7), 2_000),
            ("no boot is named", moment("", 9_000, 50_000), moment("", 2_000, 51_000), 1_000),
        ];
        for (what, early, late, expected) in table {
            assert_eq!(early.until(&late), Duration::from_millis(expected), "{what}");
        }
    }

    #[test]
    fn now_is_after_before() {
        let before = Moment::now();
        assert!(!before.boot.is_empty() && before.elapsed() < Duration::from_secs(60));
    }
}
