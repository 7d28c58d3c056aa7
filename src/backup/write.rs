//! Writes the archive file: tar into a compressor into a file, hashed on the way.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::compress::{Compressor, Packing};
use super::encode::{self, BLOCK, padding};
use super::entry::{Entry, EntryKind};
use super::record::{Document, PartKind, PartRecord};
use super::selection::Selection;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::progress::Meter;
use crate::release::Digest;
use crate::release::digest::{Hasher, Hashing};
use crate::release::tarball::fill;

/// The last entry's name.
pub const DOCUMENT: &str = "backup.json";
/// How much is moved at a time; cancelling is noticed between two of them.
pub const CHUNK: usize = 128 * 1024;
/// Free room is looked at each time this much was written.
const LOOK_EVERY: u64 = 8 * 1024 * 1024;
/// Free room that is left to the engine and the services, whose data is often on the same disk …
const RESERVE: u64 = 64 * 1024 * 1024;
/// … but at most this share of a small disk.
const RESERVE_SHARE: u64 = 20;
/// More warnings than these are only counted.
const MAX_WARNINGS: u64 = 50;

/// What was written.
pub struct Written {
    pub hash: Digest,
    pub size: u64,
    pub parts: Vec<PartRecord>,
}

/// An archive that is being written.
pub struct ArchiveWriter<'a> {
    path: &'a Path,
    out: Compressor<Hashing<Guarded>>,
    meter: Meter,
    cancel: &'a AtomicBool,
    buffer: Vec<u8>,
    open: Option<OpenPart>,
    parts: Vec<PartRecord>,
}

struct OpenPart {
    record: PartRecord,
    hasher: Hasher,
    warnings: u64,
}

impl<'a> ArchiveWriter<'a> {
    /// Writes to `file`, which is at `path`.
    pub fn new(
        path: &'a Path,
        file: File,
        packing: &Packing,
        meter: Meter,
        cancel: &'a AtomicBool,
    ) -> Result<Self> {
        let sink = Hashing::new(Guarded { file, until_look: LOOK_EVERY });
        Ok(Self {
            path,
            out: Compressor::new(sink, packing).at(path)?,
            meter,
            cancel,
            buffer: vec![0; CHUNK],
            open: None,
            parts: Vec::new(),
        })
    }

    /// Begins a part; its entries follow.
    pub fn begin(&mut self, name: &str, kind: PartKind, selection: Selection) {
        let record = PartRecord {
            name: name.to_owned(),
            kind,
            entries: 0,
            files: 0,
            bytes: 0,
            digest: Digest::of(b""),
            selection,
            warnings: Vec::new(),
        };
        self.open = Some(OpenPart { record, hasher: Hasher::new(), warnings: 0 });
    }

    /// Ends the part.
    pub fn end(&mut self) {
        if let Some(mut part) = self.open.take() {
            if part.warnings > MAX_WARNINGS {
                part.record.warnings.push(format!("… and {} more", part.warnings - MAX_WARNINGS));
            }
            part.record.digest = part.hasher.finish().0;
            self.parts.push(part.record);
        }
    }

    /// Whether a person stopped the work.
    pub fn check_cancel(&self) -> Result<()> {
        if self.cancel.load(Ordering::Relaxed) {
            return Err(Fault::new(Code::Interrupted, self.path.display(), ""));
        }
        Ok(())
    }

    /// Writes `backup.json` as `document` makes it from the parts, the end marks, and everything to the disk.
    pub fn finish(mut self, document: impl FnOnce(&[PartRecord]) -> Document) -> Result<Written> {
        let document = document(&self.parts);
        let mut text = serde_json::to_vec_pretty(&document)
            .map_err(|error| Fault::from_error(Code::BackupFailed, &document.id, error))?;
        text.push(b'\n');
        let entry = Entry {
            path: PathBuf::from(DOCUMENT),
            kind: EntryKind::File,
            mode: 0o600,
            uid: 0,
            gid: 0,
            mtime: super::entry::Mtime { seconds: document.created.unix_timestamp(), nanos: 0 },
            size: text.len() as u64,
            link: PathBuf::new(),
            xattrs: Default::default(),
        };
        let path = self.path;
        self.append(&entry, &mut &text[..], &path)?;
        self.out.write_all(&[0; 2 * BLOCK]).at(path)?;
        let (sink, hash, size) = self.out.finish().at(path)?.finish();
        sink.file.sync_all().at(path)?;
        // So that the verification reads what the disk has, not what memory remembers. Advice only: where
        // the file system does not take it, the verification still checks everything else.
        let _advice = rustix::fs::fadvise(&sink.file, 0, None, rustix::fs::Advice::DontNeed);
        Ok(Written { hash, size, parts: self.parts })
    }
}

/// Takes the entries of a part, one after the other.
pub trait Sink {
    /// Adds an entry with exactly `entry.size` bytes of `body`, whose name in errors is `source`. The header
    /// is written before the content, so a file that shrinks meanwhile is filled with zeros; `false` then.
    fn append(&mut self, entry: &Entry, body: &mut dyn Read, source: &dyn Source) -> Result<bool>;

    /// Notes something that a person should know.
    fn warn(&mut self, text: String);
}

impl Sink for ArchiveWriter<'_> {
    fn append(&mut self, entry: &Entry, body: &mut dyn Read, source: &dyn Source) -> Result<bool> {
        self.check_cancel()?;
        let Self { path, out, meter, cancel, buffer, open, .. } = self;
        if let Some(part) = open {
            part.record.entries += 1;
            part.record.files += u64::from(entry.kind == EntryKind::File);
            part.record.bytes += entry.size;
            entry.hash_into(&mut part.hasher);
        }
        out.write_all(&encode::header(entry)).at(*path)?;
        let whole = content(entry.size, body, source, buffer, &mut |chunk| {
            if cancel.load(Ordering::Relaxed) {
                return Err(Fault::new(Code::Interrupted, path.display(), ""));
            }
            if let Some(part) = open {
                part.hasher.update(chunk);
                meter.add(chunk.len() as u64);
            }
            out.write_all(chunk).at(*path)
        })?;
        out.write_all(&[0; BLOCK][..padding(entry.size) as usize]).at(*path)?;
        Ok(whole)
    }

    fn warn(&mut self, text: String) {
        if let Some(part) = &mut self.open {
            part.warnings += 1;
            if part.warnings <= MAX_WARNINGS {
                part.record.warnings.push(text);
            }
        }
    }
}

/// Hands `size` bytes of `body` to `take`, piece by piece, with zeros for what is missing; whether nothing was.
pub fn content(
    size: u64,
    body: &mut dyn Read,
    source: &dyn Source,
    buffer: &mut [u8],
    take: &mut dyn FnMut(&[u8]) -> Result<()>,
) -> Result<bool> {
    let (mut left, mut whole) = (size, true);
    while left > 0 {
        let wanted = left.min(buffer.len() as u64) as usize;
        let chunk = &mut buffer[..wanted];
        let count = if whole { fill(body, chunk).map_err(|error| source.fault(error))? } else { 0 };
        if count < wanted {
            whole = false;
            chunk[count..].fill(0);
        }
        take(chunk)?;
        left -= wanted as u64;
    }
    Ok(whole)
}

/// Where content comes from, for the error when it cannot be read.
pub trait Source {
    /// The error that names the source.
    fn fault(&self, error: io::Error) -> Fault;
}

impl Source for &Path {
    fn fault(&self, error: io::Error) -> Fault {
        Fault::io(self, error)
    }
}

/// Bytes that may be written to the file system of `file`, and how many of them are to be left free.
pub fn room(file: impl std::os::fd::AsFd) -> io::Result<(u64, u64)> {
    let stat = rustix::fs::fstatvfs(file)?;
    let total = stat.f_blocks.saturating_mul(stat.f_frsize);
    Ok((stat.f_bavail.saturating_mul(stat.f_frsize), RESERVE.min(total / RESERVE_SHARE)))
}

/// A file that refuses to take the last free room of its disk.
struct Guarded {
    file: File,
    until_look: u64,
}

impl Write for Guarded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.until_look == 0 {
            self.until_look = LOOK_EVERY;
            let (free, reserve) = room(&self.file)?;
            if free < reserve {
                return Err(io::ErrorKind::StorageFull.into());
            }
        }
        let count = self.file.write(buffer)?;
        self.until_look = self.until_look.saturating_sub(count as u64);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}
