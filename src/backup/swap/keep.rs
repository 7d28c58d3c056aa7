//! What a restore does not cover goes from the former content into the new.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, FileType, Mode, fsync, mkdirat, openat, renameat, statat};
use rustix::io::Errno;

use super::{FOLDER, OFlags, apply, folder_entry};
use crate::backup::meta::{self, Node};
use crate::backup::selection::Cover;
use crate::fault::{IoContext, Result};

/// Moves what `cover` keeps from the folder `old` to the folder `new`, which are at `below` in the part. What has its
/// place taken stays behind. It can be cut short anywhere and done again.
pub fn keep(old: &OwnedFd, new: &OwnedFd, cover: &Cover, below: &Path, shown: &Path) -> Result<()> {
    // The part itself has got its own already.
    let is_former = !below.as_os_str().is_empty() && cover.is_above(below);
    let (former, entry) = (folder_entry(old).at(shown)?, folder_entry(new).at(shown)?);
    for name in meta::names(old).map_err(io::Error::from).at(shown)? {
        one(old, new, &name, cover, &below.join(&name), &shown.join(&name))?;
    }
    match is_former {
        true => apply(new, &former, &mut Vec::new()).at(shown)?,
        false => Node::Open(new.as_fd()).set_mtime(entry.mtime).map_err(io::Error::from).at(shown)?,
    }
    fsync(new).map_err(io::Error::from).at(shown)
}

fn one(old: &OwnedFd, new: &OwnedFd, name: &OsStr, cover: &Cover, path: &Path, shown: &Path) -> Result<()> {
    let is_folder = kind(old, name, shown)? == Some(FileType::Directory);
    let there = kind(new, name, shown)?;
    if cover.keeps_whole(path) || (!is_folder && cover.keeps(path)) {
        return match there {
            None => renameat(old, name, new, name).map_err(io::Error::from).at(shown),
            Some(_) => Ok(()),
        };
    }
    if !is_folder || !matches!(there, None | Some(FileType::Directory)) {
        return Ok(());
    }
    let from = open(old, name, shown)?;
    if there.is_none() {
        let stays =
            cover.keeps(path) || (cover.may_keep_below(path) && holds_kept(&from, cover, path, shown)?);
        if !stays {
            return Ok(());
        }
        mkdirat(new, name, Mode::from_raw_mode(0o700)).map_err(io::Error::from).at(shown)?;
        apply(&open(new, name, shown)?, &folder_entry(&from).at(shown)?, &mut Vec::new()).at(shown)?;
    }
    keep(&from, &open(new, name, shown)?, cover, path, shown)
}

/// Whether anything below a folder that is itself replaced stays.
fn holds_kept(folder: &OwnedFd, cover: &Cover, below: &Path, shown: &Path) -> Result<bool> {
    for name in meta::names(folder).map_err(io::Error::from).at(shown)? {
        let (path, shown) = (below.join(&name), shown.join(&name));
        let is_folder = kind(folder, &name, &shown)? == Some(FileType::Directory);
        let stays = cover.keeps_whole(&path) || (!is_folder && cover.keeps(&path));
        if stays || (is_folder && holds_kept(&open(folder, &name, &shown)?, cover, &path, &shown)?) {
            return Ok(true);
        }
    }
    Ok(false)
}

fn kind(folder: &OwnedFd, name: &OsStr, shown: &Path) -> Result<Option<FileType>> {
    match statat(folder, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(stat) => Ok(Some(FileType::from_raw_mode(stat.st_mode))),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(crate::Fault::io(shown, error.into())),
    }
}

fn open(folder: &OwnedFd, name: &OsStr, shown: &Path) -> Result<OwnedFd> {
    openat(folder, name, FOLDER | OFlags::NOFOLLOW, Mode::empty()).map_err(io::Error::from).at(shown)
}
