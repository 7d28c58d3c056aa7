//! What callers ask for and what they get.

use std::path::PathBuf;

use serde::Serialize;

use crate::progress::Outcome;
use crate::release::Version;

/// What to upgrade to and how.
#[derive(Debug, Clone, Default)]
pub struct UpgradeOptions {
    /// A certain version instead of the newest (also older).
    pub target: Option<Version>,
    /// A full upgrade even where a patch or nothing would do.
    pub force_full: bool,
    /// Offline: this bundle instead of the source.
    pub bundle: Option<PathBuf>,
    /// Override quarantine.
    pub force: bool,
}

/// Where to roll back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RollbackTarget {
    /// The version before.
    Previous,
    /// The last line of defence.
    Factory,
    /// A version whose release is kept here.
    Version(Version),
}

/// What happens to the data on a rollback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum DataChoice {
    /// Restored where the release being left declares that it migrated the data.
    #[default]
    AsDeclared,
    /// Restored from the backup made before the upgrade.
    Restore,
    /// Left as it is.
    Keep,
}

/// A rollback.
#[derive(Debug, Clone)]
pub struct RollbackOptions {
    /// Where to.
    pub to: RollbackTarget,
    /// And the data?
    pub data: DataChoice,
}

/// A fresh install or an adoption.
#[derive(Debug, Clone)]
pub struct InitOptions {
    /// The install root; created where missing.
    pub root: PathBuf,
    /// The Compose project.
    pub project: String,
    /// Address or folder releases come from.
    pub source: String,
    /// Accept metadata without hashes.
    pub insecure: bool,
    /// Offline: install this bundle.
    pub bundle: Option<PathBuf>,
    /// Take over the running stack in this folder, as that version.
    pub adopt: Option<(PathBuf, Version)>,
}

/// A version that is not tried again by itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Quarantined {
    /// The version.
    pub version: String,
    /// Why: the failure, or that a person went back from it.
    pub reason: String,
    /// Since when, RFC 3339 UTC.
    pub at: String,
}

/// What `check` found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CheckReport {
    /// Always 1.
    pub schema: u32,
    /// The installed version.
    pub installed: Option<Version>,
    /// The source's version.
    pub available: Version,
    /// Whether an upgrade would do anything.
    pub upgrade_available: bool,
    /// `none`, `patch`, `full`.
    pub strategy: String,
    /// Why.
    pub reason: String,
    /// From the manifest.
    pub release_date: Option<String>,
    /// From the manifest.
    pub release_notes: Option<String>,
    /// Size of the package that would be fetched, where known.
    pub bytes: Option<u64>,
    /// Newer versions that are passed over because they are in quarantine.
    pub passed_over: Vec<Quarantined>,
}

/// A step of a printed plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanStep {
    /// The public step name.
    pub step: String,
    /// What it does, in the user's language.
    pub description: String,
}

/// What happens to one service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanService {
    /// The Compose service.
    pub name: String,
    /// `unchanged`, `swap`, `recreate`, `add`, `remove`.
    pub action: String,
    /// Why (`image`, `config`, `files`, `not running` …).
    pub reason: String,
}

/// A file of the installed release that was edited by hand, though it is not declared as editable: an upgrade sets it
/// aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanEdit {
    /// The file.
    pub path: String,
    /// What was changed, as a unified diff; empty where it is no text.
    pub diff: String,
}

/// What an upgrade would do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PlanReport {
    /// Always 1.
    pub schema: u32,
    /// The installed version.
    pub from: Option<Version>,
    /// The version it leads to.
    pub to: Version,
    /// `none`, `patch`, `full`.
    pub strategy: String,
    /// Why.
    pub reason: String,
    /// Bytes to fetch.
    pub bytes_to_fetch: u64,
    /// Disk space needed.
    pub disk_needed: u64,
    /// The steps, in order.
    pub steps: Vec<PlanStep>,
    /// The services; empty while the release's Compose files are not here yet.
    pub services: Vec<PlanService>,
    /// Whether the per-service part is known (the package is here) or not yet.
    pub services_known: bool,
    /// Edits by hand that would be set aside.
    pub edits: Vec<PlanEdit>,
    /// What only a rollback has.
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub back: Option<WayBack>,
}

/// What the plan of a rollback says besides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// What happens to the data.
    pub data: DataPlan,
    /// Whether a backup of the present data is made first.
    pub safety_backup: bool,
    /// Images of the release that the engine lacks; they are loaded from its bundle.
    pub images_missing: Vec<String>,
    /// Whether the package the release came from is kept here.
    pub bundle_present: bool,
}

/// What happens to the data on a rollback.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum DataPlan {
    /// It is left as it is.
    Keep,
    /// It is replaced by that of a backup.
    Restore {
        /// The backup.
        backup_id: String,
        /// When it was made, RFC 3339 UTC: what was written since will not be in the restored data.
        at: String,
    },
}

/// A service in `status`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ServiceStatus {
    /// The Compose service.
    pub name: String,
    /// Its container's name.
    pub container: Option<String>,
    /// The reference the Compose file uses.
    pub image: String,
    /// The ID of the image that runs.
    pub image_id: Option<String>,
    /// The ID of the image that should run.
    pub image_expected: Option<String>,
    /// `running`, `exited`, `missing` …
    pub state: String,
    /// `healthy`, `unhealthy`, `starting`, `none`.
    pub health: String,
    /// The release whose files its container was started with.
    pub release: Option<String>,
}

/// What `status` tells.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Status {
    /// Always 1.
    pub schema: u32,
    /// The Compose project.
    pub project: String,
    /// `idle`, `upgrading`, `rolling_back`, `soaking`, `needs_attention`.
    pub state: String,
    /// The version that runs.
    pub current: Option<String>,
    /// The version before.
    pub previous: Option<String>,
    /// The last line of defence.
    pub factory: Option<String>,
    /// Versions that failed here.
    pub quarantined: Vec<String>,
    /// The same, with why and since when.
    pub quarantine: Vec<Quarantined>,
    /// The services of the current release.
    pub services: Vec<ServiceStatus>,
    /// The last change's result.
    pub last_upgrade: Option<Outcome>,
    /// What a person should know (a state database that was rebuilt); until a command that changes something told it.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// A change in `history`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HistoryEntry {
    /// The change.
    pub id: String,
    /// `install`, `adopt`, `upgrade`, `rollback`, `restore`, `factory` (level 2, by itself).
    pub kind: String,
    /// Version before.
    pub from: Option<String>,
    /// Version asked for.
    pub to: String,
    /// `running`, `undoing`, `completed`, `rolled_back`, `failed`, `escalated` (the factory release took over),
    /// `superseded` (a person went on with something else), `needs_attention`.
    pub state: String,
    /// RFC 3339 UTC.
    pub started_at: String,
    /// RFC 3339 UTC.
    pub ended_at: Option<String>,
    /// The result as it was told.
    pub outcome: Option<Outcome>,
    /// The journal, only for a single entry: `(time, step, mark, detail)`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub journal: Vec<JournalLine>,
}

/// A line of a change's journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct JournalLine {
    /// RFC 3339 UTC.
    pub at: String,
    /// The internal step.
    pub step: String,
    /// `started`, `done`, `failed`, `undo_started`, `undone`, `undo_failed`.
    pub mark: String,
    /// Anything to add.
    pub detail: String,
}

/// One line of `doctor`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// What was looked at (`engine`, `compose`, `disk`, `clock`, `source`, `pointers`, `images` …).
    pub check: String,
    /// `ok`, `warning`, `failed`.
    pub status: String,
    /// What was found.
    pub message: String,
    /// How to mend it; empty where there is nothing to mend.
    pub help: String,
}
