//! One writer at a time: `state.lock`, an advisory file lock that names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::fault::{Code, Fault, IoContext, Result};

/// Permission to change an installation. The lock is released when this is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the installation is locked only as long as this value lives"]
pub struct StateLock {
    file: Option<File>,
    path: PathBuf,
}

/// Locks that outlive their holders, once [`StateLock::outlive_holders`] was called.
static KEPT: Mutex<Option<Vec<(PathBuf, File)>>> = Mutex::new(None);

impl StateLock {
    /// From now on a lock that is given back stays with this process until it ends, or until it takes the lock again.
    ///
    /// For a process that was asked to stop: the command that held the lock is gone at once, but work it had begun on
    /// other threads (a file being unpacked) may go on for a moment, and nobody else may come in between.
    pub fn outlive_holders() {
        kept().get_or_insert_default();
    }

    /// Takes the lock at `path` or says who holds it. `what` is what the holder is doing.
    pub fn acquire(path: &Path, what: &str) -> Result<Self> {
        if let Some(file) = take_kept(path) {
            return Self::named(file, path, what);
        }
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at(path)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let mut holder = String::new();
                file.read_to_string(&mut holder).at(path)?;
                let root = path.parent().unwrap_or(path);
                return Err(Fault::new(Code::Locked, root.display(), holder.trim()));
            }
            Err(TryLockError::Error(error)) => return Err(Fault::io(path, error)),
        }
        Self::named(file, path, what)
    }

    /// Says who holds it.
    fn named(mut file: File, path: &Path, what: &str) -> Result<Self> {
        file.set_len(0).at(path)?;
        file.seek(SeekFrom::Start(0)).at(path)?;
        writeln!(file, "pid {} ({what})", std::process::id()).at(path)?;
        Ok(Self { file: Some(file), path: path.to_owned() })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        if let (Some(kept), Some(file)) = (kept().as_mut(), self.file.take()) {
            kept.push((std::mem::take(&mut self.path), file));
        }
    }
}

fn kept() -> std::sync::MutexGuard<'static, Option<Vec<(PathBuf, File)>>> {
    KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn take_kept(path: &Path) -> Option<File> {
    let mut kept = kept();
    let kept = kept.as_mut()?;
    let index = kept.iter().position(|(other, _)| other == path)?;
    Some(kept.swap_remove(index).1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_is_told_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.lock");
        let first = StateLock::acquire(&path, "upgrade").unwrap();
        let refused = StateLock::acquire(&path, "rollback").unwrap_err();
        assert_eq!(refused.code(), Code::Locked);
        assert!(refused.to_string().contains(&format!("pid {} (upgrade)", std::process::id())));
        drop(first);
        let _second = StateLock::acquire(&path, "rollback").unwrap();
    }

    #[test]
    fn a_process_that_is_stopping_keeps_its_locks_from_others() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.lock");
        let lock = StateLock::acquire(&path, "upgrade").unwrap();
        StateLock::outlive_holders();
        drop(lock);
        let other = File::open(&path).unwrap();
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)), "somebody else came in");
        drop(StateLock::acquire(&path, "thaw").unwrap());
        assert!(matches!(other.try_lock(), Err(TryLockError::WouldBlock)));
    }
}
