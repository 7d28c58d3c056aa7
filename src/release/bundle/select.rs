//! Which members of a bundle are worth fetching, when the engine has some of its layers. Pure.

use std::collections::BTreeSet;
use std::ops::Range;

use super::super::{Digest, ReleaseInfo};
use super::{Index, Member, blob};

/// Fewer bytes between two wanted members are fetched with them: another request costs more.
const GAP: u64 = 64 * 1024;
/// A smaller bundle is not looked into: asking what could be saved costs as much.
const LEAST_SIZE: u64 = 2 * 1024 * 1024;
/// So many bytes must be saved, …
const LEAST_SAVED: u64 = 1024 * 1024;
/// … and this part of the bundle; else the whole one is better to have.
const LEAST_SHARE: u64 = 20;

/// The members of a bundle: those to fetch and those to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Those that come, in the order of the bundle.
    pub there: Vec<Member>,
    /// The paths of those that do not.
    pub absent: Vec<String>,
    /// The bytes of the bundle that are fetched.
    pub ranges: Vec<Range<u64>>,
}

impl Selection {
    /// Of the bundle with this index, everything but those layers of `info` that are not among the `wanted` ones.
    pub fn new(index: &Index, info: &ReleaseInfo, wanted: &BTreeSet<Digest>) -> Self {
        let layers = info.images.iter().flat_map(|image| &image.layers).map(|layer| layer.digest);
        let left: BTreeSet<String> =
            layers.filter(|layer| !wanted.contains(layer)).map(|layer| blob(&layer)).collect();
        let mut members: Vec<&Member> = index.members.iter().collect();
        members.sort_by_key(|member| member.offset);
        let mut ranges: Vec<Range<u64>> = Vec::new();
        for member in members.iter().filter(|member| !left.contains(&member.path)) {
            let span = member.span();
            match ranges.last_mut() {
                _ if span.is_empty() => {}
                Some(last) if span.start.saturating_sub(last.end) < GAP => last.end = last.end.max(span.end),
                _ => ranges.push(span),
            }
        }
        let comes = |member: &Member| {
            let span = member.span();
            let inside = |range: &Range<u64>| range.start <= span.start && span.end <= range.end;
            !left.contains(&member.path) || ranges.iter().any(inside)
        };
        let (there, absent): (Vec<&Member>, Vec<&Member>) = members.into_iter().partition(|one| comes(one));
        let there = there.into_iter().cloned().collect();
        let absent = absent.into_iter().map(|member| member.path.clone()).collect();
        Self { there, absent, ranges }
    }

    /// Whether anything at all can pay for a bundle of `size` bytes.
    pub fn may_pay(size: u64) -> bool {
        size >= LEAST_SIZE
    }

    /// How many bytes are fetched.
    pub fn bytes(&self) -> u64 {
        self.ranges.iter().map(|range| range.end - range.start).sum()
    }

    /// Whether that is worth it for a bundle of `size` bytes.
    pub fn pays(&self, size: u64) -> bool {
        let saved = size.saturating_sub(self.bytes());
        saved >= LEAST_SAVED && saved >= size / LEAST_SHARE
    }
}

#[cfg(test)]
mod tests {
    use super::super::Encoding;
    use super::*;
    use crate::release::info::{ImageInfo, LayerInfo};

    const K: u64 = 1024;

    fn layer(name: &str) -> LayerInfo {
        let digest = Digest::of(name);
        LayerInfo { diff_id: digest, digest, size: 1 }
    }

    fn info(layers: &[&str]) -> ReleaseInfo {
        let mut info =
            ReleaseInfo::from_json(include_bytes!("../../../fixtures/release/v1.json"), "v1").unwrap();
        info.images = vec![ImageInfo {
            reference: "app:1".into(),
            id: Digest::of("config"),
            digest: Digest::of("manifest"),
            layers: layers.iter().map(|name| layer(name)).collect(),
        }];
        info
    }

    fn index(members: &[(&str, u64, u64)]) -> Index {
        let member = |(name, offset, length): &(&str, u64, u64)| {
            let hash = Digest::of(name);
            let path = if name.ends_with(".json") { (*name).to_owned() } else { blob(&hash) };
            let (offset, length) = (*offset, *length);
            Member { path, offset, length, encoding: Encoding::None, size: length, hash, encoded_hash: hash }
        };
        Index { schema: 1, members: members.iter().map(member).collect() }
    }

    fn chosen(members: &[(&str, u64, u64)], wanted: &[&str]) -> Selection {
        let info = info(&["a", "b", "c"]);
        Selection::new(&index(members), &info, &wanted.iter().map(Digest::of).collect())
    }

    #[test]
    fn layers_that_are_not_wanted_stay_away() {
        let members = [
            ("release.json", 512, K),
            ("config", 2 * K, K),
            ("a", 4 * K, 5000 * K),
            ("manifest", 5005 * K, K),
            ("b", 5007 * K, 300 * K),
            ("c", 5308 * K, 20 * K),
        ];
        let found = chosen(&members, &["c"]);
        assert_eq!(found.ranges, [512..3 * K, 5005 * K..5006 * K, 5308 * K..5328 * K]);
        assert_eq!(found.absent, [blob(&Digest::of("a")), blob(&Digest::of("b"))]);
        assert_eq!(found.there.len(), 4);
        assert!(found.pays(5329 * K));
        let found = chosen(&members, &["a", "b", "c"]);
        assert_eq!(found.ranges, std::slice::from_ref(&(512..5328 * K)));
        assert!(found.absent.is_empty() && !found.pays(5329 * K));
        // A layer that would only leave a small gap comes with its neighbours, and is there.
        let small = [("release.json", 512, K), ("a", 2 * K, 60 * K), ("b", 63 * K, K)];
        let found = chosen(&small, &["b"]);
        assert_eq!(found.ranges, std::slice::from_ref(&(512..64 * K)));
        assert!(found.absent.is_empty() && found.there.len() == 3);
        // One at the end stays away however small it is.
        assert_eq!(chosen(&small, &["a"]).absent, [blob(&Digest::of("b"))]);
    }

    #[test]
    fn what_is_saved_must_be_worth_it() {
        let of = |bytes: u64| Selection {
            there: vec![],
            absent: vec![],
            ranges: vec![0..bytes, bytes + 1..bytes + 1],
        };
        for (bytes, size, pays) in [
            (100 * K, 1100 * K, false),
            (100 * K, 1124 * K, true),
            (95_000 * K, 100_000 * K, true),
            (96_000 * K, 100_000 * K, false),
            (10, 5, false),
        ] {
            assert_eq!(of(bytes).pays(size), pays, "{bytes} of {size}");
        }
    }
}
