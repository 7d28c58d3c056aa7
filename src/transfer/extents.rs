//! Which bytes of a file are there. Pure.

use std::ops::Range;

use serde::{Deserialize, Serialize};

/// A set of bytes: ranges in order that neither overlap nor touch nor are empty. Written `[[start, end], …]`, end
/// excluded.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "Vec<(u64, u64)>", into = "Vec<(u64, u64)>")]
pub(super) struct Extents(Vec<(u64, u64)>);

impl Extents {
    /// The first `length` bytes.
    pub(super) fn prefix(length: u64) -> Self {
        std::iter::once(0..length).collect()
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many bytes there are.
    pub(super) fn total(&self) -> u64 {
        self.0.iter().map(|(start, end)| end - start).sum()
    }

    /// How many there are without a gap from the first on.
    pub(super) fn front(&self) -> u64 {
        match self.0.first() {
            Some((0, end)) => *end,
            _ => 0,
        }
    }

    /// Puts bytes in; those that were there stay.
    pub(super) fn add(&mut self, range: Range<u64>) {
        if range.is_empty() {
            return;
        }
        let first = self.0.partition_point(|(_, end)| *end < range.start);
        let after = self.0.partition_point(|(start, _)| *start <= range.end);
        let (mut start, mut end) = (range.start, range.end);
        if let Some(joined) = self.0.get(first..after).filter(|joined| !joined.is_empty()) {
            start = start.min(joined[0].0);
            end = end.max(joined[joined.len() - 1].1);
        }
        self.0.splice(first..after.max(first), [(start, end)]);
    }

    /// Takes out the first ones, `most` at most and without a gap.
    pub(super) fn take_first(&mut self, most: u64) -> Option<Range<u64>> {
        let (start, end) = self.0.first_mut()?;
        let taken = *start..(*end).min(start.saturating_add(most));
        *start = taken.end;
        if *start == *end {
            self.0.remove(0);
        }
        Some(taken)
    }

    /// Those that are not in `other`.
    pub(super) fn without(&self, other: &Self) -> Self {
        let mut left = Self::default();
        for (start, end) in &self.0 {
            let mut at = *start;
            let beside = other.0.partition_point(|(_, until)| *until <= at);
            for (from, until) in other.0[beside..].iter().take_while(|(from, _)| from < end) {
                left.add(at..*from);
                at = *until;
            }
            left.add(at..*end);
        }
        left
    }

    /// Drops what is at `length` or later.
    pub(super) fn cut_to(&mut self, length: u64) {
        self.0.retain(|(start, _)| *start < length);
        if let Some((_, end)) = self.0.last_mut() {
            *end = (*end).min(length);
        }
    }

    /// The `most` longest ranges of them.
    pub(super) fn longest(&self, most: usize) -> Self {
        let mut kept = self.0.clone();
        kept.sort_by_key(|(start, end)| std::cmp::Reverse(end - start));
        kept.truncate(most);
        kept.into()
    }

    /// Puts in all that are in `other`.
    pub(super) fn join(&mut self, other: &Self) {
        other.0.iter().for_each(|(start, end)| self.add(*start..*end));
    }
}

impl FromIterator<Range<u64>> for Extents {
    fn from_iter<I: IntoIterator<Item = Range<u64>>>(ranges: I) -> Self {
        let mut extents = Self::default();
        ranges.into_iter().for_each(|range| extents.add(range));
        extents
    }
}

impl From<Vec<(u64, u64)>> for Extents {
    /// Any pairs, in any order: what comes from outside need not be as this type would write it.
    fn from(pairs: Vec<(u64, u64)>) -> Self {
        pairs.into_iter().map(|(start, end)| start..end).collect()
    }
}

impl From<Extents> for Vec<(u64, u64)> {
    fn from(extents: Extents) -> Self {
        extents.0
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(pairs: &[(u64, u64)]) -> Extents {
        pairs.to_vec().into()
    }

    #[test]
    fn neighbours_become_one() {
        for (pairs, expected) in [
            (&[(0, 5), (5, 9)][..], &[(0, 9)][..]),
            (&[(5, 9), (0, 5)], &[(0, 9)]),
            (&[(0, 2), (4, 6), (8, 10), (1, 9)], &[(0, 10)]),
            (&[(0, 2), (4, 6), (3, 4)], &[(0, 2), (3, 6)]),
            (&[(4, 6), (0, 0), (7, 3)], &[(4, 6)]),
        ] {
            assert_eq!(of(pairs).0, expected, "{pairs:?}");
        }
        assert_eq!((of(&[(0, 3), (5, 6)]).front(), of(&[(1, 3)]).front()), (3, 0));
    }

    #[test]
    fn they_are_written_as_pairs() {
        let extents = of(&[(0, 5), (7, 9)]);
        assert_eq!(serde_json::to_string(&extents).unwrap(), "[[0,5],[7,9]]");
        assert_eq!(serde_json::from_str::<Extents>("[[7,9],[0,5]]").unwrap(), extents);
        assert!(serde_json::from_str::<Extents>("[[-1,9]]").is_err());
    }

    proptest! {
        /// Against one bit a byte.
        #[test]
        fn they_are_the_set_of_their_bytes(pairs in prop::collection::vec((0u64..60, 0u64..60), 0..12), others in prop::collection::vec((0u64..60, 0u64..60), 0..12), length in 0u64..70) {
            let mut bits = [false; 60];
            for (start, end) in &pairs {
                (*start..*end).for_each(|at| bits[at as usize] = true);
            }
            let extents = of(&pairs);
            let has = |extents: &Extents, at: u64| extents.0.iter().any(|(start, end)| (*start..*end).contains(&at));
            for at in 0..60 {
                prop_assert_eq!(has(&extents, at), bits[at as usize]);
                prop_assert_eq!(has(&Extents::prefix(length).without(&extents), at), at < length && !bits[at as usize]);
            }
            let others = of(&others);
            let rest = extents.without(&others);
            for at in 0..60 {
                prop_assert_eq!(has(&rest, at), has(&extents, at) && !has(&others, at));
            }
            prop_assert!(rest.0.windows(2).all(|two| two[0].1 < two[1].0));
            prop_assert!(extents.0.windows(2).all(|two| two[0].1 < two[1].0));
            prop_assert_eq!(extents.total(), bits.iter().filter(|bit| **bit).count() as u64);
            prop_assert_eq!(extents.front(), bits.iter().take_while(|bit| **bit).count() as u64);
            let mut cut = extents.clone();
            cut.cut_to(length);
            prop_assert_eq!(cut.total() + Extents::prefix(length).without(&extents).total(), length);
            let (mut rest, mut taken) = (extents.clone(), Extents::default());
            while let Some(range) = rest.take_first(7) {
                prop_assert!(!range.is_empty() && range.end - range.start <= 7);
                taken.add(range);
            }
            prop_assert_eq!(&taken, &extents);
            prop_assert_eq!(extents.longest(12), extents);
        }
    }
}
