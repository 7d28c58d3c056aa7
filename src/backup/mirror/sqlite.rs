//! SQLite databases that are written to while they are copied: by SQLite's own online backup.

use std::collections::BTreeSet;
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rusqlite::backup::{Backup, StepResult};
use rusqlite::{Connection, OpenFlags};
use rustix::fs::{Mode, OFlags};

use super::remove;
use crate::fault::{Code, Fault, IoContext, Result};

/// What every database begins with.
const MAGIC: &[u8; 16] = b"SQLite format 3\0";
/// What SQLite keeps beside a database; a copy made by SQLite needs none of it.
const SIDES: [&str; 3] = ["-wal", "-shm", "-journal"];
/// How long another's lock is waited for.
const PATIENCE: Duration = Duration::from_secs(30);

/// The names in `folder` that are databases.
pub fn databases(folder: BorrowedFd<'_>, names: &[OsString]) -> BTreeSet<OsString> {
    names.iter().filter(|name| is_database(folder, name)).cloned().collect()
}

/// What cannot be opened or read here is met again, and told, when it is copied.
fn is_database(folder: BorrowedFd<'_>, name: &OsStr) -> bool {
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let mut begin = [0; MAGIC.len()];
    let read = rustix::fs::openat(folder, name, flags, Mode::empty())
        .map_err(io::Error::from)
        .and_then(|open| File::from(open).read_exact(&mut begin));
    read.is_ok() && begin == *MAGIC
}

/// Whether `name` is what SQLite keeps beside one of `databases`.
pub fn is_beside(name: &OsStr, databases: &BTreeSet<OsString>) -> bool {
    let name = name.as_encoded_bytes();
    SIDES.iter().any(|side| {
        name.strip_suffix(side.as_bytes())
            .is_some_and(|base| databases.iter().any(|database| database.as_encoded_bytes() == base))
    })
}

/// Makes `name` in the folder `to` a copy of the database of that name in `from`, as it is after some transaction, and
/// gives the copy open.
pub fn copy(from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<File> {
    let failed = |error: rusqlite::Error| {
        let cause =
            format!("SQLite could not copy it: {error}; back it up with way = \"warm\" or \"stop\" instead");
        Fault::new(Code::BackupFailed, shown.display(), cause)
    };
    remove(to, name).at(shown)?;
    let target = place(to).at(shown)?.join(name);
    // Never a writer: that would replay a journal, which is the service's to do. Links are not followed.
    let flags =
        OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NOFOLLOW | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let source = Connection::open_with_flags(place(from).at(shown)?.join(name), flags).map_err(failed)?;
    source.busy_timeout(PATIENCE).map_err(failed)?;
    let mut made = Connection::open(&target).map_err(failed)?;
    // Nobody but this process needs the copy before it is whole and brought to the disk.
    made.execute_batch("PRAGMA synchronous = OFF").map_err(failed)?;
    let backup = Backup::new(&source, &mut made).map_err(failed)?;
    // In one go: between two steps a writer could begin it anew, again and again.
    match backup.step(-1).map_err(failed)? {
        StepResult::Done => {}
        other => {
            let cause = format!("it was locked for {} s ({other:?})", PATIENCE.as_secs());
            return Err(Fault::new(Code::BackupFailed, shown.display(), cause));
        }
    }
    drop(backup);
    made.close().map_err(|(_, error)| failed(error))?;
    File::options().read(true).write(true).open(&target).at(shown)
}

/// Where an open folder is; SQLite takes no folder that is open.
fn place(folder: BorrowedFd<'_>) -> io::Result<PathBuf> {
    std::fs::read_link(format!("/proc/self/fd/{}", folder.as_raw_fd()))
}
