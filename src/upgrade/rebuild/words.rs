//! What was lost, kept until somebody was told.

use serde::{Deserialize, Serialize};

use super::fact;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Outcome, Progress, Step};
use crate::state::{Store, meta};
use crate::upgrade::installation::Installation;

/// The key in `meta`.
const UNTOLD: &str = "rebuilt_untold";

/// Something a person should know about the rebuilt state.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "lost", rename_all = "snake_case")]
pub enum Loss {
    /// The database itself, why, and where the damaged one is now.
    Rebuilt { cause: String, kept: Option<String> },
    /// History and quarantine.
    History,
    /// A folder in `releases/` that does not say what it is.
    Release { folder: String },
    /// The bundle of a release.
    Bundle { version: String },
    /// A backup's record.
    Backup { file: String },
    /// Not lost: the change that was under way was found.
    Change { from: String, to: String },
}

impl Loss {
    fn say(self) -> Say {
        match self {
            Self::Rebuilt { cause, kept } => Say::StateRebuilt { cause, kept: kept.unwrap_or_default() },
            Self::History => Say::StateHistoryLost,
            Self::Release { folder } => Say::StateReleaseUnreadable { folder },
            Self::Bundle { version } => Say::StateBundleUnknown { version },
            Self::Backup { file } => Say::StateBackupUnreadable { file },
            Self::Change { from, to } => Say::StateChangeFound { from, to },
        }
    }
}

/// Adds to what is to be told.
pub fn keep(store: &Store, losses: &[Loss]) -> Result<()> {
    let mut all = read(store)?;
    all.extend(losses.iter().filter(|loss| !all.contains(loss)).cloned().collect::<Vec<_>>());
    let text =
        serde_json::to_string(&all).map_err(|error| Fault::from_error(Code::StateInvalid, UNTOLD, error))?;
    store.with(|db| meta::set(db, UNTOLD, &text))
}

fn read(store: &Store) -> Result<Vec<Loss>> {
    let text = fact(store, UNTOLD)?.unwrap_or_else(|| "[]".into());
    serde_json::from_str(&text).map_err(|error| Fault::from_error(Code::StateInvalid, UNTOLD, error))
}

/// What was lost and not told by a command that changes something yet.
pub fn untold(installation: &Installation) -> Result<Vec<Say>> {
    Ok(read(&installation.store)?.into_iter().map(Loss::say).collect())
}

/// Tells it, once: as it happens, and in the result. A command that was refused told nothing that anybody keeps.
pub fn tell(installation: &Installation, mut outcome: Outcome, progress: &Progress) -> Outcome {
    let untold = match untold(installation) {
        Ok(untold) => untold,
        Err(fault) => vec![Say::Warning { text: fault.message(progress.lang()) }],
    };
    if untold.is_empty() {
        return outcome;
    }
    for say in untold {
        outcome.warnings.push(say.text(progress.lang()));
        progress.warning(Step::CheckingUpdates, say);
    }
    // One that was refused because of the lock belongs to somebody else's turn.
    if outcome.exit_code != crate::exit::of_fault(&Fault::new(Code::Locked, "", ""))
        && let Err(fault) = installation.store.with(|db| meta::forget(db, UNTOLD))
    {
        outcome.warnings.push(fault.message(progress.lang()));
    }
    outcome
}
