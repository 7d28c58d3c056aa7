//! One writer at a time: `state.lock`, an advisory file lock that names its holder.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{ErrorKind, Seek, SeekFrom, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use crate::fault::{Code, Fault, IoContext, Result};

/// Permission to change an installation. The lock is released when this is dropped or the process ends.
#[derive(Debug)]
#[must_use = "the installation is locked only as long as this value lives"]
pub struct StateLock {
    /// What is locked: the file that names the holder, and perhaps its folder.
    files: Vec<File>,
    path: PathBuf,
}

/// What was locked for which path.
type Kept = Vec<(PathBuf, Vec<File>)>;

/// Locks that outlive their holders, once [`StateLock::outlive_holders`] was called.
static KEPT: Mutex<Option<Kept>> = Mutex::new(None);

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
        match take_kept(path) {
            Some(files) => Self::named(files, path, what),
            None => Self::named(vec![lock_file(path)?], path, what),
        }
    }

    /// As [`StateLock::acquire`], but waits for whoever holds it. It blocks the thread.
    pub fn wait(path: &Path, what: &str) -> Result<Self> {
        match take_kept(path) {
            Some(files) => Self::named(files, path, what),
            None => Self::named(vec![wait_for_file(path)?], path, what),
        }
    }

    /// As [`StateLock::acquire`], and locks the folder the file is in: somebody who removes the file lets nobody else
    /// in. For one lock in a folder.
    pub fn acquire_with_folder(path: &Path, what: &str) -> Result<Self> {
        if let Some(files) = take_kept(path) {
            return Self::named(files, path, what);
        }
        let folder = lock_folder(path)?;
        let mut files = vec![lock_file(path)?];
        files.extend(folder);
        Self::named(files, path, what)
    }

    /// Says who holds it.
    fn named(files: Vec<File>, path: &Path, what: &str) -> Result<Self> {
        let mut file = &files[0];
        file.set_len(0).at(path)?;
        file.seek(SeekFrom::Start(0)).at(path)?;
        writeln!(file, "pid {} ({what})", std::process::id()).at(path)?;
        Ok(Self { files, path: path.to_owned() })
    }
}

impl Drop for StateLock {
    fn drop(&mut self) {
        if let Some(kept) = kept().as_mut() {
            kept.push((std::mem::take(&mut self.path), std::mem::take(&mut self.files)));
        }
    }
}

/// The file at `path`, locked. One that was removed between the opening and the locking keeps nobody out.
fn lock_file(path: &Path) -> Result<File> {
    loop {
        let file = open_file(path)?;
        match file.try_lock() {
            Ok(()) if is_at(&file, path)? => return Ok(file),
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(held(path)),
            Err(TryLockError::Error(error)) => return Err(Fault::io(path, error)),
        }
    }
}

/// As [`lock_file`], when nobody else holds it any more.
fn wait_for_file(path: &Path) -> Result<File> {
    loop {
        let file = open_file(path)?;
        file.lock().at(path)?;
        if is_at(&file, path)? {
            return Ok(file);
        }
    }
}

fn open_file(path: &Path) -> Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path).at(path)
}

/// The folder of `path`, locked; none where the file system cannot lock folders (some network file systems): there
/// the file alone has to do.
fn lock_folder(path: &Path) -> Result<Option<File>> {
    let Some(folder) = path.parent() else { return Ok(None) };
    let opened = File::open(folder).at(folder)?;
    match opened.try_lock() {
        Ok(()) => Ok(Some(opened)),
        Err(TryLockError::WouldBlock) => Err(held(path)),
        Err(TryLockError::Error(_)) => Ok(None),
    }
}

fn is_at(file: &File, path: &Path) -> Result<bool> {
    let opened = file.metadata().at(path)?;
    match std::fs::metadata(path) {
        Ok(present) => Ok((opened.dev(), opened.ino()) == (present.dev(), present.ino())),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(Fault::io(path, error)),
    }
}

/// The refusal, with the holder as the file names it.
fn held(path: &Path) -> Fault {
    let root = path.parent().unwrap_or(path);
    match std::fs::read_to_string(path) {
        Ok(holder) => Fault::new(Code::Locked, root.display(), holder.trim()),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            Fault::new(Code::Locked, root.display(), format!("{} was removed meanwhile", path.display()))
        }
        Err(error) => Fault::io(path, error),
    }
}

fn kept() -> std::sync::MutexGuard<'static, Option<Kept>> {
    KEPT.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

fn take_kept(path: &Path) -> Option<Vec<File>> {
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
    fn who_waits_gets_it_once_the_holder_is_gone() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join(".lock");
        let first = StateLock::acquire(&path, "backup import").unwrap();
        let (sender, receiver) = std::sync::mpsc::channel();
        let own = path.clone();
        let waiting = std::thread::spawn(move || {
            let lock = StateLock::wait(&own, "restore").unwrap();
            sender.send(()).unwrap();
            lock
        });
        assert!(receiver.recv_timeout(std::time::Duration::from_millis(50)).is_err(), "somebody holds it");
        drop(first);
        receiver.recv().unwrap();
        assert_eq!(StateLock::acquire(&path, "upgrade").unwrap_err().code(), Code::Locked);
        drop(waiting.join().unwrap());
    }

    #[test]
    fn a_lock_whose_file_is_removed_keeps_others_out_all_the_same() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.lock");
        let first = StateLock::acquire_with_folder(&path, "upgrade").unwrap();
        let other = folder.path().join("reports.lock");
        drop(StateLock::acquire(&other, "report").expect("another lock in the folder is another lock"));
        std::fs::remove_file(&path).unwrap();
        let refused = StateLock::acquire_with_folder(&path, "rollback").unwrap_err();
        assert_eq!(refused.code(), Code::Locked);
        assert!(!path.exists(), "whoever is refused makes nothing");
        drop(first);
        let second = StateLock::acquire_with_folder(&path, "rollback").unwrap();
        // A client that knows the file only sees it, too.
        assert_eq!(StateLock::acquire(&path, "upgrade").unwrap_err().code(), Code::Locked);
        drop(second);
    }

    /// In a process of its own: it changes the whole process, in which other tests take locks, too.
    #[test]
    fn a_process_that_is_stopping_keeps_its_locks_from_others() {
        let test = "state::lock::tests::in_a_process_that_is_stopping";
        let mut own = std::process::Command::new(std::env::current_exe().unwrap());
        let output = own.args(["--exact", "--ignored", test]).output().unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    #[ignore = "the test above runs it in a process of its own"]
    fn in_a_process_that_is_stopping() {
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
