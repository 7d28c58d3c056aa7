//! Records of archives that nothing knows of any more, made anew from the archives themselves.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use time::OffsetDateTime;

use super::BackupManager;
use super::record::{Record, Status};
use super::scan::{self, Expected};
use super::stage;
use crate::durable;
use crate::fault::{IoContext, Result};
use crate::settings::ArchiveFormat;

/// What [`BackupManager::recover`] found.
#[derive(Debug, Default)]
pub struct Recovered {
    /// Archives that were read through and have a row again.
    pub added: Vec<Record>,
    /// Archives that could not be; they are left where they are.
    pub unreadable: Vec<PathBuf>,
}

impl BackupManager {
    /// Gives every archive without a row a row again, after reading all of it: first what it says of itself, then
    /// whether that is so. What a pre-upgrade backup was made before is not in it and stays unknown.
    pub fn recover(&self, cancel: &AtomicBool) -> Result<Recovered> {
        let mut recovered = Recovered::default();
        if !self.folder.is_dir() {
            return Ok(recovered);
        }
        let _writer = self.lock_writer("backup recover")?;
        durable::remove_leftovers(&self.folder, stage::COPY)?;
        let known: HashSet<PathBuf> = self.list()?.iter().map(|record| self.path_of(record)).collect();
        let mut copies = self.copies(&known, &mut recovered.unreadable)?;
        for path in archives(&self.folder)? {
            if known.contains(&path) {
                continue;
            }
            let copy = copies.iter().position(|record| self.path_of(record) == path);
            match (examine(&path, cancel), copy) {
                // The archive is whole, and the copy was about to go; but it says what the backup was made before.
                (Ok(record), copy) => {
                    let target = copy.and_then(|copy| copies.swap_remove(copy).target);
                    let record = Record { target: record.target.clone().or(target), ..record };
                    self.records().put(&record)?;
                    recovered.added.push(record);
                }
                // It is written again from the copy.
                (Err(_), Some(_)) if !cancel.load(Ordering::Relaxed) => {}
                (Err(fault), _) if cancel.load(Ordering::Relaxed) => return Err(fault),
                (Err(fault), _) => {
                    tracing::warn!(%fault, "a backup without a record cannot be read");
                    recovered.unreadable.push(path);
                }
            }
        }
        for record in copies {
            self.records().put(&record)?;
            recovered.added.push(record);
        }
        Ok(recovered)
    }

    /// The rows of copies that are whole and have none. One that is not whole is of no use to anybody, and goes; one that
    /// says something that is not understood stays.
    fn copies(&self, known: &HashSet<PathBuf>, unreadable: &mut Vec<PathBuf>) -> Result<Vec<Record>> {
        let mut found = Vec::new();
        for item in std::fs::read_dir(&self.folder).at(&self.folder)? {
            let path = item.at(&self.folder)?.path();
            let Some(archive) = stage::archive_of(&path).filter(|archive| !known.contains(archive)) else {
                continue;
            };
            match stage::row_of(&path) {
                Ok(Some(record)) => found.push(record),
                Err(fault) => {
                    tracing::warn!(%fault, "a copy of data without a record cannot be read");
                    unreadable.push(path);
                }
                Ok(None) => {
                    tracing::warn!(archive = %archive.display(), "a copy of data that was not whole is removed");
                    durable::remove_dir_at_once(&path)?;
                }
            }
        }
        Ok(found)
    }
}

fn archives(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for item in std::fs::read_dir(folder).at(folder)? {
        let path = item.at(folder)?.path();
        if ArchiveFormat::ALL.iter().any(|format| path.to_string_lossy().ends_with(format.ending())) {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}

/// What the archive at `path` is, after reading all of it.
pub(super) fn examine(path: &Path, cancel: &AtomicBool) -> Result<Record> {
    let (document, hash) = scan::survey(path, cancel)?;
    let expected = Expected { id: &document.id, hash, parts: &document.parts };
    let scanned = scan::scan(path, &expected, cancel, &mut |_, _, _| Ok(()))?;
    let ended: OffsetDateTime = std::fs::metadata(path).and_then(|file| file.modified()).at(path)?.into();
    Ok(Record {
        file: path.file_name().unwrap_or_default().to_string_lossy().into_owned(),
        kind: document.kind,
        status: Status::Complete,
        project: document.project,
        version: document.version,
        target: None,
        size: scanned.size,
        files: document.parts.iter().map(|part| part.files).sum(),
        hash: Some(hash),
        parts: document.parts,
        started_at: document.created,
        ended_at: Some(ended),
        error: None,
        id: document.id,
    })
}
