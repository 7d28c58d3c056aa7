//! Room kept aside for the undo: a few MiB beside `state.db` that are given up when the disk is full, so that what
//! has to be recorded to bring the stack back can be.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};

use crate::fault::{IoContext, Result};

/// Many times what the journal of one change takes.
const SIZE: u64 = 4 << 20;
/// So much must be free for the reserve to be made: it is not to be what fills the disk.
const ROOM: u64 = 4 * SIZE;

/// The reserve of the database at `path`.
pub fn beside(path: &Path) -> PathBuf {
    path.with_extension("reserve")
}

/// Whether the reserve is there, whole.
pub fn is_there(reserve: &Path) -> bool {
    fs::metadata(reserve).is_ok_and(|present| present.len() >= SIZE)
}

/// Makes the reserve where it is missing and there is room; whether it is there now.
pub fn ensure(reserve: &Path) -> Result<bool> {
    if is_there(reserve) {
        return Ok(true);
    }
    let folder = reserve.parent().unwrap_or(Path::new("/"));
    let disk = rustix::fs::statvfs(folder).map_err(std::io::Error::from).at(folder)?;
    if disk.f_bavail.saturating_mul(disk.f_frsize) < ROOM {
        return Ok(false);
    }
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(reserve).at(reserve)?;
    match fill(&file) {
        Ok(()) => Ok(true),
        Err(error) => {
            give_up(reserve);
            Err(error).at(reserve)
        }
    }
}

/// A file with holes would reserve nothing, so where the file system cannot allocate it is written.
fn fill(file: &File) -> std::io::Result<()> {
    use rustix::fs::{FallocateFlags, fallocate};
    match fallocate(file, FallocateFlags::empty(), 0, SIZE) {
        Err(rustix::io::Errno::OPNOTSUPP | rustix::io::Errno::NOSYS) => {
            use std::os::unix::fs::FileExt;
            file.write_all_at(&vec![0xA5; SIZE as usize], 0)
        }
        other => Ok(other?),
    }?;
    file.sync_all()
}

/// Gives the room back; whether there was any to give.
pub fn give_up(reserve: &Path) -> bool {
    fs::remove_file(reserve).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_takes_real_room_once_and_gives_it_back() {
        use std::os::unix::fs::MetadataExt;
        let folder = tempfile::tempdir().unwrap();
        let reserve = beside(&folder.path().join("state.db"));
        assert!(!give_up(&reserve));
        assert!(ensure(&reserve).unwrap() && ensure(&reserve).unwrap());
        let made = fs::metadata(&reserve).unwrap();
        assert!(made.blocks() * 512 >= SIZE, "{} blocks", made.blocks());
        assert!(give_up(&reserve) && !is_there(&reserve));
    }

    #[test]
    fn a_file_cut_short_is_made_whole() {
        let folder = tempfile::tempdir().unwrap();
        let reserve = folder.path().join("state.reserve");
        fs::write(&reserve, "x").unwrap();
        assert!(!is_there(&reserve));
        assert!(ensure(&reserve).unwrap() && is_there(&reserve));
    }
}
