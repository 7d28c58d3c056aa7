//! Whether records and archives of backups agree, and room for them.

use super::Report;
use crate::backup::{Problem, Record};
use crate::fault::Result;
use crate::messages::doctor::Look;
use crate::progress::Progress;
use crate::upgrade::installation::Installation;
use crate::upgrade::journal::Journal;
use crate::upgrade::unarchived;

/// Mends the records, deletes what is not to be kept, and writes the archives that are missing where there is room.
pub(super) async fn free_room(installation: &Installation, progress: &Progress) -> Result<()> {
    installation.backup_manager().reconcile()?;
    // What cannot be written is found again below.
    unarchived::catch_up(installation, progress).await.map(drop)
}

impl Report {
    /// Looks at them after [`free_room`], which may have failed.
    pub(super) fn backups(&mut self, installation: &Installation, freed: Result<()>) {
        let looked = freed
            .and_then(|()| Ok((installation.backup_manager().reconcile()?, without_archive(installation)?)));
        let (problems, left) = match looked {
            Ok(found) => found,
            Err(fault) => return self.bad("backups", &fault),
        };
        if problems.is_empty() && left.is_empty() {
            return self.good("backups", Look::BackupsAgree);
        }
        for problem in problems {
            let look = match problem {
                Problem::Abandoned(record) => Look::BackupProblem { what: record.id },
                Problem::FileMissing(record) => Look::BackupGone { id: record.id, file: record.file },
                Problem::UnknownFile(path) => Look::BackupUnknown { path: path.display().to_string() },
                Problem::RestoreUnfinished(id) => Look::BackupProblem { what: id },
            };
            self.worry("backups", look);
        }
        for record in left {
            self.worry("backups", Look::BackupUnarchived { id: record.id });
        }
    }
}

/// Copies whose archive could not be written. A change that is under way writes that of its own in its time.
fn without_archive(installation: &Installation) -> Result<Vec<Record>> {
    match Journal::new(installation.store.clone()).unfinished()? {
        Some(_) => Ok(Vec::new()),
        None => installation.backup_manager().staged(),
    }
}
