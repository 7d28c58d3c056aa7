//! Reads a file or folder from the disk into the archive.
//!
//! Every step goes from an open folder to a name in it without following links, so that a container that
//! still runs cannot lead the walk out of its data, and paths longer than `PATH_MAX` work.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::entry::EntryKind;
use super::meta::{self, Node};
use super::selection::Filter;
use super::swap::STAGING;
use super::write::Sink;
use crate::fault::{Code, Fault, IoContext, Result};

/// Adds what is at `root` as the part called `name`. A link at `root` itself is the operator's own and is
/// followed (`shared/data` on another disk).
pub fn add(writer: &mut dyn Sink, name: &str, root: &Path, filter: &Filter) -> Result<()> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    let open = rustix::fs::open(root, flags, Mode::empty()).map_err(io::Error::from).at(root)?;
    let stat = rustix::fs::fstat(&open).map_err(io::Error::from).at(root)?;
    let mut walk = Walk { writer, filter, root, links: HashMap::new() };
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::Directory => walk.folder(open, &stat, PathBuf::from(name), root.to_owned()),
        FileType::RegularFile => walk.file(open, PathBuf::from(name), root),
        _ => Err(Fault::new(Code::BackupFailed, root.display(), "it is neither a file nor a folder")),
    }
}

struct Walk<'w> {
    writer: &'w mut dyn Sink,
    filter: &'w Filter,
    root: &'w Path,
    /// Files with more than one name, by device and inode, and the first name in the archive.
    links: HashMap<(u64, u64), PathBuf>,
}

impl Walk<'_> {
    fn folder(&mut self, open: OwnedFd, stat: &Stat, path: PathBuf, disk: PathBuf) -> Result<()> {
        let xattrs = Node::Open(open.as_fd()).xattrs().map_err(io::Error::from).at(&disk)?;
        let entry = meta::describe(path.clone(), EntryKind::Folder, stat, xattrs);
        self.writer.append(&entry, &mut io::empty(), &disk.as_path())?;
        for name in meta::names(&open).map_err(io::Error::from).at(&disk)? {
            if name.as_encoded_bytes().starts_with(STAGING.as_bytes()) {
                let cause = "an interrupted restore left it half changed; run the restore again first";
                return Err(Fault::new(Code::BackupFailed, disk.display(), cause));
            }
            let below = disk.join(&name);
            if self.filter.leaves_out(relative(&below, self.root)) {
                continue;
            }
            self.name(open.as_fd(), &name, path.join(&name), below)?;
        }
        Ok(())
    }

    fn name(&mut self, folder: BorrowedFd<'_>, name: &OsStr, path: PathBuf, disk: PathBuf) -> Result<()> {
        match self.try_name(folder, name, &path, &disk) {
            // It went away after its name was read: a service at work, not a fault of the backup.
            Ok(false) => {
                self.writer.warn(format!("{} vanished while it was read", disk.display()));
                Ok(())
            }
            Ok(true) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// `false` when there is no longer such a name.
    fn try_name(&mut self, folder: BorrowedFd<'_>, name: &OsStr, path: &Path, disk: &Path) -> Result<bool> {
        let Some(stat) = gone(rustix::fs::statat(folder, name, AtFlags::SYMLINK_NOFOLLOW), disk)? else {
            return Ok(false);
        };
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => {
                let opened = rustix::fs::openat(folder, name, flags | OFlags::DIRECTORY, Mode::empty());
                let Some(open) = gone(opened, disk)? else { return Ok(false) };
                let stat = rustix::fs::fstat(&open).map_err(io::Error::from).at(disk)?;
                self.folder(open, &stat, path.to_owned(), disk.to_owned())?;
            }
            _ if !self.filter.chooses(relative(disk, self.root)) => {}
            FileType::RegularFile => {
                let opened = rustix::fs::openat(folder, name, flags, Mode::empty());
                let Some(open) = gone(opened, disk)? else { return Ok(false) };
                self.file(open, path.to_owned(), disk)?;
            }
            FileType::Symlink => {
                let target = rustix::fs::readlinkat(folder, name, Vec::new());
                let Some(target) = gone(target, disk)? else { return Ok(false) };
                let target = PathBuf::from(std::ffi::OsString::from_vec(target.into_bytes()));
                return self.special(folder, name, path, disk, EntryKind::Symlink, &stat, target);
            }
            FileType::Fifo => {
                return self.special(folder, name, path, disk, EntryKind::Fifo, &stat, PathBuf::new());
            }
            // A socket lives only as long as the process that listens on it.
            FileType::Socket => {}
            _ => self.writer.warn(format!("{} is a device and was left out", disk.display())),
        }
        Ok(true)
    }

    #[allow(clippy::too_many_arguments)] // a name, its two paths and what is known of it
    fn special(
        &mut self,
        folder: BorrowedFd<'_>,
        name: &OsStr,
        path: &Path,
        disk: &Path,
        kind: EntryKind,
        stat: &Stat,
        link: PathBuf,
    ) -> Result<bool> {
        if self.hard_link(stat, path, disk)? {
            return Ok(true);
        }
        let Some(xattrs) = gone(Node::Named(folder, name).xattrs(), disk)? else { return Ok(false) };
        let mut entry = meta::describe(path.to_owned(), kind, stat, xattrs);
        entry.link = link;
        self.writer.append(&entry, &mut io::empty(), &disk)?;
        Ok(true)
    }

    fn file(&mut self, open: OwnedFd, path: PathBuf, disk: &Path) -> Result<()> {
        let mut file = File::from(open);
        let stat = rustix::fs::fstat(&file).map_err(io::Error::from).at(disk)?;
        if FileType::from_raw_mode(stat.st_mode) != FileType::RegularFile {
            self.writer.warn(format!("{} was exchanged while it was read", disk.display()));
            return Ok(());
        }
        if self.hard_link(&stat, &path, disk)? {
            return Ok(());
        }
        let xattrs = Node::Open(file.as_fd()).xattrs().map_err(io::Error::from).at(disk)?;
        let entry = meta::describe(path, EntryKind::File, &stat, xattrs);
        let whole = self.writer.append(&entry, &mut file, &disk)?;
        let after = rustix::fs::fstat(&file).map_err(io::Error::from).at(disk)?;
        let grew = whole && file.read(&mut [0]).at(disk)? > 0;
        if !whole || grew || meta::mtime_of(&after) != meta::mtime_of(&stat) {
            self.writer.warn(format!("{} changed while it was read", disk.display()));
        }
        Ok(())
    }

    /// Whether the file was stored before under another name; if so this name becomes a link to it.
    fn hard_link(&mut self, stat: &Stat, path: &Path, disk: &Path) -> Result<bool> {
        if stat.st_nlink < 2 {
            return Ok(false);
        }
        let Some(first) = self.links.get(&(stat.st_dev, stat.st_ino)) else {
            self.links.insert((stat.st_dev, stat.st_ino), path.to_owned());
            return Ok(false);
        };
        let mut entry = meta::describe(path.to_owned(), EntryKind::HardLink, stat, BTreeMap::new());
        entry.link = first.clone();
        self.writer.append(&entry, &mut io::empty(), &disk)?;
        Ok(true)
    }
}

/// `None` where the name is gone, or was exchanged for something of another kind.
pub fn gone<T>(result: rustix::io::Result<T>, disk: &Path) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Errno::NOENT | Errno::LOOP | Errno::NOTDIR | Errno::NXIO) => Ok(None),
        Err(error) => Err(Fault::io(disk, error.into())),
    }
}

/// `path` without the part's `root`.
pub fn relative<'p>(path: &'p Path, root: &Path) -> &'p Path {
    path.strip_prefix(root).unwrap_or(path)
}

/// Bytes of all chosen files below `root`: as they read, and as they lie on the disk. An estimate for the progress
/// and the room: what cannot be looked at is counted as nothing here and reported by the walk itself.
pub fn estimate(root: &Path, filter: &Filter) -> (u64, u64) {
    use std::os::unix::fs::MetadataExt;
    let chosen = |item: &walkdir::DirEntry| {
        let path = relative(item.path(), root);
        item.depth() == 0
            || if item.file_type().is_dir() { !filter.leaves_out(path) } else { filter.chooses(path) }
    };
    let found = walkdir::WalkDir::new(root).into_iter().filter_entry(chosen);
    let found = found.filter_map(|item| item.ok()?.metadata().ok());
    found.filter(|file| file.is_file()).fold((0, 0), |(length, stored), file| {
        (length + file.len(), stored + file.len().min(file.blocks() * 512))
    })
}
