//! Where the bytes of one layer are in another.
//!
//! Layers are tar archives: every file in them begins at a multiple of 512 bytes. So a file that only moved is the same
//! row of blocks elsewhere, and blocks need to be looked for only there.

use std::collections::{HashMap, HashSet};
use std::io::{self, Read};
use std::ops::Range;

use super::{Layer, REFERENCE, fill};

const BLOCK: usize = 512;
/// The new bytes of one frame are looked for with this precision.
const BUCKET: u64 = 1 << 20;
/// One block of so many goes into a sketch.
const SAMPLED: u64 = 16;

/// Where each block of a layer is that is in it only once.
pub(super) struct Places {
    length: u64,
    at: HashMap<u64, u32>,
}

const AMBIGUOUS: u32 = u32::MAX;

impl Places {
    /// Reads the layer.
    pub(super) fn of(layer: &Layer) -> io::Result<Self> {
        let mut at = HashMap::new();
        let mut number: u32 = 0;
        each_block(layer.reader(), |hash| {
            at.entry(hash).and_modify(|place| *place = AMBIGUOUS).or_insert(number);
            // 2^32 blocks are 2 TiB; what lies behind them is not referred to.
            number = number.saturating_add(1);
        })?;
        at.retain(|_, place| *place != AMBIGUOUS);
        Ok(Self { length: layer.length(), at })
    }

    /// The stretch of the layer that has most of the blocks of `chunk`, which begins at `at` of the new one; the one about
    /// the same place where none has any.
    pub(super) fn best_for(&self, chunk: &[u8], at: u64) -> Range<u64> {
        let wide = REFERENCE as u64;
        if self.length <= wide {
            return 0..self.length;
        }
        let buckets = usize::try_from(self.length.div_ceil(BUCKET)).unwrap_or(usize::MAX);
        let mut found = vec![0_u32; buckets];
        for block in chunk.chunks_exact(BLOCK) {
            if let Some(place) = self.at.get(&hash_of(block)) {
                found[(u64::from(*place) * BLOCK as u64 / BUCKET) as usize] += 1;
            }
        }
        let across = (wide / BUCKET) as usize;
        let last = buckets - across;
        let same = ((at / BUCKET) as usize).saturating_sub(across / 3).min(last);
        let mut sum: u32 = found[..across].iter().sum();
        let mut sums = vec![sum];
        for start in 1..=last {
            sum = sum + found[start + across - 1] - found[start - 1];
            sums.push(sum);
        }
        // Of equally good ones the nearest: what changed is most like what was at its place before.
        let best = (0..=last).max_by_key(|start| (sums[*start], std::cmp::Reverse(start.abs_diff(same))));
        let start = (best.unwrap_or(same) as u64 * BUCKET).min(self.length - wide);
        start..start + wide
    }
}

/// Some of a layer's blocks: enough to see which layers are alike.
#[derive(Debug, Clone, Default)]
pub struct Sketch(HashSet<u64>);

impl Sketch {
    /// Reads the layer.
    pub fn of(layer: impl Read) -> io::Result<Self> {
        let mut blocks = HashSet::new();
        each_block(layer, |hash| {
            if hash.is_multiple_of(SAMPLED) {
                blocks.insert(hash);
            }
        })?;
        Ok(Self(blocks))
    }

    /// How many sampled blocks both have.
    pub fn in_common(&self, other: &Self) -> usize {
        self.0.intersection(&other.0).count()
    }
}

fn each_block(mut reader: impl Read, mut see: impl FnMut(u64)) -> io::Result<()> {
    let mut buffer = vec![0; 512 * BLOCK];
    loop {
        let count = fill(&mut reader, &mut buffer)?;
        if count == 0 {
            return Ok(());
        }
        buffer[..count].chunks_exact(BLOCK).for_each(|block| see(hash_of(block)));
    }
}

/// Fast and always the same; what collides costs bytes and nothing else.
fn hash_of(block: &[u8]) -> u64 {
    let words = block.chunks_exact(8).map(|word| word.try_into().map_or(0, u64::from_le_bytes));
    let mixed = words.fold(0x9e37_79b9_7f4a_7c15_u64, |hash, word| {
        (hash ^ word).wrapping_mul(0xff51_afd7_ed55_8ccd).rotate_left(29)
    });
    mixed ^ (mixed >> 32)
}
