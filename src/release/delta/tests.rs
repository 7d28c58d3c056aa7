use std::io::Write;

use proptest::prelude::*;

use super::*;
use crate::release::Digest;

fn layer(bytes: &[u8]) -> Layer {
    let mut file = tempfile::tempfile().unwrap();
    file.write_all(b"before").unwrap();
    file.write_all(bytes).unwrap();
    Layer::new(Arc::new(file), 6, bytes.len() as u64)
}

/// Bytes that do not compress; the same for the same seed.
fn noise(seed: u64, length: usize) -> Vec<u8> {
    let mut state = seed | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(&mut next).flatten().take(length).collect()
}

fn delta(old: &[u8], new: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    let length = encode(&layer(old), &layer(new), &mut out, u64::MAX).unwrap();
    assert_eq!(length, Some(out.len() as u64));
    out
}

fn apply(old: &[u8], delta: &[u8]) -> io::Result<Vec<u8>> {
    let mut new = Vec::new();
    Applied::new(layer(old), delta)?.read_to_end(&mut new)?;
    Ok(new)
}

#[test]
fn a_layer_comes_back_whatever_changed_and_only_that_is_in_the_delta() {
    let old = noise(1, 18 << 20);
    let mut edited = old.clone();
    edited[14_000_000..14_100_000].copy_from_slice(&noise(2, 100_000));
    // A file that grew moves everything behind it, by more than one frame refers to.
    let mut moved = noise(3, 13 << 20);
    moved.extend_from_slice(&old);
    let shrunk = &old[9 << 20..];
    let cases = [
        ("the same", old.clone(), 0),
        ("edited", edited, 100_000),
        ("moved", moved, 13 << 20),
        ("shrunk", shrunk.to_vec(), 0),
        ("empty", Vec::new(), 0),
        ("another", noise(4, 3 << 20), 3 << 20),
    ];
    for (name, new, changed) in cases {
        let delta = delta(&old, &new);
        assert!(delta.len() < changed + 50_000, "{name}: {} bytes for {changed} that changed", delta.len());
        assert_eq!(Digest::of(apply(&old, &delta).unwrap()), Digest::of(&new), "{name}");
    }
}

#[test]
fn a_delta_that_is_not_worth_it_is_given_up() {
    let (old, new) = (noise(1, 3 << 20), noise(2, 3 << 20));
    let mut out = Vec::new();
    assert_eq!(encode(&layer(&old), &layer(&new), &mut out, 1 << 20).unwrap(), None);
}

#[test]
fn a_delta_for_another_layer_says_so() {
    let (old, new) = (noise(1, 10_000), noise(2, 10_000));
    let delta = delta(&old, &new);
    let error = apply(&old[1..], &delta).unwrap_err().to_string();
    assert!(error.contains("10000") && error.contains("9999"), "{error}");
    assert!(apply(&old, b"something else, long enough for a head").is_err());
    for end in [0, 10, 30, 45, delta.len() - 1] {
        assert!(apply(&old, &delta[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn lengths_that_lie_are_refused_before_memory_is_taken() {
    let old = noise(1, 1000);
    let good = delta(&old, &noise(2, 1000));
    let head = MAGIC.len() + 16;
    for (at, bytes) in [(head, 4), (head + 12, 4), (head + 16, 4), (head + 4, 8)] {
        let mut lying = good.clone();
        lying[at..at + bytes].fill(0xff);
        assert!(apply(&old, &lying).is_err(), "at {at}");
    }
}

/// Written by the first version of this format.
#[test]
fn a_delta_of_the_first_version_is_applied() {
    let old: Vec<u8> = (0..2000_u32).flat_map(|number| format!("line {number}\n").into_bytes()).collect();
    let new = apply(&old, include_bytes!("../../../fixtures/delta/v1.delta")).unwrap();
    let text = String::from_utf8(new).unwrap();
    assert_eq!(text.lines().count(), 2001);
    assert_eq!(text.lines().nth(1000), Some("a line between"));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_edit_comes_back(
        seed in any::<u64>(),
        length in 0_usize..20_000,
        edits in prop::collection::vec((any::<prop::sample::Index>(), 0_usize..600, 0_usize..600), 0..6),
    ) {
        let old = noise(seed, length);
        let mut new = old.clone();
        for (number, (at, removed, added)) in edits.into_iter().enumerate() {
            let at = at.index(new.len() + 1);
            let end = (at + removed).min(new.len());
            new.splice(at..end, noise(seed ^ number as u64, added));
        }
        prop_assert_eq!(apply(&old, &delta(&old, &new)).unwrap(), new);
    }

    #[test]
    fn what_is_damaged_is_an_error_or_shows_in_the_hash(flip in any::<prop::sample::Index>(), bit in 0_u8..8) {
        let (old, new) = (noise(1, 5000), noise(2, 5000));
        let mut damaged = delta(&old, &new);
        let at = flip.index(damaged.len());
        damaged[at] ^= 1 << bit;
        if let Ok(made) = apply(&old, &damaged) {
            prop_assert_eq!(made.len(), new.len());
        }
    }
}
