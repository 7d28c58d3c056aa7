//! The files of a stack folder on disk: listing them, and comparing them with what a release declares.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde::Serialize;

use super::info::{FileInfo, is_safe_relative};
use super::operations::lies_in;
use super::{Digest, ReleaseInfo};
use crate::fault::{Code, Fault, IoContext, Result};

/// The copy of `release.json` inside a release folder, so that the folder describes itself.
pub const OWN_RELEASE_JSON: &str = ".release.json";

/// How a path of a release folder differs from what was installed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Difference {
    /// Declared, but not there.
    Missing,
    /// Another content, target or kind.
    Changed,
    /// Another mode.
    Mode,
    /// There, but not declared.
    Extra,
}

/// A path that differs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deviation {
    /// Relative to the release folder.
    pub path: String,
    /// How.
    pub difference: Difference,
}

/// Describes the file or link at `path` in `root`; `None` for a folder.
pub fn describe(root: &Path, path: &str) -> Result<Option<FileInfo>> {
    let full = root.join(path);
    let meta = fs::symlink_metadata(&full).at(&full)?;
    if meta.is_dir() {
        return Ok(None);
    }
    let path = path.to_owned();
    if meta.is_symlink() {
        let target = fs::read_link(&full).at(&full)?;
        let target = target
            .into_os_string()
            .into_string()
            .map_err(|_| Fault::new(Code::BundleUnsafe, full.display(), "its target is not UTF-8"))?;
        return Ok(Some(FileInfo { path, hash: Digest::of(&target), mode: 0o777, link: Some(target) }));
    }
    if !meta.is_file() {
        return Err(Fault::new(Code::BundleUnsafe, full.display(), "neither file, folder nor link"));
    }
    let (hash, _) = Digest::of_reader(File::open(&full).at(&full)?).at(&full)?;
    Ok(Some(FileInfo { path, hash, mode: meta.permissions().mode() & 0o777, link: None }))
}

/// The paths of all files and links below `root`, sorted, without those `skip` wants left out (it is also told
/// whether the path is a folder; one that is skipped is not entered). Links are not followed. A name that no
/// release may have is an error.
pub fn list(root: &Path, skip: impl Fn(&str, bool) -> bool) -> Result<Vec<String>> {
    let (found, odd) = walk(root, skip)?;
    match odd.first() {
        None => Ok(found),
        Some(path) => {
            let cause = "the name is not UTF-8 or has a backslash";
            Err(Fault::new(Code::BundleUnsafe, root.join(path).display(), cause))
        }
    }
}

/// The paths below `root`, and apart from them those with names that no release may have.
fn walk(root: &Path, skip: impl Fn(&str, bool) -> bool) -> Result<(Vec<String>, Vec<String>)> {
    let (mut found, mut odd) = (Vec::new(), Vec::new());
    let mut walk = walkdir::WalkDir::new(root).min_depth(1).into_iter();
    while let Some(entry) = walk.next() {
        let entry = entry.map_err(|error| {
            let path = error.path().unwrap_or(root).to_owned();
            Fault::io(path, error.into())
        })?;
        let is_dir = entry.file_type().is_dir();
        let path = entry.path().strip_prefix(root).unwrap_or(entry.path());
        let Some(path) = path.to_str().filter(|path| is_safe_relative(path)) else {
            odd.push(path.to_string_lossy().into_owned());
            if is_dir {
                walk.skip_current_dir();
            }
            continue;
        };
        if skip(path, is_dir) {
            if is_dir {
                walk.skip_current_dir();
            }
        } else if !is_dir {
            found.push(path.to_owned());
        }
    }
    found.sort();
    odd.sort();
    Ok((found, odd))
}

/// Compares the release folder `dir` with what `info` declares; paths in `ignore`, and what lies in them,
/// are the operator's.
pub fn verify_release(dir: &Path, info: &ReleaseInfo, ignore: &[String]) -> Result<Vec<Deviation>> {
    let ignored = |path: &str| path == OWN_RELEASE_JSON || ignore.iter().any(|own| lies_in(path, own));
    let mut declared: BTreeMap<&str, &FileInfo> = info
        .files
        .iter()
        .filter(|file| !ignored(&file.path))
        .map(|file| (file.path.as_str(), file))
        .collect();
    let mut deviations = Vec::new();
    let mut deviates = |path: &str, difference| deviations.push(Deviation { path: path.into(), difference });
    let (found, odd) = walk(dir, |path, _| ignored(path))?;
    for path in &odd {
        deviates(path, Difference::Extra);
    }
    for path in found {
        let Some(wanted) = declared.remove(path.as_str()) else {
            deviates(&path, Difference::Extra);
            continue;
        };
        match describe(dir, &path) {
            Ok(Some(found)) if found.hash == wanted.hash && found.link == wanted.link => {
                // The mode of a link means nothing.
                if found.link.is_none() && found.mode != wanted.mode {
                    deviates(&path, Difference::Mode);
                }
            }
            Ok(_) => deviates(&path, Difference::Changed),
            Err(fault) if fault.code() == Code::BundleUnsafe => deviates(&path, Difference::Changed),
            Err(fault) => return Err(fault),
        }
    }
    for path in declared.into_keys() {
        deviates(path, Difference::Missing);
    }
    deviations.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(deviations)
}
