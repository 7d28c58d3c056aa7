//! What changed between two layers, as something that is fetched in place of the new one.
//!
//! A delta is a row of zstd frames. Each makes the next [`CHUNK`] bytes of the new layer (the last: the rest), and refers to
//! one stretch of the old layer, at most [`REFERENCE`] bytes, which the publisher chose because most of the new bytes
//! are in it. So neither side ever holds more than one stretch of each, however large the layers are: applying a delta
//! takes [`MOST_MEMORY`] bytes.
//!
//! Bytes (numbers are little-endian): `compose-upgrade delta 1\n`, the old layer's length (8), the new one's (8); then for
//! each frame the bytes it makes (4), where its reference begins (8) and how long that is (4), the frame's own length (4)
//! and the frame. Nothing in it is trusted: what comes of it must have the new layer's digest.

mod blocks;
mod decode;
mod encode;

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::Arc;

use super::bundle::fault_of;
use super::tarball::{Section, fill};
use crate::fault::{IoContext, Result};

pub use blocks::Sketch;
pub use decode::Applied;
pub use encode::encode;

/// Bytes of the new layer that one frame makes, at most.
pub const CHUNK: usize = 4 << 20;
/// Bytes of the old layer that one frame refers to, at most.
pub const REFERENCE: usize = 12 << 20;
/// What applying a delta keeps in memory, at most: a chunk, its reference, its frame and what zstd itself needs.
pub const MOST_MEMORY: usize = 2 * CHUNK + REFERENCE + (2 << 20);

const MAGIC: &[u8; 24] = b"compose-upgrade delta 1\n";
/// Large enough for a chunk and its reference: 2^24 bytes.
const WINDOW_LOG: u32 = 24;

/// The uncompressed bytes of a layer, in a file.
#[derive(Debug, Clone)]
pub struct Layer {
    file: Arc<File>,
    offset: u64,
    length: u64,
}

impl Layer {
    /// `length` bytes of `file`, from `offset` on.
    pub fn new(file: Arc<File>, offset: u64, length: u64) -> Self {
        Self { file, offset, length }
    }

    /// All that `content` gives, in a file in `folder` that nobody else sees and that goes with the last who has it open;
    /// `name` is the object of errors.
    pub fn spooled(folder: &Path, mut content: impl Read, name: &str) -> Result<Self> {
        let mut file = tempfile::tempfile_in(folder).at(folder)?;
        let length = io::copy(&mut content, &mut file).map_err(|error| fault_of(error, name))?;
        Ok(Self::new(Arc::new(file), 0, length))
    }

    /// Bytes.
    pub fn length(&self) -> u64 {
        self.length
    }

    /// All of it, from the beginning.
    pub fn reader(&self) -> impl Read + Send + use<> {
        Section::new(self.file.clone(), self.offset, self.length)
    }

    /// Fills `buffer` from `at` on.
    fn read_at(&self, buffer: &mut [u8], at: u64) -> io::Result<()> {
        match at.checked_add(buffer.len() as u64) {
            Some(end) if end <= self.length => self.file.read_exact_at(buffer, self.offset + at),
            _ => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }
}

fn invalid(cause: impl Into<String>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, cause.into())
}

#[cfg(test)]
mod tests;
