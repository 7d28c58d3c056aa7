//! Making what runs agree with `current` again, where somebody or something came between them.

use rusqlite::OptionalExtension;

use super::change::{self, Tools};
use super::ending::Ended;
use super::installation::Installation;
use super::plan::{Kind, Plan};
use super::pointers;
use super::rebuild::{REBUILT, is_rebuilt};
use super::rollback::bundle_of;
use super::step::Step;
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::{self, Progress};
use crate::release::strategy::Reason;
use crate::state::meta;

/// Why what runs may not be what `current` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The state database was lost, perhaps in the middle of a change.
    StateRebuilt,
    /// `current` was pointed elsewhere by hand; this was the version.
    Repointed(String),
}

/// Whether a repair is wanted.
pub fn wanted(installation: &Installation) -> Result<Option<Why>> {
    if is_rebuilt(installation)? {
        return Ok(Some(Why::StateRebuilt));
    }
    let last: Option<String> = installation.store.with(|db| {
        let sql = "SELECT to_version FROM upgrades WHERE committed = 1 ORDER BY rowid DESC LIMIT 1";
        db.query_row(sql, [], |row| row.get(0)).optional()
    })?;
    let current = pointers::read(&installation.layout, Pointer::Current)?.map(|version| version.to_string());
    Ok(last.filter(|last| Some(last) != current.as_ref()).map(Why::Repointed))
}

/// Brings every service to what `current` says; those that are there already are not touched.
pub async fn repair(
    installation: &Installation,
    tools: &Tools,
    why: Why,
    progress: &Progress,
) -> Result<Ended> {
    let layout = &installation.layout;
    let version = pointers::read(layout, Pointer::Current)?
        .ok_or_else(|| Fault::new(Code::NotInitialised, layout.root().display(), "there is no 'current'"))?;
    let cause = match why {
        Why::StateRebuilt => "the state database was lost and rebuilt".to_owned(),
        Why::Repointed(former) => format!("'current' pointed to {former}"),
    };
    let say = Say::Repairing { version: version.to_string(), cause };
    progress.warning(progress::Step::CheckingUpdates, say);
    let plan = Plan {
        reason: Reason::Corrupted.name().into(),
        prepare: vec![Step::LoadImages { file: bundle_of(installation, &version)? }],
        ..Plan::new(Kind::Upgrade, Some(version.clone()), version)
    };
    let ended = change::begin(installation, tools, plan, None, progress).await;
    if ended.outcome.ok {
        installation.store.with(|db| meta::forget(db, REBUILT))?;
    }
    Ok(ended)
}
