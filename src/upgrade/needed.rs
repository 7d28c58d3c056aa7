//! Backups that something may still have to put back: neither a rule nor a person deletes them.

use serde::Deserialize;

use crate::fault::{Code, Fault, Result};
use crate::upgrade::installation::Installation;
use crate::upgrade::journal::Journal;
use crate::upgrade::soak;

/// What a change says of backups, in its facts and its plan. Everything else of these is not looked at.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Mentions {
    backup_id: Option<String>,
    safety_backup_id: Option<String>,
    restore: Option<String>,
}

/// Those of a change that has not ended, or waits for a person, and of the changes whose failure it answers; and the one
/// whose data would come back if the version on probation failed.
pub fn backups(installation: &Installation) -> Result<Vec<String>> {
    let journal = Journal::new(installation.store.clone());
    let mut needed = Vec::new();
    let mut next = journal.unfinished()?;
    while let Some(change) = next {
        for text in [&change.facts, &change.plan] {
            let mentions: Mentions = serde_json::from_str(text)
                .map_err(|error| Fault::from_error(Code::JournalIllegal, &change.id, error))?;
            needed.extend(
                [mentions.backup_id, mentions.safety_backup_id, mentions.restore].into_iter().flatten(),
            );
        }
        next = match &change.parent {
            Some(parent) => journal.get(parent)?,
            None => None,
        };
    }
    if let Some(probation) = soak::open(installation)?.filter(|probation| probation.left().is_some()) {
        let manager = installation.backup_manager();
        let of_it = manager.list()?.into_iter().rev().find(|record| {
            record.version.as_ref() == Some(&probation.back_to) && manager.can_restore(record)
        });
        needed.extend(of_it.map(|record| record.id));
    }
    Ok(needed)
}
