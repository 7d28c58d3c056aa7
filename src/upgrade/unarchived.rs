//! Backups whose data is copied and whose archive could not be written: whoever comes next writes it.

use std::sync::atomic::AtomicBool;

use super::installation::Installation;
use crate::backup::{Packing, Record};
use crate::fault::{Code, Fault, Result};
use crate::messages::{DataNote, Lang, Say};
use crate::progress::{Progress, Step};

/// What is told of a backup whose archive could not be written because of `fault`.
pub fn told(id: &str, fault: &Fault, lang: Lang) -> Say {
    Say::Data(DataNote::Unarchived { id: id.to_owned(), cause: fault.message(lang) })
}

/// Deletes the backups that are not to be kept, which needs no room, and then writes the archives that are missing, which
/// does. One that cannot be written still keeps nothing from going on. Gives what was deleted, and what is to be told.
pub async fn catch_up(
    installation: &Installation,
    progress: &Progress,
) -> Result<(Vec<Record>, Vec<String>)> {
    let mut gone = installation.prune_backups(&[])?;
    let mut warnings = Vec::new();
    let (manager, lang) = (installation.backup_manager(), progress.lang());
    let packing = Packing::from(&installation.settings.backup);
    let mut written = false;
    for left in manager.staged()? {
        let (manager, id, meter) = (manager.clone(), left.id.clone(), progress.clone());
        let work = tokio::task::spawn_blocking(move || {
            manager.archive(&id, &packing, &meter, &AtomicBool::new(false))
        });
        let done = work.await.map_err(|error| Fault::from_error(Code::BackupFailed, &left.id, error))?;
        match done {
            Ok(record) => {
                written = true;
                progress.note(Step::CreatingBackup, Say::BackupFinished { id: record.id });
            }
            Err(fault) => {
                let say = told(&left.id, &fault, lang);
                warnings.push(say.text(lang));
                progress.warning(Step::CreatingBackup, say);
            }
        }
    }
    if written {
        gone.extend(installation.prune_backups(&[])?);
    }
    Ok((gone, warnings))
}

/// As [`catch_up`] before something else is done, where there is a reason for it at all. Whatever becomes of it, what comes
/// next is not kept from going on. Gives what is to be told.
pub async fn before(installation: &Installation, progress: &Progress) -> Vec<String> {
    let caught_up = match installation.backup_manager().staged() {
        Ok(left) if left.is_empty() => return Vec::new(),
        Ok(_) => catch_up(installation, progress).await.map(|(_, warnings)| warnings),
        Err(fault) => Err(fault),
    };
    caught_up.unwrap_or_else(|fault| {
        let text = fault.message(progress.lang());
        progress.warning(Step::CreatingBackup, Say::Warning { text: text.clone() });
        vec![text]
    })
}
