//! Planning the change proper: what the new release means for the stack as it runs now.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::compare::{Present, Wanted, compare};
use super::effects::{data, dump, restore};
use super::fingerprint::fingerprint;
use super::plan::{Action, ChangePlan, Kind, ServicePlan};
use super::shipped::Reader;
use super::step::{Step, TagMove};
use super::world::World;
use super::{origin, pointers, releases};
use crate::docker::{Container, Model, Service, SingleReason, State, network_changes, volume_changes};
use crate::fault::{Code, Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress;
use crate::release::oci::ImageName;
use crate::release::{ReleaseInfo, Version};

/// The compiled Compose model of the new release, among the work files.
pub const NEW_MODEL: &str = "new.json";
/// The compiled Compose model of the release before.
pub const OLD_MODEL: &str = "old.json";

/// Plans the half of the change that touches the stack. `restore` names the backup whose data comes back.
pub async fn analyse(world: &mut World<'_>, restore: Option<&str>) -> Result<ChangePlan> {
    let target = world.target()?;
    let Compiled { model: new, dormant, said } = compile(world, &world.target_folder(), &target).await?;
    said.map_or(Ok(()), |say| world.warn(progress::Step::CheckingUpdates, say))?;
    let new_path = world.work_file(NEW_MODEL)?;
    new.to_file(&new_path)?;
    let old = match compile_current(world).await {
        // The version that cannot be brought back may not even be readable.
        Err(fault) if world.plan.kind == Kind::Factory => {
            tracing::warn!(%fault, "the present release cannot be compiled");
            new.to_file(&world.work_file(OLD_MODEL)?)?;
            None
        }
        other => other?,
    };
    if let Some(old) = &old {
        refuse_changed_definitions(old, &new)?;
    }
    let mut containers = world.engine.containers(world.project()).await?;
    // Not running and not wanted by itself: whose it is decides about it.
    containers.retain(|container| !dormant.contains(&container.service));
    let hashes = hashes(world, &new, &new_path, &containers).await?;
    let wanted = wanted(world, &target, &new, &hashes).await?;
    let present = present(world, &new, &containers)?;
    let anew = world.plan.kind == Kind::Factory;
    let mut services = compare(&target, &wanted, &present, anew);
    // Going forward again by a rollback migrates the data as an upgrade does.
    let forward = world.plan.kind == Kind::Rollback
        && world.plan.from.as_ref().is_some_and(|from| *from < world.plan.to);
    let migrates = target.migrates_data || !world.plan.skipped_migrations.is_empty();
    let restores_data = migrates && (world.plan.kind == Kind::Upgrade || forward);
    if restore.is_some() || restores_data {
        restore::check_restorable(world, restore).await?;
    }
    if let Some(backup) = restore {
        restart_what_holds_data(world, old.as_ref().unwrap_or(&new), backup, &containers, &mut services)?;
    }
    let moves = tag_moves(world, &target).await?;
    Ok(ChangePlan {
        steps: steps(world, &services, moves, restores_data, restore),
        services,
        restores_data,
        old_order: old.iter().flat_map(Model::services).map(|service| service.name).collect(),
        previous_before: pointers::read(world.layout(), Pointer::Previous)?,
        volumes_before: world.engine.project_volumes(world.project()).await?,
        networks_before: world.engine.project_networks(world.project()).await?,
    })
}

/// Compiles the release that runs into [`OLD_MODEL`].
pub async fn compile_current(world: &mut World<'_>) -> Result<Option<Model>> {
    let Some(version) = before(world)? else {
        return Ok(None);
    };
    let folder = world.layout().release(&version.to_string());
    let info = releases::require(world.layout(), &version)?;
    let Compiled { model, said, .. } = compile(world, &folder, &info).await?;
    said.map_or(Ok(()), |say| world.warn(progress::Step::CheckingUpdates, say))?;
    model.to_file(&world.work_file(OLD_MODEL)?)?;
    Ok(Some(model))
}

/// The version that is left, whatever `current` has been pointed to meanwhile.
fn before(world: &World<'_>) -> Result<Option<Version>> {
    match &world.plan.from {
        Some(from) => Ok(Some(from.clone())),
        None => pointers::read(world.layout(), Pointer::Current),
    }
}

/// A release as it will be read in `current/`.
struct Compiled {
    /// Its services, those included that an operator started by hand out of an inactive profile.
    model: Model,
    /// Services of inactive profiles that have containers, none of which runs.
    dormant: BTreeSet<String>,
    /// That it is not read as it stands there.
    said: Option<Say>,
}

/// Compiles the Compose files of a release.
async fn compile(world: &World<'_>, folder: &Path, info: &ReleaseInfo) -> Result<Compiled> {
    let (project, current) = (world.project(), world.layout().current());
    let mut reader = Reader::new(world.compose, project, folder, info, &current);
    let (compiled, said) = reader.compile().await?;
    for text in compiled.warnings {
        world.progress.note(progress::Step::CheckingUpdates, Say::Warning { text });
    }
    let active = compiled.model;
    let containers = world.engine.containers(project).await?;
    let others: Vec<&Container> =
        containers.iter().filter(|one| !one.one_off && active.service(&one.service).is_none()).collect();
    if others.is_empty() {
        return Ok(Compiled { model: active, dormant: BTreeSet::new(), said });
    }
    let every = reader.compile_every().await?.model;
    let known = others.iter().filter(|one| every.service(&one.service).is_some());
    let (running, idle): (Vec<_>, Vec<_>) = known.partition(|one| one.is_running());
    let name = |one: &&Container| one.service.clone();
    let running: BTreeSet<String> = running.into_iter().map(name).collect();
    let model = active.with_services_of(&every, &running);
    let dormant = idle.into_iter().map(name).filter(|name| model.service(name).is_none()).collect();
    Ok(Compiled { model, dormant, said })
}

/// Compose's hash of every service. That of a service which shares a namespace with another's container is made
/// with the container there is now; where that one is replaced, the service is replaced with it.
async fn hashes(
    world: &World<'_>,
    model: &Model,
    path: &Path,
    containers: &[Container],
) -> Result<BTreeMap<String, String>> {
    let (project, current) = (world.project(), world.layout().current());
    let mut hashes = world.compose.hashes(project, &current, path).await?;
    let tied: Vec<Service> =
        model.services().into_iter().filter(|service| !service.tied_to.is_empty()).collect();
    if !tied.is_empty() {
        let ties =
            containers.iter().map(|container| (container.service.clone(), container.id.clone())).collect();
        let with_ties = world.compose.hashes_tied(project, &current, path, &ties).await?;
        for service in tied {
            if let Some(hash) = with_ties.get(&service.name) {
                hashes.insert(service.name, hash.clone());
            }
        }
    }
    Ok(hashes)
}

/// Compose would drop the data of a volume whose definition changed, and cut every service off a network.
fn refuse_changed_definitions(old: &Model, new: &Model) -> Result<()> {
    if let Some(name) = volume_changes(old, new).into_iter().next() {
        return Err(Fault::new(Code::VolumeChanged, name, "it exists with another definition"));
    }
    if let Some(name) = network_changes(old, new).into_iter().next() {
        return Err(Fault::new(Code::NetworkChanged, name, "it exists with another definition"));
    }
    Ok(())
}

async fn wanted(
    world: &World<'_>,
    info: &ReleaseInfo,
    model: &Model,
    hashes: &BTreeMap<String, String>,
) -> Result<Vec<Wanted>> {
    let folder = world.target_folder();
    let mut wanted = Vec::new();
    for service in model.services() {
        let image_id = planned_image(world, info, &service).await?;
        let here = world.engine.image_id(&image_id).await?.is_some();
        let volumes = if here { world.engine.image_facts(&image_id).await?.volumes } else { Vec::new() };
        let single = service.cannot_exist_twice(&volumes);
        let hash = hashes.get(&service.name).cloned();
        wanted.push(Wanted {
            name: service.name.clone(),
            replicas: service.replicas,
            config_hash: hash.ok_or_else(|| {
                Fault::new(Code::ComposeFailed, &service.name, "Compose gave no hash for this service")
            })?,
            image_id: Some(image_id),
            files: fingerprint(&folder, &release_paths(world, &service))?,
            single: single.as_ref().map(SingleReason::to_string),
            attached_to: service.tied_to.clone(),
            restarts_with: service.restarts_with.clone(),
            one_shot: service.one_shot
                || info.services.get(&service.name).is_some_and(|policy| policy.one_shot),
            stop_grace: service.stop_grace,
        });
    }
    Ok(wanted)
}

/// The engine's ID of the image a service must run.
async fn planned_image(world: &World<'_>, info: &ReleaseInfo, service: &Service) -> Result<String> {
    let reference = service.image.clone().unwrap_or_else(|| format!("{}-{}", world.project(), service.name));
    match info.images.iter().find(|image| same_image(&image.reference, &reference)) {
        // A preview is made before the image is loaded.
        Some(image) => Ok(world.engine.planned_id(image)),
        // A variable in .env can name an image that is not the release's: then it must be here.
        None => {
            let found = world.engine.image_id(&reference).await?;
            found.ok_or_else(|| {
                Fault::new(
                    Code::ImageMissing,
                    &reference,
                    "the release does not bring it; does .env name it?",
                )
            })
        }
    }
}

/// Whether two references are of the same image: `web`, `web:latest` and `docker.io/library/web` are.
pub fn same_image(one: &str, other: &str) -> bool {
    let full = |reference: &str| ImageName::parse(reference).map(|name| name.full()).ok();
    one == other || (full(one).is_some() && full(one) == full(other))
}

/// The paths of the release folder that a service mounts, relative to it.
fn release_paths(world: &World<'_>, service: &Service) -> Vec<String> {
    let current = world.layout().current();
    let inside = |source: &PathBuf| {
        let path = source.strip_prefix(&current).ok()?;
        Some(path.to_string_lossy().into_owned())
    };
    service.host_paths().iter().filter_map(inside).collect()
}

fn present(world: &World<'_>, model: &Model, containers: &[Container]) -> Result<Vec<Present>> {
    let started_from = world.installation.store.with(origin::all)?;
    let current = before(world)?.map(|version| version.to_string());
    let services = model.services();
    let mut present = Vec::new();
    for container in containers.iter().filter(|container| !container.one_off) {
        let service = services.iter().find(|service| service.name == container.service);
        let folder = started_from.get(&container.id).or(current.as_ref());
        let files = match (service, folder) {
            (Some(service), Some(folder)) => {
                let folder = world.layout().releases().join(folder);
                fingerprint(&folder, &release_paths(world, service))?
            }
            _ => fingerprint(world.layout().root(), &[])?,
        };
        present.push(Present {
            service: container.service.clone(),
            id: container.id.clone(),
            name: container.name.clone(),
            running: container.is_running(),
            exit_code: (container.state == State::Exited).then_some(container.exit_code),
            image_id: container.image_id.clone(),
            config_hash: container.config_hash.clone(),
            files,
        });
    }
    Ok(present)
}

/// Services whose data comes back from a backup are stopped for it, changed or not. Where a service takes its data back
/// by a command of its own, so are all that depend on it: they would write to it meanwhile.
fn restart_what_holds_data(
    world: &World<'_>,
    model: &Model,
    backup: &str,
    containers: &[Container],
    services: &mut [ServicePlan],
) -> Result<()> {
    let mut holders = data::holders(world, model);
    let record = world.installation.backup_manager().get(backup)?;
    let mut taking: BTreeSet<String> =
        dump::takers(world, &record, containers)?.into_iter().map(|(_, one)| one.service.clone()).collect();
    // Dependencies come first.
    for service in model.services() {
        if service.depends_on.iter().any(|name| taking.contains(name)) {
            taking.insert(service.name);
        }
    }
    holders.append(&mut taking);
    for service in services.iter_mut() {
        if service.action == Action::Unchanged && holders.contains(&service.name) && !service.old.is_empty() {
            service.action = Action::Restart;
            service.reasons.push("its data is restored".into());
        }
    }
    Ok(())
}

async fn tag_moves(world: &World<'_>, info: &ReleaseInfo) -> Result<Vec<TagMove>> {
    let mut moves = Vec::new();
    for image in &info.images {
        let to = world.engine.planned_id(image);
        let from = world.engine.image_id(&image.reference).await?;
        if from.as_ref() != Some(&to) {
            moves.push(TagMove { reference: image.reference.clone(), to, from });
        }
    }
    Ok(moves)
}

fn steps(
    world: &World<'_>,
    services: &[ServicePlan],
    moves: Vec<TagMove>,
    restores_data: bool,
    restore: Option<&str>,
) -> Vec<Step> {
    let changed: Vec<&ServicePlan> =
        services.iter().filter(|service| service.action != Action::Unchanged).collect();
    let touches_data = restores_data || restore.is_some();
    let old: BTreeSet<&str> = changed
        .iter()
        .filter(|service| !service.old.is_empty())
        .map(|service| service.name.as_str())
        .collect();
    // Data that is about to be changed is kept also where nothing runs that could be stopped.
    let wanted = world.installation.settings.backup.before_upgrade && !old.is_empty();
    let backup = match world.plan.kind {
        Kind::Install => false,
        // It must not fail for a backup of data that it does not touch.
        Kind::Factory => touches_data,
        _ => touches_data || wanted,
    };

    let mut steps = Vec::new();
    if !moves.is_empty() {
        steps.push(Step::TagImages { moves });
    }
    if changed.iter().any(|service| matches!(service.action, Action::Swap | Action::Add)) {
        steps.push(Step::CreateContainers);
    }
    if backup && !touches_data {
        steps.push(Step::Backup);
    }
    if backup && touches_data && !old.is_empty() {
        steps.push(Step::CopyData);
    }
    steps.push(Step::Protect);
    steps.push(Step::FlipCurrent);
    if touches_data && !old.is_empty() {
        // Dependents first, so that nothing writes while its database goes.
        let services = changed.iter().rev().filter(|service| old.contains(service.name.as_str()));
        steps.push(Step::StopServices { services: services.map(|service| service.name.clone()).collect() });
    }
    if backup && touches_data {
        steps.push(Step::Backup);
    }
    if let Some(backup) = restore {
        steps.push(Step::RestoreData { backup: backup.to_owned() });
    }
    steps.extend(changed.iter().map(|service| Step::Swap { service: service.name.clone() }));
    steps.extend([Step::Verify, Step::Commit, Step::Finalize, Step::CleanUp]);
    steps
}

/// No port that a new container publishes may be held by somebody who will not be stopped.
pub async fn check_ports(world: &World<'_>) -> Result<()> {
    if !world.engine.is_local() {
        return Ok(());
    }
    let new = Model::from_file(&world.work_file(NEW_MODEL)?)?;
    let change = world.change()?;
    let stops = |name: &str| change.services.iter().any(|s| s.name == name && s.action != Action::Unchanged);
    let mut freed = BTreeSet::new();
    let old_path = world.work_file(OLD_MODEL)?;
    if old_path.is_file() {
        // Only a container that runs holds a port.
        let holds = |name: &str| change.services.iter().any(|s| s.name == name && !s.was_running.is_empty());
        let old = Model::from_file(&old_path)?.services();
        for service in old.iter().filter(|service| stops(&service.name) && holds(&service.name)) {
            freed.extend(service.published().into_iter().map(|port| (port.number, port.protocol)));
        }
    }
    for service in new.services().iter().filter(|service| stops(&service.name)) {
        for port in service.published() {
            if freed.contains(&(port.number, port.protocol.clone())) {
                continue;
            }
            if let Err(error) = port.try_bind() {
                let cause = format!("{}/{}: {error}", port.number, port.protocol);
                return Err(Fault::new(Code::PortTaken, &service.name, cause));
            }
        }
    }
    Ok(())
}
