//! Owner, mode, times and extended attributes of one file, read and put back.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use rustix::fs::{AtFlags, Gid, Mode, Stat, Timespec, Timestamps, UTIME_OMIT, Uid, XattrFlags};
use rustix::io::{Errno, Result};

use super::entry::{Entry, EntryKind, Mtime};

/// Linux allows 64 KiB for a value and for the list of names.
const XATTR_MAX: usize = 64 * 1024;

/// A file by the way that reaches it: open, or a name in an open folder for what cannot be opened (links,
/// pipes). Never by a whole path, because a container may exchange a folder of the path for a link meanwhile.
#[derive(Clone, Copy)]
pub enum Node<'a> {
    /// An open file or folder.
    Open(BorrowedFd<'a>),
    /// A name in a folder; not followed when it is a link.
    Named(BorrowedFd<'a>, &'a OsStr),
}

impl Node<'_> {
    /// There is no `getxattrat` before Linux 6.13; `/proc` leads to the folder that is open.
    fn proc_path(folder: BorrowedFd<'_>, name: &OsStr) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}", folder.as_raw_fd())).join(name)
    }

    /// All extended attributes; none where the file system has none.
    pub fn xattrs(&self) -> Result<BTreeMap<Vec<u8>, Vec<u8>>> {
        let mut found = BTreeMap::new();
        let mut value = Vec::new();
        for name in self.xattr_names()? {
            value.resize(XATTR_MAX, 0);
            let read = match self {
                Self::Open(file) => rustix::fs::fgetxattr(file, &name[..], &mut value[..]),
                Self::Named(folder, file) => {
                    rustix::fs::lgetxattr(Self::proc_path(*folder, file), &name[..], &mut value[..])
                }
            };
            match read {
                Ok(length) => drop(found.insert(name, value[..length].to_vec())),
                // Taken away between the list and the look.
                Err(Errno::NODATA) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(found)
    }

    fn xattr_names(&self) -> Result<Vec<Vec<u8>>> {
        let mut list = vec![0; XATTR_MAX];
        let read = match self {
            Self::Open(file) => rustix::fs::flistxattr(file, &mut list[..]),
            Self::Named(folder, name) => {
                rustix::fs::llistxattr(Self::proc_path(*folder, name), &mut list[..])
            }
        };
        match read {
            Ok(length) => {
                let names = list[..length].split(|byte| *byte == 0).filter(|name| !name.is_empty());
                Ok(names.map(<[u8]>::to_vec).collect())
            }
            Err(Errno::NOTSUP) => Ok(Vec::new()),
            Err(error) => Err(error),
        }
    }

    fn set_xattr(&self, name: &[u8], value: &[u8]) -> Result<()> {
        let flags = XattrFlags::empty();
        match self {
            Self::Open(file) => rustix::fs::fsetxattr(file, name, value, flags),
            Self::Named(folder, file) => {
                rustix::fs::lsetxattr(Self::proc_path(*folder, file), name, value, flags)
            }
        }
    }

    fn remove_xattr(&self, name: &[u8]) -> Result<()> {
        match self {
            Self::Open(file) => rustix::fs::fremovexattr(file, name),
            Self::Named(folder, file) => rustix::fs::lremovexattr(Self::proc_path(*folder, file), name),
        }
    }

    fn chown(&self, uid: u32, gid: u32) -> Result<()> {
        let (uid, gid) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)));
        match self {
            Self::Open(file) => rustix::fs::fchown(file, uid, gid),
            Self::Named(folder, name) => {
                rustix::fs::chownat(folder, *name, uid, gid, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    fn stat(&self) -> Result<Stat> {
        match self {
            Self::Open(file) => rustix::fs::fstat(file),
            Self::Named(folder, name) => rustix::fs::statat(folder, *name, AtFlags::SYMLINK_NOFOLLOW),
        }
    }

    /// Sets the time of the last change.
    pub fn set_mtime(&self, mtime: Mtime) -> Result<()> {
        let times = Timestamps {
            last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
            last_modification: Timespec { tv_sec: mtime.seconds, tv_nsec: mtime.nanos.into() },
        };
        match self {
            Self::Open(file) => rustix::fs::futimens(file, &times),
            Self::Named(folder, name) => {
                rustix::fs::utimensat(folder, *name, &times, AtFlags::SYMLINK_NOFOLLOW)
            }
        }
    }

    /// Puts back everything `entry` says, and calls `lost` with each thing that this file system or user
    /// cannot keep: data without an attribute is better than no data.
    ///
    /// The order matters: a change of owner clears setuid and capabilities, and attributes need write
    /// permission, so owner, attributes, mode, time.
    pub fn apply(&self, entry: &Entry, lost: &mut dyn FnMut(String)) -> Result<()> {
        let present = self.stat()?;
        if (present.st_uid, present.st_gid) != (entry.uid, entry.gid) {
            match self.chown(entry.uid, entry.gid) {
                Err(Errno::PERM | Errno::INVAL | Errno::NOTSUP) => {
                    lost(format!("owner {}:{}", entry.uid, entry.gid));
                }
                other => other?,
            }
        }
        // A default ACL of the folder above gives every new file attributes it did not have.
        for name in self.xattr_names()? {
            let ours = name.starts_with(b"user.") || name.starts_with(b"system.posix_acl_");
            if ours && !entry.xattrs.contains_key(&name) {
                match self.remove_xattr(&name) {
                    Ok(()) | Err(Errno::NODATA) => {}
                    Err(error) => return Err(error),
                }
            }
        }
        for (name, value) in &entry.xattrs {
            match self.set_xattr(name, value) {
                Err(Errno::NOTSUP | Errno::PERM | Errno::ACCESS | Errno::INVAL) => {
                    lost(format!("attribute {}", String::from_utf8_lossy(name)));
                }
                other => other?,
            }
        }
        let mode = Mode::from_raw_mode(entry.mode);
        match self {
            Self::Open(file) => rustix::fs::fchmod(file, mode)?,
            // Links have no mode of their own.
            Self::Named(..) if entry.kind == EntryKind::Symlink => {}
            Self::Named(folder, name) => rustix::fs::chmodat(folder, *name, mode, AtFlags::empty())?,
        }
        self.set_mtime(entry.mtime)
    }
}

/// The entry that `stat` and `xattrs` describe.
pub fn describe(path: PathBuf, kind: EntryKind, stat: &Stat, xattrs: BTreeMap<Vec<u8>, Vec<u8>>) -> Entry {
    Entry {
        path,
        kind,
        mode: stat.st_mode & 0o7777,
        uid: stat.st_uid,
        gid: stat.st_gid,
        mtime: mtime_of(stat),
        size: if kind == EntryKind::File { stat.st_size as u64 } else { 0 },
        link: PathBuf::new(),
        xattrs,
    }
}

/// The time of the last change.
pub fn mtime_of(stat: &Stat) -> Mtime {
    Mtime { seconds: stat.st_mtime, nanos: stat.st_mtime_nsec as u32 }
}

/// The names in an open folder, sorted, so that the same data gives the same archive.
pub fn names(folder: impl AsFd) -> Result<Vec<std::ffi::OsString>> {
    let mut names = Vec::new();
    for item in rustix::fs::Dir::read_from(folder)? {
        let item = item?;
        let name = item.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}
