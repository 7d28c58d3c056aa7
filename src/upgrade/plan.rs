//! The plan of a change: everything that will be done, as data, before it is done.
//!
//! A plan has two halves. The preparation (fetch, unpack, load) never touches the running stack and is cheap
//! to repeat, since all it makes is found again by its content. The change proper is planned when the
//! release is there to be looked at, and only that half is continued or undone after a crash.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::quarantine::Content;
use super::step::Step;
use crate::clock::Moment;
use crate::fault::{Code, Fault, Result};
use crate::release::Version;

/// What kind of change it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The first release of an installation.
    Install,
    /// A running stack is taken over.
    Adopt,
    /// To another release.
    Upgrade,
    /// Back to a release that was here before.
    Rollback,
    /// The same release, other data.
    Restore,
    /// To the factory release by itself, because the way back to the version before did not work.
    Factory,
}

impl Kind {
    /// The stored and public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Install => "install",
            Self::Adopt => "adopt",
            Self::Upgrade => "upgrade",
            Self::Rollback => "rollback",
            Self::Restore => "restore",
            Self::Factory => "factory",
        }
    }
}

/// A change from one release to another.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Always 1.
    pub schema: u32,
    /// What kind of change.
    pub kind: Kind,
    /// The version before.
    pub from: Option<Version>,
    /// The version it leads to.
    pub to: Version,
    /// `patch`, `full`.
    pub strategy: String,
    /// Why.
    pub reason: String,
    /// What the version is known by in quarantine.
    pub manifest_hash: Option<Content>,
    /// Size of the whole package.
    pub bytes_bundle: u64,
    /// The backup whose data comes back with it.
    #[serde(default)]
    pub restore: Option<String>,
    /// The parts of that backup which come back (`volumes/pgdata`), or paths inside them (`volumes/pgdata/base/1`); empty:
    /// all.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub only: Vec<String>,
    /// Releases in between that migrate data and are skipped: this one does so in their place.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub skipped_migrations: Vec<Version>,
    /// What `previous` points to afterwards, where that is not the version before.
    #[serde(default)]
    pub previous_after: PreviousAfter,
    /// Before the running stack is touched.
    pub prepare: Vec<Step>,
    /// The change proper; none until the preparation is done.
    pub change: Option<ChangePlan>,
}

/// What `previous` points to after a change.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PreviousAfter {
    /// The version before the change.
    #[default]
    From,
    /// This one, because the version before the change is not one to go back to; none: nothing.
    Other(Option<Version>),
}

/// The half of a plan that touches the running stack.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangePlan {
    /// Every service of the old and the new release, in the order they are swapped.
    pub services: Vec<ServicePlan>,
    /// The steps.
    pub steps: Vec<Step>,
    /// Undoing also restores the data, because the new release migrates it.
    pub restores_data: bool,
    /// The services of the release before, dependencies first.
    pub old_order: Vec<String>,
    /// What `previous` pointed to.
    pub previous_before: Option<Version>,
    /// Named volumes and networks the engine had before, to know what is new.
    pub volumes_before: Vec<String>,
    /// See `volumes_before`.
    pub networks_before: Vec<String>,
}

/// What happens to a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Action {
    /// Not touched at all.
    Unchanged,
    /// New containers beside the old, then stop old, start new.
    Swap,
    /// Compose's own recreate, because it cannot exist twice.
    Recreate,
    /// New in this release.
    Add,
    /// No longer in this release.
    Remove,
    /// The same containers, stopped and started (a restore of data).
    Restart,
}

impl Action {
    /// The public name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Unchanged => "unchanged",
            Self::Swap => "swap",
            Self::Recreate => "recreate",
            Self::Add => "add",
            Self::Remove => "remove",
            Self::Restart => "restart",
        }
    }
}

/// One service of a change.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServicePlan {
    /// The Compose service.
    pub name: String,
    /// What happens to it.
    pub action: Action,
    /// Why: `image`, `config`, `files`, `scale`, `not running`, `new`, `removed` …
    pub reasons: Vec<String>,
    /// Containers it has afterwards.
    pub replicas: u32,
    /// The containers it has now: ID to name.
    pub old: BTreeMap<String, String>,
    /// Those of them that ran.
    pub was_running: Vec<String>,
    /// The config hash its containers will carry.
    pub config_hash: String,
    /// The engine's ID of the image it must run; none for a service that is removed.
    pub image_id: Option<String>,
    /// It runs once and must exit 0.
    pub one_shot: bool,
    /// Until it must be ready, in milliseconds.
    pub timeout_ms: u64,
    /// Nobody chose that time.
    #[serde(default)]
    pub patient: bool,
    /// How long it must run when it has no healthcheck, in milliseconds.
    pub stability_ms: u64,
    /// How long its containers may take to stop, in milliseconds; the engine's default where none.
    pub stop_grace_ms: Option<u64>,
}

impl Plan {
    /// A change of this kind that has nothing to fetch and no reason of its own yet.
    pub fn new(kind: Kind, from: Option<Version>, to: Version) -> Self {
        Self {
            schema: 1,
            kind,
            from,
            to,
            strategy: "full".into(),
            reason: "forced".into(),
            manifest_hash: None,
            bytes_bundle: 0,
            restore: None,
            only: Vec::new(),
            skipped_migrations: Vec::new(),
            previous_after: PreviousAfter::From,
            prepare: Vec::new(),
            change: None,
        }
    }

    /// All steps, preparation first; the journal counts them in this order.
    pub fn steps(&self) -> Vec<Step> {
        let change = self.change.iter().flat_map(|change| &change.steps);
        self.prepare.iter().chain(change).cloned().collect()
    }

    /// The file in `bundles/` the release came from, where the plan brings one.
    pub fn bundle_file(&self) -> Option<String> {
        self.prepare.iter().find_map(|step| match step {
            Step::Unpack { file, .. } => Some(file.clone()),
            _ => None,
        })
    }

    /// The service plan of `service`.
    pub fn service(&self, service: &str) -> Result<&ServicePlan> {
        let services = self.change.iter().flat_map(|change| &change.services);
        services
            .into_iter()
            .find(|plan| plan.name == service)
            .ok_or_else(|| Fault::new(Code::JournalIllegal, service, "the plan does not know this service"))
    }

    /// For the state database.
    pub fn to_json(&self) -> String {
        serde_json::to_string(self).expect("a plan is always valid JSON")
    }

    /// From the state database.
    pub fn from_json(text: &str, id: &str) -> Result<Self> {
        let plan: Self =
            serde_json::from_str(text).map_err(|error| Fault::from_error(Code::JournalIllegal, id, error))?;
        if plan.schema != 1 {
            let cause = format!("its plan has schema {}, which this client does not know", plan.schema);
            return Err(Fault::new(Code::JournalIllegal, id, cause));
        }
        Ok(plan)
    }
}

/// What the steps of a change learnt, durable as it is learnt.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Facts {
    /// New containers per service.
    pub created: BTreeMap<String, Vec<String>>,
    /// When a service's old containers began to stop.
    pub stopped_at: BTreeMap<String, Moment>,
    /// The containers that are frozen while their data is read; also in `meta`, for backups that are no part of a change.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub frozen: Vec<String>,
    /// Those that are stopped for that.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub halted: Vec<String>,
    /// From stop to readiness.
    pub downtime_ms: BTreeMap<String, u64>,
    /// How long services were frozen while their data was read.
    pub frozen_ms: BTreeMap<String, u64>,
    /// The new release was started, or data was restored: the data may not be what it was.
    pub data_at_risk: bool,
    /// The running stack may have been touched.
    pub touched: bool,
    /// Restart policies that were taken from containers when they were stopped: container ID to policy.
    pub restart_policies: BTreeMap<String, String>,
    /// Old containers that were gone and were made again on the way back, per service.
    pub remade: BTreeMap<String, Vec<String>>,
    /// A restore began and did not end: what holds data stays down until it has.
    pub data_unrestored: bool,
    /// Why it is undone; the first cause, not what the undoing met.
    pub first_failure: Option<Failure>,
    /// Why the version before could not be brought back.
    pub level1: Option<Failure>,
    /// The backup made for this change.
    pub backup_id: Option<String>,
    /// The backup of what the new release wrote, made before the data of before came back.
    pub safety_backup_id: Option<String>,
    /// Bytes fetched.
    pub bytes_downloaded: u64,
    /// `.env` as it was before keys were added.
    pub env_before: Option<String>,
    /// `.env` as it was left.
    pub env_after: Option<String>,
    /// Things a person should know.
    pub warnings: Vec<String>,
}

/// A fault as it is recorded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The code's stable name.
    pub code: String,
    /// The thing that failed.
    pub object: String,
    /// The technical cause.
    pub detail: String,
}

impl Failure {
    /// Of a fault.
    pub fn of(fault: &Fault) -> Self {
        Self {
            code: fault.code().name().into(),
            object: fault.object().into(),
            detail: fault.detail().into(),
        }
    }

    /// The fault again; a code that this client does not know becomes an interruption.
    pub fn to_fault(&self) -> Fault {
        let code = Code::from_name(&self.code).unwrap_or(Code::Interrupted);
        Fault::new(code, &self.object, &self.detail)
    }
}
