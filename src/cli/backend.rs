//! The one place where the command line calls the layers that do the work.
//!
//! Until those are connected every function answers with an error that names it.

use std::path::Path;

use crate::fault::{Code, Fault, Result};
use crate::progress::{Outcome, Progress};
use crate::upgrade::{
    CheckReport, Finding, HistoryEntry, InitOptions, Installation, PlanReport, RollbackOptions, Status,
    UpgradeOptions,
};

use super::args::BuildArgs;
use super::edge::refused;
use super::view::backup::{BackupDetail, BackupView};
use super::view::release::{BuildView, InspectView, PublishView};

fn later(what: &str) -> Fault {
    Fault::new(Code::Usage, what, "it is not connected yet")
}

/// Installs or adopts.
pub async fn init(_options: &InitOptions, progress: &Progress) -> Outcome {
    refused(&later("init"), progress.lang())
}

/// Asks the source.
pub async fn check(_installation: &Installation, _progress: &Progress) -> Result<CheckReport> {
    Err(later("check"))
}

/// Plans an upgrade.
pub async fn plan(
    _installation: &Installation,
    _options: &UpgradeOptions,
    _progress: &Progress,
) -> Result<PlanReport> {
    Err(later("plan"))
}

/// Upgrades; finishes an interrupted change first.
pub async fn upgrade(
    _installation: &Installation,
    _options: &UpgradeOptions,
    progress: &Progress,
) -> Outcome {
    refused(&later("upgrade"), progress.lang())
}

/// Goes back.
pub async fn rollback(
    _installation: &Installation,
    _options: &RollbackOptions,
    progress: &Progress,
) -> Outcome {
    refused(&later("rollback"), progress.lang())
}

/// Where the installation stands.
pub async fn status(_installation: &Installation) -> Result<Status> {
    Err(later("status"))
}

/// All changes, oldest first.
pub fn history(_installation: &Installation) -> Result<Vec<HistoryEntry>> {
    Err(later("history"))
}

/// One change with its journal.
pub fn history_entry(_installation: &Installation, _id: &str) -> Result<HistoryEntry> {
    Err(later("history"))
}

/// Looks at everything an upgrade depends on.
pub async fn doctor(_root: &Path, _progress: &Progress) -> Vec<Finding> {
    let fault = later("doctor");
    vec![Finding {
        check: "installation".into(),
        status: "failed".into(),
        message: fault.to_string(),
        help: String::new(),
    }]
}

/// Makes a backup.
pub async fn backup_create(_installation: &Installation, _progress: &Progress) -> Result<BackupView> {
    Err(later("backup create"))
}

/// All backups, oldest first.
pub async fn backup_list(_installation: &Installation) -> Result<Vec<BackupView>> {
    Err(later("backup list"))
}

/// One backup and what is in it.
pub async fn backup_show(_installation: &Installation, _id: &str) -> Result<BackupDetail> {
    Err(later("backup show"))
}

/// Reads a backup through; a damaged one is an error.
pub async fn backup_verify(
    _installation: &Installation,
    _id: &str,
    _progress: &Progress,
) -> Result<BackupView> {
    Err(later("backup verify"))
}

/// Brings back the data of a backup.
pub async fn backup_restore(
    _installation: &Installation,
    _id: &str,
    _progress: &Progress,
) -> Result<BackupView> {
    Err(later("backup restore"))
}

/// Deletes a backup.
pub async fn backup_delete(_installation: &Installation, _id: &str) -> Result<BackupView> {
    Err(later("backup delete"))
}

/// Deletes what the retention rules no longer keep; what was deleted.
pub async fn backup_prune(_installation: &Installation) -> Result<Vec<BackupView>> {
    Err(later("backup prune"))
}

/// Packs a release.
pub async fn release_build(_args: &BuildArgs, _progress: &Progress) -> Result<BuildView> {
    Err(later("release build"))
}

/// Adds a packed release to a source folder.
pub async fn release_publish(_out: &Path, _source: &Path, _progress: &Progress) -> Result<PublishView> {
    Err(later("release publish"))
}

/// What is in a bundle.
pub async fn release_inspect(_file: &Path) -> Result<InspectView> {
    Err(later("release inspect"))
}
