//! A copy of the data, taken while its services run and brought up to date in the moment in which they do not write.
//! The archive is written from the copy afterwards, when nobody waits for it.
//!
//! From [`Stage::seal`] on the copy is as good as a backup: it is on the disk, its row says `staged`, and it can be
//! restored. [`BackupManager::archive`] makes a complete backup of it, now or after a crash, and removes the copy.

use std::fs::{self, DirBuilder, File};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};
use time::OffsetDateTime;

use super::create::{check_names, new_record, stored};
use super::mirror::{Control, Mirror};
use super::record::{PartRecord, Record, Status};
use super::selection::Filter;
use super::write::room;
use super::{BackupManager, BackupRequest, Origin, Packing, Part, walk};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step, Unit};
use crate::release::Digest;
use crate::settings::ArchiveFormat;
use crate::state::StateLock;

/// A pass that took less has left as little as there is to gain by another.
const SHORT: Duration = Duration::from_millis(500);
/// Passes while the services run; where they write faster than is copied, more would not help.
const MOST_PASSES: usize = 3;

/// What the name of a copy ends with, behind that of its archive.
pub(super) const COPY: &str = ".stage";

/// In a copy that is whole: its row, for the case that the state database is lost. No part's name begins like this.
const RECORD: &str = ".record.json";

/// What is in that file.
#[derive(Serialize, Deserialize)]
struct Row {
    /// Always 1.
    schema: u32,
    #[serde(flatten)]
    record: Record,
}

/// A copy that is being made. One that is dropped before it is sealed or archived is removed, and its row is `failed`.
pub struct Stage {
    manager: BackupManager,
    record: Record,
    parts: Vec<Source>,
    /// Nothing is to be removed any more.
    sealed: bool,
    _writer: StateLock,
}

/// A part and its copy.
struct Source {
    name: String,
    from: PathBuf,
    filter: Filter,
    live: bool,
    mirror: Mirror,
}

impl BackupManager {
    /// Whether all data can be copied first: it lies on this machine's disk, this process may keep owners, and there is
    /// room for the copy and the archive.
    pub fn can_stage(&self, parts: &[Part]) -> Result<bool> {
        if parts.iter().any(|part| part.origin.path().is_none()) || !rustix::process::geteuid().is_root() {
            return Ok(false);
        }
        self.make_folder()?;
        let (free, reserve) = File::open(&self.folder).and_then(room).at(&self.folder)?;
        // The archive is written while the change goes on: too late to find out that it does not fit.
        let stored = stored(parts)?;
        Ok(free >= stored + self.likely(stored)? + reserve)
    }

    /// Begins a copy of the data of `request`, all of which is on the disk.
    pub fn stage(&self, request: BackupRequest) -> Result<Stage> {
        check_names(&request.parts)?;
        let writer = self.lock_writer("backup create")?;
        self.abandon_stages()?;
        let mut record = new_record(&request);
        record.parts = request.parts.iter().map(empty).collect();
        self.records().put(&record)?;
        let parts = request.parts.iter().map(source).collect::<Result<_>>()?;
        let stage = Stage { manager: self.clone(), record, parts, sealed: false, _writer: writer };
        let folder = stage.folder();
        DirBuilder::new().mode(0o700).create(&folder).at(&folder)?;
        Ok(stage)
    }

    /// Backups whose data is copied, but whose archive is not written; one whose copy a hand removed is not among them.
    pub fn staged(&self) -> Result<Vec<Record>> {
        let there = |record: &Record| record.status == Status::Staged && self.stage_of(record).is_dir();
        Ok(self.list()?.into_iter().filter(there).collect())
    }

    /// Writes the archive of a staged backup, reads it back, and removes the copy. On any error the copy stays, and so
    /// does the row.
    pub fn archive(
        &self,
        id: &str,
        packing: &Packing,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Record> {
        let _writer = self.lock_writer("backup create")?;
        let record = self.get(id)?;
        match record.status {
            Status::Complete => self.drop_copy(&record).map(|()| record),
            _ => self.archive_locked(record, packing, progress, cancel),
        }
    }

    fn archive_locked(
        &self,
        mut record: Record,
        packing: &Packing,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Record> {
        let folder = self.stage_of(&record);
        // An earlier attempt's.
        super::remove_file(&self.unfinished(&record))?;
        let part = |part: &PartRecord| Part {
            name: part.name.clone(),
            kind: part.kind.clone(),
            origin: Origin::Disk(folder.join(&part.name)),
            selection: part.selection.clone(),
            live: false,
        };
        let request = BackupRequest {
            project: record.project.clone(),
            version: record.version.clone(),
            target: record.target.clone(),
            kind: record.kind,
            parts: record.parts.iter().map(part).collect(),
            packing: *packing,
            read: None,
        };
        let written = self.write(&record, request, progress, cancel).inspect_err(|_| {
            // The first error is the one to tell; what is left is removed by the next attempt.
            let _left = super::remove_file(&self.unfinished(&record));
        })?;
        for (part, copied) in record.parts.iter_mut().zip(written.parts) {
            let warnings = [std::mem::take(&mut part.warnings), copied.warnings.clone()].concat();
            *part = PartRecord { warnings, ..copied };
        }
        record.complete(written.size, written.hash);
        self.records().put(&record)?;
        self.drop_copy(&record)?;
        Ok(record)
    }

    /// Removes the copy that the archive of `record` was written from.
    fn drop_copy(&self, record: &Record) -> Result<()> {
        durable::remove_dir_at_once(&self.stage_of(record))
    }

    /// Removes copies whose archive is whole, left by a process that was killed between the two. The writer's lock is held.
    pub(super) fn drop_copies(&self) -> Result<()> {
        durable::remove_leftovers(&self.folder, COPY)?;
        let records = self.list()?;
        let mut complete = records.iter().filter(|record| record.status == Status::Complete);
        complete.try_for_each(|record| self.drop_copy(record))
    }

    /// Removes copies whose maker was killed before they were whole.
    pub fn abandon(&self) -> Result<()> {
        let _writer = self.lock_writer("backup create")?;
        self.abandon_stages()
    }

    /// Where the copy of a staged backup is.
    pub(super) fn stage_of(&self, record: &Record) -> PathBuf {
        self.folder.join(format!("{}{COPY}", record.file))
    }

    /// As [`BackupManager::abandon`]; the writer's lock is held.
    fn abandon_stages(&self) -> Result<()> {
        self.drop_copies()?;
        for record in self.list()?.into_iter().filter(|record| record.status == Status::Running) {
            let folder = self.stage_of(&record);
            if folder.is_dir() {
                durable::remove_dir_at_once(&folder)?;
                self.mark_failed(record, "it was interrupted")?;
            }
        }
        Ok(())
    }
}

/// The archive that the copy in `folder` is to become; none where it is no such copy.
pub(super) fn archive_of(folder: &Path) -> Option<PathBuf> {
    let name = folder.file_name()?.to_str()?.strip_suffix(COPY)?;
    let named = ArchiveFormat::ALL.iter().any(|format| name.ends_with(format.ending()));
    (named && folder.is_dir() && !folder.is_symlink()).then(|| folder.with_file_name(name))
}

/// The row of the copy in `folder`; none where it was not whole yet. An error where it has one that cannot be read.
pub(super) fn row_of(folder: &Path) -> Result<Option<Record>> {
    let path = folder.join(RECORD);
    let bytes = match fs::read(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        read => read.at(&path)?,
    };
    let wrong = |cause: String| Fault::new(Code::BackupCorrupt, path.display(), cause);
    let Row { schema, record } = serde_json::from_slice(&bytes).map_err(|error| wrong(error.to_string()))?;
    let own = record.status == Status::Staged && folder.ends_with(format!("{}{COPY}", record.file));
    match (schema, own) {
        (1, true) => Ok(Some(record)),
        (1, false) => Err(wrong(format!("it is the row of {}", record.file))),
        _ => Err(wrong(format!("schema {schema}"))),
    }
}

impl Stage {
    /// The backup's ID.
    pub fn id(&self) -> &str {
        &self.record.id
    }

    /// Copies what there is while the services run, again until little is left to copy. What is taken live is taken
    /// once, by [`Stage::take_live`].
    pub fn copy(&mut self, progress: &Progress, cancel: &AtomicBool) -> Result<()> {
        progress.started(Step::CreatingBackup, Say::BackupStarted);
        let warm = self.parts.iter().filter(|part| !part.live);
        let total: u64 = warm.map(|part| walk::estimate(&part.from, &part.filter).0).sum();
        let mut meter = progress.meter(Step::CreatingBackup, Say::DataCopying, Unit::Bytes, Some(total));
        for _ in 0..MOST_PASSES {
            let began = Instant::now();
            self.pass(false, cancel, &mut |bytes| meter.add(bytes))?;
            if began.elapsed() < SHORT {
                break;
            }
            // What is copied twice is no progress.
            meter.set_total(None);
        }
        Ok(())
    }

    /// Copies what is taken live, as it is about now.
    pub fn take_live(&mut self, cancel: &AtomicBool) -> Result<()> {
        self.pass(true, cancel, &mut |_| {})
    }

    /// Copies what changed since; nothing may write to what is not taken live meanwhile.
    pub fn cut(&mut self, cancel: &AtomicBool) -> Result<()> {
        self.pass(false, cancel, &mut |_| {})?;
        for (source, part) in self.parts.iter().zip(&mut self.record.parts) {
            part.warnings = source.mirror.warnings();
        }
        Ok(())
    }

    /// Brings the copy to the disk and says so in the row, which it gives back.
    pub fn seal(mut self) -> Result<Record> {
        let folder = self.folder();
        self.record.status = Status::Staged;
        let row = serde_json::to_vec(&Row { schema: 1, record: self.record.clone() })
            .map_err(|error| Fault::from_error(Code::StateInvalid, &self.record.id, error))?;
        // The row says that all of it is there, so it comes last.
        durable::sync_tree(&folder)?;
        durable::write_atomic(&folder.join(RECORD), &row)?;
        durable::sync_parent(&folder)?;
        self.manager.records().put(&self.record)?;
        self.sealed = true;
        Ok(self.record.clone())
    }

    /// Writes the archive at once, reads it back, and removes the copy. On any error nothing is left.
    pub fn archive(mut self, packing: &Packing, progress: &Progress, cancel: &AtomicBool) -> Result<Record> {
        let record = self.manager.archive_locked(self.record.clone(), packing, progress, cancel)?;
        self.sealed = true;
        Ok(record)
    }

    fn pass(&mut self, live: bool, cancel: &AtomicBool, copied: &mut dyn FnMut(u64)) -> Result<()> {
        let folder = self.folder();
        for Source { name, from, filter, mirror, .. } in
            self.parts.iter_mut().filter(|part| part.live == live)
        {
            let to = folder.join(&*name);
            if let Some(above) = to.parent() {
                fs::create_dir_all(above).at(above)?;
            }
            mirror.pass(from, &to, filter, &mut Control { cancel, copied: &mut *copied })?;
        }
        Ok(())
    }

    fn folder(&self) -> PathBuf {
        self.manager.stage_of(&self.record)
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if self.sealed {
            return;
        }
        // What cannot be removed or written down here is found by the next backup: its row still says `running`.
        if durable::remove_dir_at_once(&self.folder()).is_ok() {
            self.record.ended_at = Some(OffsetDateTime::now_utc());
            let _left = self.manager.mark_failed(self.record.clone(), "it was given up");
        }
    }
}

fn empty(part: &Part) -> PartRecord {
    PartRecord {
        name: part.name.clone(),
        kind: part.kind.clone(),
        entries: 0,
        files: 0,
        bytes: 0,
        digest: Digest::of(b""),
        selection: part.selection.clone(),
        warnings: Vec::new(),
    }
}

fn source(part: &Part) -> Result<Source> {
    let Some(from) = part.origin.path().map(Path::to_owned) else {
        return Err(Fault::new(Code::BackupFailed, &part.name, "it is not on this machine's disk"));
    };
    let mirror = if part.live { Mirror::live() } else { Mirror::new() };
    let filter = part.selection.filter(&part.name)?;
    Ok(Source { name: part.name.clone(), from, filter, live: part.live, mirror })
}
