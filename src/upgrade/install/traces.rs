//! What `client init` made before it failed: an installation root in which nothing is.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use crate::fault::{Fault, Result};
use crate::layout::Layout;
use crate::state::{self, StateLock};

/// The file that keeps two writers of backups apart.
const LOCK: &str = ".lock";

/// What was missing before.
pub struct Traces {
    layout: Layout,
    /// Folders that are to be empty, inner ones first.
    folders: Vec<PathBuf>,
    files: Vec<PathBuf>,
}

impl Traces {
    /// To be asked before anything is made in `root`.
    pub fn before(root: &Path) -> Self {
        let layout = Layout::new(root);
        let missing =
            |paths: Vec<PathBuf>| paths.into_iter().filter(|path| fs::symlink_metadata(path).is_err());
        let database = layout.state_db();
        let mut files = vec![
            layout.settings(),
            layout.state_lock(),
            layout.backups().join(LOCK),
            database.with_extension("reserve"),
        ];
        files.extend(state::files_of(&database));
        let mut folders =
            vec![layout.all_work(), layout.releases(), layout.shared(), layout.bundles(), layout.backups()];
        folders.extend(root.ancestors().map(Path::to_owned));
        Self { files: missing(files).collect(), folders: missing(folders).collect(), layout }
    }

    /// Removes it, where nothing came into it since: a package that was half fetched is continued by the next try.
    pub fn remove(self) -> Result<()> {
        let layout = &self.layout;
        let holds =
            [layout.releases(), layout.shared(), layout.bundles(), layout.backups(), layout.all_work()];
        let inside = |item: std::io::Result<fs::DirEntry>| item.is_ok_and(|item| item.file_name() != LOCK);
        let used = holds.iter().any(|folder| fs::read_dir(folder).is_ok_and(|mut items| items.any(inside)));
        if used || layout.current().is_symlink() || !layout.root().is_dir() {
            return Ok(());
        }
        // Another client may have come in.
        let Ok(_lock) = StateLock::acquire_with_folder(&layout.state_lock(), "init") else { return Ok(()) };
        for file in &self.files {
            gone(file, fs::remove_file(file))?;
        }
        for folder in &self.folders {
            gone(folder, fs::remove_dir(folder))?;
        }
        Ok(())
    }
}

/// What was never made, or is used by somebody else by now, is as good.
fn gone(path: &Path, removed: std::io::Result<()>) -> Result<()> {
    match removed {
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::DirectoryNotEmpty) => {
            Err(Fault::io(path, error))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn make(layout: &Layout) {
        for folder in [layout.releases(), layout.shared(), layout.bundles(), layout.backups()] {
            fs::create_dir_all(folder).unwrap();
        }
        for file in [layout.settings(), layout.state_db(), layout.state_lock()] {
            fs::write(file, "").unwrap();
        }
    }

    #[test]
    fn only_what_was_made_is_removed_and_only_when_nothing_is_in_it() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().join("deep/root");
        let layout = Layout::new(&root);

        let traces = Traces::before(&root);
        make(&layout);
        fs::write(layout.bundles().join("half"), "").unwrap();
        traces.remove().unwrap();
        assert!(layout.settings().is_file(), "a download is continued");

        fs::remove_dir_all(folder.path().join("deep")).unwrap();
        let traces = Traces::before(&root);
        make(&layout);
        traces.remove().unwrap();
        assert!(!folder.path().join("deep").exists());

        fs::create_dir_all(&root).unwrap();
        fs::write(layout.settings(), "mine").unwrap();
        let traces = Traces::before(&root);
        make(&layout);
        traces.remove().unwrap();
        let left: Vec<_> = fs::read_dir(&root).unwrap().map(|item| item.unwrap().file_name()).collect();
        assert_eq!(left, ["client.toml"]);
    }
}
