//! The part file: a download on its way to its name. Everything here blocks.

use std::fs::{self, File, OpenOptions};
use std::io::{ErrorKind, Read, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::Digest;
use crate::release::digest::Hasher;

/// `<destination>.part`, open and locked, with the hash of what is in it.
///
/// The lock is for the writer of a dropped download, which may still be emptying its queue when the next
/// download of the same file begins.
pub(super) struct Part {
    path: PathBuf,
    file: File,
    hasher: Hasher,
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
    /// Opens or creates the part of `destination` and hashes what is in it already.
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
                let mut part = Self { path, file, hasher: Hasher::new() };
                part.rehash()?;
                return Ok(part);
            }
        }
    }

    /// The path, for messages and the ledger.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Bytes in it.
    pub(super) fn length(&self) -> u64 {
        self.hasher.length()
    }

    /// Appends.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.file.write_all(bytes).at(&self.path)?;
        self.hasher.update(bytes);
        Ok(())
    }

    /// Drops everything in it.
    pub(super) fn clear(&mut self) -> Result<()> {
        self.file.set_len(0).at(&self.path)?;
        self.file.seek(SeekFrom::Start(0)).at(&self.path)?;
        self.hasher = Hasher::new();
        Ok(())
    }

    /// Makes it a copy of `source` that shares its blocks; false where the file system cannot.
    pub(super) fn reflink(&mut self, source: &File) -> Result<bool> {
        if rustix::fs::ioctl_ficlone(&self.file, source).is_err() {
            return Ok(false);
        }
        self.rehash()?;
        Ok(true)
    }

    fn rehash(&mut self) -> Result<()> {
        self.file.seek(SeekFrom::Start(0)).at(&self.path)?;
        let mut hasher = Hasher::new();
        let mut buffer = vec![0; 128 * 1024];
        loop {
            match self.file.read(&mut buffer) {
                Ok(0) => break,
                Ok(count) => hasher.update(&buffer[..count]),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::io(&self.path, error)),
            }
        }
        self.hasher = hasher;
        Ok(())
    }

    /// Whether it is all that was promised; never without a promised hash.
    pub(super) fn is_whole(&self, promise: &Promise) -> bool {
        let (digest, length) = self.hasher.clone().finish();
        promise.hash == Some(digest) && promise.size.is_none_or(|size| size == length)
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
        self.file.sync_all().at(&self.path)?;
        durable::rename(&self.path, destination)?;
        Ok((digest, length))
    }

    /// Removes the file if nothing is in it.
    pub(super) fn discard_if_empty(&self) -> Result<()> {
        if self.length() == 0 { fs::remove_file(&self.path).at(&self.path) } else { Ok(()) }
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
