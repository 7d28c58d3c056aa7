//! Makes a release folder: from a whole bundle, or from the folder before it and a patch.
//!
//! Both roads end in the same place: every file `release.json` declares is there with its content and mode,
//! and nothing else. The folder is built under a temporary name; the caller renames it into place.

mod assemble;
pub(super) mod place;

pub use assemble::{Origin, assemble};

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use super::bundle::{EntryKind, STACK, link_stays_inside};
use super::info::FileInfo;
use super::operations::Operations;
use super::tree::OWN_RELEASE_JSON;
use super::{Bundle, ReleaseInfo};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};

/// Unpacks the stack folder of `bundle` into `staging`, which must not exist or be empty, and makes it
/// durable. On an error `staging` holds a part; the caller removes it.
pub fn unpack_stack(bundle: &Bundle, staging: &Path) -> Result<()> {
    let info = bundle.info();
    let name = bundle.path().display().to_string();
    let mut shipped = shipped(bundle);
    check_declared(info)?;
    begin(staging)?;
    for file in &info.files {
        if !shipped.remove(file.path.as_str()) {
            return Err(Fault::new(Code::BundleInvalid, name, format!("{} is missing", file.path)));
        }
        from_bundle(bundle, file, staging)?;
    }
    if let Some(path) = shipped.first() {
        return Err(Fault::new(Code::BundleInvalid, name, format!("{path} is not declared in release.json")));
    }
    seal(info, staging)
}

/// Makes the release of the patch `bundle` in `staging` from the release folder `current`, whose
/// `release.json` is `old`.
///
/// Files that are in the patch come from there, the others from `current`, where they must still have the
/// content the new release declares. Persisted and declared config files are always in a patch, because
/// `current` holds the operator's version of them.
pub fn apply_patch(
    current: &Path,
    old: &ReleaseInfo,
    bundle: &Bundle,
    operations: &Operations,
    staging: &Path,
) -> Result<()> {
    let info = bundle.info();
    let shipped = shipped(bundle);
    check_operations(current, old, info, &shipped, operations)?;
    check_declared(info)?;
    begin(staging)?;
    for file in &info.files {
        if shipped.contains(file.path.as_str()) {
            from_bundle(bundle, file, staging)?;
        } else {
            place::from_folder(current, file, staging, may_share(info, file))?;
        }
    }
    seal(info, staging)
}

/// The paths of files and links in the bundle's stack folder.
fn shipped(bundle: &Bundle) -> BTreeSet<&str> {
    let files = bundle.stack().filter(|(_, entry)| entry.kind != EntryKind::Directory);
    files.map(|(path, _)| path).collect()
}

/// The operations applied to the old release's list of files must give the new one's: a patch whose
/// manifest and package disagree is not for this release.
fn check_operations(
    current: &Path,
    old: &ReleaseInfo,
    new: &ReleaseInfo,
    shipped: &BTreeSet<&str>,
    operations: &Operations,
) -> Result<()> {
    operations.validate(&new.version.to_string())?;
    let stay = old.files.iter().map(|file| file.path.as_str()).filter(|path| !operations.removes(path));
    let result: BTreeSet<&str> = stay.chain(shipped.iter().copied()).collect();
    let declared: BTreeSet<&str> = new.files.iter().map(|file| file.path.as_str()).collect();
    match result.symmetric_difference(&declared).next() {
        None => Ok(()),
        Some(path) => {
            let cause = format!("the operations of the patch to {} do not account for {path}", new.version);
            Err(Fault::new(Code::ReleaseDamaged, current.display(), cause))
        }
    }
}

/// No declared link may lead out of the folder, no declared file may lie below a link or carry special bits.
pub(super) fn check_declared(info: &ReleaseInfo) -> Result<()> {
    let files: BTreeMap<&str, &FileInfo> = info.files.iter().map(|file| (file.path.as_str(), file)).collect();
    if files.len() != info.files.len() {
        return Err(Fault::new(Code::BundleInvalid, &info.name, "release.json declares a file twice"));
    }
    for file in &info.files {
        if file.path == OWN_RELEASE_JSON {
            return Err(Fault::new(Code::BundleInvalid, &file.path, "the name is reserved"));
        }
        if file.mode & !0o777 != 0 {
            return Err(Fault::new(Code::BundleUnsafe, &file.path, format!("mode {:o}", file.mode)));
        }
        let depth = file.path.matches('/').count();
        if let Some(target) = file.link.as_deref().filter(|target| !link_stays_inside(target, depth)) {
            return Err(Fault::new(Code::BundleUnsafe, &file.path, format!("it links to {target}")));
        }
        let mut path = file.path.as_str();
        while let Some((above, _)) = path.rsplit_once('/') {
            path = above;
            if files.contains_key(path) {
                return Err(Fault::new(Code::BundleUnsafe, &file.path, format!("{path} is not a folder")));
            }
        }
    }
    Ok(())
}

pub(super) fn begin(staging: &Path) -> Result<()> {
    fs::create_dir_all(staging).at(staging)?;
    place::set_mode(staging, 0o755)?;
    match fs::read_dir(staging).at(staging)?.next() {
        None => Ok(()),
        Some(_) => Err(Fault::new(Code::Io, staging.display(), "the folder is not empty")),
    }
}

fn from_bundle(bundle: &Bundle, file: &FileInfo, staging: &Path) -> Result<()> {
    let member = format!("{STACK}/{}", file.path);
    let wrong_kind = || {
        let cause = format!("{member} is not what release.json declares");
        Err(Fault::new(Code::BundleInvalid, bundle.path().display(), cause))
    };
    match (bundle.entry(&member).map(|entry| &entry.kind), &file.link) {
        (Some(EntryKind::Link { target }), Some(declared)) if target == declared => {
            place::link(staging, file, target)
        }
        (Some(EntryKind::File { length, .. }), None) => {
            place::file(staging, file, bundle.read(&member, *length, file.hash)?)
        }
        _ => wrong_kind(),
    }
}

/// Whether a file may be one with the old release's on disk: never one that a person may edit in place,
/// since that would change both releases, and not worth it for a small one.
pub(super) fn may_share(info: &ReleaseInfo, file: &FileInfo) -> bool {
    let edited = info.compose.iter().chain(&info.config).chain(&info.persist);
    !edited.into_iter().any(|own| super::operations::lies_in(&file.path, own))
}

pub(super) fn seal(info: &ReleaseInfo, staging: &Path) -> Result<()> {
    let own = staging.join(OWN_RELEASE_JSON);
    fs::write(&own, info.to_json()).at(&own)?;
    place::set_mode(&own, 0o644)?;
    durable::sync_tree(staging)
}
