//! The part file: a download on its way to its name. Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::FallocateFlags;
use rustix::io::Errno;

use super::extents::Extents;
use super::fetch::Seed;
use super::map;
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::Digest;
use crate::release::digest::{Hasher, Hashing};

/// Read at once for the hash.
pub(super) const BLOCK: usize = 256 * 1024;

/// `<destination>.part`, open and locked.
///
/// The lock is for the writers of a dropped download, which may still be emptying their queue when the next
/// download of the same file begins.
pub(super) struct Part {
    path: PathBuf,
    file: Arc<File>,
    content: Content,
    /// The hash of its first bytes, as many as were taken in so far.
    hasher: Hasher,
}

/// What of the part is file.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Content {
    /// All there is in it: so many first bytes.
    Prefix(u64),
    /// These; the part is as long as the file already.
    Extents(Extents),
}

/// What a finished file must be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Promise {
    /// Its hash, where it was promised.
    pub(super) hash: Option<Digest>,
    /// Its length, where it was promised.
    pub(super) size: Option<u64>,
}

/// `<destination>.part`.
pub(super) fn path_for(destination: &Path) -> PathBuf {
    let mut name = destination.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

impl Part {
    /// Opens or creates the part of `destination`.
    pub(super) fn open(destination: &Path) -> Result<Self> {
        if let Some(folder) = destination.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let path = path_for(destination);
        loop {
            let mut options = OpenOptions::new();
            let file = options.read(true).write(true).create(true).truncate(false).open(&path).at(&path)?;
            file.lock().at(&path)?;
            // While this waited, the former holder may have renamed the file to its final name: then it is
            // no part any more and must not be written to.
            let held = file.metadata().at(&path)?;
            let still_here = fs::symlink_metadata(&path)
                .is_ok_and(|now| (now.dev(), now.ino()) == (held.dev(), held.ino()));
            if still_here {
                let content = Content::Prefix(held.len());
                return Ok(Self { path, file: Arc::new(file), content, hasher: Hasher::new() });
            }
        }
    }

    /// The path, for messages and the ledger.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// For threads that read and write it; each that has it keeps it locked.
    pub(super) fn file(&self) -> Arc<File> {
        self.file.clone()
    }

    /// Bytes of the file in it.
    pub(super) fn length(&self) -> u64 {
        match &self.content {
            Content::Prefix(length) => *length,
            Content::Extents(extents) => extents.total(),
        }
    }

    /// What is in it of a file whose ranges are fetched; none while it is a prefix.
    pub(super) fn extents(&self) -> Option<&Extents> {
        match &self.content {
            Content::Prefix(_) => None,
            Content::Extents(extents) => Some(extents),
        }
    }

    /// Believes that it holds `extents` and nothing else, as far as it reaches.
    pub(super) fn believe(&mut self, mut extents: Extents) -> Result<()> {
        extents.cut_to(self.file.metadata().at(&self.path)?.len());
        self.content = Content::Extents(extents);
        Ok(())
    }

    /// Bytes of the disk that are its own already.
    pub(super) fn allocated(&self) -> Result<u64> {
        Ok(self.file.metadata().at(&self.path)?.blocks().saturating_mul(512))
    }

    /// Appends to a prefix.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let at = self.length();
        self.file.write_all_at(bytes, at).at(&self.path)?;
        self.hasher.update(bytes);
        self.content = Content::Prefix(at + bytes.len() as u64);
        Ok(())
    }

    /// Drops everything in it. That is made durable, because what is remembered of it afterwards may count by its
    /// length.
    pub(super) fn clear(&mut self) -> Result<()> {
        map::remove(&self.path)?;
        if self.file.metadata().at(&self.path)?.len() > 0 {
            self.file.set_len(0).at(&self.path)?;
            self.file.sync_data().at(&self.path)?;
        }
        self.content = Content::Prefix(0);
        self.hasher = Hasher::new();
        Ok(())
    }

    /// Makes it a copy of `source` that shares its blocks; false where the file system cannot.
    pub(super) fn reflink(&mut self, source: &File) -> Result<bool> {
        if rustix::fs::ioctl_ficlone(&*self.file, source).is_err() {
            return Ok(false);
        }
        self.content = Content::Prefix(self.file.metadata().at(&self.path)?.len());
        self.hasher = Hasher::new();
        self.hash_all()?;
        Ok(true)
    }

    /// Makes what is in it durable.
    pub(super) fn sync(&self) -> Result<()> {
        self.file.sync_data().at(&self.path)
    }

    /// Gives it the room for `length` bytes at once, so that a disk that is too small shows now, and so that every range
    /// has its place. Where that fails nothing of it stays.
    pub(super) fn spread(&mut self, length: u64) -> Result<()> {
        let before = self.file.metadata().at(&self.path)?.len();
        let reserved = loop {
            match rustix::fs::fallocate(&*self.file, FallocateFlags::empty(), 0, length) {
                Err(Errno::INTR) => {}
                // The file system cannot; the room is then looked for as it is needed.
                Err(Errno::OPNOTSUPP | Errno::NOSYS) => break self.file.set_len(length),
                outcome => break outcome.map_err(std::io::Error::from),
            }
        };
        if let Err(error) = reserved {
            self.file.set_len(before).at(&self.path)?;
            return Err(Fault::io(&self.path, error));
        }
        self.become_extents();
        Ok(())
    }

    /// Makes it `length` bytes long, with holes that take no room on the disk.
    pub(super) fn stretch(&mut self, length: u64) -> Result<()> {
        self.file.set_len(length).at(&self.path)?;
        self.become_extents();
        Ok(())
    }

    /// Copies what `seed` has, but for what is not there or not what it should be: that is fetched, then.
    pub(super) fn take_from(&mut self, seed: &Seed) -> Result<()> {
        let mut extents = self.extents().cloned().unwrap_or_default();
        for piece in &seed.pieces {
            let Ok(mut from) = File::open(&piece.path) else { continue };
            from.seek(SeekFrom::Start(piece.at)).at(&piece.path)?;
            let mut to = &*self.file;
            to.seek(SeekFrom::Start(piece.range.start)).at(&self.path)?;
            let count = piece.range.end.saturating_sub(piece.range.start);
            let mut stored = Hashing::new(from.take(count));
            let copied = std::io::copy(&mut stored, &mut to).at(&self.path)?;
            let (_, found, _) = stored.finish();
            if copied == count && piece.hash.is_none_or(|hash| hash == found) {
                extents.add(piece.range.clone());
            }
        }
        self.believe(extents)
    }

    fn become_extents(&mut self) {
        if let Content::Prefix(had) = self.content {
            self.content = Content::Extents(Extents::prefix(had));
        }
    }

    /// Lends the hash out, to be taken further.
    pub(super) fn lend_hash(&mut self) -> Hasher {
        std::mem::take(&mut self.hasher)
    }

    /// Takes the hash back, and note of what is in the part now.
    pub(super) fn fetched(&mut self, extents: Extents, hasher: Hasher) {
        self.content = Content::Extents(extents);
        self.hasher = hasher;
    }

    /// Hashes what is in it without a gap from the first byte, as far as that has not been done.
    pub(super) fn hash_all(&mut self) -> Result<()> {
        let end = match &self.content {
            Content::Prefix(length) => *length,
            Content::Extents(extents) => extents.front(),
        };
        let mut buffer = vec![0; BLOCK];
        while self.hasher.length() < end {
            let at = self.hasher.length();
            let want = buffer.len().min(usize::try_from(end - at).unwrap_or(usize::MAX));
            match self.file.read_at(&mut buffer[..want], at) {
                Ok(0) => break, // somebody made it shorter; the hash will tell
                Ok(count) => self.hasher.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io(&self.path, error)),
            }
        }
        Ok(())
    }

    /// Whether it is all that was promised; never without a promised hash. `length` is what is known of the length;
    /// what cannot be whole is not hashed.
    pub(super) fn is_whole(&mut self, promise: &Promise, length: Option<u64>) -> Result<bool> {
        let possible = match &self.content {
            Content::Prefix(had) => *had > 0 && length.is_none_or(|length| length == *had),
            Content::Extents(extents) => length.is_some_and(|length| length == extents.front()),
        };
        if !possible || promise.hash.is_none() {
            return Ok(false);
        }
        self.hash_all()?;
        let (digest, length) = self.hasher.clone().finish();
        Ok(promise.hash == Some(digest) && promise.size.is_none_or(|size| size == length))
    }

    /// Checks the promise, makes the content durable and gives it its name. What breaks the promise is emptied,
    /// so that it can never be taken for complete; `name` and `origin` are for the message.
    pub(super) fn finish(
        &mut self,
        promise: &Promise,
        destination: &Path,
        name: &str,
        origin: &str,
    ) -> Result<(Digest, u64)> {
        self.hash_all()?;
        let (digest, length) = self.hasher.clone().finish();
        if let Some(size) = promise.size.filter(|size| *size != length) {
            self.clear()?;
            return Err(wrong_size(name, origin, size, length));
        }
        if let Some(hash) = promise.hash.filter(|hash| *hash != digest) {
            self.clear()?;
            let detail = format!("{origin} gave {digest} instead of {hash}");
            return Err(Fault::new(Code::HashMismatch, name, detail));
        }
        // What lies behind the bytes that were hashed is no part of the file.
        if self.file.metadata().at(&self.path)?.len() != length {
            self.file.set_len(length).at(&self.path)?;
        }
        self.file.sync_all().at(&self.path)?;
        map::remove(&self.path)?;
        durable::rename(&self.path, destination)?;
        Ok((digest, length))
    }

    /// Removes the file if nothing is in it.
    pub(super) fn discard_if_empty(&self) -> Result<()> {
        if self.length() > 0 {
            return Ok(());
        }
        map::remove(&self.path)?;
        fs::remove_file(&self.path).at(&self.path)
    }
}

/// The fault of a file that does not have its promised length.
pub(super) fn wrong_size(name: &str, origin: &str, promised: u64, found: u64) -> Fault {
    let detail = format!("{origin} gave {found} bytes instead of {promised}");
    Fault::new(Code::SizeMismatch, name, detail)
}

/// The digest and length of a finished file that keeps the promise. One that breaks it is removed. One that no
/// hash vouches for proves nothing; it stays until a fetched one takes its name.
pub(super) fn verify_existing(destination: &Path, promise: &Promise) -> Result<Option<(Digest, u64)>> {
    let Some(hash) = promise.hash else { return Ok(None) };
    let file = match File::open(destination) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io(destination, error)),
    };
    let length = file.metadata().at(destination)?.len();
    if promise.size.is_none_or(|size| size == length) {
        let found = Digest::of_reader(file).at(destination)?;
        if found.0 == hash {
            return Ok(Some(found));
        }
    }
    fs::remove_file(destination).at(destination)?;
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn room_that_is_not_there_shows_at_once_and_nothing_of_it_stays() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("x");
        let mut part = Part::open(&destination).unwrap();
        part.write(b"prefix").unwrap();
        let fault = part.spread(1 << 60).unwrap_err();
        assert_eq!(fault.code(), Code::DiskFull, "{fault}");
        assert_eq!(fs::read(part.path()).unwrap(), b"prefix");
        assert_eq!(part.extents(), None);
        part.clear().unwrap();
        part.spread(1 << 60).unwrap_err();
        part.discard_if_empty().unwrap();
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
    }

    #[test]
    fn room_is_taken_at_once_and_what_was_there_stays() {
        let folder = tempfile::tempdir().unwrap();
        let destination = folder.path().join("x");
        let mut part = Part::open(&destination).unwrap();
        part.write(b"prefix").unwrap();
        part.spread(1 << 20).unwrap();
        assert!(part.allocated().unwrap() >= 1 << 20);
        assert_eq!(part.extents(), Some(&Extents::prefix(6)));
        assert_eq!((part.length(), fs::metadata(part.path()).unwrap().len()), (6, 1 << 20));
        let promise = Promise { hash: Some(Digest::of(b"prefix")), size: None };
        assert!(!part.is_whole(&promise, None).unwrap(), "its length is not the file's");
    }
}
