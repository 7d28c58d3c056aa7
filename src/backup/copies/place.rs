//! What copies need of the place they go to.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use super::bucket::Bucket;
use super::folder::Folder;
use crate::fault::{Code, Fault, Result};
use crate::settings::{CopySettings, CopyTarget};

/// What an error says where the place could not be reached at all.
pub(super) const AWAY: io::ErrorKind = io::ErrorKind::NotConnected;

/// Whether `fault` came about because the place could not be reached.
pub(super) fn is_away(fault: &Fault) -> bool {
    let cause = std::error::Error::source(fault).and_then(|cause| cause.downcast_ref::<io::Error>());
    cause.is_some_and(|cause| cause.kind() == AWAY)
}

/// Somewhere that files can be written to, read back from and found again.
pub(super) trait Place {
    /// How the file `name` there is called by people.
    fn shown(&self, name: &str) -> String;

    /// Bytes of the file `name`; none where it is not there.
    fn size_of(&self, name: &str) -> io::Result<Option<u64>>;

    /// Begins a file `name`, which is not there, of about `size` bytes. What was begun by that name before is forgotten.
    fn begin(&self, name: &str, size: u64) -> io::Result<Box<dyn Draft + '_>>;

    /// The content of the file `name`.
    fn read(&self, name: &str) -> io::Result<Box<dyn Read + '_>>;
}

/// A file that is being written.
pub(super) trait Draft: Write {
    /// All of it was written: it is there for good when this returns.
    fn settle(&mut self) -> io::Result<()>;

    /// What a reader there would get, after [`settle`](Self::settle).
    fn read_back(&self) -> io::Result<Box<dyn Read + '_>>;

    /// It has its name from now on; where that is taken by now, nothing of it is left.
    fn keep(self: Box<Self>) -> io::Result<()>;

    /// Nothing of it is left.
    fn discard(self: Box<Self>) -> io::Result<()>;
}

/// The place of `settings`, whose credentials are found from the install root `root`; not in `backups`, the folder that
/// the backups themselves are in.
pub(super) fn open(settings: &CopySettings, root: &Path, backups: &Path) -> Result<Box<dyn Place>> {
    let wrong = |cause: String| Fault::new(Code::ConfigInvalid, "backup.copy", cause);
    match settings.target().map_err(wrong)? {
        None => Err(wrong("backup.copy.to names no place".into())),
        Some(CopyTarget::Folder(folder)) if real(&folder).starts_with(real(backups)) => Err(wrong(format!(
            "backup.copy.to lies in {}, where the backups themselves are",
            backups.display()
        ))),
        Some(CopyTarget::Folder(folder)) => Ok(Box::new(Folder::new(folder))),
        Some(CopyTarget::Bucket { bucket, prefix }) => {
            Ok(Box::new(Bucket::open(settings, root, &bucket, &prefix)?))
        }
    }
}

/// Where `path` leads; one that is not there leads nowhere else.
fn real(path: &Path) -> PathBuf {
    path.canonicalize().unwrap_or_else(|_| path.to_owned())
}
