//! Who fetches what. Pure: moments come in, ranges go out.

use std::collections::BTreeMap;
use std::ops::Range;
use std::time::{Duration, Instant};

use crate::transfer::extents::Extents;

/// Pieces are handed out from the front of the file in this size at most: large enough that a request's round trip is
/// nothing beside it, small enough that the hash can follow closely.
const LARGEST_PIECE: u64 = 8 * MIB;
/// And at least, while there is that much.
const SMALLEST_PIECE: u64 = 2 * MIB;
/// What is taken over must be worth a request of its own: so many bytes at least stay on either side …
const LEAST_HALF: u64 = MIB / 2;
/// … and the other would still need this long for what it has.
const LEAST_GAIN: Duration = Duration::from_millis(500);
/// A connection that was silent for this long loses all it has.
const SILENCE: Duration = Duration::from_secs(2);
const MIB: u64 = 1024 * 1024;

/// What is left of a file, and which connection has which range of it.
pub(super) struct Plan {
    open: Extents,
    claims: BTreeMap<usize, Claim>,
    piece: u64,
    next: usize,
    received: u64,
}

struct Claim {
    /// The next byte to arrive.
    at: u64,
    /// Where its work ends; earlier than what it asked for when another took a part over.
    end: u64,
    begun: Instant,
    /// When the last bytes came.
    heard: Instant,
    received: u64,
}

impl Claim {
    fn left(&self) -> u64 {
        self.end - self.at
    }

    /// How long it still needs at its own pace; none before its first byte. A server that takes its time with that
    /// would be slower still if another asked it again.
    fn needs(&self, now: Instant) -> Option<Duration> {
        if self.received == 0 {
            return None;
        }
        if now.duration_since(self.heard) >= SILENCE {
            return Some(Duration::MAX);
        }
        let pace = now.duration_since(self.begun).as_secs_f64() / self.received as f64;
        Some(Duration::try_from_secs_f64(pace * self.left() as f64).unwrap_or(Duration::MAX))
    }
}

/// A range for a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Given {
    /// What the claim is called.
    pub(super) id: usize,
    /// The claim that was left with nothing; whoever works on it can stop.
    pub(super) emptied: Option<usize>,
}

impl Plan {
    /// For what is `missing`, fetched by at most `crew` connections.
    pub(super) fn new(missing: Extents, crew: usize) -> Self {
        let share = missing.total() / (2 * crew.max(1) as u64);
        let piece = share.clamp(SMALLEST_PIECE, LARGEST_PIECE);
        Self { open: missing, claims: BTreeMap::new(), piece, next: 0, received: 0 }
    }

    /// Whether every byte arrived.
    pub(super) fn is_done(&self) -> bool {
        self.open.is_empty() && self.claims.values().all(|claim| claim.left() == 0)
    }

    /// Bytes that arrived.
    pub(super) fn received(&self) -> u64 {
        self.received
    }

    /// Work for one more connection: the next piece, or else half of what the slowest one has, or all of it where that
    /// one is silent. None where more connections would not help.
    pub(super) fn give(&mut self, now: Instant) -> Option<Given> {
        let (range, emptied) = match self.open.take_first(self.piece) {
            Some(range) => (range, None),
            None => self.take_over(now)?,
        };
        let id = self.next;
        self.next += 1;
        let claim = Claim { at: range.start, end: range.end, begun: now, heard: now, received: 0 };
        self.claims.insert(id, claim);
        Some(Given { id, emptied })
    }

    fn take_over(&mut self, now: Instant) -> Option<(Range<u64>, Option<usize>)> {
        let slowest = self.claims.iter_mut().filter(|(_, claim)| claim.left() > 0);
        let (id, needs, claim) = slowest
            .filter_map(|(id, claim)| claim.needs(now).map(|needs| (*id, needs, claim)))
            .max_by_key(|(_, needs, claim)| (*needs, claim.left()))?;
        let end = claim.end;
        if needs == Duration::MAX {
            claim.end = claim.at;
            return Some((claim.at..end, Some(id)));
        }
        let half = claim.left() / 2;
        if half < LEAST_HALF || needs < LEAST_GAIN {
            return None;
        }
        claim.end -= half;
        Some((claim.end..end, None))
    }

    /// What a claim still wants.
    pub(super) fn wanted(&self, id: usize) -> Range<u64> {
        self.claims.get(&id).map_or(0..0, |claim| claim.at..claim.end)
    }

    /// `count` bytes arrived for a claim. Says where they belong, and how many of them it wants.
    pub(super) fn arrived(&mut self, id: usize, count: u64, now: Instant) -> (u64, u64) {
        let Some(claim) = self.claims.get_mut(&id) else { return (0, 0) };
        let (at, taken) = (claim.at, count.min(claim.left()));
        claim.at += taken;
        claim.received += taken;
        claim.heard = now;
        self.received += taken;
        (at, taken)
    }

    /// A claim ended; what it did not get is open again.
    pub(super) fn give_back(&mut self, id: usize) {
        if let Some(claim) = self.claims.remove(&id) {
            self.open.add(claim.at..claim.end);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plan(length: u64, crew: usize) -> (Plan, Instant) {
        (Plan::new(Extents::prefix(length), crew), Instant::now())
    }

    fn after(now: Instant, ms: u64) -> Instant {
        now + Duration::from_millis(ms)
    }

    #[test]
    fn pieces_come_from_the_front() {
        let (mut plan, now) = plan(20 * MIB, 4);
        let ids: Vec<usize> = std::iter::from_fn(|| plan.give(now)).map(|given| given.id).collect();
        let ranges: Vec<Range<u64>> = ids.iter().map(|id| plan.wanted(*id)).collect();
        let expected: Vec<Range<u64>> = (0..8).map(|n| n * 5 * MIB / 2..(n + 1) * 5 * MIB / 2).collect();
        assert_eq!(ranges, expected);
        assert_eq!(Plan::new(Extents::prefix(1 << 40), 8).piece, LARGEST_PIECE);
        assert_eq!(Plan::new(Extents::prefix(9 * MIB), 16).piece, SMALLEST_PIECE);
    }

    #[test]
    fn what_a_lost_connection_had_is_given_to_the_next() {
        let (mut plan, now) = plan(6 * MIB, 1);
        let first = plan.give(now).unwrap().id;
        assert_eq!(plan.arrived(first, 1000, now), (0, 1000));
        plan.give_back(first);
        let second = plan.give(now).unwrap().id;
        assert_eq!(plan.wanted(second), 1000..1000 + 3 * MIB);
        assert_eq!(plan.arrived(second, 4 * MIB, now), (1000, 3 * MIB), "never more than it has");
        assert_eq!(plan.arrived(first, 5, now), (0, 0), "a claim that ended wants nothing");
        assert_eq!(plan.received(), 1000 + 3 * MIB);
        assert!(!plan.is_done());
    }

    /// Two claims of 4 MiB; the first got `bytes.0` and the second `bytes.1` in the first 400 ms; who wants work when?
    fn taken(bytes: (u64, u64), when: u64) -> (Option<Range<u64>>, Option<usize>) {
        let (mut plan, now) = plan(8 * MIB, 1);
        let ids = [plan.give(now).unwrap().id, plan.give(now).unwrap().id];
        plan.arrived(ids[0], bytes.0, after(now, 400));
        plan.arrived(ids[1], bytes.1, after(now, 400));
        let given = plan.give(after(now, when));
        (given.map(|given| plan.wanted(given.id)), given.and_then(|given| given.emptied))
    }

    #[test]
    fn an_idle_connection_takes_half_of_the_slowest_one() {
        // 1 MiB in 400 ms: 1.2 s for the rest. The other one is much slower.
        assert_eq!(taken((MIB, MIB / 4), 400).0, Some(8 * MIB - 15 * MIB / 8..8 * MIB));
        assert_eq!(taken((MIB / 4, MIB), 400).0, Some(4 * MIB - 15 * MIB / 8..4 * MIB));
        // Both would be ready before another could help.
        assert_eq!(taken((3 * MIB, 3 * MIB), 400), (None, None));
        // Too little to share, however slow it is.
        assert_eq!(taken((4 * MIB, 4 * MIB - 1000), 1900), (None, None));
        // Nothing came yet on either: that says nothing.
        assert_eq!(taken((0, 0), 300), (None, None));
        assert_eq!(taken((0, 0), 30_000), (None, None), "a slow server is not asked over and over");
        // The silent one loses everything.
        assert_eq!(taken((4 * MIB, 1000), 2400), (Some(4 * MIB + 1000..8 * MIB), Some(1)));
    }

    #[test]
    fn whatever_happens_every_byte_is_asked_for_once() {
        let (mut plan, start) = plan(32 * MIB + 17, 4);
        let (mut ids, mut got, mut now) = (Vec::new(), Extents::default(), start);
        for round in 0u64.. {
            assert!(round < 100_000, "it must end");
            now += Duration::from_millis(50);
            if ids.len() < 4 {
                ids.extend(plan.give(now).map(|given| given.id));
            }
            if plan.is_done() {
                break;
            }
            for (index, id) in ids.clone().into_iter().enumerate() {
                let (at, count) = plan.arrived(id, (index as u64 * 97_000 + round * 13) % 150_000, now);
                let before = got.total();
                got.add(at..at + count);
                assert_eq!(got.total(), before + count, "a byte came twice");
                if plan.wanted(id).is_empty() || (round + index as u64).is_multiple_of(31) {
                    plan.give_back(id);
                    ids.retain(|other| *other != id);
                }
            }
        }
        assert_eq!(got, Extents::prefix(32 * MIB + 17));
        assert_eq!(plan.received(), got.total());
    }
}
