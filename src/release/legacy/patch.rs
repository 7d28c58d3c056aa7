//! Patch packages of the older kind: an archive of files, and operations in the manifest.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::super::bundle::Limits;
use super::super::info::FileInfo;
use super::super::operations::{Operations, lies_in};
use super::super::unpack::{begin, check_declared, may_share, place, seal};
use super::super::{ReleaseInfo, Version, tree};
use super::{IMAGES, STACK, Scratch, extract};
use crate::fault::{Code, Fault, Result};

/// Makes version `version` in the new folder `staging` from the release folder `current` (whose
/// `release.json` is `old`), the files in `package` and the operations; returns its `release.json`, which is
/// the old one with the new files.
///
/// Such a patch brings files only: its images are those of the old release. The release's own version of a
/// persisted file is not in `current`, so unless the patch brings one, the new release has none.
pub fn apply_legacy_patch(
    package: &Path,
    current: &Path,
    old: &ReleaseInfo,
    operations: &Operations,
    version: &Version,
    staging: &Path,
    scratch: &Path,
) -> Result<ReleaseInfo> {
    let name = package.display().to_string();
    operations.validate(&name)?;
    let work = Scratch::create(scratch)?;
    let root = work.path.join("package");
    extract::extract(package, &root, &work.path, &Limits::default())?;
    let brought = brought(&stack_of(root), operations, &name)?;

    let persisted = |path: &str| old.persist.iter().any(|own| lies_in(path, own));
    let stays = |file: &&FileInfo| !operations.removes(&file.path) && !persisted(&file.path);
    let mut files: BTreeMap<&str, (&FileInfo, Option<&Path>)> =
        old.files.iter().filter(stays).map(|file| (file.path.as_str(), (file, None))).collect();
    for (file, folder) in &brought {
        files.insert(&file.path, (file, Some(folder)));
    }
    let mut info = old.clone();
    info.version = version.clone();
    info.files = files.values().map(|(file, _)| (*file).clone()).collect();
    info.config.retain(|path| files.contains_key(path.as_str()));
    if let Some(missing) = info.compose.iter().find(|path| !files.contains_key(path.as_str())) {
        return Err(Fault::new(Code::BundleInvalid, name, format!("it removes the Compose file {missing}")));
    }
    check_declared(&info)?;
    begin(staging)?;
    for (file, folder) in files.values() {
        match folder {
            Some(folder) => place::from_folder(folder, file, staging, false)?,
            None => place::from_folder(current, file, staging, may_share(&info, file))?,
        }
    }
    seal(&info, staging)?;
    Ok(info)
}

/// Paths are relative to the stack; some packages have it in `docker/`, some are it.
fn stack_of(root: PathBuf) -> PathBuf {
    let stack = root.join(STACK);
    if stack.is_dir() { stack } else { root }
}

/// The files the operations take from the package, with the folder they are in.
fn brought(stack: &Path, operations: &Operations, name: &str) -> Result<Vec<(FileInfo, PathBuf)>> {
    let invalid = |cause: String| Fault::new(Code::BundleInvalid, name, cause);
    let replace = &operations.replace;
    let there = tree::list(stack, |_, _| false)?;
    let absent = |path: &&String| !there.iter().any(|file| lies_in(file, path));
    if let Some(path) = replace.files.iter().chain(&replace.directories).find(absent) {
        return Err(invalid(format!("{path} is not in it")));
    }
    let mut found = Vec::new();
    for path in there.iter().filter(|path| replace.cover(path)) {
        if lies_in(path, IMAGES) {
            return Err(invalid(format!("it brings the image archive {path}; images need a full package")));
        }
        if let Some(file) = tree::describe(stack, path)? {
            found.push((file, stack.to_owned()));
        }
    }
    Ok(found)
}
