//! How many connections a download has. Pure: moments and counts come in, a number goes out.

use std::time::{Duration, Instant};

/// How long a rate is measured before it decides …
const WINDOW: Duration = Duration::from_millis(600);
/// … unless it is clear earlier that one more helped.
const GLANCE: Duration = Duration::from_millis(200);
/// A new connection is left alone for this long before the rate is measured: it has to gather speed, …
const RAMP: Duration = Duration::from_millis(200);
/// … and at least for so many times as long as an answer takes to begin: that is what gathering speed is made of.
const RAMP_ANSWERS: u32 = 8;
/// Parts of a fair share that each new connection brings: with less they go again, …
const LEAST: f64 = 0.2;
/// … with this more are added next, …
const NOTICEABLE: f64 = 0.5;
/// … and this needs no longer look.
const CLEAR: f64 = 0.75;
/// After more brought little or nothing, one is tried again so much later: links change.
const CALM: Duration = Duration::from_secs(4);
/// After a connection failed, no other is added for this long.
const CAUTION: Duration = Duration::from_secs(1);
/// However long the server asks.
const LONGEST_CAUTION: Duration = Duration::from_secs(120);
/// Connections to begin with.
const FIRST: usize = 2;

/// Adds connections while that makes the download faster. Until that fails for the first time it doubles them, because a
/// link on which every packet may be lost gives each of them little, and a download may be over before many came one by
/// one. After that it adds one, then two, then four.
pub(super) struct Crew {
    most: usize,
    wanted: usize,
    /// Not more before this moment.
    not_before: Instant,
    /// The rate before the newest connections, while these are on trial.
    before: Option<f64>,
    /// How many these are, or are to be next.
    step: usize,
    /// Whether more have always helped so far.
    growing: bool,
    /// Begin of the window and what had arrived then.
    window: Option<(Instant, u64)>,
    /// When the next window may begin.
    measure_from: Instant,
}

impl Crew {
    /// At most `most`.
    pub(super) fn new(most: usize, now: Instant) -> Self {
        let wanted = FIRST.min(most);
        Self {
            most,
            wanted,
            not_before: now,
            before: None,
            step: 1,
            growing: true,
            window: None,
            measure_from: now + RAMP,
        }
    }

    /// How many there should be.
    pub(super) fn wanted(&self) -> usize {
        self.wanted
    }

    /// Takes note of `received` bytes in all, while `busy` connections work. Answers begin after `latency`, where that is
    /// known.
    pub(super) fn observe(&mut self, received: u64, busy: usize, latency: Option<Duration>, now: Instant) {
        if busy < self.wanted {
            // Nothing to do for them, which says nothing of the link.
            self.window = None;
            return;
        }
        if now < self.measure_from {
            return;
        }
        let Some((begun, had)) = self.window else {
            self.window = Some((now, received));
            return;
        };
        let span = now.duration_since(begun);
        let rate = received.saturating_sub(had) as f64 / span.as_secs_f64();
        let clear = self.before.is_some_and(|before| self.share(rate, before) >= CLEAR);
        if span >= WINDOW || (span >= GLANCE && clear) {
            self.window = Some((now, received));
            self.judge(rate, latency, now);
        }
    }

    /// What each of the newest connections brought, as a part of what each of the others had.
    fn share(&self, rate: f64, before: f64) -> f64 {
        let each = before / self.wanted.saturating_sub(self.step).max(1) as f64;
        if each > 0.0 { (rate - before) / each / self.step as f64 } else { 0.0 }
    }

    fn judge(&mut self, rate: f64, latency: Option<Duration>, now: Instant) {
        let share = self.before.take().map(|before| self.share(rate, before));
        match share {
            Some(share) if share < LEAST => {
                self.wanted = self.wanted.saturating_sub(self.step).max(1);
                self.calm(now);
            }
            // They may stay, but others may well bring less.
            Some(share) if share < NOTICEABLE => self.calm(now),
            _ if self.wanted < self.most && now >= self.not_before => {
                let step = match share {
                    _ if self.growing => self.wanted,
                    Some(_) => self.step * 2,
                    None => 1,
                };
                self.step = step.min(self.most - self.wanted);
                self.before = Some(rate);
                self.wanted += self.step;
                self.window = None;
                self.measure_from = now + RAMP.max(latency.unwrap_or_default() * RAMP_ANSWERS);
            }
            _ => {}
        }
    }

    fn calm(&mut self, now: Instant) {
        self.growing = false;
        self.not_before = self.not_before.max(now + CALM);
    }

    /// A connection failed while `others` go on: one less, and no more for a while, which is as long as the server asked.
    pub(super) fn failed(&mut self, others: usize, asked: Option<Duration>, now: Instant) {
        self.wanted = others.clamp(1, self.wanted);
        let wait = asked.unwrap_or(CAUTION).clamp(CAUTION, LONGEST_CAUTION);
        self.not_before = self.not_before.max(now + wait);
        self.before = None;
        self.window = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(100);

    /// Plays a link on which `n` connections get `rate(n)` bytes a second; says how many there are each second.
    fn play(most: usize, seconds: usize, mut rate: impl FnMut(usize) -> f64) -> Vec<usize> {
        let start = Instant::now();
        let mut crew = Crew::new(most, start);
        let (mut now, mut received) = (start, 0.0);
        let mut seen = Vec::new();
        for tick in 1..=seconds * 10 {
            now += TICK;
            received += rate(crew.wanted()) * TICK.as_secs_f64();
            crew.observe(received as u64, crew.wanted(), None, now);
            if tick % 10 == 0 {
                seen.push(crew.wanted());
            }
        }
        seen
    }

    #[test]
    fn it_grows_while_that_helps() {
        let each = |n: usize| n as f64 * 1e6;
        assert_eq!(play(8, 2, each).last(), Some(&8), "{:?}", play(8, 2, each));
        assert_eq!(play(16, 3, each).last(), Some(&16), "{:?}", play(16, 3, each));
        assert_eq!(play(1, 3, each), [1, 1, 1]);
        let full_at_4 = |n: usize| n.min(4) as f64 * 1e6;
        let seen = play(16, 20, full_at_4);
        assert!(seen[3..].iter().all(|n| (4..=6).contains(n)), "{seen:?}");
        let seen = play(16, 20, |_| 1e9);
        assert!(seen[1..].iter().all(|n| (2..=3).contains(n)), "{seen:?}");
        assert!(seen.contains(&3) && seen.contains(&2), "tried again, and taken back: {seen:?}");
        assert!(play(16, 20, |_| 0.0)[1..].iter().all(|n| *n <= 3));
    }

    #[test]
    fn a_link_that_is_never_steady_does_not_keep_it_small() {
        for seed in 1..20u64 {
            let mut dice = seed;
            let mut noise = move || {
                dice = dice.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                0.7 + 0.6 * (dice >> 40) as f64 / (1u64 << 24) as f64
            };
            let seen = play(8, 30, |n| (0..n).map(|_| 1e6 * noise()).sum());
            let mean = seen[10..].iter().sum::<usize>() as f64 / 20.0;
            assert!(mean > 6.5, "{seed}: {seen:?}");
        }
    }

    #[test]
    fn a_failure_takes_one_away_and_the_server_is_heard() {
        let start = Instant::now();
        for (asked, quiet) in [(None, 1), (Some(7), 7), (Some(0), 1), (Some(u64::MAX), 120)] {
            let mut crew = Crew::new(8, start);
            crew.wanted = 5;
            crew.failed(2, asked.map(Duration::from_secs), start);
            assert_eq!(crew.wanted(), 2);
            let (mut now, mut received) = (start, 0);
            while crew.wanted() == 2 {
                now += TICK;
                received += 1000 * (now - start).as_millis() as u64;
                crew.observe(received, 2, None, now);
            }
            let waited = (now - start).as_secs_f64();
            assert!((quiet as f64..quiet as f64 + 1.0).contains(&waited), "{asked:?}: {waited}");
        }
        let mut crew = Crew::new(8, start);
        crew.failed(0, None, start);
        assert_eq!(crew.wanted(), 1, "one is always wanted");
        crew.failed(7, None, start);
        assert_eq!(crew.wanted(), 1, "a failure never adds one");
    }

    #[test]
    fn idle_connections_prove_nothing() {
        let start = Instant::now();
        let mut crew = Crew::new(8, start);
        for tick in 1..100 {
            crew.observe(tick * 1_000_000, 1, None, start + TICK * tick as u32);
        }
        assert_eq!(crew.wanted(), 2);
    }
}
