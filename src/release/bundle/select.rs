//! Which members of a bundle are worth fetching, when the engine has some of its layers. Pure.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::super::{Digest, ReleaseInfo};
use super::{Index, Member, blob, delta_of};

/// Fewer bytes between two wanted members are fetched with them: another request costs more.
const GAP: u64 = 64 * 1024;
/// A smaller bundle is not looked into: asking what could be saved costs as much.
const LEAST_SIZE: u64 = 2 * 1024 * 1024;
/// So many bytes must be saved, …
const LEAST_SAVED: u64 = 1024 * 1024;
/// … and this part of the bundle; else the whole one is better to have.
const LEAST_SHARE: u64 = 20;

/// A delta of a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delta {
    /// The layer it makes, as the bundle has it.
    pub layer: Member,
    /// The digest of that layer.
    pub new: Digest,
    /// The layer it makes that of.
    pub old: Digest,
    /// The delta itself.
    pub member: Member,
}

impl Delta {
    /// Those in `index` that are shorter than the layer they make.
    pub fn all(index: &Index) -> Vec<Self> {
        let members: BTreeMap<&str, &Member> =
            index.members.iter().map(|member| (member.path.as_str(), member)).collect();
        let delta = |member: &Member| {
            let (new, old) = delta_of(&member.path)?;
            let layer = *members.get(blob(&new).as_str()).filter(|layer| layer.length > member.length)?;
            Some(Self { layer: layer.clone(), new, old, member: member.clone() })
        };
        index.members.iter().filter_map(delta).collect()
    }
}

/// The members of a bundle: those to fetch and those to leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Selection {
    /// Those that come, in the order of the bundle.
    pub there: Vec<Member>,
    /// Those that do not.
    pub absent: Vec<Member>,
    /// The bytes of the bundle that are fetched.
    pub ranges: Vec<Range<u64>>,
    /// What comes in place of layers that are wanted.
    pub deltas: Vec<Delta>,
}

impl Selection {
    /// Of the bundle with this index, everything but those layers of `info` that are not among the `wanted` ones, and
    /// but for those that `deltas` make.
    pub fn new(index: &Index, info: &ReleaseInfo, wanted: &BTreeSet<Digest>, deltas: Vec<Delta>) -> Self {
        let layers = info.images.iter().flat_map(|image| &image.layers).map(|layer| layer.digest);
        let made = |layer: &Digest| deltas.iter().any(|delta| delta.new == *layer);
        let unwanted =
            layers.filter(|layer| !wanted.contains(layer) || made(layer)).map(|layer| blob(&layer));
        let chosen = |path: &str| deltas.iter().any(|delta| delta.member.path == path);
        let spare = index.members.iter().map(|member| &member.path);
        let spare = spare.filter(|path| delta_of(path).is_some() && !chosen(path)).cloned();
        let left: BTreeSet<String> = unwanted.chain(spare).collect();
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
        let absent = absent.into_iter().cloned().collect();
        Self { there, absent, ranges, deltas }
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
    use super::super::{Encoding, delta_path};
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

    fn member(name: &str, offset: u64, length: u64) -> Member {
        let hash = Digest::of(name);
        let path = if name.ends_with(".json") { name.to_owned() } else { blob(&hash) };
        Member { path, offset, length, encoding: Encoding::None, size: length, hash, encoded_hash: hash }
    }

    fn index(members: &[(&str, u64, u64)]) -> Index {
        let members = members.iter().map(|(name, offset, length)| member(name, *offset, *length)).collect();
        Index { schema: 1, members }
    }

    fn chosen(members: &[(&str, u64, u64)], wanted: &[&str]) -> Selection {
        let info = info(&["a", "b", "c"]);
        Selection::new(&index(members), &info, &wanted.iter().map(Digest::of).collect(), Vec::new())
    }

    fn paths(members: &[Member]) -> Vec<&str> {
        members.iter().map(|member| member.path.as_str()).collect()
    }

    #[test]
    fn a_delta_comes_in_place_of_its_layer_and_the_others_stay_away() {
        let mut all = index(&[("release.json", 512, K), ("a", 2 * K, 5000 * K), ("b", 5003 * K, 300 * K)]);
        let delta = |new: &str, old: &str, offset, length| {
            let path = delta_path(&Digest::of(new), &Digest::of(old));
            Member { path, offset, length, ..member("a", 0, 0) }
        };
        all.members.push(delta("a", "older", 5400 * K, 90 * K));
        all.members.push(delta("a", "oldest", 5500 * K, 200 * K));
        all.members.push(delta("b", "older", 5800 * K, 400 * K));
        all.members.push(delta("gone", "older", 6300 * K, K));
        let deltas = Delta::all(&all);
        let pairs: Vec<_> = deltas.iter().map(|delta| (delta.new, delta.old)).collect();
        let (a, older, oldest) = (Digest::of("a"), Digest::of("older"), Digest::of("oldest"));
        assert_eq!(
            pairs,
            [(a, older), (a, oldest)],
            "one is longer than its layer, one makes a layer that is not there"
        );
        let wanted = ["a", "b"].iter().map(Digest::of).collect();
        let found = Selection::new(&all, &info(&["a", "b"]), &wanted, deltas[..1].to_vec());
        assert_eq!(found.ranges, [512..1536, 5003 * K..5303 * K, 5400 * K..5490 * K]);
        assert_eq!(found.absent.len(), 4, "{:?}", found.absent);
        let without = Selection::new(&all, &info(&["a", "b"]), &wanted, Vec::new());
        assert_eq!(without.ranges, std::slice::from_ref(&(512..5303 * K)));
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
        assert_eq!(paths(&found.absent), [blob(&Digest::of("a")), blob(&Digest::of("b"))]);
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
        assert_eq!(paths(&chosen(&small, &["a"]).absent), [blob(&Digest::of("b"))]);
    }

    #[test]
    fn what_is_saved_must_be_worth_it() {
        let of = |bytes: u64| Selection {
            there: vec![],
            absent: vec![],
            ranges: vec![0..bytes, bytes + 1..bytes + 1],
            deltas: vec![],
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
