//! Probation: a version that has just been committed goes back by itself when it fails in its first minutes.
//!
//! The old containers are not kept for that: beside a stopped one of the release before, Compose's own `up` takes the
//! new one for the surplus and removes it. What is needed to make them again (release folder, pinned images, bundle) is
//! kept, and they are made beside the running ones before those are stopped, so that it costs time but no downtime.

mod verdict;

use std::collections::BTreeMap;
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use self::verdict::{Seen, judge};
use super::api::DataChoice;
use super::change::{self, Tools};
use super::ending::Ended;
use super::installation::Installation;
use super::plan::{Facts, Failure, Kind, Plan, PreviousAfter};
use super::quarantine::{self, Content};
use super::releases;
use super::rollback::{back_to, bundle_of, data_to_restore};
use super::world::World;
use crate::clock::Moment;
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{self, Progress};
use crate::release::Version;
use crate::state::meta;

/// The key in `meta` of the probation that is open.
const KEY: &str = "probation";
/// The reason of a rollback that ends a probation.
const REASON: &str = "soak";

/// A version on probation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Probation {
    /// Always 1.
    pub schema: u32,
    /// The version.
    pub version: Version,
    /// Where it came from, and would go back to.
    pub back_to: Version,
    /// What `previous` pointed to before.
    pub previous_before: Option<Version>,
    /// What it is known by in quarantine.
    pub content: Option<Content>,
    /// When it was committed.
    pub since: Moment,
    /// How long it lasts.
    pub soak_ms: u64,
    /// How often the engine had restarted each container by then.
    pub restarts: BTreeMap<String, i64>,
}

impl Probation {
    /// What is left of it; none when its time is over.
    pub fn left(&self) -> Option<Duration> {
        Duration::from_millis(self.soak_ms).checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }
}

/// The probation that the change of `world` begins with its commit.
pub async fn of(world: &World<'_>) -> Result<Option<Probation>> {
    let plan = &world.plan;
    let soak_ms = world.target()?.health.soak().as_millis() as u64;
    let Some(from) = plan.from.clone().filter(|from| *from != plan.to) else {
        return Ok(None);
    };
    if plan.kind != Kind::Upgrade || soak_ms == 0 {
        return Ok(None);
    }
    let containers = world.engine.containers(world.project()).await?;
    Ok(Some(Probation {
        schema: 1,
        version: plan.to.clone(),
        back_to: from,
        previous_before: world.change()?.previous_before.clone(),
        content: plan.manifest_hash.clone(),
        since: Moment::now(),
        soak_ms,
        restarts: containers.into_iter().map(|container| (container.id, container.restart_count)).collect(),
    }))
}

/// Records the probation that begins, in the transaction of the commit; none ends the one before.
pub fn record(db: &Connection, probation: Option<&Probation>) -> rusqlite::Result<()> {
    let Some(probation) = probation else { return meta::forget(db, KEY) };
    meta::set(db, KEY, &serde_json::to_string(probation).expect("a probation is always valid JSON"))
}

/// The probation that is open.
pub fn open(installation: &Installation) -> Result<Option<Probation>> {
    let text = installation.store.with(|db| meta::get(db, KEY))?;
    let invalid = |error| Fault::from_error(Code::JournalIllegal, KEY, error);
    text.map(|text| serde_json::from_str(&text).map_err(invalid)).transpose()
}

/// Looks at the version on probation: one that failed goes back, and that is what is told. One whose time is over has
/// passed.
pub async fn settle(
    installation: &Installation,
    tools: &Tools,
    progress: &Progress,
) -> Result<Option<Ended>> {
    let Some(probation) = open(installation)? else {
        return Ok(None);
    };
    match look(installation, tools, &probation).await? {
        Some(fault) => go_back(installation, tools, progress, &probation, &fault).await.map(Some),
        None => {
            if probation.left().is_none() {
                installation.store.with(|db| record(db, None))?;
                let version = probation.version.to_string();
                progress.note(progress::Step::CheckingUpdates, Say::SoakPassed { version });
            }
            Ok(None)
        }
    }
}

/// What speaks against the version on probation.
async fn look(installation: &Installation, tools: &Tools, probation: &Probation) -> Result<Option<Fault>> {
    let project = &installation.settings.project;
    let info = releases::require(&installation.layout, &probation.version)?;
    let since = probation.since.elapsed();
    for container in tools.engine.containers(project).await? {
        if container.one_off || info.services.get(&container.service).is_some_and(|policy| policy.one_shot) {
            continue;
        }
        let before = probation.restarts.get(&container.id).copied().unwrap_or_default();
        let restarts = u64::try_from(container.restart_count - before).unwrap_or_default();
        let deaths = match restarts {
            0 => Vec::new(),
            _ => tools.engine.deaths(&container.id, since).await?,
        };
        let seen = Seen { container: &container, restarts, deaths: &deaths, since };
        if let Some((code, cause)) = judge(&seen) {
            return Ok(Some(Fault::new(code, &container.service, cause)));
        }
    }
    for probe in &info.health.probes {
        if let Err(fault) = tools.engine.probe(project, probe).await {
            return Ok(Some(fault));
        }
    }
    Ok(None)
}

async fn go_back(
    installation: &Installation,
    tools: &Tools,
    progress: &Progress,
    probation: &Probation,
    fault: &Fault,
) -> Result<Ended> {
    let (version, to) = (probation.version.clone(), probation.back_to.clone());
    let cause = fault.message(progress.lang());
    let say = Say::SoakFailed { version: version.to_string(), to: to.to_string(), cause };
    progress.started(progress::Step::RollingBack, say);
    quarantine::quarantine(installation, &version, probation.content.as_ref(), &fault.to_string())?;
    let mut facts = Facts { first_failure: Some(Failure::of(fault)), ..Facts::default() };
    let restore = match data_to_restore(installation, DataChoice::AsDeclared, &version, &to) {
        Err(fault) if fault.code() == Code::BackupUnknown => {
            facts.warnings.push(fault.message(progress.lang()));
            None
        }
        other => other?,
    };
    let plan = Plan {
        reason: REASON.into(),
        previous_after: PreviousAfter::Other(probation.previous_before.clone()),
        prepare: back_to(bundle_of(installation, &to)?),
        ..Plan::new(Kind::Rollback, Some(version), to)
    };
    Ok(change::begin_with(installation, tools, plan, facts, restore.as_deref(), progress).await)
}

/// Whether `plan` is the rollback that ends a probation.
pub fn is_rollback(plan: &Plan) -> bool {
    plan.kind == Kind::Rollback && plan.reason == REASON
}
