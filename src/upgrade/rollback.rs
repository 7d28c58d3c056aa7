//! `client rollback`: back to a release that was here before, by the same runner.

use super::api::{DataChoice, RollbackOptions, RollbackTarget};
use super::change::{self, Tools};
use super::ending::{self, Ended};
use super::installation::Installation;
use super::journal::ChangeState;
use super::plan::{Kind, Plan};
use super::step::Step;
use super::{pointers, rebuild, releases};
use crate::backup::{BackupManager, Kind as BackupKind, Status};
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::{self, Outcome, Progress};
use crate::release::{ReleaseInfo, Version};

/// Goes back.
pub async fn rollback(
    installation: &Installation,
    options: &RollbackOptions,
    progress: &Progress,
) -> Outcome {
    let outcome = match try_rollback(installation, options, progress).await {
        Ok(outcome) => outcome,
        Err(fault) => {
            progress.failed(progress::Step::Failed, &fault);
            let from = pointers::read(&installation.layout, Pointer::Current).ok().flatten();
            ending::not_begun(&fault, from.map(|version| version.to_string()), None, progress)
        }
    };
    rebuild::tell(installation, outcome, progress)
}

async fn try_rollback(
    installation: &Installation,
    options: &RollbackOptions,
    progress: &Progress,
) -> Result<Outcome> {
    let _lock = installation.lock("rollback")?;
    let tools = Tools::find().await?;
    let finished = change::finish(installation, &tools, progress).await?;
    match &finished {
        Some(ended) if named_way_out(ended, &options.to) => change::supersede(installation, progress)?,
        Some(ended) if answers(ended, &options.to) => return Ok(ended.outcome.clone()),
        _ => {}
    }
    let layout = &installation.layout;
    let from = pointers::read(layout, Pointer::Current)?
        .ok_or_else(|| Fault::new(Code::NotInitialised, layout.root().display(), "there is no 'current'"))?;
    let to = target(installation, &options.to)?;
    if let Some(ended) = finished.as_ref().filter(|_| to == from) {
        return Ok(ended.outcome.clone());
    }
    if to == from {
        let version = to.to_string();
        progress.finished(progress::Step::Completed, Say::UpToDate { version: version.clone() });
        return Ok(Outcome { from: Some(version.clone()), to: Some(version), ..ending::nothing() });
    }
    releases::require(layout, &to)?;
    let restore = data_to_restore(installation, options.data, &from, &to)?;
    let plan = Plan {
        prepare: vec![Step::LoadImages { file: bundle_of(installation, &to)? }],
        ..Plan::new(Kind::Rollback, Some(from), to.clone())
    };
    progress.started(progress::Step::CheckingUpdates, Say::GoingBack { to: to.to_string() });
    Ok(change::begin(installation, &tools, plan, restore.as_deref(), progress).await.outcome)
}

/// Whether a person names another way out of a change that could neither be finished nor undone.
fn named_way_out(ended: &Ended, to: &RollbackTarget) -> bool {
    ended.state == ChangeState::NeedsAttention && !matches!(to, RollbackTarget::Previous)
}

/// Whether finishing an interrupted change was all that is wanted. Once one has gone back, `previous` is where it
/// came from, and going there would undo it.
fn answers(ended: &Ended, to: &RollbackTarget) -> bool {
    let went_back = match ended.kind {
        Kind::Rollback => true,
        Kind::Upgrade => ended.state == ChangeState::RolledBack,
        _ => false,
    };
    matches!(ended.state, ChangeState::NeedsAttention | ChangeState::Running)
        || (went_back && matches!(to, RollbackTarget::Previous))
}

fn target(installation: &Installation, to: &RollbackTarget) -> Result<Version> {
    let pointer = match to {
        RollbackTarget::Previous => Pointer::Previous,
        RollbackTarget::Factory => Pointer::Factory,
        RollbackTarget::Version(version) => return Ok(version.clone()),
    };
    let found = pointers::read(&installation.layout, pointer)?;
    found.ok_or_else(|| Fault::new(Code::NoPrevious, pointer.name(), "the link is not there"))
}

/// The file in `bundles/` a release came from, if it is still there. A patch alone cannot bring images back
/// that it did not contain; then these must be in the engine.
pub fn bundle_of(installation: &Installation, version: &Version) -> Result<Option<String>> {
    let version = version.to_string();
    let file: Option<String> = installation.store.with(|db| {
        use rusqlite::OptionalExtension;
        let sql = "SELECT bundle_hash FROM releases WHERE version = ?1";
        Ok(db.query_row(sql, [&version], |row| row.get(0)).optional()?.flatten())
    })?;
    Ok(file.filter(|file| installation.layout.bundles().join(file).is_file()))
}

/// The backup whose data comes back; none where the data stays.
pub fn data_to_restore(
    installation: &Installation,
    choice: DataChoice,
    from: &Version,
    to: &Version,
) -> Result<Option<String>> {
    let wanted = match choice {
        DataChoice::Keep => false,
        DataChoice::Restore => true,
        DataChoice::AsDeclared => migrated(installation, from, to)?,
    };
    if !wanted {
        return Ok(None);
    }
    let manager = BackupManager::new(installation.store.clone(), installation.layout.backups());
    let fits = manager.list()?.into_iter().rev().find(|record| {
        record.kind == BackupKind::PreUpgrade
            && record.status == Status::Complete
            && record.version.as_ref() == Some(to)
    });
    let record = fits.ok_or_else(|| {
        Fault::new(
            Code::BackupUnknown,
            format!("of {to}"),
            "none was made before the upgrade; --keep-data goes back without one",
        )
    })?;
    Ok(Some(record.id))
}

/// Whether any release after `to`, up to `from`, says that it migrates data; also one whose folder is gone.
fn migrated(installation: &Installation, from: &Version, to: &Version) -> Result<bool> {
    let rows: Vec<String> = installation
        .store
        .with(|db| db.prepare("SELECT info FROM releases")?.query_map([], |row| row.get(0))?.collect())?;
    for row in rows {
        let info = ReleaseInfo::from_json(row.as_bytes(), "state.db")?;
        if info.version > *to && info.version <= *from && info.migrates_data {
            return Ok(true);
        }
    }
    Ok(false)
}
