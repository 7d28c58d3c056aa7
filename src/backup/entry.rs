//! One entry of an archive, as both sides see it: the disk walk that writes and the reader that restores.

use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use crate::release::digest::Hasher;

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EntryKind {
    /// A regular file.
    File,
    /// A folder.
    Folder,
    /// A symbolic link to `link`.
    Symlink,
    /// Another name of the earlier entry `link`.
    HardLink,
    /// A named pipe.
    Fifo,
    /// A device node; read from foreign tar streams, never stored.
    Device,
}

/// A point in time as the file system keeps it; before 1970 the seconds are negative.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Mtime {
    /// Seconds since 1970, rounded down.
    pub seconds: i64,
    /// 0 to 999 999 999, always forwards from `seconds`.
    pub nanos: u32,
}

/// A name in the archive with everything that is kept about it, its content aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in the archive, without a slash at the end. Any bytes.
    pub path: PathBuf,
    /// What it is.
    pub kind: EntryKind,
    /// Permission bits with setuid, setgid and sticky.
    pub mode: u32,
    /// Owner.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Time of the last change of the content.
    pub mtime: Mtime,
    /// Bytes of content; 0 for everything but files.
    pub size: u64,
    /// Where a link leads; empty for everything else.
    pub link: PathBuf,
    /// Extended attributes, POSIX ACLs (`system.posix_acl_*`) included.
    pub xattrs: BTreeMap<Vec<u8>, Vec<u8>>,
}

impl Entry {
    /// Feeds everything about the entry, each field with its length, so that two different entries never
    /// hash alike. The content follows; its length is in the entry.
    pub(super) fn hash_into(&self, hasher: &mut Hasher) {
        let mut field = |bytes: &[u8]| {
            hasher.update(&(bytes.len() as u64).to_le_bytes());
            hasher.update(bytes);
        };
        field(self.path.as_os_str().as_bytes());
        field(&[self.kind as u8]);
        for number in [self.mode, self.uid, self.gid, self.mtime.nanos] {
            field(&number.to_le_bytes());
        }
        field(&self.mtime.seconds.to_le_bytes());
        field(&self.size.to_le_bytes());
        field(self.link.as_os_str().as_bytes());
        field(&(self.xattrs.len() as u64).to_le_bytes());
        for (name, value) in &self.xattrs {
            field(name);
            field(value);
        }
    }
}
