//! Copies a folder with everything about it, in passes: the first ones while its services run, the last while nothing
//! writes. A pass copies what changed since the one before, so the last is short however much data there is.
//!
//! What did not change is told by inode, size, and the times of the last change of content and of anything else. That
//! is safe against all writers, also those that write to mapped memory, for two reasons. A file is described first,
//! then brought to the disk, then read: a later write through a mapping meets a clean page and moves the time on. And
//! what was changed so shortly before it was described that a later change could bear the same time is copied again.

mod copy;
mod sqlite;

use std::collections::{BTreeSet, HashMap};
use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind};
use super::meta::{self, Node};
use super::selection::Filter;
use super::swap::STAGING;
use super::walk::{gone, relative};
use crate::fault::{Code, Fault, IoContext, Result};

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// Times on disk are as coarse as a tick of the clock, on some file systems two seconds.
const COARSEST: i128 = 2_000_000_000;
/// More warnings than these are only counted.
const MOST_WARNINGS: usize = 50;

/// What becomes of a mirror that is told to stop.
pub struct Control<'a> {
    /// Set to make it stop.
    pub cancel: &'a AtomicBool,
    /// Called with the bytes that were copied.
    pub copied: &'a mut dyn FnMut(u64),
}

/// A file as it was when it was copied, and the copy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: i64,
    changed: (i64, u64),
    touched: (i64, u64),
    copy: u64,
}

impl Stamp {
    fn of(stat: &Stat, copy: u64) -> Self {
        let changed = (stat.st_mtime, stat.st_mtime_nsec);
        let touched = (stat.st_ctime, stat.st_ctime_nsec);
        Self { size: stat.st_size, changed, touched, copy }
    }

    /// Whether a change after `now` cannot bear the same times.
    fn is_settled(&self, now: i128, coarsest: i128) -> bool {
        let (seconds, nanos) = self.touched.max(self.changed);
        i128::from(seconds) * 1_000_000_000 + i128::from(nanos) + coarsest < now
    }
}

/// Nanoseconds since 1970. A clock before that is as good as none: everything is copied again.
fn now() -> i128 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_nanos() as i128)
}

/// Whether the file system moves a file's time on whenever a clean page of it is written to through a mapping.
fn keeps_time(file: impl AsFd) -> io::Result<bool> {
    const KNOWN: [u64; 4] = [0xEF53, 0x5846_5342, 0x9123_683E, 0xF2F5_2010]; // ext2 to ext4, XFS, Btrfs, F2FS
    Ok(KNOWN.contains(&(rustix::fs::fstatfs(file)?.f_type as u64)))
}

/// A folder, or a file, and its copy.
pub struct Mirror {
    /// By device and inode.
    seen: HashMap<(u64, u64), Stamp>,
    /// By device, whether the times of its files can be relied on.
    reliable: HashMap<u64, bool>,
    /// Its services write to it in every pass.
    live: bool,
    /// Nanoseconds.
    coarsest: i128,
    /// Of the last pass: what changed or was exchanged while it was read, what could not be kept.
    warnings: Vec<String>,
    unsaid: usize,
    /// Whether the file system refused to let two files share their content.
    refused_to_share: bool,
}

impl Mirror {
    /// Nothing is copied yet.
    pub fn new() -> Self {
        Self {
            seen: HashMap::new(),
            reliable: HashMap::new(),
            live: false,
            coarsest: COARSEST,
            warnings: Vec::new(),
            unsaid: 0,
            refused_to_share: false,
        }
    }

    /// As [`Mirror::new`], of data that is written to in every pass: SQLite databases are copied by SQLite.
    pub fn live() -> Self {
        Self { live: true, ..Self::new() }
    }

    /// Makes `to` what the chosen paths of `from` are now. A link at `from` itself is the operator's own and is followed. What goes away or
    /// changes meanwhile is none of a pass's faults: [`Mirror::warnings`] has it.
    pub fn pass(&mut self, from: &Path, to: &Path, filter: &Filter, control: &mut Control<'_>) -> Result<()> {
        self.warnings.clear();
        self.unsaid = 0;
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let open = rustix::fs::open(from, flags, Mode::empty()).map_err(io::Error::from).at(from)?;
        let stat = rustix::fs::fstat(&open).map_err(io::Error::from).at(from)?;
        let (Some(parent), Some(name)) = (to.parent(), to.file_name()) else {
            return Err(Fault::new(Code::BackupFailed, to.display(), "it has no name"));
        };
        let parent = rustix::fs::open(parent, FOLDER, Mode::empty()).map_err(io::Error::from).at(parent)?;
        let mut pass = Pass { mirror: self, control, filter, root: from, links: HashMap::new() };
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let made = pass.made_folder(parent.as_fd(), name, to)?;
                pass.folder(open, &stat, made, from)
            }
            FileType::RegularFile => pass.file(open, parent.as_fd(), name, from),
            _ => Err(Fault::new(Code::BackupFailed, from.display(), "it is neither a file nor a folder")),
        }
    }

    /// What a person should know of the last pass.
    pub fn warnings(&self) -> Vec<String> {
        let mut all = self.warnings.clone();
        if self.unsaid > 0 {
            all.push(format!("… and {} more", self.unsaid));
        }
        all
    }

    fn warn(&mut self, text: String) {
        if self.warnings.len() < MOST_WARNINGS {
            self.warnings.push(text);
        } else {
            self.unsaid += 1;
        }
    }
}

/// One pass.
struct Pass<'m, 'c, 'a> {
    mirror: &'m mut Mirror,
    control: &'c mut Control<'a>,
    filter: &'c Filter,
    root: &'c Path,
    /// Files with more than one name, and the first of them in the copy: its open folder's path and name.
    links: HashMap<(u64, u64), (OwnedFd, OsString)>,
}

impl Pass<'_, '_, '_> {
    fn folder(&mut self, from: OwnedFd, stat: &Stat, to: OwnedFd, shown: &Path) -> Result<()> {
        let xattrs = Node::Open(from.as_fd()).xattrs().map_err(io::Error::from).at(shown)?;
        let entry = meta::describe(PathBuf::new(), EntryKind::Folder, stat, xattrs);
        let mut names = meta::names(&from).map_err(io::Error::from).at(shown)?;
        if !self.filter.is_all() {
            names.retain(|name| !self.filter.leaves_out(relative(&shown.join(name), self.root)));
        }
        let databases =
            if self.mirror.live { sqlite::databases(from.as_fd(), &names) } else { BTreeSet::new() };
        if !databases.is_empty() {
            names.retain(|name| !sqlite::is_beside(name, &databases));
        }
        for name in meta::names(&to).map_err(io::Error::from).at(shown)? {
            if names.binary_search(&name).is_err() {
                remove(to.as_fd(), &name).at(shown.join(&name))?;
            }
        }
        for name in names {
            if name.as_encoded_bytes().starts_with(STAGING.as_bytes()) {
                let cause = "an interrupted restore left it half changed; run the restore again first";
                return Err(Fault::new(Code::BackupFailed, shown.display(), cause));
            }
            if self.control.cancel.load(Ordering::Relaxed) {
                return Err(Fault::new(Code::Interrupted, shown.display(), ""));
            }
            if databases.contains(&name) {
                self.database(from.as_fd(), to.as_fd(), &name, &shown.join(&name))?;
            } else if !self.name(from.as_fd(), to.as_fd(), &name, &shown.join(&name))? {
                // It went away after its name was read: a service at work.
                remove(to.as_fd(), &name).at(shown.join(&name))?;
                self.mirror.warn(format!("{} vanished while it was read", shown.join(&name).display()));
            }
        }
        self.apply(Node::Open(to.as_fd()), &entry, shown)
    }

    /// `false` when there is no longer such a name.
    fn name(&mut self, from: BorrowedFd<'_>, to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<bool> {
        let Some(stat) = gone(rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW), shown)? else {
            return Ok(false);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let kind = FileType::from_raw_mode(stat.st_mode);
        match kind {
            FileType::Directory => {
                let opened = rustix::fs::openat(from, name, flags | OFlags::DIRECTORY, Mode::empty());
                let Some(open) = gone(opened, shown)? else { return Ok(false) };
                let stat = rustix::fs::fstat(&open).map_err(io::Error::from).at(shown)?;
                let made = self.made_folder(to, name, shown)?;
                self.folder(open, &stat, made, shown)?;
            }
            _ if !self.filter.chooses(relative(shown, self.root)) => remove(to, name).at(shown)?,
            FileType::RegularFile => {
                if stat.st_nlink == 1 && self.is_copied(&stat, to, name) {
                    return Ok(true);
                }
                let opened = rustix::fs::openat(from, name, flags, Mode::empty());
                let Some(open) = gone(opened, shown)? else { return Ok(false) };
                self.file(open, to, name, shown)?;
            }
            FileType::Symlink | FileType::Fifo => {
                if self.is_copied(&stat, to, name) || self.linked(&stat, to, name, shown)? {
                    return Ok(true);
                }
                return self.special(from, to, name, &stat, kind, shown);
            }
            // A socket lives only as long as the process that listens on it.
            FileType::Socket => remove(to, name).at(shown)?,
            _ => {
                remove(to, name).at(shown)?;
                self.mirror.warn(format!("{} is a device and was left out", shown.display()));
            }
        }
        Ok(true)
    }

    fn special(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
        stat: &Stat,
        kind: FileType,
        shown: &Path,
    ) -> Result<bool> {
        let began = now();
        let Some(xattrs) = gone(Node::Named(from, name).xattrs(), shown)? else { return Ok(false) };
        remove(to, name).at(shown)?;
        let kind = if kind == FileType::Symlink {
            let Some(target) = gone(rustix::fs::readlinkat(from, name, Vec::new()), shown)? else {
                return Ok(false);
            };
            let target = PathBuf::from(OsString::from_vec(target.into_bytes()));
            rustix::fs::symlinkat(&target, to, name).map_err(io::Error::from).at(shown)?;
            EntryKind::Symlink
        } else {
            let private = Mode::from_raw_mode(0o600);
            let made = rustix::fs::mknodat(to, name, FileType::Fifo, private, 0);
            made.map_err(io::Error::from).at(shown)?;
            EntryKind::Fifo
        };
        self.apply(Node::Named(to, name), &meta::describe(PathBuf::new(), kind, stat, xattrs), shown)?;
        let copy = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW);
        self.remember(stat, &copy.map_err(io::Error::from).at(shown)?, began);
        Ok(true)
    }

    /// One file; `from` is open.
    fn file(&mut self, from: OwnedFd, to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<()> {
        let from = File::from(from);
        let began = now();
        let stat = rustix::fs::fstat(&from).map_err(io::Error::from).at(shown)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.mirror.warn(format!("{} was exchanged while it was read", shown.display()));
            return remove(to, name).at(shown);
        }
        if self.linked(&stat, to, name, shown)? || self.is_copied(&stat, to, name) {
            return Ok(());
        }
        match rustix::fs::fdatasync(&from) {
            // Some file systems have nothing to bring to a disk.
            Ok(()) | Err(Errno::INVAL | Errno::ROFS) => {}
            Err(error) => return Err(Fault::io(shown, error.into())),
        }
        let xattrs = Node::Open(from.as_fd()).xattrs().map_err(io::Error::from).at(shown)?;
        let mut copy = copy::Copy { share: &mut self.mirror.refused_to_share, control: self.control };
        let made = copy.file(&from, &stat, to, name, shown)?;
        let entry = meta::describe(PathBuf::new(), EntryKind::File, &stat, xattrs);
        self.apply(Node::Open(made.as_fd()), &entry, shown)?;
        let after = rustix::fs::fstat(&from).map_err(io::Error::from).at(shown)?;
        if meta::mtime_of(&after) != meta::mtime_of(&stat) || after.st_size != stat.st_size {
            self.mirror.warn(format!("{} changed while it was read", shown.display()));
        }
        let copied = rustix::fs::fstat(&made).map_err(io::Error::from).at(shown)?;
        let reliable = match self.mirror.reliable.get(&stat.st_dev) {
            Some(known) => *known,
            None => keeps_time(&from).at(shown)?,
        };
        self.mirror.reliable.insert(stat.st_dev, reliable);
        if reliable {
            self.remember(&stat, &copied, began);
        }
        Ok(())
    }

    /// A SQLite database that may be written to meanwhile.
    fn database(
        &mut self,
        from: BorrowedFd<'_>,
        to: BorrowedFd<'_>,
        name: &OsStr,
        shown: &Path,
    ) -> Result<()> {
        if !self.filter.chooses(relative(shown, self.root)) {
            return remove(to, name).at(shown);
        }
        let stat =
            rustix::fs::statat(from, name, AtFlags::SYMLINK_NOFOLLOW).map_err(io::Error::from).at(shown)?;
        let xattrs = Node::Named(from, name).xattrs().map_err(io::Error::from).at(shown)?;
        let made = sqlite::copy(from, to, name, shown)?;
        (self.control.copied)(made.metadata().at(shown)?.len());
        let entry = meta::describe(PathBuf::new(), EntryKind::File, &stat, xattrs);
        self.apply(Node::Open(made.as_fd()), &entry, shown)
    }

    /// Whether the copy at `name` is that of the file as it is.
    fn is_copied(&self, stat: &Stat, to: BorrowedFd<'_>, name: &OsStr) -> bool {
        let Some(stamp) = self.mirror.seen.get(&(stat.st_dev, stat.st_ino)) else { return false };
        let copy = rustix::fs::statat(to, name, AtFlags::SYMLINK_NOFOLLOW);
        copy.is_ok_and(|copy| copy.st_ino == stamp.copy) && Stamp::of(stat, stamp.copy) == *stamp
    }

    /// `stat` was taken at `began`, before the content was read.
    fn remember(&mut self, stat: &Stat, copy: &Stat, began: i128) {
        let (key, stamp) = ((stat.st_dev, stat.st_ino), Stamp::of(stat, copy.st_ino));
        if stamp.is_settled(began, self.mirror.coarsest) {
            self.mirror.seen.insert(key, stamp);
        } else {
            self.mirror.seen.remove(&key);
        }
    }

    /// Whether the file was met before in this pass under another name; if so this name becomes a link to its copy.
    fn linked(&mut self, stat: &Stat, to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let key = (stat.st_dev, stat.st_ino);
        let Some((folder, first)) = self.links.get(&key) else {
            let folder = rustix::io::fcntl_dupfd_cloexec(to, 0).map_err(io::Error::from).at(shown)?;
            self.links.insert(key, (folder, name.to_owned()));
            return Ok(false);
        };
        let inode = |folder: BorrowedFd<'_>, name: &OsStr| {
            rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).map(|stat| stat.st_ino)
        };
        let wanted = inode(folder.as_fd(), first).map_err(io::Error::from).at(shown)?;
        if inode(to, name) != Ok(wanted) {
            remove(to, name).at(shown)?;
            let linked = rustix::fs::linkat(folder, first, to, name, AtFlags::empty());
            linked.map_err(io::Error::from).at(shown)?;
        }
        Ok(true)
    }

    /// The folder `name` in the copy, open; something else of that name is removed.
    fn made_folder(&self, to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<OwnedFd> {
        for _ in 0..2 {
            match rustix::fs::mkdirat(to, name, Mode::from_raw_mode(0o700)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(Fault::io(shown, error.into())),
            }
            match rustix::fs::openat(to, name, FOLDER, Mode::empty()) {
                Err(Errno::NOTDIR | Errno::LOOP) => remove(to, name).at(shown)?,
                other => return other.map_err(io::Error::from).at(shown),
            }
        }
        Err(Fault::new(Code::BackupFailed, shown.display(), "its copy cannot be made"))
    }

    fn apply(&mut self, node: Node<'_>, entry: &Entry, shown: &Path) -> Result<()> {
        let mirror = &mut *self.mirror;
        let applied = node.apply(entry, &mut |what| {
            mirror.warn(format!("{}: {what} could not be kept", shown.display()));
        });
        applied.map_err(io::Error::from).at(shown)
    }
}

/// Removes what has that name in the copy, folders with all that is in them; nothing there is fine.
fn remove(folder: BorrowedFd<'_>, name: &OsStr) -> io::Result<()> {
    match rustix::fs::unlinkat(folder, name, AtFlags::empty()) {
        Ok(()) | Err(Errno::NOENT) => Ok(()),
        // By way of the open folder, so that no path is too long.
        Err(Errno::ISDIR) => {
            let path = PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name);
            std::fs::remove_dir_all(path)
        }
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests;
