//! `current`, `previous` and `factory`: relative links to release folders, switched atomically.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::{Layout, Pointer};
use crate::release::Version;

/// The version a pointer names; none where there is no such link.
pub fn read(layout: &Layout, pointer: Pointer) -> Result<Option<Version>> {
    let path = layout.pointer(pointer);
    let target = match fs::read_link(&path) {
        Ok(target) => target,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Fault::io(&path, error)),
    };
    let name = target.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let version = name.parse().map_err(|fault: Fault| {
        Fault::new(
            Code::ReleaseDamaged,
            path.display(),
            format!("it points to {}: {fault}", target.display()),
        )
    })?;
    Ok(Some(version))
}

/// Points `pointer` at `version`: a link beside it, renamed over it, durable on return.
pub fn set(layout: &Layout, pointer: Pointer, version: &Version) -> Result<()> {
    let path = layout.pointer(pointer);
    let target = Path::new("releases").join(version.to_string());
    if fs::read_link(&path).is_ok_and(|present| present == target) {
        return Ok(());
    }
    let beside = layout.root().join(format!(".{}.next", pointer.name()));
    remove_link(&beside)?;
    symlink(&target, &beside).at(&beside)?;
    durable::rename(&beside, &path)
}

/// Removes `pointer`.
pub fn clear(layout: &Layout, pointer: Pointer) -> Result<()> {
    remove_link(&layout.pointer(pointer))?;
    durable::sync_folder(layout.root())
}

fn remove_link(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Fault::io(path, error)),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_is_set_moved_and_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        assert_eq!(read(&layout, Pointer::Current).unwrap(), None);
        for version in ["1.0.0", "1.0.0.1"] {
            let version: Version = version.parse().unwrap();
            set(&layout, Pointer::Current, &version).unwrap();
            assert_eq!(read(&layout, Pointer::Current).unwrap(), Some(version));
        }
        let target = fs::read_link(layout.current()).unwrap();
        assert_eq!(target, Path::new("releases/1.0.0.1"), "relative, so that the root can be moved");
        clear(&layout, Pointer::Current).unwrap();
        assert_eq!(read(&layout, Pointer::Current).unwrap(), None);
    }

    #[test]
    fn a_link_left_over_from_a_killed_run_is_in_nobody_s_way() {
        let folder = tempfile::tempdir().unwrap();
        let layout = Layout::new(folder.path());
        symlink("nowhere", folder.path().join(".current.next")).unwrap();
        set(&layout, Pointer::Current, &"1.0.0".parse().unwrap()).unwrap();
        assert_eq!(read(&layout, Pointer::Current).unwrap(), Some("1.0.0".parse().unwrap()));
    }
}
