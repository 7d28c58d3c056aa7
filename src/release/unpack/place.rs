//! Puts single files into a release folder.

use std::fs::{self, File, Permissions};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::super::Digest;
use super::super::bundle::{Verified, fault_of};
use super::super::info::FileInfo;
use super::super::tree;
use crate::fault::{Code, Fault, IoContext, Result};

/// Smaller files are copied: a second name for one saves nothing worth the coupling.
const WORTH_SHARING: u64 = 64 * 1024;

/// Writes a new file with the declared mode; `reader` verifies its content.
pub(super) fn file(staging: &Path, file: &FileInfo, mut reader: impl Read) -> Result<()> {
    let (target, mut out) = create(staging, file)?;
    io::copy(&mut reader, &mut out).map_err(|error| fault_of(error, &target.display().to_string()))?;
    set_mode(&target, file.mode)
}

/// Makes a symbolic link.
pub(super) fn link(staging: &Path, file: &FileInfo, to: &str) -> Result<()> {
    if Digest::of(to) != file.hash {
        return Err(Fault::new(Code::HashMismatch, &file.path, "the link's target is not the declared one"));
    }
    let target = parents(staging, file)?;
    symlink(to, &target).at(&target)
}

/// Takes an unchanged file from the release folder `current`: as a reflink where the file system can, as a
/// second name for the same file where `share` allows it, else as a copy.
pub(in super::super) fn from_folder(
    current: &Path,
    file: &FileInfo,
    staging: &Path,
    share: bool,
) -> Result<()> {
    let damaged =
        |cause: &str| Fault::new(Code::ReleaseDamaged, current.display(), format!("{}: {cause}", file.path));
    // Also when an upper folder was replaced by a link: what is taken must lie in the release itself.
    refuse_links_above(current, &file.path).map_err(|cause| damaged(&cause))?;
    let source = current.join(&file.path);
    let found = match fs::symlink_metadata(&source) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Err(damaged("it is missing")),
        other => other.at(&source)?,
    };
    if let Some(target) = &file.link {
        return match fs::read_link(&source) {
            Ok(there) if there.as_os_str() == target.as_str() => link(staging, file, target),
            _ => Err(damaged("the link was changed")),
        };
    }
    if !found.is_file() {
        return Err(damaged("it is not a file"));
    }
    let same_mode = found.permissions().mode() & 0o777 == file.mode;
    if share && same_mode && found.len() >= WORTH_SHARING {
        match tree::describe(current, &file.path)? {
            Some(there) if there.hash == file.hash => {}
            _ => return Err(damaged("it was changed")),
        }
        let target = parents(staging, file)?;
        if reflink(&source, &target, file)? || fs::hard_link(&source, &target).is_ok() {
            return Ok(());
        }
    }
    let input = File::open(&source).at(&source)?;
    match self::file(staging, file, Verified::new(input, &file.path, found.len(), file.hash)) {
        Err(fault) if fault.code() == Code::HashMismatch => Err(damaged("it was changed")),
        done => done,
    }
}

/// Whether the file system could share the blocks; if not, nothing is left behind.
fn reflink(source: &Path, target: &Path, file: &FileInfo) -> Result<bool> {
    let input = File::open(source).at(source)?;
    let output = File::options().write(true).create_new(true).mode(0o600).open(target).at(target)?;
    if rustix::fs::ioctl_ficlone(&output, &input).is_ok() {
        set_mode(target, file.mode)?;
        return Ok(true);
    }
    fs::remove_file(target).at(target)?;
    Ok(false)
}

fn refuse_links_above(root: &Path, path: &str) -> Result<(), String> {
    let mut folder = root.to_owned();
    let mut parts: Vec<&str> = path.split('/').collect();
    parts.pop();
    for part in parts {
        folder.push(part);
        if fs::symlink_metadata(&folder).is_ok_and(|meta| meta.is_symlink()) {
            return Err(format!("{} was replaced by a link", folder.display()));
        }
    }
    Ok(())
}

fn create(staging: &Path, file: &FileInfo) -> Result<(PathBuf, File)> {
    let target = parents(staging, file)?;
    // A new file only: nothing that lies there, least of all a link, is ever written through.
    let out = File::options().write(true).create_new(true).mode(0o600).open(&target).at(&target)?;
    Ok((target, out))
}

/// The path of `file` in `staging`, with the folders above it made.
fn parents(staging: &Path, file: &FileInfo) -> Result<PathBuf> {
    let target = staging.join(&file.path);
    let mut folder = staging.to_owned();
    let mut parts: Vec<&str> = file.path.split('/').collect();
    parts.pop();
    for part in parts {
        folder.push(part);
        match fs::DirBuilder::new().mode(0o755).create(&folder) {
            // The mode again, because the process's umask took its part of it.
            Ok(()) => set_mode(&folder, 0o755)?,
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            Err(error) => return Err(Fault::io(&folder, error)),
        }
    }
    Ok(target)
}

/// Sets the permission bits.
pub(super) fn set_mode(path: &Path, mode: u32) -> Result<()> {
    fs::set_permissions(path, Permissions::from_mode(mode & 0o777)).at(path)
}
