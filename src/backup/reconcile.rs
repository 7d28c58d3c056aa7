//! Brings rows and files together again after a crash or a hand in `backups/`.

use std::collections::HashSet;
use std::path::PathBuf;

use time::OffsetDateTime;

use super::copies::COPY_LOCK;
use super::record::{Record, Status};
use super::{BackupManager, remove_file};
use crate::durable;
use crate::fault::{Code, IoContext, Result};

/// Something that was found out of order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// The process that wrote this backup ended; it is marked failed and what it wrote is deleted.
    Abandoned(Box<Record>),
    /// The file of this complete backup, or the copy that is to become one, is gone; its row stays.
    FileMissing(Box<Record>),
    /// No row knows of this file; it is left alone.
    UnknownFile(PathBuf),
    /// A restore of this backup was cut short; `restore` it again or `settle_restore`.
    RestoreUnfinished(String),
}

impl BackupManager {
    /// Finds rows and files that do not belong together, and mends what is safe to mend. While a backup is
    /// being written nothing is wrong with its row and file, so then they are passed over.
    pub fn reconcile(&self) -> Result<Vec<Problem>> {
        let _writer = match self.lock_writer("backup reconcile") {
            Ok(lock) => lock,
            Err(fault) if fault.code() == Code::Locked => return Ok(Vec::new()),
            Err(fault) => return Err(fault),
        };
        self.forget_imports()?;
        self.drop_copies()?;
        let mut problems = Vec::new();
        let mut known = HashSet::new();
        for record in self.list()? {
            let path = self.path_of(&record);
            match record.status {
                Status::Staged if !self.stage_of(&record).is_dir() => {
                    problems.push(Problem::FileMissing(Box::new(record)));
                }
                Status::Staged => drop(known.insert(self.stage_of(&record))),
                Status::Running => {
                    durable::remove_dir_at_once(&self.stage_of(&record))?;
                    remove_file(&self.unfinished(&record))?;
                    // It may have got its name already, but its hash was never recorded.
                    remove_file(&path)?;
                    problems.push(Problem::Abandoned(self.mark_failed(record, "it was interrupted")?));
                }
                Status::Complete if !path.try_exists().at(&path)? => {
                    // The disk may only be away: the record stays as it is, and whoever needs the file is told.
                    problems.push(Problem::FileMissing(Box::new(record)));
                }
                Status::Complete => drop(known.insert(path)),
                Status::Failed => {}
            }
        }
        for item in std::fs::read_dir(&self.folder).at(&self.folder)? {
            let path = item.at(&self.folder)?.path();
            let lock = path.file_name().is_some_and(|name| name == ".lock" || name == COPY_LOCK);
            if !lock && !known.contains(&path) {
                problems.push(Problem::UnknownFile(path));
            }
        }
        problems.extend(self.pending_restore()?.map(Problem::RestoreUnfinished));
        Ok(problems)
    }

    pub(super) fn mark_failed(&self, mut record: Record, cause: &str) -> Result<Box<Record>> {
        record.status = Status::Failed;
        record.error = Some(cause.into());
        record.ended_at.get_or_insert(OffsetDateTime::now_utc());
        self.records().put(&record)?;
        Ok(Box::new(record))
    }
}
