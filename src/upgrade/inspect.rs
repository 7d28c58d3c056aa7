//! `client status` and `client history`: where an installation stands and how it got there.

use rusqlite::types::Value;

use super::analyse::same_image;
use super::api::{HistoryEntry, JournalLine, ServiceStatus, Status};
use super::change::Tools;
use super::installation::Installation;
use super::journal::{Change, ChangeState, Journal};
use super::plan::Plan;
use super::running::{self, Place};
use super::shipped::Reader;
use super::{origin, pointers, quarantine, releases, soak};
use crate::docker::{Container, Service};
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::{Lang, Say};
use crate::progress::Outcome;
use crate::release::{ReleaseInfo, Version};

/// Where the installation stands. What cannot be read is a warning: pointers and state are always told.
pub async fn status(installation: &Installation, lang: Lang) -> Result<Status> {
    let layout = &installation.layout;
    let unfinished = Journal::new(installation.store.clone()).unfinished()?;
    let mut warnings: Vec<String> =
        running::astray(installation)?.into_iter().map(|say| say.text(lang)).collect();
    let mut pointer = |pointer| match pointers::read(layout, pointer) {
        Ok(version) => version.map(|version| version.to_string()),
        Err(fault) => {
            warnings.push(fault.message(lang));
            None
        }
    };
    let [previous, factory] = [Pointer::Previous, Pointer::Factory].map(&mut pointer);
    let services = match running::installed(installation) {
        Ok(Some(version)) => match services(installation, &version).await {
            Ok((services, said)) => {
                warnings.extend(said.map(|say| say.text(lang)));
                services
            }
            Err(fault) if is_about_files(fault.code()) => {
                warnings.push(fault.message(lang));
                Vec::new()
            }
            Err(fault) => return Err(fault),
        },
        Ok(None) => Vec::new(),
        Err(fault) => {
            warnings.push(fault.message(lang));
            Vec::new()
        }
    };
    let current = match running::place(layout) {
        Ok(Place::Release(version)) => Some(version.to_string()),
        _ => None,
    };
    let quarantine = quarantine::list(installation)?;
    let last = history(installation)?.into_iter().rev().find_map(|entry| entry.outcome);
    Ok(Status {
        schema: 1,
        project: installation.settings.project.clone(),
        state: match soak::open(installation)?.filter(|_| unfinished.is_none()) {
            Some(probation) if probation.left().is_some() => "soaking".into(),
            _ => state(unfinished.as_ref()).into(),
        },
        current,
        previous,
        factory,
        quarantined: quarantine.iter().map(|entry| entry.version.clone()).collect(),
        quarantine,
        services,
        last_upgrade: last,
        warnings,
    })
}

/// Whether a failure is about what stands in a release folder; one of the engine or of Compose itself is not.
fn is_about_files(code: Code) -> bool {
    use Code::{ComposeInvalid, ReleaseDamaged, ReleaseUnknown, VariableUnset};
    matches!(code, ComposeInvalid | VariableUnset | ReleaseUnknown | ReleaseDamaged)
}

fn state(unfinished: Option<&Change>) -> &'static str {
    match unfinished {
        None => "idle",
        Some(change) => match (change.state, change.kind.as_str()) {
            (ChangeState::NeedsAttention, _) => "needs_attention",
            (ChangeState::Undoing, _) | (_, "rollback" | "factory") => "rolling_back",
            _ => "upgrading",
        },
    }
}

async fn services(
    installation: &Installation,
    version: &Version,
) -> Result<(Vec<ServiceStatus>, Option<Say>)> {
    let tools = Tools::find().await?;
    let layout = &installation.layout;
    let project = &installation.settings.project;
    let info = releases::require(layout, version)?;
    let folder = layout.release(&version.to_string());
    let current = layout.current();
    let (compiled, said) = Reader::new(&tools.compose, project, &folder, &info, &current).compile().await?;
    let model = compiled.model;
    let containers = tools.engine.containers(project).await?;
    let started_from = installation.store.with(origin::all)?;
    let mut found = Vec::new();
    for service in model.services() {
        let expected = planned_id(&tools, &info, &service);
        let own: Vec<&Container> =
            containers.iter().filter(|c| c.service == service.name && !c.one_off).collect();
        if own.is_empty() {
            found.push(missing(&service, expected.clone()));
        }
        for container in own {
            found.push(ServiceStatus {
                name: service.name.clone(),
                container: Some(container.name.clone()),
                image: service.image.clone().unwrap_or_default(),
                image_id: Some(container.image_id.clone()),
                image_expected: expected.clone(),
                state: container.state.name().into(),
                health: container.health.name().into(),
                release: started_from.get(&container.id).map(|folder| release_of(folder)),
            });
        }
    }
    Ok((found, said))
}

/// A folder that was moved aside for a reinstall is `.<version>.old-<change>`.
fn release_of(folder: &str) -> String {
    let bare = folder.strip_prefix('.').unwrap_or(folder);
    bare.split(".old-").next().unwrap_or(bare).to_owned()
}

fn planned_id(tools: &Tools, info: &ReleaseInfo, service: &Service) -> Option<String> {
    let reference = service.image.as_deref()?;
    let image = info.images.iter().find(|image| same_image(&image.reference, reference))?;
    Some(tools.engine.planned_id(image))
}

fn missing(service: &Service, expected: Option<String>) -> ServiceStatus {
    ServiceStatus {
        name: service.name.clone(),
        container: None,
        image: service.image.clone().unwrap_or_default(),
        image_id: None,
        image_expected: expected,
        state: "missing".into(),
        health: "none".into(),
        release: None,
    }
}

/// All changes, oldest first, without their journals.
pub fn history(installation: &Installation) -> Result<Vec<HistoryEntry>> {
    entries(installation, "ORDER BY rowid", &[])
}

/// The change whose ID is, or alone begins with, `id`, with its journal.
pub fn history_entry(installation: &Installation, id: &str) -> Result<HistoryEntry> {
    let pattern = Value::Text(format!("{}%", id.replace(['%', '_'], "")));
    let mut found = entries(installation, "WHERE id LIKE ?1 ORDER BY id", &[pattern])?;
    let unknown = |cause: String| Fault::new(Code::Usage, format!("history {id}"), cause);
    match found.len() {
        0 => Err(unknown("there is no such change".into())),
        1 => {
            let mut entry = found.remove(0);
            entry.journal = journal(installation, &entry.id)?;
            Ok(entry)
        }
        count => Err(unknown(format!("{count} changes begin with it; give more of the ID"))),
    }
}

fn entries(installation: &Installation, rest: &str, values: &[Value]) -> Result<Vec<HistoryEntry>> {
    let sql = format!(
        "SELECT id, kind, from_version, to_version, state, started_at, ended_at, outcome FROM upgrades {rest}"
    );
    installation.store.with(|db| {
        db.prepare(&sql)?
            .query_map(rusqlite::params_from_iter(values), |row| {
                let outcome: Option<String> = row.get(7)?;
                Ok(HistoryEntry {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    from: row.get(2)?,
                    to: row.get(3)?,
                    state: row.get(4)?,
                    started_at: row.get(5)?,
                    ended_at: row.get(6)?,
                    outcome: outcome.and_then(|text| serde_json::from_str::<Outcome>(&text).ok()),
                    journal: Vec::new(),
                })
            })?
            .collect()
    })
}

fn journal(installation: &Installation, id: &str) -> Result<Vec<JournalLine>> {
    let plan: String = installation
        .store
        .with(|db| db.query_row("SELECT plan FROM upgrades WHERE id = ?1", [id], |row| row.get(0)))?;
    let steps = Plan::from_json(&plan, id)?.steps();
    let name = |index: usize| steps.get(index).map_or_else(|| index.to_string(), |step| step.name());
    installation.store.with(|db| {
        db.prepare("SELECT at, step, mark, detail FROM journal WHERE upgrade_id = ?1 ORDER BY seq")?
            .query_map([id], |row| {
                Ok(JournalLine {
                    at: row.get(0)?,
                    step: name(row.get(1)?),
                    mark: row.get(2)?,
                    detail: row.get(3)?,
                })
            })?
            .collect()
    })
}
