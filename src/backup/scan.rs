//! Reads an archive from its first byte to its last and believes nothing it was not told by the record.

use std::fs::File;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::compress::ArchiveReader;
use super::decode::TarReader;
use super::entry::{Entry, EntryKind};
use super::record::{Document, PartRecord};
use super::selection::Cover;
use super::write::DOCUMENT;
use crate::fault::{Code, Fault, Result};
use crate::release::Digest;
use crate::release::digest::Hasher;

/// The embedded document holds one record per part.
const MAX_DOCUMENT: u64 = 16 * 1024 * 1024;

/// What tar pads its output to, by default.
const MAX_RECORD: u64 = 10 * 1024;

/// What the archive must turn out to be.
pub struct Expected<'a> {
    pub id: &'a str,
    pub hash: Digest,
    pub parts: &'a [PartRecord],
}

/// What a whole archive turned out to be.
pub struct Scanned {
    pub document: Document,
    pub entries: u64,
    pub bytes: u64,
    pub size: u64,
}

/// Receives the part's index, the entry, and its content.
pub type Visit<'v> = dyn FnMut(usize, &Entry, &mut dyn Read) -> Result<()> + 'v;

/// Reads everything in the file at `path`, hands each entry to `visit`, and compares the whole with
/// `expected`. Only when this returns `Ok` was everything that `visit` saw genuine.
pub fn scan(
    path: &Path,
    expected: &Expected<'_>,
    cancel: &AtomicBool,
    visit: &mut Visit<'_>,
) -> Result<Scanned> {
    let file = open(path)?;
    let corrupt = |cause: &dyn std::fmt::Display| Fault::new(Code::BackupCorrupt, path.display(), cause);
    let read_fault = |error: io::Error| {
        if cancel.load(Ordering::Relaxed) {
            return Fault::new(Code::Interrupted, path.display(), "");
        }
        match error.kind() {
            io::ErrorKind::UnexpectedEof => corrupt(&"it ends too early"),
            _ => corrupt(&error),
        }
    };
    let mut reader = TarReader::new(ArchiveReader::new(file));
    let mut tallies: Vec<Tally> = expected.parts.iter().map(|_| Tally::default()).collect();
    let document = loop {
        let Some(entry) = reader.advance().map_err(read_fault)? else {
            return Err(corrupt(&format!("{DOCUMENT} is missing")));
        };
        if entry.path == Path::new(DOCUMENT) {
            break read_document(&entry, &mut reader).map_err(read_fault)?;
        }
        let index = part_of(&entry, expected.parts).map_err(|cause| corrupt(&cause))?;
        let tally = &mut tallies[index];
        tally.add(&entry);
        let mut body = Body { reader: &mut reader, hasher: &mut tally.hasher, cancel, failed: None };
        let visited = visit(index, &entry, &mut body);
        // The visitor knows only that it could not read; here it is known that the archive is to blame.
        if let Some(error) = body.failed.take() {
            return Err(read_fault(error));
        }
        visited?;
        body.drain().map_err(read_fault)?;
    };
    if let Some(entry) = reader.advance().map_err(read_fault)? {
        return Err(corrupt(&format!("{:?} follows {DOCUMENT}", entry.path)));
    }
    // To the end of the compressed stream, where its checksum is, which has to be the end of the file.
    let (hash, size) = end(reader).map_err(read_fault)?;
    if hash != expected.hash {
        return Err(corrupt(&format!("its hash is {hash}, the record says {}", expected.hash)));
    }
    if document.schema != 1 || document.id != expected.id || document.parts.len() != expected.parts.len() {
        return Err(corrupt(&format!("its {DOCUMENT} is that of another backup ({})", document.id)));
    }
    let (mut entries, mut bytes) = (0, 0);
    for ((tally, recorded), embedded) in tallies.into_iter().zip(expected.parts).zip(&document.parts) {
        entries += tally.entries;
        bytes += tally.bytes;
        tally.compare(recorded).and(embedded_matches(recorded, embedded)).map_err(|cause| corrupt(&cause))?;
    }
    Ok(Scanned { document, entries, bytes, size })
}

/// What the archive at `path` says of itself, and the hash of the file. Nothing of it is proven yet: see [`scan`].
pub fn survey(path: &Path, cancel: &AtomicBool) -> Result<(Document, Digest)> {
    let corrupt = |error: io::Error| Fault::new(Code::BackupCorrupt, path.display(), error);
    let mut reader = TarReader::new(ArchiveReader::new(open(path)?));
    let document = loop {
        if cancel.load(Ordering::Relaxed) {
            return Err(Fault::new(Code::Interrupted, path.display(), ""));
        }
        match reader.advance().map_err(corrupt)? {
            None => return Err(corrupt(super::decode::invalid(format!("{DOCUMENT} is missing")))),
            Some(entry) if entry.path == Path::new(DOCUMENT) => {
                break read_document(&entry, &mut reader).map_err(corrupt)?;
            }
            Some(_) => {}
        }
    };
    let (hash, _) = end(reader).map_err(corrupt)?;
    Ok((document, hash))
}

/// Reads on from the first end mark to the end of the file. A second mark follows and, from other programs, zeros up to
/// the end of a record; anything else is damage.
fn end(reader: TarReader<ArchiveReader>) -> io::Result<(Digest, u64)> {
    let mut reader = reader.into_inner();
    let mut rest = Vec::new();
    (&mut reader).take(MAX_RECORD).read_to_end(&mut rest)?;
    if rest.iter().any(|byte| *byte != 0) {
        return Err(super::decode::invalid("something follows its end"));
    }
    reader.finish()
}

/// Opens the archive; a missing file is a damaged backup.
pub fn open(path: &Path) -> Result<File> {
    File::open(path).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => Fault::new(Code::BackupCorrupt, path.display(), "the file is missing"),
        _ => Fault::io(path, error),
    })
}

/// The index of the part that `entry` belongs to, if all names in it stay in that part.
fn part_of(entry: &Entry, parts: &[PartRecord]) -> std::result::Result<usize, String> {
    let name = entry.path.as_os_str().as_bytes();
    if entry.kind == EntryKind::Device {
        return Err(format!("{:?} is a device", entry.path));
    }
    let index = parts.iter().position(|part| entry.path.starts_with(&part.name));
    let Some(index) = index.filter(|_| is_plain(name)) else {
        return Err(format!("{:?} lies outside the recorded parts", entry.path));
    };
    if entry.kind == EntryKind::HardLink {
        let inside = entry.link.starts_with(&parts[index].name);
        if !inside || !is_plain(entry.link.as_os_str().as_bytes()) {
            return Err(format!("{:?} is a link to {:?}, outside its part", entry.path, entry.link));
        }
    }
    Ok(index)
}

/// No absolute name, no `.`, `..` or empty part.
fn is_plain(name: &[u8]) -> bool {
    !name.contains(&0) && name.split(|byte| *byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
}

fn read_document(entry: &Entry, reader: &mut dyn Read) -> io::Result<Document> {
    if entry.kind != EntryKind::File || entry.size > MAX_DOCUMENT {
        return Err(super::decode::invalid(format!("{DOCUMENT} is not a document")));
    }
    let mut text = Vec::new();
    reader.read_to_end(&mut text)?;
    Ok(serde_json::from_slice(&text)?)
}

fn embedded_matches(recorded: &PartRecord, embedded: &PartRecord) -> std::result::Result<(), String> {
    if (&recorded.name, &recorded.kind, recorded.digest) != (&embedded.name, &embedded.kind, embedded.digest)
    {
        return Err(format!("its {DOCUMENT} and its record differ about {}", recorded.name));
    }
    Ok(())
}

#[derive(Default)]
struct Tally {
    entries: u64,
    files: u64,
    bytes: u64,
    hasher: Hasher,
}

impl Tally {
    fn add(&mut self, entry: &Entry) {
        self.entries += 1;
        self.files += u64::from(entry.kind == EntryKind::File);
        self.bytes += entry.size;
        entry.hash_into(&mut self.hasher);
    }

    fn compare(self, part: &PartRecord) -> std::result::Result<(), String> {
        if (self.entries, self.files, self.bytes) != (part.entries, part.files, part.bytes) {
            return Err(format!(
                "{} has {} entries with {} bytes, recorded are {} with {}",
                part.name, self.entries, self.bytes, part.entries, part.bytes
            ));
        }
        if self.hasher.finish().0 != part.digest {
            return Err(format!("{} does not have the recorded content", part.name));
        }
        Ok(())
    }
}

/// The content of one entry, hashed as it is read.
struct Body<'a, R> {
    reader: &'a mut TarReader<R>,
    hasher: &'a mut Hasher,
    cancel: &'a AtomicBool,
    failed: Option<io::Error>,
}

impl<R: Read> Body<'_, R> {
    fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [0; 16 * 1024];
        while self.read(&mut buffer)? > 0 {}
        Ok(())
    }
}

impl<R: Read> Read for Body<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = match self.cancel.load(Ordering::Relaxed) {
            true => Err(io::Error::other("interrupted")),
            false => self.reader.read(buffer),
        };
        let count = read.map_err(|error| {
            let told = io::Error::new(error.kind(), "the archive could not be read");
            self.failed = Some(error);
            told
        })?;
        self.hasher.update(&buffer[..count]);
        Ok(count)
    }
}

/// The content of a part that is one file.
pub struct PartContent {
    reader: TarReader<ArchiveReader>,
}

impl PartContent {
    pub(super) fn open(path: &Path, part: &str) -> Result<Self> {
        let mut reader = TarReader::new(ArchiveReader::new(open(path)?));
        let corrupt = |cause: String| Fault::new(Code::BackupCorrupt, path.display(), cause);
        while let Some(entry) = reader.advance().map_err(|error| corrupt(error.to_string()))? {
            if entry.path == Path::new(part) && entry.kind == EntryKind::File {
                return Ok(Self { reader });
            }
        }
        Err(corrupt(format!("it has no file {part}")))
    }
}

impl Read for PartContent {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.reader.read(buffer)
    }
}

/// One part as a plain tar stream, as the engine's archive API takes it; all names lie below the folder `top`
/// (`data/`, `data/a` …), or, where that is empty, are the part's own (`./`, `a` …).
///
/// The engine refuses links that lead out of the folder a stream is sent to (`../../x`), which data may well
/// hold. Send the stream to `/` with the mount point as `top`; nothing leads out of `/`.
pub struct PartTar {
    reader: TarReader<ArchiveReader>,
    part: PathBuf,
    top: PathBuf,
    cover: Cover,
    ready: Vec<u8>,
    at: usize,
    padding: u64,
    content: u64,
    done: bool,
}

impl PartTar {
    /// Only what `cover` wants of the part.
    pub(super) fn new(file: File, part: &str, top: &Path, cover: Cover) -> Self {
        let top = top.strip_prefix("/").unwrap_or(top).to_owned();
        let reader = TarReader::new(ArchiveReader::new(file));
        let part = part.into();
        Self { reader, part, top, cover, ready: Vec::new(), at: 0, padding: 0, content: 0, done: false }
    }

    fn prepare(&mut self) -> io::Result<()> {
        self.at = 0;
        self.ready = vec![0; self.padding as usize];
        self.padding = 0;
        loop {
            let entry = self.reader.advance()?;
            let Some(mut entry) = entry.filter(|entry| entry.path != Path::new(DOCUMENT)) else {
                self.done = true;
                self.ready.resize(self.ready.len() + 2 * super::encode::BLOCK, 0);
                return Ok(());
            };
            let Ok(relative) = entry.path.strip_prefix(&self.part) else { continue };
            if !relative.as_os_str().is_empty() && !self.cover.wants(relative) {
                continue;
            }
            let name = match (relative.as_os_str().is_empty(), entry.kind) {
                (true, EntryKind::Folder) => None,
                (true, _) => self.part.file_name().map(Path::new),
                (false, _) => Some(relative),
            };
            entry.path = match name {
                Some(name) => self.top.join(name),
                None if self.top.as_os_str().is_empty() => PathBuf::from("."),
                None => self.top.clone(),
            };
            if entry.kind == EntryKind::HardLink {
                let relative = entry.link.strip_prefix(&self.part).unwrap_or(&entry.link);
                entry.link = self.top.join(relative);
            }
            self.content = entry.size;
            self.padding = super::encode::padding(entry.size);
            self.ready.extend(super::encode::header(&entry));
            return Ok(());
        }
    }
}

impl Read for PartTar {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at == self.ready.len() {
            if self.content > 0 {
                let count = self.reader.read(buffer)?;
                self.content -= count as u64;
                return Ok(count);
            }
            if self.done {
                return Ok(0);
            }
            self.prepare()?;
        }
        let count = buffer.len().min(self.ready.len() - self.at);
        buffer[..count].copy_from_slice(&self.ready[self.at..self.at + count]);
        self.at += count;
        Ok(count)
    }
}
