//! Changes of names that outlive a power cut: each is followed by an fsync of the folder it happened in.

use std::fs::{self, File};
use std::path::Path;

use crate::fault::{Fault, IoContext, Result};

/// Makes renames, additions and removals in `folder` durable.
pub fn sync_folder(folder: &Path) -> Result<()> {
    File::open(folder).and_then(|folder| folder.sync_all()).at(folder)
}

/// Makes the entry of `path` in its folder durable.
pub fn sync_parent(path: &Path) -> Result<()> {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_folder(parent),
        _ => sync_folder(Path::new(".")),
    }
}

/// Renames within one folder, replacing what has the new name.
pub fn rename(from: &Path, to: &Path) -> Result<()> {
    fs::rename(from, to).at(to)?;
    sync_parent(to)
}

/// Removes a file that need not be there.
pub fn remove_file(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::io(path, error)),
    }
}
