//! What files contain, as one digest: to know whether a service mounts anything that changed.

use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use walkdir::WalkDir;

use crate::fault::{Fault, IoContext, Result};
use crate::release::Digest;
use crate::release::digest::Hasher;

/// The digest over the names, modes and contents of everything at `paths` below `folder`. Symbolic links
/// count by their target's text, so that what lies in `shared/` does not count; a missing path counts as such.
pub fn fingerprint(folder: &Path, paths: &[String]) -> Result<Digest> {
    let mut paths: Vec<&String> = paths.iter().collect();
    paths.sort();
    paths.dedup();
    let mut hasher = Hasher::new();
    for path in paths {
        let top = folder.join(path);
        if fs::symlink_metadata(&top).is_err() {
            add(&mut hasher, b'-', path.as_bytes(), b"");
            continue;
        }
        for entry in WalkDir::new(&top).follow_root_links(false).sort_by_file_name() {
            let entry = entry.map_err(|error| Fault::io(&top, error.into()))?;
            let full = entry.path();
            let name = full.strip_prefix(folder).unwrap_or(full).as_os_str().as_bytes();
            let kind = entry.file_type();
            if kind.is_symlink() {
                let target = fs::read_link(full).at(full)?;
                add(&mut hasher, b'l', name, target.as_os_str().as_bytes());
            } else if kind.is_dir() {
                add(&mut hasher, b'd', name, b"");
            } else if kind.is_file() {
                let (digest, _) = fs::File::open(full).and_then(Digest::of_reader).at(full)?;
                let mode = fs::symlink_metadata(full).at(full)?.permissions().mode() & 0o7777;
                add(&mut hasher, b'f', name, format!("{mode:o} {digest}").as_bytes());
            }
        }
    }
    Ok(hasher.finish().0)
}

/// One entry, with lengths, so that no two lists of entries give the same bytes.
fn add(hasher: &mut Hasher, kind: u8, name: &[u8], value: &[u8]) {
    hasher.update(&[kind]);
    for bytes in [name, value] {
        hasher.update(&(bytes.len() as u64).to_le_bytes());
        hasher.update(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_changes_with_content_mode_and_names_and_with_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        let paths = ["html".to_owned(), "app.conf".to_owned(), "absent".to_owned()];
        fs::create_dir_all(path("html/sub")).unwrap();
        fs::write(path("html/sub/a"), "1").unwrap();
        fs::write(path("app.conf"), "x").unwrap();
        fs::write(path("other"), "y").unwrap();
        let first = fingerprint(folder.path(), &paths).unwrap();
        fs::write(path("other"), "z").unwrap();
        let reversed: Vec<String> = paths.iter().rev().cloned().collect();
        assert_eq!(fingerprint(folder.path(), &reversed).unwrap(), first);
        let mut seen = vec![first];
        let mut changed = |what: &str| {
            let now = fingerprint(folder.path(), &paths).unwrap();
            assert!(!seen.contains(&now), "{what} is not noticed");
            seen.push(now);
        };
        fs::write(path("html/sub/a"), "2").unwrap();
        changed("content");
        fs::rename(path("html/sub/a"), path("html/sub/b")).unwrap();
        changed("a name");
        fs::set_permissions(path("app.conf"), fs::Permissions::from_mode(0o600)).unwrap();
        changed("a mode");
        fs::create_dir(path("html/empty")).unwrap();
        changed("an empty folder");
        std::os::unix::fs::symlink("x", path("absent")).unwrap();
        changed("a link");
    }
}
