//! Probation: a version that has just been committed goes back by itself when it fails in its first minutes.
//!
//! The old containers are not kept for that: beside a stopped one of the release before, Compose's own `up` takes the
//! new one for the surplus and removes it. What is needed to make them again (release folder, pinned images, bundle) is
//! kept, and they are made beside the running ones before those are stopped, so that it costs time but no downtime.

mod verdict;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use self::verdict::{KILLED, Seen, judge};
use super::api::DataChoice;
use super::change::{self, Tools};
use super::ending::Ended;
use super::installation::Installation;
use super::plan::{Facts, Failure, Kind, Plan, PreviousAfter};
use super::quarantine::{self, Content};
use super::rollback::{back_to, bundle_of, data_to_restore};
use super::ways;
use super::world::World;
use crate::clock::Moment;
use crate::docker::{Container, State};
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
    /// The containers that ran then, and how often the engine had restarted each.
    pub restarts: BTreeMap<String, i64>,
}

impl Probation {
    /// What is left of it; none when its time is over.
    pub fn left(&self) -> Option<Duration> {
        Duration::from_millis(self.soak_ms).checked_sub(self.since.elapsed()).filter(|left| !left.is_zero())
    }

    /// When it is over, in seconds since 1970.
    fn until(&self) -> i64 {
        i64::try_from(self.since.wall_ms.saturating_add(self.soak_ms) / 1000).unwrap_or(i64::MAX)
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
        restarts: containers
            .into_iter()
            .filter(Container::is_running)
            .map(|container| (container.id, container.restart_count))
            .collect(),
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
/// passed, unless it failed in time and nobody looked. Data is put back only while the probation lasts: later it has
/// become what its users live with.
pub async fn settle(
    installation: &Installation,
    tools: &Tools,
    progress: &Progress,
) -> Result<Option<Ended>> {
    let Some(probation) = open(installation)? else {
        return Ok(None);
    };
    let over = probation.left().is_none();
    let version = probation.version.to_string();
    if let Some(fault) = look(installation, tools, progress, &probation).await? {
        let to = &probation.back_to;
        let late = match data_to_restore(installation, DataChoice::AsDeclared, &probation.version, to) {
            Ok(restore) if !over || restore.is_none() => {
                return go_back(installation, tools, progress, &probation, &fault, restore).await.map(Some);
            }
            Ok(_) => true,
            // The version before cannot live with the data of this one.
            Err(missing) if missing.code() == Code::BackupUnknown => false,
            Err(other) => return Err(other),
        };
        let cause = fault.message(progress.lang());
        let say = Say::SoakStays { version, to: to.to_string(), cause, late };
        progress.warning(progress::Step::CheckingUpdates, say);
    } else if over {
        progress.note(progress::Step::CheckingUpdates, Say::SoakPassed { version });
    }
    if over {
        installation.store.with(|db| record(db, None))?;
    }
    Ok(None)
}

/// What speaks against the version on probation.
async fn look(
    installation: &Installation,
    tools: &Tools,
    progress: &Progress,
    probation: &Probation,
) -> Result<Option<Fault>> {
    let project = &installation.settings.project;
    // What it consists of is also known where its folder is not as it should be.
    let Some(info) = ways::info_of(installation, &probation.version)? else { return Ok(None) };
    let since = probation.since.elapsed();
    let (until, over) = (probation.until(), probation.left().is_none());
    let containers = tools.engine.containers(project).await?;
    let is_one_shot = |service: &str| info.services.get(service).is_some_and(|policy| policy.one_shot);
    for container in &containers {
        if container.one_off || is_one_shot(&container.service) {
            continue;
        }
        let before = probation.restarts.get(&container.id).copied().unwrap_or_default();
        let restarts = u64::try_from(container.restart_count - before).unwrap_or_default();
        let deaths = match restarts {
            0 => Vec::new(),
            _ => tools.engine.deaths(&container.id, since).await?,
        };
        let told_to_end = match container.exit_code {
            KILLED if !container.is_running() => tools.engine.was_told_to_end(&container.id, since).await?,
            _ => None,
        };
        let seen = Seen { container, restarts, deaths: &deaths, told_to_end, since, until, over };
        if let Some((code, cause)) = judge(&seen) {
            let detail = tools.engine.with_log(cause, &container.id).await;
            return Ok(Some(Fault::new(code, &container.service, detail)));
        }
    }
    if over {
        return Ok(None);
    }
    // What a person stopped, or took away, cannot answer.
    let running: BTreeSet<&String> =
        containers.iter().filter(|one| one.state == State::Running).map(|one| &one.id).collect();
    let at_rest: BTreeSet<&String> = probation
        .restarts
        .keys()
        .filter(|id| !running.contains(id))
        .filter(|id| !containers.iter().any(|one| one.id == **id && is_one_shot(&one.service)))
        .collect();
    let answers = |service: &String| {
        containers.iter().any(|one| one.service == *service && one.state == State::Running && !one.one_off)
    };
    for probe in &info.health.probes {
        let can_pass = match &probe.service {
            Some(service) if probe.command.is_some() => answers(service),
            _ => at_rest.is_empty(),
        };
        if !can_pass {
            continue;
        }
        // Twice: going back is dear.
        let mut asked = tools.engine.probe(project, probe).await;
        if asked.is_err() {
            asked = tools.engine.probe(project, probe).await;
        }
        match asked {
            Err(fault) if quarantine::speaks_against(fault.code()) => return Ok(Some(fault)),
            Err(fault) => {
                let text = fault.message(progress.lang());
                progress.warning(progress::Step::CheckingUpdates, Say::Warning { text });
            }
            Ok(()) => {}
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
    restore: Option<String>,
) -> Result<Ended> {
    let (version, to) = (probation.version.clone(), probation.back_to.clone());
    let cause = fault.message(progress.lang());
    let say = Say::SoakFailed { version: version.to_string(), to: to.to_string(), cause };
    progress.started(progress::Step::RollingBack, say);
    quarantine::quarantine(installation, &version, probation.content.as_ref(), &fault.to_string())?;
    let facts = Facts { first_failure: Some(Failure::of(fault)), ..Facts::default() };
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
