//! gzip by several threads: the input is cut into blocks, and each becomes a member of its own.
//!
//! Members that follow each other are one gzip file (RFC 1952, 2.2); GNU gzip and tar, busybox, pigz and Python read
//! them as one.
//!
//! # Why libdeflate
//!
//! Measured on one busy machine with a tree of texts, sources, programs and archives (120 MB) and a file like a
//! database's (60 MB); CPU seconds and size against `pigz -6` (2 threads):
//!
//! ```text
//!                                     tree                      database
//! pigz -6                    2.58 s   64,934,176       3.28 s   22,466,161
//! flate2 (zlib-rs), level 6  2.30 s   65,024,756                               one thread
//! libdeflate 6, 512 KiB      1.30 s   64,774,541       1.12 s   22,920,928     -0.2 %   +2.0 %
//! libdeflate 7, 512 KiB      1.35 s   64,680,769       1.55 s   22,200,200     -0.4 %   -1.2 %
//! libdeflate 7, 1 MiB                                  1.59 s   22,148,699              -1.4 %
//! ```
//!
//! So zlib's level 6 is met in half the time, in size with libdeflate's 7; below 6 libdeflate is as small as zlib at
//! the same number. zlib-rs with dictionaries from block to block, as pigz has them, would cost what pigz costs.
//! libdeflate cannot continue a stream, which is why blocks are members: that costs 0.2 % at 512 KiB (1 MiB: 0.1 %,
//! for twice the memory; 128 KiB: 0.7 %).
//!
//! # Memory
//!
//! Twice as many blocks as threads are in flight, but at most eight more, each with its output: 1 MiB a block, so
//! 25 MiB with 16 threads. A thread takes below 1 MiB at levels up to 9 and 9 MiB above, where at most 4 are used.
//! A whole backup took 12 MB with two threads and, with 16, 41 MB at levels 6, 9 and 10.

use std::io::{self, Write};

use libdeflater::{CompressionLvl, Compressor};

use super::pool::{Block, Pool, Work};

/// What one member holds.
pub const BLOCK: usize = 512 * 1024;
/// From this level on a thread takes 9 MiB …
const HEAVY_LEVEL: u32 = 10;
/// … so that there are only this many.
const HEAVY_THREADS: usize = 4;

/// Compresses into `W` on several threads; everything is written by the thread that uses this.
pub struct ParallelGzip<W> {
    sink: W,
    pool: Pool,
    block: Block,
    spare: Vec<Block>,
    most: usize,
    members: u64,
    failed: bool,
}

impl<W: Write> ParallelGzip<W> {
    /// The level is 0 to 12, of which 0 to 9 give about the size that gzip gives at that level, or less.
    pub fn new(sink: W, level: u32, threads: usize) -> io::Result<Self> {
        let most_threads = if level < HEAVY_LEVEL { threads } else { HEAVY_THREADS };
        let threads = threads.clamp(1, most_threads.max(1));
        let workers = (0..threads).map(|_| Deflate::new(level)).collect::<io::Result<_>>()?;
        Ok(Self::with(sink, Pool::new::<Deflate>(workers)?, threads))
    }

    pub(super) fn with(sink: W, pool: Pool, threads: usize) -> Self {
        let most = (2 * threads).min(threads + 8);
        Self { sink, pool, block: Block::default(), spare: Vec::new(), most, members: 0, failed: false }
    }

    /// Writes what is left.
    pub fn finish(mut self) -> io::Result<W> {
        // No member at all would be no gzip.
        if self.members == 0 && self.block.input.is_empty() {
            self.guarded(Self::submit)?;
        }
        self.drain()?;
        Ok(self.sink)
    }

    fn drain(&mut self) -> io::Result<()> {
        self.guarded(|this| {
            if !this.block.input.is_empty() {
                this.submit()?;
            }
            this.collect(0)
        })
    }

    /// After a failure there is a gap in what was written: nothing may follow it.
    fn guarded(&mut self, work: impl FnOnce(&mut Self) -> io::Result<()>) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("compressing has failed before"));
        }
        let result = work(self);
        self.failed = result.is_err();
        result
    }

    /// Hands the block to the threads, and takes back what that is too much of.
    fn submit(&mut self) -> io::Result<()> {
        self.collect(self.most - 1)?;
        let next = self.spare.pop().unwrap_or_default();
        self.pool.submit(std::mem::replace(&mut self.block, next))?;
        self.members += 1;
        Ok(())
    }

    /// Writes members, in order, until at most `left` are in flight.
    fn collect(&mut self, left: usize) -> io::Result<()> {
        while self.pool.in_flight() > left
            && let Some(done) = self.pool.take()
        {
            let mut block = done?;
            self.sink.write_all(&block.output)?;
            block.input.clear();
            self.spare.push(block);
        }
        Ok(())
    }
}

impl<W: Write> Write for ParallelGzip<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.block.input.len() == BLOCK {
            self.guarded(Self::submit)?;
        }
        let input = &mut self.block.input;
        if input.capacity() < BLOCK {
            input.reserve_exact(BLOCK - input.len());
        }
        let count = buffer.len().min(BLOCK - input.len());
        input.extend_from_slice(&buffer[..count]);
        Ok(count)
    }

    /// Ends the member, so it makes the archive larger: for the end, not for every write.
    fn flush(&mut self) -> io::Result<()> {
        self.drain()?;
        self.sink.flush()
    }
}

/// One thread's compressor.
struct Deflate(Compressor);

impl Deflate {
    fn new(level: u32) -> io::Result<Self> {
        // See above: what gzip calls 6 is libdeflate's 7. Its 8 and 9 differ by nothing that matters.
        let level = if (6..=8).contains(&level) { level + 1 } else { level };
        let level = i32::try_from(level).ok().and_then(|level| CompressionLvl::new(level).ok());
        let level = level.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(Self(Compressor::new(level)))
    }
}

impl Work for Deflate {
    fn work(&mut self, block: &mut Block) -> io::Result<()> {
        let bound = self.0.gzip_compress_bound(block.input.len());
        block.output.resize(bound, 0);
        let length = self.0.gzip_compress(&block.input, &mut block.output).map_err(io::Error::other)?;
        block.output.truncate(length);
        Ok(())
    }
}
