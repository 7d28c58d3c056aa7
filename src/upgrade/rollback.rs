//! `client rollback`: back to a release that was here before, by the same runner.

mod preview;

pub use preview::rollback_plan;

use super::api::{DataChoice, RollbackOptions, RollbackTarget};
use super::change::{self, Tools};
use super::ending::{self, Ended};
use super::installation::Installation;
use super::journal::ChangeState;
use super::plan::{Kind, Plan};
use super::repair::{self, Why};
use super::step::Step;
use super::{pointers, rebuild, releases, running, ways};
use crate::backup::Record;
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
    let mut told = Vec::new();
    let mut outcome = match try_rollback(installation, options, progress, &mut told).await {
        Ok(outcome) => outcome,
        Err(fault) => {
            progress.failed(progress::Step::Failed, &fault);
            let from = pointers::read(&installation.layout, Pointer::Current).ok().flatten();
            ending::not_begun(&fault, from.map(|version| version.to_string()), None, progress)
        }
    };
    outcome.warnings.splice(0..0, told);
    rebuild::tell(installation, outcome, progress)
}

async fn try_rollback(
    installation: &Installation,
    options: &RollbackOptions,
    progress: &Progress,
    told: &mut Vec<String>,
) -> Result<Outcome> {
    let _lock = installation.lock("rollback")?;
    let tools = Tools::find().await?;
    if let RollbackTarget::Version(version) = &options.to {
        // Before an interrupted change is dealt with: what ends with an error here has changed nothing.
        is_to_be_had(installation, version)?;
        installation.wish_for(version);
    }
    let finished = change::finish(installation, &tools, progress).await?;
    match &finished {
        Some(ended) if named_way_out(ended, &options.to) => {
            // Where `current` names it already, what is missing is the data: only whoever says that it stays goes on.
            let stays = target(installation, &options.to)? == running::base(installation)?;
            if stays && options.data != DataChoice::Keep {
                return Ok(ended.outcome.clone());
            }
            change::supersede(installation, progress)?;
            if stays {
                return Ok(repair::repair(installation, &tools, Why::GivenUp, progress).await?.outcome);
            }
        }
        Some(ended) if answers(ended, &options.to) => return Ok(ended.outcome.clone()),
        _ => told.extend(repair::put_back(installation, progress)?),
    }
    let Some(way) = Way::find(installation, options)? else {
        let here = target(installation, &options.to)?.to_string();
        if let Some(ended) = finished {
            return Ok(ended.outcome);
        }
        // Some of its services may be where a change had brought them whose journal is lost.
        if let Some(why) = repair::wanted(installation)? {
            return Ok(repair::repair(installation, &tools, why, progress).await?.outcome);
        }
        progress.finished(progress::Step::Completed, Say::UpToDate { version: here.clone() });
        return Ok(Outcome { from: Some(here.clone()), to: Some(here), ..ending::nothing() });
    };
    progress.started(progress::Step::CheckingUpdates, Say::GoingBack { to: way.to.to_string() });
    let restore = way.restore.as_ref().map(|record| record.id.as_str());
    Ok(change::begin(installation, &tools, way.plan(), restore, progress).await.outcome)
}

/// From where to where, and with what, before anything is touched.
struct Way {
    from: Version,
    to: Version,
    /// The backup whose data comes back.
    restore: Option<Record>,
    /// The file in `bundles/` the release came from.
    bundle: Option<String>,
}

impl Way {
    /// None where one is there already; an error where the way cannot be gone.
    fn find(installation: &Installation, options: &RollbackOptions) -> Result<Option<Self>> {
        let from = running::base(installation)?;
        let to = target(installation, &options.to)?;
        if to == from {
            return Ok(None);
        }
        is_to_be_had(installation, &to)?;
        let restore = backup_to_restore(installation, options.data, &from, &to)?;
        let bundle = bundle_of(installation, &to)?;
        Ok(Some(Self { from, to, restore, bundle }))
    }

    /// As the runner takes it.
    fn plan(&self) -> Plan {
        Plan {
            prepare: back_to(self.bundle.clone()),
            ..Plan::new(Kind::Rollback, Some(self.from.clone()), self.to.clone())
        }
    }
}

/// The folder of a release may be made again, as long as something here or in the source still has it.
fn is_to_be_had(installation: &Installation, version: &Version) -> Result<()> {
    match ways::recorded(installation, version)? {
        Some(_) => Ok(()),
        None => releases::require(&installation.layout, version).map(drop),
    }
}

/// What prepares the way to a release that was here before, and whose package is the file `bundle`.
pub fn back_to(bundle: Option<String>) -> Vec<Step> {
    vec![Step::SecureWays, Step::LoadImages { file: bundle }]
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
        _ => ended.outcome.rolled_back_to.is_some(),
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
    let file = ways::recorded(installation, version)?;
    Ok(file.filter(|file| installation.layout.bundles().join(file).is_file()))
}

/// The ID of the backup whose data comes back; none where the data stays.
pub fn data_to_restore(
    installation: &Installation,
    choice: DataChoice,
    from: &Version,
    to: &Version,
) -> Result<Option<String>> {
    Ok(backup_to_restore(installation, choice, from, to)?.map(|record| record.id))
}

/// The newest backup of the data as `to` left it, whoever made it: also the one that a rollback made for safety, so
/// that going back can itself be undone.
fn backup_to_restore(
    installation: &Installation,
    choice: DataChoice,
    from: &Version,
    to: &Version,
) -> Result<Option<Record>> {
    let wanted = match choice {
        DataChoice::Keep => false,
        DataChoice::Restore => true,
        DataChoice::AsDeclared => migrated(installation, from, to)?,
    };
    if !wanted {
        return Ok(None);
    }
    let manager = installation.backup_manager();
    let fits = manager
        .list()?
        .into_iter()
        .rev()
        .find(|record| record.version.as_ref() == Some(to) && manager.can_restore(record));
    let missing = || {
        let cause =
            "the data of that version cannot come back; --keep-data goes there with the data as it is";
        Fault::new(Code::BackupUnknown, format!("of {to}"), cause)
    };
    fits.map(Some).ok_or_else(missing)
}

/// Whether `to` cannot be expected to read the data that the newer `of` wrote: a release on the way migrates it, or nothing
/// here knows what `of` was.
pub fn outgrew(installation: &Installation, of: &Version, to: &Version) -> Result<bool> {
    if of <= to {
        return Ok(false);
    }
    let layout = &installation.layout;
    let mut known = recorded(installation)?;
    // Also one that failed and was never recorded; one that cannot be read is as if it was not there.
    for version in releases::versions(layout)? {
        known.extend(releases::info(layout, &version).ok().flatten());
    }
    let between = |version: &Version| version > to && version <= of;
    Ok(known.iter().all(|info| info.version != *of)
        || known.iter().any(|info| between(&info.version) && info.migrates_data)
        || skipped_migrations(installation)?.iter().any(between))
}

/// Whether any release after `to`, up to `from`, says that it migrates data; also one whose folder is gone, and one that
/// was skipped on the way.
fn migrated(installation: &Installation, from: &Version, to: &Version) -> Result<bool> {
    for info in recorded(installation)? {
        if info.version > *to && info.version <= *from && info.migrates_data {
            return Ok(true);
        }
    }
    Ok(skipped_migrations(installation)?.iter().any(|version| version > to && version <= from))
}

/// Every release that was ever installed here, as far as it is recorded.
fn recorded(installation: &Installation) -> Result<Vec<ReleaseInfo>> {
    let rows: Vec<String> = installation
        .store
        .with(|db| db.prepare("SELECT info FROM releases")?.query_map([], |row| row.get(0))?.collect())?;
    rows.iter().map(|row| ReleaseInfo::from_json(row.as_bytes(), "state.db")).collect()
}

/// The releases that migrate data and were skipped by upgrades of this installation, as their plans say.
fn skipped_migrations(installation: &Installation) -> Result<Vec<Version>> {
    /// All that is of interest, so that a plan of any other form keeps nobody from going back.
    #[derive(serde::Deserialize)]
    struct Passed {
        #[serde(default)]
        skipped_migrations: Vec<Version>,
    }
    let plans: Vec<(String, String)> = installation.store.with(|db| {
        db.prepare("SELECT id, plan FROM upgrades WHERE kind = 'upgrade'")?
            .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
            .collect()
    })?;
    let mut skipped = Vec::new();
    for (id, plan) in plans {
        let passed: Passed = serde_json::from_str(&plan)
            .map_err(|error| Fault::from_error(Code::JournalIllegal, id, error))?;
        skipped.extend(passed.skipped_migrations);
    }
    Ok(skipped)
}
