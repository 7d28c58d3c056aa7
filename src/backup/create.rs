//! Makes a backup: a row, a file beside its final name, the file read back, its final name, the row complete.

use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;
use time::macros::format_description;

use super::compress::Packing;
use super::record::{Document, Kind, PartKind, Record, Status};
use super::scan::{self, Expected};
use super::selection::Selection;
use super::write::{ArchiveWriter, DOCUMENT, Written, room};
use super::{BackupManager, incoming, remove_file, walk};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step, Unit};
use crate::release::Version;
use crate::release::info::is_safe_relative;

/// Room is asked for a third of the data: databases, text and logs compress better than that, and a demand
/// for the whole would refuse most backups that fit. Data that does not compress is stopped while it is
/// written, before the disk is full, and leaves nothing behind.
const ROOM_SHARE: u64 = 3;

/// What a backup is made of.
pub struct BackupRequest {
    /// The Compose project.
    pub project: String,
    /// The version that is installed.
    pub version: Option<Version>,
    /// The version an upgrade is about to go to.
    pub target: Option<Version>,
    /// Why.
    pub kind: Kind,
    /// What.
    pub parts: Vec<Part>,
    /// How the archive is compressed.
    pub packing: Packing,
    /// Called once all data was read, before it is read back: what was stopped for it may go on.
    pub read: Option<Box<dyn FnOnce() + Send>>,
}

/// One part: a name in the archive, where the data belongs, where it comes from.
pub struct Part {
    /// Relative, unique, not below another part: `volumes/pgdata`, `persist/data`, `files/.env`.
    pub name: String,
    /// Where the data belongs.
    pub kind: PartKind,
    /// Where it comes from now.
    pub origin: Origin,
    /// Which of its paths are kept.
    pub selection: Selection,
    /// It is copied while its services write to it, SQLite databases by SQLite's online backup.
    pub live: bool,
}

impl Part {
    /// All of what is at `origin`.
    pub fn new(name: String, kind: PartKind, origin: Origin) -> Self {
        Self { name, kind, origin, selection: Selection::default(), live: false }
    }
}

/// Where a part's data comes from.
pub enum Origin {
    /// A file or folder.
    Disk(PathBuf),
    /// As [`Origin::Tar`], of a stream that is opened when it is its turn: when nothing writes any more.
    Later(Box<dyn FnOnce() -> Result<Box<dyn Read + Send>> + Send>),
    /// A tar stream whose entries all lie below one top folder (or are one file), which is left away.
    Tar(Box<dyn Read + Send>),
}

impl Origin {
    /// Where it is on the disk; none for a stream.
    pub(super) fn path(&self) -> Option<&Path> {
        match self {
            Self::Disk(path) => Some(path),
            Self::Tar(_) | Self::Later(_) => None,
        }
    }
}

impl BackupManager {
    /// Makes a backup, tells `progress` of it under `CreatingBackup`, and returns its complete record. On any
    /// error (also when `cancel` becomes true: `Code::Interrupted`) no file is left and the row is `failed`.
    pub fn create(&self, request: BackupRequest, progress: &Progress, cancel: &AtomicBool) -> Result<Record> {
        check_names(&request.parts)?;
        let _writer = self.lock_writer("backup create")?;
        let mut record = new_record(&request);
        self.records().put(&record)?;
        progress.started(Step::CreatingBackup, Say::BackupStarted);
        let written = self.write(&record, request, progress, cancel);
        record.ended_at = Some(OffsetDateTime::now_utc());
        match written {
            Ok(written) => {
                record.parts = written.parts;
                record.complete(written.size, written.hash);
                self.records().put(&record)?;
                for text in record.warnings() {
                    progress.warning(Step::CreatingBackup, Say::Warning { text });
                }
                progress.finished(Step::CreatingBackup, Say::BackupFinished { id: record.id.clone() });
                Ok(record)
            }
            Err(fault) => Err(self.give_up(record, fault)),
        }
    }

    /// [`create`](Self::create) on a blocking thread.
    pub async fn create_in_background(
        self: Arc<Self>,
        request: BackupRequest,
        progress: Progress,
        cancel: Arc<AtomicBool>,
    ) -> Result<Record> {
        let project = request.project.clone();
        let work = tokio::task::spawn_blocking(move || self.create(request, &progress, &cancel));
        work.await.map_err(|error| Fault::from_error(Code::BackupFailed, project, error))?
    }

    /// Removes what was written and records the failure; what fails in that is added to the fault.
    fn give_up(&self, mut record: Record, fault: Fault) -> Fault {
        record.status = Status::Failed;
        record.error = Some(fault.to_string());
        let removed = remove_file(&self.unfinished(&record)).and(remove_file(&self.path_of(&record)));
        match removed.and(self.records().put(&record)) {
            Ok(()) => fault,
            Err(also) => {
                let detail = format!("{}; and on giving up: {also}", fault.detail());
                Fault::new(fault.code(), fault.object(), detail)
            }
        }
    }

    /// Writes and reads back the archive of `record`; it has its name then.
    pub(super) fn write(
        &self,
        record: &Record,
        mut request: BackupRequest,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Written> {
        let path = self.unfinished(record);
        let folder = File::open(&self.folder).at(&self.folder)?;
        let total = self.check_room(&folder, &request.parts)?;
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).at(&path)?;
        let meter = progress.meter(Step::CreatingBackup, Say::ArchiveWriting, Unit::Bytes, total);
        let mut writer = ArchiveWriter::new(&path, file, &request.packing, meter, cancel)?;
        for part in request.parts {
            let filter = part.selection.filter(&part.name)?;
            writer.begin(&part.name, part.kind, part.selection);
            match part.origin {
                Origin::Disk(root) => walk::add(&mut writer, &part.name, &root, &filter)?,
                Origin::Later(open) => incoming::add(&mut writer, &part.name, &mut open()?, &filter)?,
                Origin::Tar(mut stream) => incoming::add(&mut writer, &part.name, &mut stream, &filter)?,
            }
            writer.end();
        }
        if cancel.load(Ordering::SeqCst) {
            return Err(Fault::new(
                Code::Interrupted,
                path.display(),
                "it was cancelled while the data was read",
            ));
        }
        if let Some(read) = request.read.take() {
            read();
        }
        let written = writer.finish(|parts| Document {
            schema: 1,
            id: record.id.clone(),
            project: record.project.clone(),
            version: record.version.clone(),
            kind: record.kind,
            created: record.started_at,
            parts: parts.to_vec(),
        })?;
        let expected = Expected { id: &record.id, hash: written.hash, parts: &written.parts };
        scan::scan(&path, &expected, cancel, &mut |_, _, _| Ok(()))?;
        let complete = self.path_of(record);
        std::fs::rename(&path, &complete).at(&complete)?;
        folder.sync_all().at(&self.folder)?;
        Ok(written)
    }

    /// Refuses where the archive of `parts` might not fit. To be asked before what cannot be taken back lightly, such as a
    /// stop of services. What is not on this machine's disk is not counted.
    pub fn check_room_for_all(&self, parts: &[Part]) -> Result<()> {
        self.make_folder()?;
        let (free, reserve) = File::open(&self.folder).and_then(room).at(&self.folder)?;
        let need = self.likely(stored(parts)?)? + reserve;
        if free < need {
            let cause = format!("the backup may need {need} bytes, {free} are free");
            return Err(Fault::new(Code::DiskFull, self.folder.display(), cause));
        }
        Ok(())
    }

    /// How large the archive of data that takes `stored` bytes may become.
    pub(super) fn likely(&self, stored: u64) -> Result<u64> {
        Ok(likely(&self.list()?, stored))
    }

    /// The bytes to read, where all parts are on the disk; an error where there is no room for them.
    fn check_room(&self, folder: &File, parts: &[Part]) -> Result<Option<u64>> {
        let (mut total, mut stored, mut known) = (0, 0, true);
        for part in parts {
            match &part.origin {
                Origin::Disk(root) => {
                    let (length, on_disk) = walk::estimate(root, &part.selection.filter(&part.name)?);
                    total += length;
                    stored += on_disk;
                }
                Origin::Tar(_) | Origin::Later(_) => known = false,
            }
        }
        let (free, reserve) = room(folder).at(&self.folder)?;
        let need = stored / ROOM_SHARE + reserve;
        if free < need {
            let cause = format!("a backup of {stored} bytes needs about {need}, {free} are free");
            return Err(Fault::new(Code::DiskFull, self.folder.display(), cause));
        }
        Ok(known.then_some(total))
    }
}

/// As large as the data where nothing is known of it; else half as much again as the last archive of it would say.
fn likely(records: &[Record], stored: u64) -> u64 {
    let last = records.iter().rev().find(|record| record.status == Status::Complete);
    let Some(last) = last else { return stored };
    let bytes: u64 = last.parts.iter().map(|part| part.bytes).sum();
    let share = u128::from(stored) * u128::from(last.size) * 3 / (2 * u128::from(bytes.max(1)));
    stored.min(u64::try_from(share).unwrap_or(u64::MAX))
}

/// What those of `parts` that are on the disk take there.
pub(super) fn stored(parts: &[Part]) -> Result<u64> {
    let on_disk = parts.iter().filter_map(|part| Some((part, part.origin.path()?)));
    on_disk.map(|(part, path)| Ok(walk::estimate(path, &part.selection.filter(&part.name)?).1)).sum()
}

/// Part names are folders of the archive, so none may be another's or lie in it.
pub(super) fn check_names(parts: &[Part]) -> Result<()> {
    for (index, part) in parts.iter().enumerate() {
        let name = &part.name;
        let reserved = name.split('/').next() == Some(DOCUMENT);
        let clash = parts[..index].iter().any(|other| {
            name == &other.name
                || name.starts_with(&format!("{}/", other.name))
                || other.name.starts_with(&format!("{name}/"))
        });
        if !is_safe_relative(name) || reserved || clash {
            return Err(Fault::new(Code::BackupFailed, name, "this cannot be the name of a part"));
        }
    }
    Ok(())
}

pub(super) fn new_record(request: &BackupRequest) -> Record {
    let now = OffsetDateTime::now_utc();
    let format = format_description!("[year][month][day]-[hour][minute][second]");
    // Formatting a time of day cannot fail; the number of seconds sorts as well.
    let at = now.format(format).unwrap_or_else(|_| now.unix_timestamp().to_string());
    let id = format!("{at}-{:08x}", rand::random::<u32>());
    let plain = |c: char| if c.is_ascii_alphanumeric() || ".-_+".contains(c) { c } else { '_' };
    let project: String = request.project.chars().map(plain).take(80).collect();
    let version = request.version.as_ref().map_or("none".into(), ToString::to_string);
    Record {
        file: format!("{project}-{version}-{}-{id}{}", request.kind, request.packing.format.ending()),
        id,
        kind: request.kind,
        status: Status::Running,
        project: request.project.clone(),
        version: request.version.clone(),
        target: request.target.clone(),
        size: 0,
        files: 0,
        hash: None,
        parts: Vec::new(),
        started_at: now,
        ended_at: None,
        error: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::backup::PartRecord;
    use crate::release::Digest;

    #[test]
    fn how_much_an_archive_takes_is_told_by_the_last_one() {
        let record = |bytes, size, status| {
            let part = PartRecord {
                name: "volumes/rows".into(),
                kind: PartKind::Volume { volume: "rows".into() },
                entries: 1,
                files: 1,
                bytes,
                digest: Digest::of(b""),
                selection: Selection::default(),
                warnings: Vec::new(),
            };
            let request = BackupRequest {
                project: "x".into(),
                version: None,
                target: None,
                kind: Kind::Manual,
                parts: vec![],
                packing: Packing::default(),
                read: None,
            };
            Record { parts: vec![part], size, status, ..new_record(&request) }
        };
        use Status::{Complete, Failed};
        for (records, expected) in [
            (vec![], 1000),
            (vec![record(100, 20, Complete)], 300),
            (vec![record(100, 20, Complete), record(100, 90, Complete)], 1000),
            (vec![record(100, 20, Complete), record(100, 90, Failed)], 300),
            (vec![record(0, 90, Complete)], 1000),
        ] {
            assert_eq!(likely(&records, 1000), expected, "{records:?}");
        }
    }
}
