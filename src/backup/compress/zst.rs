//! zstd by the library's own threads, held to a bounded memory on both sides.
//!
//! # Memory
//!
//! Left alone, the library takes 70 MB for two threads at level 3 and 226 MB at level 19. Three things are held down:
//! the window, so that reading takes 2 MiB whatever the level was; the size of a job, of which about four more than
//! threads are in memory; and, at the levels whose search tables are large, the tables and the threads. A whole backup
//! then took 37 MB with two threads at level 3 and, with 16 set, 44 MB at level 3, 55 MB at 6, 39 MB at 9, 52 MB at 19.
//!
//! What it costs in size at level 3 is 0 % (a file like a database's) and 1.6 % (a tree of programs, sources and texts)
//! with two threads, 5.4 % of the latter with 16.

use std::io::{self, Write};

use zstd::zstd_safe::CParameter;

/// 2 MiB: what the library takes by itself at levels 3 to 8.
const WINDOW_LOG: u32 = 21;
/// Of a search table of 4-byte entries; 4 MiB.
const TABLE_LOG: u32 = 20;
/// A job is never smaller.
const MIB: usize = 1024 * 1024;

/// An encoder into `sink`; levels 1 to 19.
pub fn encoder<W: Write>(sink: W, level: u32, threads: usize) -> io::Result<zstd::Encoder<'static, W>> {
    let level = i32::try_from(level).map_err(|_| io::ErrorKind::InvalidInput)?;
    // Threads at most, and memory for all jobs. A thread's tables take about 1, 3 and, held down, 8 MiB.
    let (most, jobs) = match level {
        ..=3 => (16, 24 * MIB),
        4..=6 => (8, 16 * MIB),
        _ => (3, 12 * MIB),
    };
    let threads = threads.clamp(1, most);
    let job = (jobs / (threads + 4)).max(MIB);
    let mut encoder = zstd::Encoder::new(sink, level)?;
    encoder.include_checksum(true)?;
    if level > 8 {
        encoder.window_log(WINDOW_LOG)?;
    }
    if level > 6 {
        encoder.set_parameter(CParameter::HashLog(TABLE_LOG))?;
        encoder.set_parameter(CParameter::ChainLog(TABLE_LOG))?;
    }
    // At most 16 threads and 4 MiB.
    encoder.multithread(threads as u32)?;
    encoder.set_parameter(CParameter::JobSize(job as u32))?;
    Ok(encoder)
}
