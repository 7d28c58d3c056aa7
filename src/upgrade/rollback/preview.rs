//! The plan of a rollback, for a person to see before it is begun.

use time::format_description::well_known::Rfc3339;

use super::{Way, target};
use crate::fault::{Code, Fault, Result};
use crate::progress::Progress;
use crate::release::Version;
use crate::upgrade::api::{DataPlan, PlanReport, PlanService, PlanStep, RollbackOptions, WayBack};
use crate::upgrade::change::{self, Tools};
use crate::upgrade::journal::Journal;
use crate::upgrade::plan::{ChangePlan, Facts};
use crate::upgrade::step::Step;
use crate::upgrade::ways::Keeper;
use crate::upgrade::world::World;
use crate::upgrade::{Installation, analyse, releases, ways};

/// What a rollback would do; changes nothing. A rollback that cannot be done is refused here already.
pub async fn rollback_plan(
    installation: &Installation,
    options: &RollbackOptions,
    progress: &Progress,
) -> Result<PlanReport> {
    let Some(way) = Way::find(installation, options)? else {
        return Ok(nothing(target(installation, &options.to)?));
    };
    let tools = Tools::find().await?;
    let images_missing = images_missing(installation, &tools, &way).await?;
    // What an interrupted change makes of the stack is known when it has been finished.
    let change = match Journal::new(installation.store.clone()).unfinished()? {
        Some(_) => None,
        // Its folder is made again first.
        None if releases::info(&installation.layout, &way.to)?.is_none() => None,
        None => Some(in_folder(installation, &tools, &way, progress).await?),
    };
    let lang = progress.lang();
    let describe =
        |step: &Step| PlanStep { step: step.public().name().into(), description: step.describe(lang) };
    let steps = change.as_ref().map(|change| change.steps.as_slice()).unwrap_or_default();
    let service = |service: &crate::upgrade::plan::ServicePlan| PlanService {
        name: service.name.clone(),
        action: service.action.name().into(),
        reason: service.reasons.join(", "),
    };
    let plan = way.plan();
    Ok(PlanReport {
        schema: 1,
        strategy: plan.strategy.clone(),
        reason: plan.reason.clone(),
        bytes_to_fetch: Keeper::new(installation, &tools.engine, progress).rest_of(&way.to).await?,
        // What is unpacked beside the present data.
        disk_needed: way.restore.as_ref().map_or(0, |record| {
            record.parts.iter().map(|part| installation.backup_manager().bytes_of(record, part)).sum()
        }),
        steps: plan.prepare.iter().chain(steps).map(describe).collect(),
        services: change.iter().flat_map(|change| &change.services).map(service).collect(),
        services_known: change.is_some(),
        edits: super::super::command::shown(installation, &way.from)?,
        back: Some(WayBack {
            data: data(&way)?,
            safety_backup: steps.contains(&Step::Backup),
            images_missing,
            bundle_present: way.bundle.is_some(),
        }),
        from: Some(way.from),
        to: way.to,
    })
}

fn nothing(version: Version) -> PlanReport {
    PlanReport {
        schema: 1,
        from: Some(version.clone()),
        to: version,
        strategy: "none".into(),
        reason: "up_to_date".into(),
        bytes_to_fetch: 0,
        disk_needed: 0,
        steps: Vec::new(),
        services: Vec::new(),
        services_known: true,
        edits: Vec::new(),
        back: None,
    }
}

fn data(way: &Way) -> Result<DataPlan> {
    let Some(record) = &way.restore else { return Ok(DataPlan::Keep) };
    let at = record.started_at.format(&Rfc3339);
    let at = at.map_err(|error| Fault::from_error(Code::BackupCorrupt, &record.id, error))?;
    Ok(DataPlan::Restore { backup_id: record.id.clone(), at })
}

/// The images the engine lacks; where they are not in a bundle here either, the rollback itself looks for them.
async fn images_missing(installation: &Installation, tools: &Tools, way: &Way) -> Result<Vec<String>> {
    let info = match ways::info_of(installation, &way.to)? {
        Some(info) => info,
        None => releases::require(&installation.layout, &way.to)?,
    };
    let mut missing = Vec::new();
    for image in info.images {
        if tools.engine.find_image(&image).await?.is_none() {
            missing.push(image.reference);
        }
    }
    Ok(missing)
}

/// The change proper, worked out in a folder of its own.
async fn in_folder(
    installation: &Installation,
    tools: &Tools,
    way: &Way,
    progress: &Progress,
) -> Result<ChangePlan> {
    let id = format!("preview-{}", change::new_id());
    let (engine, compose) = (&tools.engine, &tools.compose);
    let mut world =
        World::new(installation, engine, compose, progress.clone(), &id, way.plan(), Facts::default());
    let restore = way.restore.as_ref().map(|record| record.id.as_str());
    let planned = analyse::analyse(&mut world, restore).await;
    let work = installation.layout.work(&id);
    crate::durable::remove_dir_all(&work)?;
    planned
}
