//! How an archive is compressed: on several threads, in one of two formats, in bounded memory.
//!
//! A whole backup takes less than 64 MiB with up to [`MAX_THREADS`] threads at any level; on two processors at the
//! default levels 12 MiB (gzip) and 36 MiB (zstd): see [`gzip`] and [`zst`] for what makes the sum. Reading takes below
//! 2 MiB and zstd's window, which is 2 MiB here and never more than 8 MiB.
//!
//! What a file is, its first bytes say, never its name.

mod gzip;
mod pool;
mod read;
#[cfg(test)]
mod tests;
mod zst;

use std::io::{self, Write};

use crate::settings::{ArchiveFormat, BackupSettings, MAX_THREADS};

pub use read::ArchiveReader;

/// How an archive is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packing {
    /// What the archive is.
    pub format: ArchiveFormat,
    /// In the range of [`ArchiveFormat::levels`].
    pub level: u32,
    /// Threads that compress; 0: one per processor. At most [`MAX_THREADS`] are used.
    pub threads: usize,
}

impl Packing {
    /// `format` with its usual level and a thread per processor.
    pub fn of(format: ArchiveFormat) -> Self {
        Self { format, level: format.default_level(), threads: 0 }
    }

    fn workers(&self) -> usize {
        let wanted = match self.threads {
            0 => std::thread::available_parallelism().map_or(1, usize::from),
            threads => threads,
        };
        wanted.min(MAX_THREADS)
    }
}

impl Default for Packing {
    fn default() -> Self {
        Self::of(ArchiveFormat::default())
    }
}

impl From<&BackupSettings> for Packing {
    fn from(settings: &BackupSettings) -> Self {
        let usual = Self::of(settings.format);
        Self { level: settings.level.unwrap_or(usual.level), threads: settings.threads, ..usual }
    }
}

/// Compresses what is written to it into a sink. Dropped unfinished, it ends its threads and leaves half an archive.
pub enum Compressor<W: Write> {
    /// gzip.
    Gzip(gzip::ParallelGzip<W>),
    /// zstd.
    Zstd(zstd::Encoder<'static, W>),
}

impl<W: Write> Compressor<W> {
    /// Compresses into `sink`; an error where the level is none of the format's or a thread cannot be started.
    pub fn new(sink: W, packing: &Packing) -> io::Result<Self> {
        let levels = packing.format.levels();
        if !levels.contains(&packing.level) {
            let range = format!("the level is {} to {}", levels.start(), levels.end());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, range));
        }
        Ok(match packing.format {
            ArchiveFormat::TarGz => {
                Self::Gzip(gzip::ParallelGzip::new(sink, packing.level, packing.workers())?)
            }
            ArchiveFormat::TarZst => Self::Zstd(zst::encoder(sink, packing.level, packing.workers())?),
        })
    }

    /// Compresses and writes what is left; the sink has the whole stream then.
    pub fn finish(self) -> io::Result<W> {
        match self {
            Self::Gzip(gzip) => gzip.finish(),
            Self::Zstd(encoder) => encoder.finish(),
        }
    }
}

impl<W: Write> Write for Compressor<W> {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        match self {
            Self::Gzip(gzip) => gzip.write(buffer),
            Self::Zstd(encoder) => encoder.write(buffer),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Self::Gzip(gzip) => gzip.flush(),
            Self::Zstd(encoder) => encoder.flush(),
        }
    }
}
