//! The content of one file: shared where the file system can, copied inside the kernel where it can, and where there is
//! a copy already, only the pieces that differ.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::sync::atomic::Ordering;

use rustix::fs::{FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use super::{Control, remove};
use crate::backup::write::room;
use crate::fault::{Code, Fault, IoContext, Result};

/// How much is compared at a time.
const PIECE: usize = 1024 * 1024;
/// How much is copied between two looks at the room and at whether to stop.
const STRETCH: u64 = 32 * 1024 * 1024;

/// Copies files.
pub struct Copy<'s, 'c, 'a> {
    /// Set once the file system refused to share content.
    pub share: &'s mut bool,
    pub control: &'c mut Control<'a>,
}

impl Copy<'_, '_, '_> {
    /// Makes `name` in the folder `to` a copy of the content of `from`, as long as `stat` says, and gives it open.
    pub fn file(
        &mut self,
        from: &File,
        stat: &Stat,
        to: BorrowedFd<'_>,
        name: &OsStr,
        shown: &Path,
    ) -> Result<File> {
        let size = stat.st_size as u64;
        let sparse = (stat.st_blocks as u64) * 512 < size;
        if !sparse && let Some(present) = present(to, name, shown)? {
            self.update(from, &present, size, shown)?;
            return Ok(present);
        }
        remove(to, name).at(shown)?;
        let flags = OFlags::RDWR | OFlags::CREATE | OFlags::EXCL | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let made = rustix::fs::openat(to, name, flags, Mode::from_raw_mode(0o600));
        let made = File::from(made.map_err(io::Error::from).at(shown)?);
        if !self.shared(from, &made, shown)? {
            self.copy(from, &made, size, shown)?;
        }
        made.set_len(size).at(shown)?;
        Ok(made)
    }

    /// Whether both now have the same blocks on the disk.
    fn shared(&mut self, from: &File, to: &File, shown: &Path) -> Result<bool> {
        if *self.share {
            return Ok(false);
        }
        match rustix::fs::ioctl_ficlone(to, from) {
            Ok(()) => Ok(true),
            // Not on this file system, not between these two, not this file.
            Err(Errno::OPNOTSUPP | Errno::NOTTY | Errno::XDEV | Errno::INVAL | Errno::NOSYS) => {
                *self.share = true;
                Ok(false)
            }
            Err(error) => Err(Fault::io(shown, error.into())),
        }
    }

    /// Copies what is not a hole, up to `size`.
    fn copy(&mut self, from: &File, to: &File, size: u64, shown: &Path) -> Result<()> {
        let mut at = 0;
        while at < size {
            let Some(start) = seek(from, SeekData::Data, at).at(shown)?.filter(|start| *start < size) else {
                return Ok(());
            };
            let end = seek(from, SeekData::Hole, start).at(shown)?.unwrap_or(size).min(size);
            at = start;
            while at < end {
                let count = (end - at).min(STRETCH);
                self.look(to, shown)?;
                let moved = stretch(from, to, at, count).at(shown)?;
                (self.control.copied)(moved);
                if moved == 0 {
                    // It was cut short meanwhile; the next pass sees that.
                    return Ok(());
                }
                at += moved;
            }
        }
        Ok(())
    }

    /// Makes `to` what `from` is by writing the pieces that differ.
    fn update(&mut self, from: &File, to: &File, size: u64, shown: &Path) -> Result<()> {
        let (mut wanted, mut present) = (vec![0; PIECE], vec![0; PIECE]);
        let mut at = 0;
        while at < size {
            let length = (size - at).min(PIECE as u64) as usize;
            let count = read_at(from, &mut wanted[..length], at).at(shown)?;
            if count == 0 {
                break;
            }
            let there = read_at(to, &mut present[..count], at).at(shown)?;
            if wanted[..count] != present[..there] {
                self.look(to, shown)?;
                to.write_all_at(&wanted[..count], at).at(shown)?;
                (self.control.copied)(count as u64);
            }
            at += count as u64;
        }
        to.set_len(size).at(shown)
    }

    /// Stops where a person wants it, and before the disk is full: the services need it.
    fn look(&self, to: &File, shown: &Path) -> Result<()> {
        if self.control.cancel.load(Ordering::Relaxed) {
            return Err(Fault::new(Code::Interrupted, shown.display(), ""));
        }
        let (free, reserve) = room(to).at(shown)?;
        if free < reserve {
            let cause = format!("{free} bytes are free where backups are kept");
            return Err(Fault::new(Code::DiskFull, shown.display(), cause));
        }
        Ok(())
    }
}

/// The copy of before, where it is a file that has no other name.
fn present(to: BorrowedFd<'_>, name: &OsStr, shown: &Path) -> Result<Option<File>> {
    let flags = OFlags::RDWR | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(to, name, flags, Mode::empty()) {
        Ok(open) => File::from(open),
        Err(Errno::NOENT | Errno::LOOP | Errno::ISDIR | Errno::NXIO) => return Ok(None),
        Err(error) => return Err(Fault::io(shown, error.into())),
    };
    let stat = rustix::fs::fstat(&file).map_err(io::Error::from).at(shown)?;
    let plain = FileType::from_raw_mode(stat.st_mode) == FileType::RegularFile && stat.st_nlink == 1;
    Ok(plain.then_some(file))
}

enum SeekData {
    Data,
    Hole,
}

/// The next data, or hole, at or behind `at`; none where there is no more.
fn seek(file: &File, what: SeekData, at: u64) -> io::Result<Option<u64>> {
    let to = match what {
        SeekData::Data => rustix::fs::SeekFrom::Data(at),
        SeekData::Hole => rustix::fs::SeekFrom::Hole(at),
    };
    match rustix::fs::seek(file, to) {
        Ok(found) => Ok(Some(found)),
        Err(Errno::NXIO) => Ok(None),
        // A file system that knows no holes has data everywhere.
        Err(Errno::INVAL) => Ok(match what {
            SeekData::Data => Some(at),
            SeekData::Hole => None,
        }),
        Err(error) => Err(error.into()),
    }
}

/// Copies up to `count` bytes from the same place to the same place; says how many.
fn stretch(from: &File, to: &File, at: u64, count: u64) -> io::Result<u64> {
    let (mut source, mut target) = (at, at);
    match rustix::fs::copy_file_range(from, Some(&mut source), to, Some(&mut target), count as usize) {
        Ok(moved) if moved > 0 => return Ok(moved as u64),
        // The end, or a file system (of the kernel's own making) that only seems to have nothing.
        Ok(_) | Err(Errno::XDEV | Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP | Errno::PERM) => {}
        Err(error) => return Err(error.into()),
    }
    let mut buffer = vec![0; PIECE.min(count as usize)];
    let moved = read_at(from, &mut buffer, at)?;
    to.write_all_at(&buffer[..moved], at)?;
    Ok(moved as u64)
}

/// Reads until `buffer` is full or the end; says how much it got.
fn read_at(file: &File, buffer: &mut [u8], at: u64) -> io::Result<usize> {
    let mut count = 0;
    while count < buffer.len() {
        match file.read_at(&mut buffer[count..], at + count as u64) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(count)
}
