//! Exchanges the content of a folder, or a single file, so that a crash anywhere leaves a way to the old and
//! the new state.
//!
//! A folder keeps its identity: it may be a volume's root, a mount point, or the bind source of a stopped
//! container. So its content moves, not the folder. Everything happens in a staging folder inside it, on the
//! same file system:
//!
//! ```text
//! .compose-upgrade-restore-<id>/
//!   new/      the restored content until it moves up
//!   old/      the former content after it moved out
//!   meta/     an empty folder with the former owner, mode, attributes and time of the folder
//!   moving    exists from the first move on
//!   emptied   exists when all former content is in old/: what is above from then on is new
//!   done      exists when the restore is settled and the rest only waits to be deleted
//! ```
//!
//! [`FolderSwap::revert`] works from every state before `done`, also when it was itself cut short.

mod keep;

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, Mode, OFlags, fsync, openat, renameat, statat, unlinkat};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind};
use super::meta::{self, Node};
use super::selection::Cover;
use crate::durable;
use crate::fault::{IoContext, Result};

/// How the name of every staging folder and file begins.
pub const STAGING: &str = ".compose-upgrade-restore-";

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// The exchange of a folder's content.
pub struct FolderSwap {
    target: PathBuf,
    open: OwnedFd,
    name: OsString,
    staging: OwnedFd,
}

impl FolderSwap {
    /// Makes the staging folder in `target` (which is created where it does not exist).
    pub fn begin(target: &Path, id: &str) -> Result<Self> {
        fs::create_dir_all(target).at(target)?;
        let open = open_folder(target)?;
        let former = folder_entry(&open).at(target)?;
        let name = OsString::from(format!("{STAGING}{id}"));
        let staging = target.join(&name);
        fs::create_dir(&staging).at(&staging)?;
        Self::prepare(target, open, name, &former).inspect_err(|_| {
            // The first error is the one to tell; what is left is found by the next restore.
            let _left = fs::remove_dir_all(&staging);
        })
    }

    fn prepare(target: &Path, open: OwnedFd, name: OsString, former: &Entry) -> Result<Self> {
        let staging = target.join(&name);
        let swap = Self { target: target.to_owned(), open, staging: open_folder(&staging)?, name };
        // A default ACL of the target would be inherited by everything that is unpacked below.
        let private = Entry { mode: 0o700, xattrs: Default::default(), ..former.clone() };
        apply(&swap.staging, &private, &mut Vec::new()).at(&staging)?;
        for part in ["new", "old", "meta"] {
            fs::create_dir(staging.join(part)).at(&staging)?;
        }
        // What this folder's own file system cannot keep was not there to be kept.
        apply(&swap.part("meta")?, former, &mut Vec::new()).at(&staging)?;
        Node::Open(swap.open.as_fd()).set_mtime(former.mtime).map_err(io::Error::from).at(target)?;
        Ok(swap)
    }

    /// The staging folder of `id` in `target`, where one was left.
    pub fn left_over(target: &Path, name: &OsStr) -> Result<Option<Self>> {
        let staging = target.join(name);
        match fs::symlink_metadata(&staging) {
            Ok(found) if found.is_dir() => {}
            Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                return Err(crate::Fault::io(&staging, error));
            }
            _ => return Ok(None),
        }
        let (open, staging) = (open_folder(target)?, open_folder(&staging)?);
        Ok(Some(Self { target: target.to_owned(), open, name: name.to_owned(), staging }))
    }

    /// The names of all staging folders that were left in `target`.
    pub fn left_overs(target: &Path) -> Result<Vec<OsString>> {
        match fs::read_dir(target) {
            Ok(items) => {
                let names = items.map(|item| item.map(|item| item.file_name()).at(target));
                let names: Vec<OsString> = names.collect::<Result<_>>()?;
                let ours = |name: &OsString| name.as_encoded_bytes().starts_with(STAGING.as_bytes());
                Ok(names.into_iter().filter(ours).collect())
            }
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(Vec::new())
            }
            Err(error) => Err(crate::Fault::io(target, error)),
        }
    }

    /// Where the new content goes.
    pub fn new_path(&self) -> PathBuf {
        self.target.join(&self.name).join("new")
    }

    /// The folder that takes the new content.
    pub fn new_content(&self) -> Result<OwnedFd> {
        self.part("new")
    }

    /// Owner, mode, attributes and time that the folder had before.
    pub fn former_root(&self) -> Result<Entry> {
        folder_entry(&self.part("meta")?).at(&self.target)
    }

    /// Moves the former content out and the new in, and gives the folder the owner, mode, attributes and time
    /// of `root`; returns what of these could not be kept. Everything new must be on the disk already.
    pub fn exchange(&self, root: &Entry) -> Result<Vec<String>> {
        self.move_out()?;
        self.move_in()?;
        let mut lost = Vec::new();
        apply(&self.open, root, &mut lost).at(&self.target)?;
        Ok(lost)
    }

    /// After [`FolderSwap::exchange`], when there is no way back any more: moves what `cover` keeps of the former content
    /// back to its place.
    pub fn keep(&self, cover: &Cover) -> Result<()> {
        // Once it is being deleted, everything that was to stay is where it belongs.
        if cover.is_all() || self.has("done")? {
            return Ok(());
        }
        keep::keep(&self.part("old")?, &self.open, cover, Path::new(""), &self.target)
    }

    fn move_out(&self) -> Result<()> {
        self.mark("moving")?;
        self.move_all(&self.open, &self.part("old")?)?;
        self.mark("emptied")
    }

    fn move_in(&self) -> Result<()> {
        self.move_all(&self.part("new")?, &self.open)
    }

    /// Brings the former content back and deletes the new.
    pub fn revert(self) -> Result<()> {
        if self.has("done")? {
            return self.clean_up();
        }
        if self.has("moving")? {
            if self.has("emptied")? {
                self.move_all(&self.open, &self.part("new")?)?;
                self.unmark("emptied")?;
            }
            self.move_all(&self.part("old")?, &self.open)?;
            if self.has("meta")? {
                apply(&self.open, &self.former_root()?, &mut Vec::new()).at(&self.target)?;
            }
        }
        self.clean_up()
    }

    /// Deletes the staging folder and what is in it; the time of the folder stays.
    pub fn clean_up(self) -> Result<()> {
        // Before anything is deleted: from here on `old/` is no longer whole and must not come back.
        self.mark("done")?;
        let staging = self.target.join(&self.name);
        for part in ["old", "new", "meta"] {
            ignore_missing(fs::remove_dir_all(staging.join(part))).at(&staging)?;
        }
        for mark in ["moving", "emptied", "done"] {
            self.unmark(mark)?;
        }
        let before =
            meta::mtime_of(&rustix::fs::fstat(&self.open).map_err(io::Error::from).at(&self.target)?);
        ignore_missing(fs::remove_dir(&staging)).at(&staging)?;
        Node::Open(self.open.as_fd()).set_mtime(before).map_err(io::Error::from).at(&self.target)?;
        self.sync(&self.open)
    }

    fn part(&self, name: &str) -> Result<OwnedFd> {
        let flags = FOLDER | OFlags::NOFOLLOW;
        let opened = openat(&self.staging, name, flags, Mode::empty());
        opened.map_err(io::Error::from).at(self.target.join(&self.name).join(name))
    }

    /// Moves every name but the staging folder's, and makes that durable.
    fn move_all(&self, from: &OwnedFd, to: &OwnedFd) -> Result<()> {
        for name in meta::names(from).map_err(io::Error::from).at(&self.target)? {
            if name != self.name {
                let moved = renameat(from, &name, to, &name);
                moved.map_err(io::Error::from).at(self.target.join(&name))?;
            }
        }
        self.sync(to)?;
        self.sync(from)
    }

    fn mark(&self, mark: &str) -> Result<()> {
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::CLOEXEC;
        let made = openat(&self.staging, mark, flags, Mode::from_raw_mode(0o600));
        made.map_err(io::Error::from).at(self.target.join(&self.name).join(mark))?;
        self.sync(&self.staging)?;
        self.sync(&self.open)
    }

    fn unmark(&self, mark: &str) -> Result<()> {
        match unlinkat(&self.staging, mark, AtFlags::empty()) {
            Ok(()) | Err(Errno::NOENT) => self.sync(&self.staging),
            Err(error) => Err(crate::Fault::io(self.target.join(&self.name).join(mark), error.into())),
        }
    }

    fn has(&self, name: &str) -> Result<bool> {
        match statat(&self.staging, name, AtFlags::SYMLINK_NOFOLLOW) {
            Ok(_) => Ok(true),
            Err(Errno::NOENT) => Ok(false),
            Err(error) => Err(crate::Fault::io(self.target.join(&self.name).join(name), error.into())),
        }
    }

    fn sync(&self, folder: &OwnedFd) -> Result<()> {
        fsync(folder).map_err(io::Error::from).at(&self.target)
    }
}

/// The exchange of a single file, by rename.
#[derive(Debug, Clone)]
pub struct FileSwap {
    /// The file.
    pub target: PathBuf,
    /// Whether it existed before.
    pub existed: bool,
    id: String,
}

impl FileSwap {
    /// For the file at `target`; a link there is the operator's own and is followed. What an earlier attempt
    /// left of its new content is deleted.
    pub fn begin(target: &Path, id: &str) -> Result<Self> {
        let target = match fs::canonicalize(target) {
            Ok(real) => real,
            Err(error) if error.kind() == io::ErrorKind::NotFound => target.to_owned(),
            Err(error) => return Err(crate::Fault::io(target, error)),
        };
        if let Some(folder) = target.parent() {
            fs::create_dir_all(folder).at(folder)?;
        }
        let existed = target.try_exists().at(&target)?;
        let swap = Self { target, existed, id: id.to_owned() };
        ignore_missing(fs::remove_file(swap.staged())).at(swap.staged())?;
        Ok(swap)
    }

    /// An exchange that was begun by an earlier process.
    pub fn left_over(target: PathBuf, existed: bool, id: &str) -> Self {
        Self { target, existed, id: id.to_owned() }
    }

    /// Where the new content is prepared.
    pub fn staged(&self) -> PathBuf {
        self.beside("new")
    }

    fn saved(&self) -> PathBuf {
        self.beside("old")
    }

    fn beside(&self, what: &str) -> PathBuf {
        let mut name = OsString::from(format!("{STAGING}{}-{what}-", self.id));
        name.push(self.target.file_name().unwrap_or_default());
        self.target.with_file_name(name)
    }

    /// Puts the new file in place and keeps the former beside it.
    pub fn exchange(&self) -> Result<()> {
        if self.existed {
            ignore_missing(fs::remove_file(self.saved())).at(self.saved())?;
            fs::hard_link(&self.target, self.saved()).at(self.saved())?;
        }
        fs::rename(self.staged(), &self.target).at(&self.target)?;
        self.sync()
    }

    /// Brings the former file back, from whatever state.
    pub fn revert(&self) -> Result<()> {
        let waiting = self.staged().try_exists().at(self.staged())?;
        if self.existed {
            ignore_missing(fs::rename(self.saved(), &self.target)).at(&self.target)?;
        } else if !waiting {
            ignore_missing(fs::remove_file(&self.target)).at(&self.target)?;
        }
        // Renaming one of two names of the same file over the other does nothing and leaves both.
        self.clean_up()
    }

    /// Deletes what is kept beside the file.
    pub fn clean_up(&self) -> Result<()> {
        for path in [self.staged(), self.saved()] {
            ignore_missing(fs::remove_file(&path)).at(&path)?;
        }
        self.sync()
    }

    fn sync(&self) -> Result<()> {
        durable::sync_parent(&self.target)
    }
}

fn open_folder(path: &Path) -> Result<OwnedFd> {
    rustix::fs::open(path, FOLDER, Mode::empty()).map_err(io::Error::from).at(path)
}

/// Owner, mode, attributes and time of an open folder.
pub fn folder_entry(open: &OwnedFd) -> io::Result<Entry> {
    let xattrs = Node::Open(open.as_fd()).xattrs()?;
    Ok(meta::describe(PathBuf::new(), EntryKind::Folder, &rustix::fs::fstat(open)?, xattrs))
}

fn apply(open: &OwnedFd, entry: &Entry, lost: &mut Vec<String>) -> io::Result<()> {
    Ok(Node::Open(open.as_fd()).apply(entry, &mut |what| lost.push(what))?)
}

fn ignore_missing(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

#[cfg(test)]
mod tests;
