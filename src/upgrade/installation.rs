//! An install root that is open: its paths, settings and state.

use std::path::Path;
use std::sync::{Arc, OnceLock};

use super::{needed, pointers, rebuild, releases};
use crate::backup::{BackupManager, Record, Rules};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::{Layout, Pointer};
use crate::progress::Progress;
use crate::release::Version;
use crate::settings::{BackupSettings, Settings};
use crate::state::{StateLock, Store, reserve};
use crate::transfer::{Fetcher, Link, Policy};

/// An installation.
pub struct Installation {
    /// Where things are.
    pub layout: Layout,
    /// `client.toml`.
    pub settings: Settings,
    /// `state.db`.
    pub store: Arc<Store>,
    /// Made with the first thing that is fetched.
    link: Arc<OnceLock<Link>>,
    /// Where the person who asks wants to go: what is finished before that does not tidy it away.
    wish: Arc<OnceLock<Version>>,
}

impl Installation {
    /// Its backups.
    pub fn backup_manager(&self) -> BackupManager {
        BackupManager::new(self.store.clone(), self.layout.backups())
    }

    /// Deletes the backups that the rules no longer keep, but none of `protected`, none that is [needed], and none with the
    /// data of a release that can be gone back to.
    pub fn prune_backups(&self, protected: &[String]) -> Result<Vec<Record>> {
        let protected = [protected, &needed::backups(self)?].concat();
        let current = pointers::read(&self.layout, Pointer::Current)?;
        let mut versions = releases::versions(&self.layout)?;
        versions.retain(|version| Some(version) != current.as_ref());
        let BackupSettings { keep, retention, .. } = &self.settings.backup;
        self.backup_manager().prune(&Rules {
            keep: *keep,
            retention,
            versions: &versions,
            protected: &protected,
        })
    }

    /// Opens the installation in `root`.
    pub fn open(root: &Path) -> Result<Self> {
        let root = root.canonicalize().at(root)?;
        let layout = Layout::new(&root);
        if !layout.settings().is_file() {
            return Err(Fault::new(Code::NotInitialised, root.display(), "client.toml is missing"));
        }
        let settings = Settings::load(&layout.settings())?;
        Self::with(layout, settings)
    }

    /// The installation at `layout` with `settings`, whether they are written down yet or not.
    pub fn with(layout: Layout, settings: Settings) -> Result<Self> {
        let store = Arc::new(rebuild::open(&layout)?);
        Ok(Self::of(layout, settings, store))
    }

    /// Of these parts.
    pub fn of(layout: Layout, settings: Settings, store: Arc<Store>) -> Self {
        Self { layout, settings, store, link: Arc::default(), wish: Arc::default() }
    }

    /// The same installation for another thread.
    pub fn share(&self) -> Self {
        let (layout, settings) = (self.layout.clone(), self.settings.clone());
        Self { layout, settings, store: self.store.clone(), link: self.link.clone(), wish: self.wish.clone() }
    }

    /// Keeps the release `version` here as long as this process lives. The first wish counts.
    pub fn wish_for(&self, version: &Version) {
        self.wish.get_or_init(|| version.clone());
    }

    /// The release that stays.
    pub fn wish(&self) -> Option<&Version> {
        self.wish.get()
    }

    /// The way to the outside, one for all that is fetched here: its limit is that of the whole.
    pub fn link(&self) -> Result<&Link> {
        if let Some(link) = self.link.get() {
            return Ok(link);
        }
        let link = Link::new(&self.settings, self.layout.root())?;
        Ok(self.link.get_or_init(|| link))
    }

    /// What fetches from the source.
    pub fn fetcher(&self, progress: &Progress) -> Result<Fetcher> {
        self.fetcher_with(Policy::from(&self.settings.download), progress)
    }

    /// The same, with another patience.
    pub fn fetcher_with(&self, policy: Policy, progress: &Progress) -> Result<Fetcher> {
        Fetcher::new(self.store.clone(), policy, self.link()?, progress.clone())
    }

    /// Takes the lock; `what` tells others what is being done.
    pub fn lock(&self, what: &str) -> Result<StateLock> {
        let (path, reserved) = (self.layout.state_lock(), reserve::beside(&self.layout.state_db()));
        let lock = match StateLock::acquire_with_folder(&path, what) {
            // Even the holder's name needs room.
            Err(full) if full.code() == Code::DiskFull && reserve::give_up(&reserved) => {
                StateLock::acquire_with_folder(&path, what)?
            }
            taken => taken?,
        };
        if !self.store.is_in_place()? {
            let path = self.layout.state_db();
            return Err(Fault::new(Code::StateDamaged, path.display(), "another file took its place"));
        }
        if let Err(fault) = reserve::ensure(&reserved) {
            // No reason not to go on; `client doctor` tells that it is missing.
            tracing::warn!(%fault, "there is no reserve for the undo");
        }
        Ok(lock)
    }
}
