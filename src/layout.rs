//! Where things are in an install root. Paths only; nothing here touches the disk.

use std::path::{Path, PathBuf};

/// The folder an installation lives in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Layout {
    root: PathBuf,
}

/// The three names a release can be reached by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Pointer {
    /// The version that runs: the Compose project directory.
    Current,
    /// The version before it.
    Previous,
    /// The last line of defence.
    Factory,
}

impl Pointer {
    /// All three.
    pub const ALL: [Pointer; 3] = [Pointer::Current, Pointer::Previous, Pointer::Factory];

    /// The name of the link.
    pub fn name(self) -> &'static str {
        match self {
            Self::Current => "current",
            Self::Previous => "previous",
            Self::Factory => "factory",
        }
    }
}

impl Layout {
    /// `root` must be absolute; symbolic links in it should be resolved by the caller.
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self { root: root.into() }
    }

    /// The root itself.
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// `client.toml`.
    pub fn settings(&self) -> PathBuf {
        self.root.join("client.toml")
    }

    /// `state.db`.
    pub fn state_db(&self) -> PathBuf {
        self.root.join("state.db")
    }

    /// `state.lock`.
    pub fn state_lock(&self) -> PathBuf {
        self.root.join("state.lock")
    }

    /// `releases/`.
    pub fn releases(&self) -> PathBuf {
        self.root.join("releases")
    }

    /// `releases/<version>/`; `version` is the canonical text of a version.
    pub fn release(&self, version: &str) -> PathBuf {
        self.releases().join(version)
    }

    /// `current`, `previous` or `factory`.
    pub fn pointer(&self, pointer: Pointer) -> PathBuf {
        self.root.join(pointer.name())
    }

    /// `current`.
    pub fn current(&self) -> PathBuf {
        self.pointer(Pointer::Current)
    }

    /// `shared/`.
    pub fn shared(&self) -> PathBuf {
        self.root.join("shared")
    }

    /// `bundles/`.
    pub fn bundles(&self) -> PathBuf {
        self.root.join("bundles")
    }

    /// `backups/`.
    pub fn backups(&self) -> PathBuf {
        self.root.join("backups")
    }

    /// `work/<upgrade id>/`: what one change needs while it runs (compiled Compose models, saved files).
    pub fn work(&self, upgrade_id: &str) -> PathBuf {
        self.all_work().join(upgrade_id)
    }

    /// `work/`: of the change under way, and left over from those that were given up.
    pub fn all_work(&self) -> PathBuf {
        self.root.join("work")
    }
}
