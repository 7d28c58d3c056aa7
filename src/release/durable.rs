//! Files that are wholly there or not at all, also after a power cut.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use crate::fault::{Code, Fault, IoContext, Result};

/// Writes `bytes` to `path`: a reader sees the old content or the new, never a part.
pub(crate) fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
    let part = part_of(path)?;
    let written = (|| {
        let mut file = File::create(&part)?;
        file.write_all(bytes)?;
        file.sync_all()
    })();
    if let Err(error) = written.and_then(|()| fs::rename(&part, path)) {
        // The cause is `error`; a remaining part file is overwritten by the next attempt.
        let _ = fs::remove_file(&part);
        return Err(Fault::io(path, error));
    }
    sync_parent(path)
}

/// Copies a file the same way.
pub(crate) fn copy_atomic(from: &Path, to: &Path) -> Result<()> {
    let part = part_of(to)?;
    fs::copy(from, &part).at(&part)?;
    File::open(&part).and_then(|file| file.sync_all()).at(&part)?;
    fs::rename(&part, to).at(to)?;
    sync_parent(to)
}

/// Makes the entry of `path` in its folder durable.
pub(crate) fn sync_parent(path: &Path) -> Result<()> {
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    File::open(parent).and_then(|folder| folder.sync_all()).at(parent)
}

/// Makes everything below `folder` durable with one call.
pub(crate) fn sync_tree(folder: &Path) -> Result<()> {
    let handle = File::open(folder).at(folder)?;
    rustix::fs::syncfs(&handle).map_err(std::io::Error::from).at(folder)
}

/// The name a file has while it is being written, in the same folder.
pub(crate) fn part_of(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Fault::new(Code::Io, path.display(), "it does not name a file"))?
        .to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}.part", std::process::id())))
}
