//! Which paths of a part are kept, and which of them a restore replaces.

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::fault::{Code, Fault, Result};
use crate::release::globs::Globs;

/// A choice of paths inside a part; everything where nothing is said. A restore leaves alone what was not chosen.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Selection {
    /// Globs; where given, only files they match, or that lie below what they match.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub include: Vec<String>,
    /// Globs of what is left out, folders with all that is in them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub exclude: Vec<String>,
}

impl Selection {
    /// Whether it chooses everything.
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Ready to be asked; `name` is the part, for the error.
    pub fn filter(&self, name: &str) -> Result<Filter> {
        let read = |texts: &[String]| {
            Globs::new(texts)
                .map_err(|(text, error)| Fault::new(Code::ConfigInvalid, name, format!("{text:?}: {error}")))
        };
        Ok(Filter { include: read(&self.include)?, exclude: read(&self.exclude)? })
    }
}

/// A [`Selection`] that can be asked. Paths are relative to the part; the part itself is always chosen.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    include: Globs,
    exclude: Globs,
}

impl Filter {
    /// Whether it chooses everything.
    pub fn is_all(&self) -> bool {
        self.include.is_empty() && self.exclude.is_empty()
    }

    /// Whether neither `path` nor anything below it is chosen.
    pub fn leaves_out(&self, path: &Path) -> bool {
        !self.exclude.is_empty() && self.exclude.matches(&path.to_string_lossy())
    }

    /// Whether `path`, which is no folder, is chosen. A folder is, unless it is [left out](Self::leaves_out), because
    /// something below it may be.
    pub fn chooses(&self, path: &Path) -> bool {
        let text = path.to_string_lossy();
        (self.include.is_empty() || self.include.matches(&text)) && !self.exclude.matches(&text)
    }

    /// Whether something below `path`, which is chosen, may be left out.
    fn has_exceptions(&self) -> bool {
        !self.exclude.is_empty()
    }
}

/// What of a part's present data a restore replaces; the rest stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Scope {
    /// What the backup has of the part.
    pub selection: Selection,
    /// Paths inside the part that alone are wanted; empty: all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
}

impl Scope {
    /// For another process of this program.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("texts are always valid JSON")
    }

    /// Ready to be asked; `name` is the part, for the error.
    pub fn cover(&self, name: &str) -> Result<Cover> {
        let only = self.only.iter().map(PathBuf::from).collect();
        Ok(Cover { filter: self.selection.filter(name)?, only })
    }
}

/// A [`Scope`] that can be asked. Paths are relative to the part.
#[derive(Debug, Clone, Default)]
pub struct Cover {
    filter: Filter,
    only: Vec<PathBuf>,
}

impl Cover {
    /// Whether all present data is replaced.
    pub fn is_all(&self) -> bool {
        self.filter.is_all() && self.only.is_empty()
    }

    /// Whether the part's own owner, mode and times are those of the backup.
    pub fn has_root(&self) -> bool {
        self.only.is_empty()
    }

    /// Whether it is wanted of the backup: chosen, or a folder above what is.
    pub fn wants(&self, path: &Path) -> bool {
        self.only.is_empty() || self.is_above(path) || self.is_below(path)
    }

    /// Whether it is a folder above what alone is wanted.
    pub fn is_above(&self, path: &Path) -> bool {
        self.only.iter().any(|only| only != path && only.starts_with(path))
    }

    fn is_below(&self, path: &Path) -> bool {
        self.only.is_empty() || self.only.iter().any(|only| path.starts_with(only))
    }

    /// Whether the present file at `path` stays.
    pub fn keeps(&self, path: &Path) -> bool {
        !self.is_below(path) || !self.filter.chooses(path)
    }

    /// Whether everything at and below the present `path` stays.
    pub fn keeps_whole(&self, path: &Path) -> bool {
        self.filter.leaves_out(path) || !(self.is_above(path) || self.is_below(path))
    }

    /// Whether something below the present folder `path`, which does not stay by itself, may stay.
    pub fn may_keep_below(&self, path: &Path) -> bool {
        self.is_above(path) || self.filter.has_exceptions()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(include: &[&str], exclude: &[&str]) -> Filter {
        let texts = |all: &[&str]| all.iter().map(|text| (*text).to_owned()).collect();
        Selection { include: texts(include), exclude: texts(exclude) }.filter("x").unwrap()
    }

    #[test]
    fn what_is_left_out_takes_all_below_it_with_it() {
        let filter = filter(&["db"], &["*.tmp"]);
        assert!(filter.chooses("db/a/b".as_ref()) && !filter.chooses("log/a".as_ref()));
        assert!(!filter.chooses("db/x.tmp".as_ref()) && filter.leaves_out("db/x.tmp/y".as_ref()));
        assert!(!filter.leaves_out("log".as_ref()), "a folder there may hold something that is chosen");
    }

    #[test]
    fn a_restore_of_single_paths_keeps_all_others() {
        let scope = Scope { only: vec!["a/b".into()], ..Scope::default() };
        let cover = scope.cover("x").unwrap();
        assert!(cover.wants("a".as_ref()) && cover.wants("a/b/c".as_ref()) && !cover.wants("a/x".as_ref()));
        assert!(cover.keeps_whole("z".as_ref()) && !cover.keeps_whole("a".as_ref()));
        assert!(cover.keeps("a/bc".as_ref()) && !cover.keeps("a/b/c".as_ref()));
        assert!(Cover::default().is_all() && !Cover::default().keeps("a".as_ref()));
    }
}
