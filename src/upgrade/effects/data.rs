//! The stack's data: backed up before a swap, restored where it must be.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use super::containers::{downtime_begins, grace, put_down, put_up};
use super::volume::Volume;
use crate::backup::{
    BackupManager, BackupRequest, Kind as BackupKind, Origin, Part, PartKind, RestoreTarget,
};
use crate::docker::{Container, Engine, Model, Program, Service, State};
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::Step;
use crate::release::ReleaseInfo;
use crate::state::meta;
use crate::upgrade::Installation;
use crate::upgrade::analyse::OLD_MODEL;
use crate::upgrade::plan::Action;
use crate::upgrade::releases;
use crate::upgrade::world::World;

/// Where a part of the data is.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// On this machine's disk.
    Disk(std::path::PathBuf),
    /// Only through the engine: the volume, a container that mounts it, and the path in there.
    Engine { volume: String, container: String, path: String },
}

/// What the data is looked up for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Purpose {
    Backup,
    Restore,
}

/// One part of the stack's data.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Data {
    name: String,
    kind: PartKind,
    place: Place,
}

/// Backs the data up. What still runs and may write to it is frozen while it is read, so that the archive is
/// the data of one moment.
pub async fn backup(world: &mut World<'_>) -> Result<()> {
    if world.facts().backup_id.is_some() {
        return Ok(());
    }
    let from = world.plan.from.clone();
    let kind = if world.plan.restore.is_some() { BackupKind::Safety } else { BackupKind::PreUpgrade };
    let id = make_backup(world, kind, from.map(|from| (from, Some(world.plan.to.clone())))).await?;
    world.learn(|facts| facts.backup_id = id)
}

/// Makes a backup of the data of the release that is described by the compiled model [`OLD_MODEL`]; none where
/// the stack has no data. `versions` are the installed version and the one that is about to come.
pub async fn make_backup(
    world: &mut World<'_>,
    kind: BackupKind,
    versions: Option<(crate::release::Version, Option<crate::release::Version>)>,
) -> Result<Option<String>> {
    let model = Model::from_file(&world.work_file(OLD_MODEL)?)?;
    let containers = world.engine.containers(world.project()).await?;
    let data = all_data(world, &model, &containers, Purpose::Backup).await?;
    if data.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for one in &data {
        parts.push(part(world, one).await?);
    }
    let (version, target) = versions.map_or((None, None), |(version, target)| (Some(version), target));
    let (read, mut was_read) = tokio::sync::oneshot::channel();
    let request = BackupRequest {
        project: world.project().to_owned(),
        version,
        target,
        kind,
        parts,
        packing: (&world.installation.settings.backup).into(),
        read: Some(Box::new(move || {
            // Nobody waits any more when the backup was given up.
            let _ = read.send(());
        })),
    };
    let writers: Vec<String> = containers
        .iter()
        .filter(|container| container.state == State::Running && mounts_any(container, &model, &data))
        .map(|container| container.id.clone())
        .collect();
    let began = std::time::Instant::now();
    freeze(world, &writers).await?;
    let manager = Arc::new(BackupManager::new(world.installation.store.clone(), world.layout().backups()));
    // Who drops this future (Ctrl-C) lets the services go on: what is read from then on is of another moment.
    let cancel = Arc::new(AtomicBool::new(false));
    let _cancelled = CancelOnDrop(cancel.clone());
    let work = manager.create_in_background(request, world.progress.clone(), cancel);
    let mut work = std::pin::pin!(work);
    // Frozen only while the data is read; checking the archive needs nobody to wait.
    let early = tokio::select! {
        result = &mut work => Some(result),
        _ = &mut was_read => None,
    };
    thaw(world.installation, &world.engine).await?;
    let ms = began.elapsed().as_millis() as u64;
    let services: Vec<String> =
        containers.iter().filter(|c| writers.contains(&c.id)).map(|c| c.service.clone()).collect();
    world.learn(|facts| facts.frozen_ms.extend(services.into_iter().map(|service| (service, ms))))?;
    let record = match early {
        Some(result) => result?,
        None => work.await?,
    };
    Ok(Some(record.id))
}

/// Ends a backup that nobody waits for any more.
struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// The key in `meta` that names the containers which are frozen, durable before the first is.
const FROZEN: &str = "frozen";

async fn freeze(world: &World<'_>, containers: &[String]) -> Result<()> {
    let ids = containers.join(" ");
    world.installation.store.with(|db| meta::set(db, FROZEN, &ids))?;
    for id in containers {
        if let Err(fault) = world.engine.pause(id).await {
            thaw(world.installation, &world.engine).await?;
            return Err(fault);
        }
    }
    Ok(())
}

fn frozen(installation: &Installation) -> Result<Option<String>> {
    installation.store.with(|db| meta::get(db, FROZEN))
}

/// Whether a backup that did not end well may have left containers frozen.
pub fn is_frozen(installation: &Installation) -> Result<bool> {
    Ok(frozen(installation)?.is_some())
}

/// Lets everything go on that was frozen for a backup, by this process or one that was killed.
pub async fn thaw(installation: &Installation, engine: &Engine) -> Result<()> {
    let frozen = frozen(installation)?;
    for id in frozen.iter().flat_map(|ids| ids.split_whitespace()) {
        engine.unpause(id).await?;
    }
    installation.store.with(|db| meta::forget(db, FROZEN))
}

/// Undoes a backup step: nothing stays frozen, and where the new release migrates data and was started, the
/// data is put back as it was.
pub async fn undo_backup(world: &mut World<'_>) -> Result<()> {
    thaw(world.installation, &world.engine).await?;
    let facts = world.facts().clone();
    match facts.backup_id {
        Some(id) if world.change()?.restores_data && facts.data_at_risk => {
            keep_what_was_written(world).await?;
            restore_from(world, &id).await
        }
        _ => Ok(()),
    }
}

/// What the new release wrote before it is replaced by the data of before: nobody acknowledged the upgrade, but clients
/// may have been answered. A copy that cannot be made does not keep the old data from coming back.
async fn keep_what_was_written(world: &mut World<'_>) -> Result<()> {
    if world.facts().safety_backup_id.is_some() {
        return Ok(());
    }
    let to = world.plan.to.clone();
    match make_backup(world, BackupKind::Safety, Some((to, None))).await {
        Ok(id) => world.learn(|facts| facts.safety_backup_id = id),
        Err(fault) => {
            let text = fault.message(world.progress.lang());
            world.warn(Step::RollingBack, Say::Warning { text })
        }
    }
}

/// Restores the data of backup `id`; everything that mounts it is stopped by then or is stopped for it.
pub async fn restore(world: &mut World<'_>, id: &str) -> Result<()> {
    world.learn(|facts| facts.data_at_risk = true)?;
    restore_from(world, id).await
}

/// Puts the data back that was there before [`restore`].
pub async fn undo_restore(world: &mut World<'_>) -> Result<()> {
    match world.facts().backup_id.clone() {
        Some(safety) => restore_from(world, &safety).await,
        None => {
            let cause = "no backup of the data before it was made";
            Err(Fault::new(Code::RestoreFailed, world.project(), cause))
        }
    }
}

async fn restore_from(world: &mut World<'_>, id: &str) -> Result<()> {
    // Until it has ended well, nothing may write to what is neither one nor the other.
    world.learn(|facts| facts.data_unrestored = true)?;
    let model = Model::from_file(&world.work_file(OLD_MODEL)?)?;
    let containers = world.engine.containers(world.project()).await?;
    let data = all_data(world, &model, &containers, Purpose::Restore).await?;
    let users: Vec<&Container> = containers
        .iter()
        .filter(|container| container.is_running() && mounts_any(container, &model, &data))
        .collect();
    let plans = world.change()?.services.clone();
    for container in &users {
        let plan = plans.iter().find(|plan| plan.name == container.service);
        downtime_begins(world, &container.service)?;
        put_down(world, &container.id, plan.and_then(grace)).await?;
    }
    world.progress.note(Step::StoppingServices, Say::RestoreStarted { id: id.into() });
    let warnings = unpack(world, id, data).await?;
    world.learn(|facts| facts.data_unrestored = false)?;
    // Old containers that the change does not replace would otherwise stay down, also those that a killed process
    // had stopped for the same restore.
    let unchanged = plans.iter().filter(|plan| plan.action == Action::Unchanged);
    let strangers = users.iter().filter(|user| !plans.iter().any(|plan| plan.name == user.service));
    let start: BTreeSet<&String> =
        unchanged.flat_map(|plan| &plan.was_running).chain(strangers.map(|user| &user.id)).collect();
    for id in start {
        put_up(world, id).await?;
    }
    for text in warnings {
        world.warn(Step::StoppingServices, Say::Warning { text })?;
    }
    let facts = world.facts();
    let kept = facts.safety_backup_id.clone().or_else(|| facts.backup_id.clone()).filter(|kept| kept != id);
    world.warn(Step::StoppingServices, Say::DataPutBack { backup: id.to_owned(), kept })
}

/// The program that replaces what only the engine can reach; none where it is not needed. An error where it is needed
/// and would not run.
fn helper_for(world: &World<'_>, data: &[Data]) -> Result<Option<Program>> {
    let needed = data.iter().any(|data| matches!(data.place, Place::Engine { .. }));
    needed.then(|| Program::own(&world.engine)).transpose()
}

/// Refuses a change that may have to restore data where that is not possible, before anything is stopped for it.
pub async fn check_restorable(world: &World<'_>) -> Result<()> {
    let path = world.work_file(OLD_MODEL)?;
    if !path.is_file() {
        return Ok(());
    }
    let containers = world.engine.containers(world.project()).await?;
    let data = all_data(world, &Model::from_file(&path)?, &containers, Purpose::Restore).await?;
    helper_for(world, &data).map(drop)
}

/// Restores every part of the backup that the stack has a place for; gives back warnings.
async fn unpack(world: &World<'_>, id: &str, data: Vec<Data>) -> Result<Vec<String>> {
    let manager = BackupManager::new(world.installation.store.clone(), world.layout().backups());
    let program = helper_for(world, &data)?;
    let project = world.project().to_owned();
    let (engine, progress, id) = (world.engine.clone(), world.progress.clone(), id.to_owned());
    let runtime = tokio::runtime::Handle::current();
    let work = tokio::task::spawn_blocking(move || {
        let targets = |kind: &PartKind| {
            let found = data.iter().find(|data| data.kind == *kind)?;
            Some(match &found.place {
                Place::Disk(path) => RestoreTarget::Disk(path.clone()),
                Place::Engine { volume, container, .. } => {
                    let (engine, runtime, program) = (engine.clone(), runtime.clone(), program.clone()?);
                    let volume = Volume::new(&project, container.clone(), volume.clone());
                    let top = volume.top();
                    let take = move |tar| runtime.block_on(volume.replace(&engine, &program, tar));
                    RestoreTarget::Tar { top, take: Box::new(take) }
                }
            })
        };
        let never = AtomicBool::new(false);
        manager.restore(&id, &targets, Step::RollingBack, &progress, &never)
    });
    let restored =
        work.await.map_err(|error| Fault::from_error(Code::RestoreFailed, world.project(), error))??;
    Ok(restored.warnings)
}

/// The services whose containers mount the stack's data.
pub fn holders(world: &World<'_>, model: &Model) -> BTreeSet<String> {
    let current = world.layout().current();
    let persist = world.target().map(|info| releases::persist(&info, &world.installation.settings));
    let paths: Vec<_> = persist.unwrap_or_default().iter().map(|path| current.join(path)).collect();
    let holds = |service: &Service| {
        let inside = |mount: &std::path::PathBuf| paths.iter().any(|path| mount.starts_with(path));
        service.volumes().next().is_some() || service.host_paths().iter().any(inside)
    };
    model.services().into_iter().filter(holds).map(|service| service.name).collect()
}

/// Every named volume and persist path of the release that runs, less what is excluded.
async fn all_data(
    world: &World<'_>,
    model: &Model,
    containers: &[Container],
    purpose: Purpose,
) -> Result<Vec<Data>> {
    let info = match &world.plan.from {
        Some(from) => match releases::info(world.layout(), from)? {
            Some(info) => info,
            None => world.target()?,
        },
        None => world.target()?,
    };
    let excluded = |key: &str| excludes(world, &info).any(|pattern| pattern == key);
    let mut volumes: BTreeMap<String, Vec<(String, String)>> = BTreeMap::new();
    for service in model.services() {
        for (key, path) in service.volumes() {
            volumes.entry(key.to_owned()).or_default().push((service.name.clone(), path.to_owned()));
        }
    }
    let mut data = Vec::new();
    for (key, uses) in volumes.into_iter().filter(|(key, _)| !excluded(key)) {
        let Some(name) = volume_name(model, &key) else { continue };
        let Some(volume) = world.engine.volume(&name).await? else { continue };
        let on_disk = volume.local_plain && world.engine.is_local() && volume.mountpoint.read_dir().is_ok();
        let place = match on_disk.then_some(volume.mountpoint) {
            Some(folder) => Some(Place::Disk(folder)),
            None => uses.iter().find_map(|(service, path)| {
                let container = containers.iter().find(|container| container.service == *service)?;
                let (container, path) = (container.id.clone(), path.clone());
                Some(Place::Engine { volume: name.clone(), container, path })
            }),
        };
        let place = place.ok_or_else(|| {
            Fault::new(Code::BackupFailed, name, "no container mounts the volume, so it cannot be read")
        })?;
        data.push(Data { name: format!("volumes/{key}"), kind: PartKind::Volume { volume: key }, place });
    }
    for path in releases::persist(&info, &world.installation.settings) {
        // Containers are made from what .env says now; another one under them would not be theirs.
        if purpose == Purpose::Restore && path == ".env" {
            continue;
        }
        let shared = world.layout().shared().join(&path);
        if excluded(&path) {
            continue;
        }
        // After an adoption the data is elsewhere, behind a link. What is gone can still be restored.
        let real = match shared.canonicalize() {
            Ok(real) => real,
            Err(_) if purpose == Purpose::Restore => shared,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(Fault::io(&shared, error)),
        };
        data.push(Data {
            name: format!("persist/{path}"),
            kind: PartKind::Path { path },
            place: Place::Disk(real),
        });
    }
    Ok(data)
}

fn excludes<'a>(world: &'a World<'_>, info: &'a ReleaseInfo) -> impl Iterator<Item = &'a String> {
    info.backup.exclude.iter().chain(&world.installation.settings.backup.exclude)
}

async fn part(world: &World<'_>, data: &Data) -> Result<Part> {
    let origin = match &data.place {
        Place::Disk(path) => Origin::Disk(path.clone()),
        Place::Engine { container, path, .. } => {
            Origin::Tar(Box::new(world.engine.archive(container, path).await?))
        }
    };
    Ok(Part { name: data.name.clone(), kind: data.kind.clone(), origin })
}

/// The real name of the volume a Compose key stands for.
fn volume_name(model: &Model, key: &str) -> Option<String> {
    model.volumes().into_iter().find(|volume| volume.key == key).map(|volume| volume.name)
}

/// Whether a container mounts any of the data.
fn mounts_any(container: &Container, model: &Model, data: &[Data]) -> bool {
    data.iter().any(|data| match (&data.kind, &data.place) {
        (PartKind::Volume { volume }, _) => {
            volume_name(model, volume).is_some_and(|name| container.mounts_volume(&name))
        }
        (PartKind::Path { .. }, Place::Disk(folder)) => container.host_paths().any(|path| {
            std::path::Path::new(path)
                .canonicalize()
                .is_ok_and(|real| real.starts_with(folder) || folder.starts_with(&real))
        }),
        (PartKind::Path { .. }, Place::Engine { .. }) => false,
    })
}
