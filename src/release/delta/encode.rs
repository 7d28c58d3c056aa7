//! From two layers to the delta between them.

use std::io::{self, Write};

use super::blocks::Places;
use super::{CHUNK, Layer, MAGIC, WINDOW_LOG, fill, invalid};

/// A delta is made once and fetched by many.
const LEVEL: i32 = 12;

/// Writes the delta from `old` to `new` into `out`; its length, or none where it would be longer than `most` bytes: `out`
/// then holds a part of it.
pub fn encode(old: &Layer, new: &Layer, out: &mut impl Write, most: u64) -> io::Result<Option<u64>> {
    let places = Places::of(old)?;
    let mut head = Vec::with_capacity(MAGIC.len() + 16);
    head.extend_from_slice(MAGIC);
    head.extend_from_slice(&old.length().to_le_bytes());
    head.extend_from_slice(&new.length().to_le_bytes());
    out.write_all(&head)?;
    let mut length = head.len() as u64;
    let (mut chunk, mut reference) = (vec![0; CHUNK], Vec::new());
    let (mut reader, mut at) = (new.reader(), 0);
    while at < new.length() {
        let made = fill(&mut reader, &mut chunk)?;
        if made == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        let from = places.best_for(&chunk[..made], at);
        reference.resize(usize::try_from(from.end - from.start).map_err(|_| invalid("a reference"))?, 0);
        old.read_at(&mut reference, from.start)?;
        let frame = frame(&chunk[..made], &reference)?;
        let mut head = Vec::with_capacity(20);
        head.extend_from_slice(&(made as u32).to_le_bytes());
        head.extend_from_slice(&from.start.to_le_bytes());
        head.extend_from_slice(&(reference.len() as u32).to_le_bytes());
        head.extend_from_slice(&(frame.len() as u32).to_le_bytes());
        length += (head.len() + frame.len()) as u64;
        if length > most {
            return Ok(None);
        }
        out.write_all(&head)?;
        out.write_all(&frame)?;
        at += made as u64;
    }
    Ok(Some(length))
}

fn frame(chunk: &[u8], reference: &[u8]) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::Encoder::with_ref_prefix(Vec::new(), LEVEL, reference)?;
    encoder.window_log(WINDOW_LOG)?;
    encoder.long_distance_matching(true)?;
    encoder.include_contentsize(true)?;
    encoder.set_pledged_src_size(Some(chunk.len() as u64))?;
    encoder.write_all(chunk)?;
    encoder.finish()
}
