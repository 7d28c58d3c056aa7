//! From the old layer and a delta to the new layer.

use std::io::{self, Read};

use zstd::zstd_safe::{self, DCtx};

use super::{CHUNK, Layer, MAGIC, REFERENCE, invalid};

/// The new layer, made while it is read.
pub struct Applied<R> {
    old: Layer,
    delta: R,
    /// Bytes of the new layer that are still to be made.
    left: u64,
    reference: Vec<u8>,
    frame: Vec<u8>,
    chunk: Vec<u8>,
    /// How much of `chunk` was handed out.
    given: usize,
}

impl<R: Read> Applied<R> {
    /// Begins to read `delta`, which was made against `old`.
    pub fn new(old: Layer, mut delta: R) -> io::Result<Self> {
        let mut magic = [0; MAGIC.len()];
        delta.read_exact(&mut magic)?;
        if magic != *MAGIC {
            return Err(invalid("it is no delta that this client knows"));
        }
        let lengths = (u64_of(&mut delta)?, u64_of(&mut delta)?);
        if lengths.0 != old.length() {
            return Err(invalid(format!(
                "it is for a layer of {} bytes, this one has {}",
                lengths.0,
                old.length()
            )));
        }
        let (reference, frame, chunk) = (Vec::new(), Vec::new(), Vec::new());
        Ok(Self { old, delta, left: lengths.1, reference, frame, chunk, given: 0 })
    }

    fn next(&mut self) -> io::Result<()> {
        let made = length_of(&mut self.delta, CHUNK)?;
        let at = u64_of(&mut self.delta)?;
        let refers = length_of(&mut self.delta, REFERENCE)?;
        let length = length_of(&mut self.delta, zstd_safe::compress_bound(CHUNK))?;
        // Small ones would have the old layer read again and again for nothing.
        let full = made == CHUNK || made as u64 == self.left;
        if made == 0 || made as u64 > self.left || !full {
            return Err(invalid(format!("a frame makes {made} bytes, {} are left", self.left)));
        }
        self.reference.resize(refers, 0);
        self.old.read_at(&mut self.reference, at)?;
        self.frame.resize(length, 0);
        self.delta.read_exact(&mut self.frame)?;
        self.chunk.resize(made, 0);
        let wrong = |code| invalid(zstd_safe::get_error_name(code));
        let mut context = DCtx::create();
        context.ref_prefix(&self.reference).map_err(wrong)?;
        // At once, so that zstd needs no buffers of its own.
        let found = context.decompress(&mut self.chunk[..], &self.frame).map_err(wrong)?;
        if found != made {
            return Err(invalid(format!("a frame makes {found} bytes instead of {made}")));
        }
        self.left -= made as u64;
        self.given = 0;
        Ok(())
    }
}

impl<R: Read> Read for Applied<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if buffer.is_empty() {
            return Ok(0);
        }
        if self.given == self.chunk.len() {
            if self.left == 0 {
                return Ok(0);
            }
            self.next()?;
        }
        let count = buffer.len().min(self.chunk.len() - self.given);
        buffer[..count].copy_from_slice(&self.chunk[self.given..self.given + count]);
        self.given += count;
        Ok(count)
    }
}

fn u64_of(reader: &mut impl Read) -> io::Result<u64> {
    let mut bytes = [0; 8];
    reader.read_exact(&mut bytes)?;
    Ok(u64::from_le_bytes(bytes))
}

fn length_of(reader: &mut impl Read, most: usize) -> io::Result<usize> {
    let mut bytes = [0; 4];
    reader.read_exact(&mut bytes)?;
    match u32::from_le_bytes(bytes) as usize {
        length if length <= most => Ok(length),
        length => Err(invalid(format!("a length of {length} bytes; {most} are allowed"))),
    }
}
