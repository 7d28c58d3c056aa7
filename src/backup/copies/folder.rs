//! Copies in a folder: another disk, or a share.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::place::{Draft, Place};

/// A folder that has to be there: made here, it would be one on this very disk once the share is not mounted.
pub(super) struct Folder(PathBuf);

impl Folder {
    pub(super) fn new(folder: PathBuf) -> Self {
        Self(folder)
    }
}

impl Place for Folder {
    fn shown(&self, name: &str) -> String {
        self.0.join(name).display().to_string()
    }

    fn size_of(&self, name: &str) -> io::Result<Option<u64>> {
        let path = self.0.join(name);
        // What is no file takes the name, too, and so does a link that leads nowhere.
        match path.metadata().or_else(|_| path.symlink_metadata()) {
            Ok(file) => Ok(Some(file.len())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn begin(&self, name: &str, _size: u64) -> io::Result<Box<dyn Draft + '_>> {
        if !self.0.is_dir() {
            return Err(io::Error::other("the folder is not there; is it mounted?"));
        }
        let (path, part) = (self.0.join(name), self.0.join(format!("{name}.part")));
        forget(&part)?;
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&part)?;
        Ok(Box::new(Part { folder: &self.0, path, part, file }))
    }

    fn read(&self, name: &str) -> io::Result<Box<dyn Read + '_>> {
        Ok(Box::new(File::open(self.0.join(name))?))
    }
}

struct Part<'a> {
    folder: &'a PathBuf,
    path: PathBuf,
    part: PathBuf,
    file: File,
}

impl Write for Part<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Draft for Part<'_> {
    fn settle(&mut self) -> io::Result<()> {
        self.file.sync_all()
    }

    fn read_back(&self) -> io::Result<Box<dyn Read + '_>> {
        // From the disk, not from memory; where that cannot be asked for, from where the system has it.
        let _asked = rustix::fs::fadvise(&self.file, 0, None, rustix::fs::Advice::DontNeed);
        // Not by its name: that could be another file by now.
        let mut file = &self.file;
        file.rewind()?;
        Ok(Box::new(file))
    }

    fn keep(self: Box<Self>) -> io::Result<()> {
        if let Err(error) = rename_to_free(&self.part, &self.path) {
            forget(&self.part)?;
            return Err(error);
        }
        File::open(self.folder)?.sync_all()
    }

    fn discard(self: Box<Self>) -> io::Result<()> {
        forget(&self.part)
    }
}

/// Renames, but replaces nothing.
fn rename_to_free(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;
    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        // Shares that cannot do both at once.
        Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) => match to.symlink_metadata() {
            Ok(_) => Err(io::ErrorKind::AlreadyExists.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => std::fs::rename(from, to),
            Err(error) => Err(error),
        },
        renamed => Ok(renamed?),
    }
}

fn forget(path: &PathBuf) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_read_back_and_what_came_between_stays() {
        let folder = tempfile::tempdir().unwrap();
        let place = Folder::new(folder.path().to_owned());
        let mut draft = place.begin("a", 3).unwrap();
        draft.write_all(b"one").unwrap();
        draft.settle().unwrap();
        let part = folder.path().join("a.part");
        std::fs::rename(&part, folder.path().join("moved")).unwrap();
        std::fs::write(&part, "two").unwrap();
        assert_eq!(io::read_to_string(draft.read_back().unwrap()).unwrap(), "one");

        std::fs::write(folder.path().join("a"), "three").unwrap();
        assert_eq!(draft.keep().unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(io::read_to_string(place.read("a").unwrap()).unwrap(), "three");
        assert!(!part.exists());
    }
}
