//! Copies in a folder: another disk, or a share.

use std::fs::{File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;

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
        match self.0.join(name).metadata() {
            Ok(file) => Ok(file.is_file().then_some(file.len())),
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
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part)?;
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
        Ok(Box::new(File::open(&self.part)?))
    }

    fn keep(self: Box<Self>) -> io::Result<()> {
        std::fs::rename(&self.part, &self.path)?;
        File::open(self.folder)?.sync_all()
    }

    fn discard(self: Box<Self>) -> io::Result<()> {
        forget(&self.part)
    }
}

fn forget(path: &PathBuf) -> io::Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}
