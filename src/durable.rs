//! Files that are wholly there or not at all, and changes of names that stay, also after a power cut: each is followed by
//! an fsync of the folder it happened in.

use std::fs::{self, DirBuilder, File};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use crate::fault::{Code, Fault, IoContext, Result};

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

/// Writes a file that only its owner may read: it may hold credentials. It may be seen in part; see [`write_atomic`].
pub fn write_private(path: &Path, content: &[u8]) -> Result<()> {
    let mut options = fs::OpenOptions::new();
    let mut file = options.write(true).create(true).truncate(true).mode(0o600).open(path).at(path)?;
    file.write_all(content).and_then(|()| file.sync_all()).at(path)
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

/// Removes a folder with all that is in it; it need not be there.
pub fn remove_dir_all(path: &Path) -> Result<()> {
    match fs::remove_dir_all(path) {
        Ok(()) => sync_parent(path),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(()),
        Err(error) => Err(Fault::io(path, error)),
    }
}

/// Makes a folder, and those above it that are missing, for their owner alone.
pub fn create_private_dir_all(path: &Path) -> Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).at(path)
}

/// As [`remove_dir_all`], in one step: from the first moment on nothing of it has its name any more. Where the process is
/// killed before all of it is removed, [`remove_leftovers`] of the folder it is in does the rest.
pub fn remove_dir_at_once(path: &Path) -> Result<()> {
    let mut gone = path.as_os_str().to_owned();
    gone.push(".");
    gone.push(GONE);
    let gone = PathBuf::from(gone);
    remove_dir_all(&gone)?;
    match fs::rename(path, &gone) {
        Ok(()) => sync_parent(path)?,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(Fault::io(path, error)),
    }
    remove_dir_all(&gone)
}

/// Removes what [`remove_dir_at_once`] had no time to of folders in `folder` whose names end with `ending`.
pub fn remove_leftovers(folder: &Path, ending: &str) -> Result<()> {
    let ending = format!("{ending}.{GONE}");
    for entry in fs::read_dir(folder).at(folder)? {
        let entry = entry.at(folder)?;
        let ours = entry.file_name().to_string_lossy().ends_with(&ending);
        if ours && entry.file_type().at(entry.path())?.is_dir() {
            remove_dir_all(&entry.path())?;
        }
    }
    Ok(())
}

/// What the names of folders end with that are being removed.
const GONE: &str = "gone";

/// Writes `bytes` to `path`: a reader sees the old content or the new, never a part.
pub fn write_atomic(path: &Path, bytes: &[u8]) -> Result<()> {
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
pub fn copy_atomic(from: &Path, to: &Path) -> Result<()> {
    let part = part_of(to)?;
    fs::copy(from, &part).at(&part)?;
    File::open(&part).and_then(|file| file.sync_all()).at(&part)?;
    rename(&part, to)
}

/// Makes everything below `folder` durable with one call.
pub fn sync_tree(folder: &Path) -> Result<()> {
    let handle = File::open(folder).at(folder)?;
    rustix::fs::syncfs(&handle).map_err(std::io::Error::from).at(folder)
}

/// The name a file has while it is being written, in the same folder.
pub fn part_of(path: &Path) -> Result<PathBuf> {
    let name = path
        .file_name()
        .ok_or_else(|| Fault::new(Code::Io, path.display(), "it does not name a file"))?
        .to_string_lossy();
    Ok(path.with_file_name(format!(".{name}.{}.part", std::process::id())))
}
