//! What a patch has to bring: the difference of two releases.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::info::FileInfo;
use crate::release::operations::{Operations, Paths, lies_in};
use crate::release::{Bundle, ReleaseInfo, Version};

/// The release a patch starts from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PatchBase {
    /// This version, whose bundle is in the output folder.
    Version(Version),
    /// A bundle, or a folder with bundles, of which the newest older one is taken.
    Path(PathBuf),
}

/// Finds the release the patch to `new` starts from.
pub(super) fn base(base: &PatchBase, out: &Path, new: &ReleaseInfo) -> Result<ReleaseInfo> {
    let old = match base {
        PatchBase::Version(version) => bundle_of(version, out, new)?.info().clone(),
        PatchBase::Path(path) if path.is_dir() => newest(path, new, |info| info.version < new.version)?
            .ok_or_else(|| {
                Fault::new(Code::ReleaseUnknown, path.display(), "no bundle of an older version in it")
            })?
            .info()
            .clone(),
        PatchBase::Path(path) => Bundle::open(path)?.info().clone(),
    };
    let refused =
        |cause: String| Err(Fault::new(Code::Usage, format!("--patch-from {}", old.version), cause));
    if old.name != new.name || old.arch != new.arch {
        return refused(format!("it is {} for {}, not {} for {}", old.name, old.arch, new.name, new.arch));
    }
    if old.version >= new.version {
        return refused(format!("it is not older than {}", new.version));
    }
    if old.version.base() != new.version.base() {
        return refused(format!("a patch keeps the base version, but {} has another", new.version));
    }
    Ok(old)
}

/// The bundle in `out` of the release `version` of the same product as `new`.
pub(super) fn bundle_of(version: &Version, out: &Path, new: &ReleaseInfo) -> Result<Bundle> {
    newest(out, new, |info| info.version == *version)?.ok_or_else(|| {
        Fault::new(Code::ReleaseUnknown, version, format!("no bundle of it in {}", out.display()))
    })
}

fn newest(folder: &Path, new: &ReleaseInfo, wanted: impl Fn(&ReleaseInfo) -> bool) -> Result<Option<Bundle>> {
    let mut found: Option<Bundle> = None;
    for entry in fs::read_dir(folder).at(folder)? {
        let path = entry.at(folder)?.path();
        if path.extension().is_none_or(|extension| extension != "bundle") {
            continue;
        }
        let bundle = Bundle::open(&path)?;
        let info = bundle.info();
        let same = info.name == new.name && info.arch == new.arch;
        if same && wanted(info) && found.as_ref().is_none_or(|best| best.info().version < info.version) {
            found = Some(bundle);
        }
    }
    Ok(found)
}

/// Whether a patch from `old` to `new` brings `file`: it is new or changed, or the device may hold the
/// operator's version of it, so that the release's own is not there to be taken.
pub(super) fn ships(old: &ReleaseInfo, new: &ReleaseInfo, file: &FileInfo) -> bool {
    let mut owned = [old, new].into_iter().flat_map(|info| info.persist.iter().chain(&info.config));
    old.file(&file.path) != Some(file) || owned.any(|own| lies_in(&file.path, own))
}

/// The operations that lead from `old` to `new`; a folder that is new or gone as a whole is named as one.
pub(super) fn operations(old: &ReleaseInfo, new: &ReleaseInfo) -> Operations {
    let changed = new.files.iter().filter(|file| old.file(&file.path) != Some(file));
    let gone = old.files.iter().filter(|file| new.file(&file.path).is_none());
    Operations {
        replace: fold(changed.map(|file| file.path.as_str()), old),
        delete: fold(gone.map(|file| file.path.as_str()), new),
    }
}

/// Splits `paths` into single files and topmost folders in which `other` has nothing.
fn fold<'a>(paths: impl Iterator<Item = &'a str>, other: &ReleaseInfo) -> Paths {
    let mut folders = BTreeSet::new();
    let mut files = Vec::new();
    for path in paths {
        let above = path.match_indices('/').map(|(at, _)| &path[..at]);
        let mut foreign = above.filter(|folder| !other.files.iter().any(|file| lies_in(&file.path, folder)));
        match foreign.next() {
            Some(folder) => {
                folders.insert(folder.to_owned());
            }
            None => files.push(path.to_owned()),
        }
    }
    files.sort();
    Paths { files, directories: folders.into_iter().collect() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::release::Digest;

    fn info(files: &[(&str, &str)]) -> ReleaseInfo {
        let files: Vec<_> = files
            .iter()
            .map(
                |(path, content)| serde_json::json!({"path": path, "hash": Digest::of(content), "mode": 420}),
            )
            .collect();
        let json = serde_json::json!({"schema": 1, "name": "x", "version": "1.0.0", "arch": "any",
            "compose": [], "persist": [".env"], "images": [], "files": files});
        ReleaseInfo::from_json(json.to_string().as_bytes(), "test").unwrap()
    }

    #[test]
    fn whole_folders_are_named_once_and_single_files_one_by_one() {
        let old =
            info(&[("a", "1"), ("b/c", "1"), ("b/d", "1"), ("gone/x/y", "1"), ("gone/z", "1"), ("k/1", "1")]);
        let new = info(&[
            ("a", "2"),
            ("b/c", "1"),
            ("new/x/y", "1"),
            ("new/z", "1"),
            ("k/1/2", "1"),
            ("b/n/m", "1"),
        ]);
        let found = operations(&old, &new);
        let replace = found.replace.clone();
        assert_eq!(replace.files, ["a", "k/1/2"]);
        assert_eq!(replace.directories, ["b/n", "new"]);
        let delete = found.delete.clone();
        assert_eq!(
            (delete.files, delete.directories),
            (vec!["b/d".into(), "k/1".into()], vec!["gone".into()])
        );
        assert_eq!(operations(&old, &old), Operations::default());
    }

    #[test]
    fn what_the_operator_may_have_changed_is_always_brought() {
        let old = info(&[(".env", "1"), ("a", "1")]);
        assert!(ships(&old, &old, old.file(".env").unwrap()));
        assert!(!ships(&old, &old, old.file("a").unwrap()));
    }
}
