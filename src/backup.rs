//! Backups of a stack's data: `tar.gz` or `tar.zst` archives in `backups/`, each with a row in `state.db`.
//!
//! The caller decides what belongs in a backup and stops or pauses what writes to it; this module writes,
//! reads back, restores and records. It never talks to the engine: what only the engine can read comes in as a
//! tar stream and goes out as one.
//!
//! An archive is plain: `tar -xf` unpacks it with names, owners, modes, times and links. Its entries lie below
//! the names of its parts, and `backup.json` at the end says what the parts are. A backup is `complete` only
//! after the file was read back from the disk and every entry was what was read from the stack.
//!
//! All functions block on the disk: call them on a blocking thread
//! ([`create_in_background`](BackupManager::create_in_background) does).

mod compress;
mod copies;
mod create;
mod decode;
mod encode;
mod entry;
mod extract;
mod incoming;
mod inside;
mod meta;
mod mirror;
mod outgoing;
mod reconcile;
mod record;
mod recover;
mod restore;
mod retention;
mod scan;
mod selection;
mod stage;
mod swap;
mod unpack;
mod walk;
mod write;

pub use compress::Packing;
pub use copies::{Copied, ImportRequest};
pub use create::{BackupRequest, Origin, Part};
pub use entry::{Entry, EntryKind, Mtime};
pub use inside::{TOP, exchange_inside};
pub use outgoing::send_inside;
pub use reconcile::Problem;
pub use record::{Document, Kind, PartKind, PartRecord, Record, Status};
pub use recover::Recovered;
pub use restore::{RestoreTarget, Restored, Settled, TakeTar};
pub use retention::Rules;
pub use scan::{PartContent, PartTar};
pub use selection::{Scope, Selection};
pub use stage::Stage;

use std::collections::HashSet;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use time::OffsetDateTime;

use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::release::Digest;
use crate::state::{StateLock, Store};
use record::Records;
use scan::Expected;

/// The archives in one folder and their rows.
#[derive(Clone)]
pub struct BackupManager {
    store: Arc<Store>,
    folder: PathBuf,
}

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The backup.
    pub id: String,
    /// Bytes of the file.
    pub size: u64,
    /// Of the whole file.
    pub hash: Digest,
    /// Entries of all parts.
    pub entries: u64,
    /// Bytes in the files of all parts.
    pub bytes: u64,
    /// What the archive says of itself.
    pub document: Document,
}

impl BackupManager {
    /// The backups in `folder`, recorded in `store`. Touches nothing yet.
    pub fn new(store: Arc<Store>, folder: PathBuf) -> Self {
        Self { store, folder }
    }

    /// All rows, oldest first.
    pub fn list(&self) -> Result<Vec<Record>> {
        self.records().all()
    }

    /// The row whose id is, or alone begins with, `id`.
    pub fn get(&self, id: &str) -> Result<Record> {
        let unknown = |cause: &str| Fault::new(Code::BackupUnknown, format!("'{id}'"), cause);
        if id.is_empty() {
            return Err(unknown(""));
        }
        let mut found = self.records().starting_with(id)?;
        if let Some(exact) = found.iter().position(|record| record.id == id) {
            return Ok(found.swap_remove(exact));
        }
        match found.len() {
            0 => Err(unknown("")),
            1 => Ok(found.swap_remove(0)),
            count => Err(unknown(&format!("{count} begin with it; give more of the name"))),
        }
    }

    /// The archive of `record`.
    pub fn path_of(&self, record: &Record) -> PathBuf {
        self.folder.join(&record.file)
    }

    /// Whether the data of `record` is there to be restored: its archive, or the copy whose archive is not written yet.
    pub fn can_restore(&self, record: &Record) -> bool {
        match record.status {
            Status::Complete => self.path_of(record).is_file(),
            Status::Staged => self.stage_of(record).is_dir(),
            Status::Running | Status::Failed => false,
        }
    }

    /// Reads the whole archive and compares every byte and entry with the row.
    pub fn verify(&self, id: &str, cancel: &AtomicBool) -> Result<Verified> {
        let record = self.complete(id)?;
        let expected = self.expected(&record)?;
        let found = scan::scan(&self.path_of(&record), &expected, cancel, &mut |_, _, _| Ok(()))?;
        let scan::Scanned { document, entries, bytes, size } = found;
        Ok(Verified { id: record.id.clone(), size, hash: expected.hash, entries, bytes, document })
    }

    /// Every entry of the archive, which is verified on the way.
    pub fn contents(&self, id: &str) -> Result<Vec<Entry>> {
        let record = self.complete(id)?;
        let mut entries = Vec::new();
        let never = AtomicBool::new(false);
        scan::scan(&self.path_of(&record), &self.expected(&record)?, &never, &mut |_, entry, _| {
            entries.push(entry.clone());
            Ok(())
        })?;
        Ok(entries)
    }

    /// Deletes the archive and its row.
    pub fn delete(&self, id: &str) -> Result<Record> {
        let _writer = self.lock_writer("backup delete")?;
        self.delete_locked(id)
    }

    /// Deletes what `rules` no longer keep, oldest first, and gives it back.
    pub fn prune(&self, rules: &Rules<'_>) -> Result<Vec<Record>> {
        let _writer = self.lock_writer("backup prune")?;
        self.drop_copies()?;
        let (all, now) = (self.list()?, OffsetDateTime::now_utc());
        let lost = self.without_archive(&all)?;
        let there: Vec<Record> = all.iter().filter(|one| !lost.contains(&one.id)).cloned().collect();
        // What is lost keeps nothing else from being kept; its row goes when it would have gone anyway.
        let mut gone: HashSet<String> = retention::superfluous(&all, rules, now).into_iter().collect();
        gone.retain(|id| lost.contains(id));
        gone.extend(retention::superfluous(&there, rules, now));
        let gone = all.iter().filter(|one| gone.contains(&one.id));
        gone.map(|one| self.delete_locked(&one.id)).collect()
    }

    /// The IDs of those that should have an archive and have none: a hand removed it, or its disk is away.
    fn without_archive(&self, records: &[Record]) -> Result<HashSet<String>> {
        let mut lost = HashSet::new();
        for record in records {
            let path = match record.status {
                Status::Complete => self.path_of(record),
                Status::Staged => self.stage_of(record),
                Status::Running | Status::Failed => continue,
            };
            if !path.try_exists().at(&path)? {
                lost.insert(record.id.clone());
            }
        }
        Ok(lost)
    }

    fn delete_locked(&self, id: &str) -> Result<Record> {
        let record = self.get(id)?;
        // First the file: a row without a file is found by `reconcile`, and a person sees what it was.
        remove_file(&self.path_of(&record))?;
        remove_file(&self.unfinished(&record))?;
        durable::remove_dir_at_once(&self.stage_of(&record))?;
        self.records().remove(&record.id)?;
        Ok(record)
    }

    fn records(&self) -> Records<'_> {
        Records(&self.store)
    }

    /// The file of a backup that is being written.
    fn unfinished(&self, record: &Record) -> PathBuf {
        self.folder.join(format!("{}.part", record.file))
    }

    fn complete(&self, id: &str) -> Result<Record> {
        let record = self.get(id)?;
        if record.status != Status::Complete {
            let cause = record.error.clone().unwrap_or_else(|| "it was never completed".into());
            return Err(Fault::new(Code::BackupCorrupt, self.path_of(&record).display(), cause));
        }
        Ok(record)
    }

    fn expected<'r>(&self, record: &'r Record) -> Result<Expected<'r>> {
        let hash = record.hash.ok_or_else(|| {
            Fault::new(Code::BackupCorrupt, self.path_of(record).display(), "the record has no hash of it")
        })?;
        Ok(Expected { id: &record.id, hash, parts: &record.parts })
    }

    fn make_folder(&self) -> Result<()> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.folder);
        made.at(&self.folder)
    }

    /// One writer at a time; that is also how [`reconcile`](Self::reconcile) knows whether one lives.
    fn lock_writer(&self, what: &str) -> Result<StateLock> {
        self.make_folder()?;
        StateLock::acquire(&self.folder.join(".lock"), what)
    }

    /// The same for a restore, which waits for whoever writes: somebody who looks a backup through or takes one in must
    /// not be why data does not come back.
    fn wait_for_writer(&self) -> Result<StateLock> {
        self.make_folder()?;
        StateLock::wait(&self.folder.join(".lock"), "restore")
    }
}

/// Deletes a file that need not be there.
fn remove_file(path: &Path) -> Result<()> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(Fault::io(path, error)),
        _ => Ok(()),
    }
}
