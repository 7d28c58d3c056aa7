//! One writer at a time: `state.lock`, an advisory file lock that names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::Path;

use crate::fault::{Code, Fault, IoContext, Result};

/// Permission to change an installation. The lock is released when this is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the installation is locked only as long as this value lives"]
pub struct StateLock {
    _file: File,
}

impl StateLock {
    /// Takes the lock at `path` or says who holds it. `what` is what the holder is doing.
    pub fn acquire(path: &Path, what: &str) -> Result<Self> {
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
        file.set_len(0).at(path)?;
        file.seek(SeekFrom::Start(0)).at(path)?;
        writeln!(file, "pid {} ({what})", std::process::id()).at(path)?;
        Ok(Self { _file: file })
    }
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
}
