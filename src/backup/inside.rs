//! The exchange of a folder's content by a process that has nothing but that folder: in a container, with a volume
//! that is not a folder of the machine the restore runs on.
//!
//! It is run twice for a restore, with the same name. The first run undoes what an earlier restore left unfinished and
//! makes room; then the new content is put into [`new_content`] from outside; the second run exchanges it. A restore
//! that is killed anywhere is begun again under another name, so that the first run brings the former data back.

use std::ffi::OsString;
use std::path::{Path, PathBuf};

use super::restore::sweep;
use super::swap::{FolderSwap, STAGING};
use crate::fault::{IoContext, Result};

/// Where the new content is put between the two runs, for a folder that is found at `target`.
pub fn new_content(target: &Path, name: &str) -> PathBuf {
    target.join(format!("{STAGING}{name}")).join("new")
}

/// One run.
pub fn exchange_inside(target: &Path, name: &str) -> Result<()> {
    let Some(swap) = FolderSwap::left_over(target, &OsString::from(format!("{STAGING}{name}")))? else {
        sweep(target)?;
        return FolderSwap::begin(target, name).map(drop);
    };
    let new = swap.new_content()?;
    rustix::fs::syncfs(&new).map_err(std::io::Error::from).at(target)?;
    let root = swap.new_root()?;
    match swap.exchange(&root) {
        Ok(_) => swap.clean_up(),
        Err(fault) => {
            swap.revert()?;
            Err(fault)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    fn put(target: &Path, name: &str) {
        exchange_inside(target, name).unwrap();
        let new = new_content(target, name);
        fs::write(new.join("kept"), "restored").unwrap();
        fs::create_dir(new.join("folder")).unwrap();
    }

    fn names(target: &Path) -> Vec<String> {
        let mut names: Vec<String> = fs::read_dir(target)
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[test]
    fn what_is_not_in_the_backup_is_gone_and_a_restore_that_was_cut_short_is_undone() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path();
        fs::write(target.join("kept"), "present").unwrap();
        fs::write(target.join("other"), "present").unwrap();

        put(target, "one");
        let swap = FolderSwap::left_over(target, &OsString::from(format!("{STAGING}one"))).unwrap().unwrap();
        swap.exchange(&swap.new_root().unwrap()).unwrap();
        drop(swap);
        // Killed here; the next one begins by bringing the former data back.
        exchange_inside(target, "two").unwrap();
        assert_eq!(names(target), [&format!("{STAGING}two"), "kept", "other"]);
        assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "present");

        put(target, "three");
        exchange_inside(target, "three").unwrap();
        assert_eq!(names(target), ["folder", "kept"]);
        assert_eq!(fs::read_to_string(target.join("kept")).unwrap(), "restored");
    }
}
