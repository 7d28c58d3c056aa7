//! Backups: what goes in comes out, damage is noticed before anything is touched, nothing is left behind.

mod copies;
mod damage;
mod engine;
mod formats;
mod life;
mod restore;
mod round_trip;
mod selection;
mod stage;
pub mod tree;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use compose_upgrade::backup::{
    BackupManager, BackupRequest, Kind, Origin, Packing, Part, PartKind, Record, RestoreTarget, Restored,
};
use compose_upgrade::progress::{Progress, Step};
use compose_upgrade::settings::ArchiveFormat;
use compose_upgrade::state::Store;
use compose_upgrade::{Fault, Result};

/// A manager over a folder of its own.
pub struct Bench {
    pub folder: tempfile::TempDir,
    pub store: Arc<Store>,
    pub manager: Arc<BackupManager>,
}

impl Bench {
    pub fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let backups = folder.path().join("backups");
        Self::with(folder, backups)
    }

    pub fn with(folder: tempfile::TempDir, backups: PathBuf) -> Self {
        let store = Arc::new(Store::open(&folder.path().join("state.db")).unwrap());
        let manager = Arc::new(BackupManager::new(store.clone(), backups));
        Self { folder, store, manager }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub fn create(&self, parts: Vec<Part>) -> Result<Record> {
        self.manager.create(request(parts), &Progress::silent(), &AtomicBool::new(false))
    }

    pub fn create_as(&self, format: ArchiveFormat, parts: Vec<Part>) -> Record {
        let request = BackupRequest { packing: Packing::of(format), ..request(parts) };
        self.manager.create(request, &Progress::silent(), &AtomicBool::new(false)).unwrap()
    }

    /// Restores every part to `to`, by the part's path.
    pub fn restore(&self, id: &str, to: &Path) -> Result<Restored> {
        let targets = |kind: &PartKind| match kind {
            PartKind::Path { path } => Some(RestoreTarget::Disk(to.join(path))),
            PartKind::Volume { volume } => Some(RestoreTarget::Disk(to.join(volume))),
            _ => None,
        };
        let never = AtomicBool::new(false);
        self.manager.restore(id, &targets, Step::RollingBack, &Progress::silent(), &never)
    }

    pub fn verify(&self, id: &str) -> Result<(), Fault> {
        self.manager.verify(id, &AtomicBool::new(false)).map(drop)
    }

    /// The names in `backups/` that a user would see.
    pub fn files(&self) -> Vec<String> {
        let mut names: Vec<String> = std::fs::read_dir(self.path("backups"))
            .unwrap()
            .map(|item| item.unwrap().file_name().into_string().unwrap())
            .filter(|name| name != ".lock" && name != ".copy.lock")
            .collect();
        names.sort();
        names
    }
}

pub fn request(parts: Vec<Part>) -> BackupRequest {
    BackupRequest {
        read: None,
        project: "guestbook".into(),
        version: Some("1.0.0".parse().unwrap()),
        target: Some("1.1.0".parse().unwrap()),
        kind: Kind::PreUpgrade,
        parts,
        packing: Packing { level: 1, ..Packing::default() },
    }
}

/// The part `persist/<path>` from `root`.
pub fn disk(path: &str, root: impl Into<PathBuf>) -> Part {
    Part::new(format!("persist/{path}"), PartKind::Path { path: path.into() }, Origin::Disk(root.into()))
}
