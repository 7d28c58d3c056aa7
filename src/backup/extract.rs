//! Puts a part's entries on the disk below an open folder.
//!
//! Each step goes from an open folder to a name in it without following links, so no archive, however it was
//! made, writes outside that folder.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Mode, OFlags};
use rustix::io::Errno;

use super::entry::{Entry, EntryKind, Mtime};
use super::meta::{self, Node};
use super::write::CHUNK;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::tarball::fill;

const FOLDER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// More than these are only counted.
const MAX_LOST: usize = 50;

/// Writes one part below a folder.
pub struct Extractor {
    root: OwnedFd,
    /// The folder's path, for messages.
    shown: PathBuf,
    stack: Vec<Level>,
    lost: Vec<String>,
    lost_count: usize,
}

/// A folder that is being filled, below the one before it.
struct Level {
    name: std::ffi::OsString,
    open: OwnedFd,
    finish: Finish,
}

/// What a folder gets when its content is complete: before, a mode could lock the writer out, and every new
/// name would change the time.
enum Finish {
    Apply(Box<Entry>),
    KeepTime(Mtime),
}

impl Extractor {
    /// Below `root`, which is at `shown`.
    pub fn new(root: OwnedFd, shown: PathBuf) -> Self {
        Self { root, shown, stack: Vec::new(), lost: Vec::new(), lost_count: 0 }
    }

    /// Adds `entry` at `relative`, which has at least one part and only plain ones.
    pub fn add(&mut self, relative: &Path, entry: &Entry, body: &mut dyn Read) -> Result<()> {
        let shown = self.shown.join(relative);
        let parent = relative.parent().unwrap_or(Path::new(""));
        let name = relative.file_name().ok_or_else(|| self.hostile(&shown, "it has no name"))?.to_owned();
        self.enter(parent)?;
        let folder = self.top();
        let private = Mode::from_raw_mode(0o600);
        match entry.kind {
            EntryKind::Folder => return self.folder(&name, entry, &shown),
            EntryKind::File => {
                let flags =
                    OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
                let opened = rustix::fs::openat(folder, &name, flags, private);
                let mut file = File::from(self.made(opened, &shown)?);
                copy_sparse(body, &mut file).at(&shown)?;
                return self.apply(Node::Open(file.as_fd()), entry, &shown);
            }
            EntryKind::Symlink => self.made(rustix::fs::symlinkat(&entry.link, folder, &name), &shown)?,
            EntryKind::Fifo => {
                self.made(rustix::fs::mknodat(folder, &name, FileType::Fifo, private, 0), &shown)?;
            }
            EntryKind::HardLink => {
                // `link` was made relative to the part by the caller.
                let (from, first) = self.locate(&entry.link)?;
                let from = from.as_ref().map_or(self.root.as_fd(), |open| open.as_fd());
                let linked = rustix::fs::linkat(from, first, folder, &name, AtFlags::empty());
                return self.made(linked, &shown);
            }
            EntryKind::Device => return Err(self.hostile(&shown, "it is a device")),
        }
        // Reborrowed by hand: `apply` needs `lost` while the folder is open.
        let mut lost = Vec::new();
        let applied = Node::Named(self.top(), &name).apply(entry, &mut |what| lost.push(what));
        self.note(lost, &shown);
        applied.map_err(io::Error::from).at(&shown)
    }

    /// Completes all folders, brings everything to the disk, and says what could not be kept.
    pub fn finish(mut self) -> Result<Vec<String>> {
        while !self.stack.is_empty() {
            self.leave()?;
        }
        rustix::fs::syncfs(&self.root).map_err(io::Error::from).at(&self.shown)?;
        if self.lost_count > MAX_LOST {
            let more = self.lost_count - MAX_LOST;
            self.lost.push(format!("{}: … and {more} more", self.shown.display()));
        }
        Ok(self.lost)
    }

    fn folder(&mut self, name: &OsStr, entry: &Entry, shown: &Path) -> Result<()> {
        match rustix::fs::mkdirat(self.top(), name, Mode::from_raw_mode(0o700)) {
            // A stream may name a folder after what is in it.
            Ok(()) | Err(Errno::EXIST) => {}
            Err(error) => return Err(Fault::io(shown, error.into())),
        }
        let open = self.open(self.top(), name, shown)?;
        self.stack.push(Level {
            name: name.to_owned(),
            open,
            finish: Finish::Apply(Box::new(entry.clone())),
        });
        Ok(())
    }

    /// Leaves the folders that `parent` is not below and enters those that lead to it.
    fn enter(&mut self, parent: &Path) -> Result<()> {
        let wanted: Vec<&OsStr> = parent.iter().collect();
        let common = self.stack.iter().zip(&wanted).take_while(|(level, name)| level.name == **name).count();
        while self.stack.len() > common {
            self.leave()?;
        }
        for name in &wanted[common..] {
            let shown = self.shown.join(parent);
            match rustix::fs::mkdirat(self.top(), *name, Mode::from_raw_mode(0o755)) {
                Ok(()) | Err(Errno::EXIST) => {}
                Err(error) => return Err(Fault::io(&shown, error.into())),
            }
            let open = self.open(self.top(), name, &shown)?;
            let stat = rustix::fs::fstat(&open).map_err(io::Error::from).at(&shown)?;
            let finish = Finish::KeepTime(meta::mtime_of(&stat));
            self.stack.push(Level { name: (*name).to_owned(), open, finish });
        }
        Ok(())
    }

    fn leave(&mut self) -> Result<()> {
        let shown = self.stack.iter().fold(self.shown.clone(), |path, level| path.join(&level.name));
        let Some(level) = self.stack.pop() else { return Ok(()) };
        let node = Node::Open(level.open.as_fd());
        match level.finish {
            Finish::Apply(entry) => self.apply(node, &entry, &shown),
            Finish::KeepTime(mtime) => node.set_mtime(mtime).map_err(io::Error::from).at(&shown),
        }
    }

    fn apply(&mut self, node: Node<'_>, entry: &Entry, shown: &Path) -> Result<()> {
        let mut lost = Vec::new();
        let applied = node.apply(entry, &mut |what| lost.push(what));
        self.note(lost, shown);
        applied.map_err(io::Error::from).at(shown)
    }

    fn note(&mut self, lost: Vec<String>, shown: &Path) {
        for what in lost {
            self.lost_count += 1;
            if self.lost_count <= MAX_LOST {
                self.lost.push(format!("{}: {what} could not be kept", shown.display()));
            }
        }
    }

    fn top(&self) -> BorrowedFd<'_> {
        self.stack.last().map_or(self.root.as_fd(), |level| level.open.as_fd())
    }

    /// The folder of an earlier entry (`None`: the root) and the entry's name in it.
    fn locate<'p>(&self, path: &'p Path) -> Result<(Option<OwnedFd>, &'p OsStr)> {
        let shown = self.shown.join(path);
        let mut open: Option<OwnedFd> = None;
        let mut components = path.components().peekable();
        while let Some(component) = components.next() {
            let Component::Normal(name) = component else {
                return Err(self.hostile(&shown, "it leads outside"));
            };
            if components.peek().is_none() {
                return Ok((open, name));
            }
            let from = open.as_ref().map_or(self.root.as_fd(), |open| open.as_fd());
            open = Some(self.open(from, name, &shown)?);
        }
        Err(self.hostile(&shown, "a link to a folder"))
    }

    fn open(&self, folder: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<OwnedFd> {
        rustix::fs::openat(folder, name, FOLDER, Mode::empty()).map_err(|error| match error {
            Errno::LOOP | Errno::NOTDIR => self.hostile(shown, "the way to it leads through a link or file"),
            Errno::NOENT => self.hostile(shown, "it does not exist in the archive"),
            error => Fault::io(shown, error.into()),
        })
    }

    fn made<T>(&self, result: rustix::io::Result<T>, shown: &Path) -> Result<T> {
        result.map_err(|error| match error {
            Errno::EXIST => self.hostile(shown, "the archive has it twice"),
            Errno::NOENT => self.hostile(shown, "the archive links to what it does not have"),
            error => Fault::io(shown, error.into()),
        })
    }

    fn hostile(&self, shown: &Path, cause: &str) -> Fault {
        Fault::new(Code::BackupCorrupt, shown.display(), cause)
    }
}

/// Copies content; a whole chunk of zeros becomes a hole. Shorter runs stay: they cost little, and a file
/// full of small holes is slow ever after.
pub fn copy_sparse(body: &mut dyn Read, file: &mut File) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    let mut length = 0;
    let mut hole = false;
    loop {
        let count = fill(body, &mut buffer)?;
        if count == 0 {
            break;
        }
        length += count as u64;
        let chunk = &buffer[..count];
        hole = count == CHUNK && chunk.iter().all(|byte| *byte == 0);
        match hole {
            true => drop(file.seek(SeekFrom::Current(count as i64))?),
            false => file.write_all(chunk)?,
        }
    }
    if hole {
        file.set_len(length)?;
    }
    Ok(())
}
