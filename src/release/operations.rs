//! What a patch does to the files of the release before it.

use serde::{Deserialize, Serialize};

use super::info::is_safe_relative;
use crate::fault::{Code, Fault, Result};

/// The operations of a patch, as the manifest has them. Paths are relative to the stack folder.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Operations {
    /// What the patch package brings.
    #[serde(default, skip_serializing_if = "Paths::is_empty")]
    pub replace: Paths,
    /// What goes away.
    #[serde(default, skip_serializing_if = "Paths::is_empty")]
    pub delete: Paths,
}

/// Files and whole folders.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Paths {
    /// Single files (or links).
    #[serde(default)]
    pub files: Vec<String>,
    /// Folders with everything in them.
    #[serde(default)]
    pub directories: Vec<String>,
}

impl Paths {
    /// Whether `path` is one of the files, or is or lies in one of the folders.
    pub fn cover(&self, path: &str) -> bool {
        self.files.iter().any(|file| file == path) || self.directories.iter().any(|dir| lies_in(path, dir))
    }

    /// Whether nothing is named.
    pub fn is_empty(&self) -> bool {
        self.files.is_empty() && self.directories.is_empty()
    }
}

impl Operations {
    /// Refuses paths that lead out of the stack folder; `name` is the package.
    pub fn validate(&self, name: &str) -> Result<()> {
        for paths in [&self.replace, &self.delete] {
            for path in paths.files.iter().chain(&paths.directories) {
                if !is_safe_relative(path.strip_suffix('/').unwrap_or(path)) {
                    return Err(Fault::new(Code::BundleUnsafe, path, name));
                }
            }
        }
        Ok(())
    }

    /// Whether the old release's file `path` does not stay: it is deleted, or lies in a folder that is
    /// deleted or replaced as a whole.
    pub fn removes(&self, path: &str) -> bool {
        self.delete.cover(path) || self.replace.directories.iter().any(|dir| lies_in(path, dir))
    }
}

/// Whether `path` is the folder `dir` or lies in it; a slash at the end of `dir` is allowed.
pub fn lies_in(path: &str, dir: &str) -> bool {
    let dir = dir.strip_suffix('/').unwrap_or(dir);
    path.strip_prefix(dir).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_cover_what_lies_in_them_and_nothing_beside() {
        assert!(lies_in("a/b/c", "a/b") && lies_in("a/b/c", "a/b/") && lies_in("a", "a"));
        assert!(!lies_in("ab", "a") && !lies_in("a", "a/b"));
    }

    #[test]
    fn the_wire_form_may_leave_everything_out() {
        let read: Operations = serde_json::from_str(r#"{"delete":{"files":["x"]}}"#).unwrap();
        assert!(read.removes("x") && !read.removes("y"));
        assert_eq!(serde_json::from_str::<Operations>("{}").unwrap(), Operations::default());
        let bad: Operations = serde_json::from_str(r#"{"replace":{"directories":["../x"]}}"#).unwrap();
        assert_eq!(bad.validate("p").unwrap_err().code(), Code::BundleUnsafe);
    }
}
