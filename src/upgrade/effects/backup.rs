//! Backing the data up, in as little time of the services as there is a way to.
//!
//! Where the data lies on this machine's disk it is copied while the services run; then, while they do not write, only
//! what changed since. The archive is written from the copy while the change goes on, and is whole before the change is
//! committed. Elsewhere the archive is written at once, while the services do not write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::data::{Data, Purpose, all_data, mounts_any, part};
use crate::backup::{BackupRequest, Kind as BackupKind, Packing, Record, Stage};
use crate::docker::{Container, Engine, Model, State};
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step};
use crate::release::Version;
use crate::state::meta;
use crate::upgrade::Installation;
use crate::upgrade::analyse::OLD_MODEL;
use crate::upgrade::world::World;
use crate::upgrade::{killpoint, step};

/// The priority of what is done beside the services.
const NICE: i32 = 10;

/// The installed version and the one that is about to come.
pub type Versions = Option<(Version, Option<Version>)>;

/// What is told to end when it is dropped: who drops a future (Ctrl-C) leaves no work behind.
#[derive(Default)]
pub struct CancelOnDrop(Arc<AtomicBool>);

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// An archive that is written while the change goes on.
pub struct Archiving {
    work: oneshot::Receiver<Result<Record>>,
    _cancel: CancelOnDrop,
}

/// Copies the data while the services run, so that [`backup`] has little left to do.
pub async fn copy(world: &mut World<'_>) -> Result<()> {
    if world.facts().backup_id.is_some() || world.stage.is_some() {
        return Ok(());
    }
    let request = request(world, kind_of(world), of_upgrade(world)).await?;
    world.stage = match request {
        Some((request, _)) => begin(world, request).await?.ok(),
        None => None,
    };
    Ok(())
}

/// Removes a copy that no backup came of.
pub async fn drop_copy(world: &mut World<'_>) -> Result<()> {
    world.stage = None;
    if world.facts().backup_id.is_some() {
        return Ok(());
    }
    // That of a process that was killed.
    let manager = world.installation.backup_manager();
    blocking(world, move || manager.abandon()).await
}

/// Backs the data up as it is in one moment. What still runs and may write to it is frozen for that.
pub async fn backup(world: &mut World<'_>) -> Result<()> {
    if world.facts().backup_id.is_some() {
        return Ok(());
    }
    let versions = of_upgrade(world);
    let id = make_backup(world, kind_of(world), versions, Archive::Later).await?;
    world.learn(|facts| facts.backup_id = id)?;
    archive_meanwhile(world);
    Ok(())
}

/// Data that is about to be replaced by that of a backup is kept for safety.
fn kind_of(world: &World<'_>) -> BackupKind {
    if world.plan.restore.is_some() { BackupKind::Safety } else { BackupKind::PreUpgrade }
}

fn of_upgrade(world: &World<'_>) -> Versions {
    world.plan.from.clone().map(|from| (from, Some(world.plan.to.clone())))
}

/// When the archive is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Archive {
    /// At once; who stops it before the end leaves nothing.
    Now,
    /// The copy is enough for the time being: see [`archived`].
    Later,
}

/// Makes a backup of the data of the release that is described by the compiled model [`OLD_MODEL`]; none where
/// the stack has no data.
pub async fn make_backup(
    world: &mut World<'_>,
    kind: BackupKind,
    versions: Versions,
    archive: Archive,
) -> Result<Option<String>> {
    let Some((request, writers)) = request(world, kind, versions).await? else { return Ok(None) };
    let copied = match world.stage.take() {
        Some(stage) => Ok(stage),
        None => begin(world, request).await?,
    };
    let record = match copied {
        Ok(stage) => cut(world, stage, &writers, archive).await?,
        Err(request) => at_once(world, request, &writers).await?,
    };
    Ok(Some(record.id))
}

/// What is to be backed up, and the containers that run and may write to it; none where the stack has no data.
async fn request(
    world: &World<'_>,
    kind: BackupKind,
    versions: Versions,
) -> Result<Option<(BackupRequest, Vec<Container>)>> {
    let model = Model::from_file(&world.work_file(OLD_MODEL)?)?;
    let containers = world.engine.containers(world.project()).await?;
    let data: Vec<Data> = all_data(world, &model, &containers, Purpose::Backup).await?;
    if data.is_empty() {
        return Ok(None);
    }
    let mut parts = Vec::new();
    for one in &data {
        parts.push(part(world, one).await?);
    }
    let (version, target) = versions.map_or((None, None), |(version, target)| (Some(version), target));
    let packing = packing(world);
    let project = world.project().to_owned();
    let writes = |one: &Container| one.state == State::Running && mounts_any(one, &model, &data);
    let writers = containers.into_iter().filter(writes).collect();
    Ok(Some((BackupRequest { project, version, target, kind, parts, packing, read: None }, writers)))
}

/// Copies the data while its services run; gives the request back where that is not possible.
async fn begin(
    world: &World<'_>,
    request: BackupRequest,
) -> Result<std::result::Result<Stage, BackupRequest>> {
    let cancel = CancelOnDrop::default();
    let (manager, progress, stop) =
        (world.installation.backup_manager(), world.progress.clone(), cancel.0.clone());
    blocking(world, move || {
        if !manager.can_stage(&request.parts)? {
            return Ok(Err(request));
        }
        let mut stage = manager.stage(request)?;
        stage.copy(&progress, &stop)?;
        Ok(Ok(stage))
    })
    .await
}

/// Takes what changed while nothing writes, and makes the copy last.
async fn cut(
    world: &mut World<'_>,
    mut stage: Stage,
    writers: &[Container],
    archive: Archive,
) -> Result<Record> {
    let cancel = CancelOnDrop::default();
    let began = Instant::now();
    freeze(world, writers).await?;
    let stop = cancel.0.clone();
    let done = blocking(world, move || stage.cut(&stop).map(|()| stage)).await;
    thaw(world.installation, &world.engine).await?;
    frozen_for(world, writers, began)?;
    let stage = done?;
    if archive == Archive::Now {
        let (packing, progress, stop) = (packing(world), world.progress.clone(), cancel.0.clone());
        let record = blocking(world, move || stage.archive(&packing, &progress, &stop)).await?;
        warn(world, &record)?;
        world.progress.finished(Step::CreatingBackup, Say::BackupFinished { id: record.id.clone() });
        return Ok(record);
    }
    let record = blocking(world, move || stage.seal()).await?;
    world.progress.finished(Step::CreatingBackup, Say::BackupTaken { id: record.id.clone() });
    Ok(record)
}

/// Writes the archive while nothing writes to the data.
async fn at_once(world: &mut World<'_>, mut request: BackupRequest, writers: &[Container]) -> Result<Record> {
    let (read, mut was_read) = oneshot::channel();
    request.read = Some(Box::new(move || {
        // Nobody waits any more when the backup was given up.
        let _ = read.send(());
    }));
    let began = Instant::now();
    freeze(world, writers).await?;
    let cancel = CancelOnDrop::default();
    let work = Arc::new(world.installation.backup_manager()).create_in_background(
        request,
        world.progress.clone(),
        cancel.0.clone(),
    );
    let mut work = std::pin::pin!(work);
    // Frozen only while the data is read; checking the archive needs nobody to wait.
    let early = tokio::select! {
        result = &mut work => Some(result),
        _ = &mut was_read => None,
    };
    thaw(world.installation, &world.engine).await?;
    frozen_for(world, writers, began)?;
    match early {
        Some(result) => result,
        None => work.await,
    }
}

fn frozen_for(world: &mut World<'_>, writers: &[Container], began: Instant) -> Result<()> {
    let ms = began.elapsed().as_millis() as u64;
    let services: Vec<String> = writers.iter().map(|container| container.service.clone()).collect();
    world.learn(|facts| facts.frozen_ms.extend(services.into_iter().map(|service| (service, ms))))
}

/// Begins to write the archive of what was copied, beside everything else.
fn archive_meanwhile(world: &mut World<'_>) {
    let Some(id) = world.facts().backup_id.clone() else { return };
    let cancel = CancelOnDrop::default();
    let (manager, stop) = (world.installation.backup_manager(), cancel.0.clone());
    let packing = packing(world);
    let (done, work) = oneshot::channel();
    std::thread::spawn(move || {
        // The services that are swapped meanwhile come first; threads made by this one inherit that. Where it is not
        // allowed, the archive is written all the same.
        let _as_it_was = rustix::process::setpriority_process(None, NICE);
        // It would tell of its progress between that of the steps. Nobody waits for it after Ctrl-C.
        let _given_up = done.send(manager.archive(&id, &packing, &Progress::silent(), &stop));
    });
    world.archiving = Some(Archiving { work, _cancel: cancel });
}

/// Stops writing the archive: the copy is restored, or another backup made. [`archived`] begins it again.
pub async fn stop_archiving(world: &mut World<'_>) -> Result<()> {
    let Some(archiving) = world.archiving.take() else { return Ok(()) };
    drop(archiving._cancel);
    match archiving.work.await {
        // What it met is met again when it is begun again.
        Ok(_) => Ok(()),
        Err(error) => Err(Fault::from_error(Code::BackupFailed, world.project(), error)),
    }
}

/// Waits until everything that was copied has its archive, also what a process that was killed left.
pub async fn archived(world: &mut World<'_>) -> Result<()> {
    if let Some(archiving) = world.archiving.take() {
        let done = archiving.work.await;
        let done = done.map_err(|error| Fault::from_error(Code::BackupFailed, world.project(), error))?;
        tell(world, &done?)?;
    }
    let (manager, packing) = (world.installation.backup_manager(), packing(world));
    for left in manager.staged()? {
        let cancel = CancelOnDrop::default();
        let manager = manager.clone();
        let (progress, stop) = (world.progress.clone(), cancel.0.clone());
        let work = move || manager.archive(&left.id, &packing, &progress, &stop);
        let record = blocking(world, work).await?;
        tell(world, &record)?;
    }
    Ok(())
}

fn warn(world: &mut World<'_>, record: &Record) -> Result<()> {
    record.warnings().into_iter().try_for_each(|text| world.warn(Step::CreatingBackup, Say::Warning { text }))
}

fn tell(world: &mut World<'_>, record: &Record) -> Result<()> {
    warn(world, record)?;
    world.progress.note(Step::CreatingBackup, Say::BackupFinished { id: record.id.clone() });
    Ok(())
}

fn packing(world: &World<'_>) -> Packing {
    (&world.installation.settings.backup).into()
}

async fn blocking<T: Send + 'static>(
    world: &World<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::from_error(Code::BackupFailed, world.project(), error))?
}

/// The key in `meta` that names the containers which are frozen, durable before the first is.
const FROZEN: &str = "frozen";

async fn freeze(world: &World<'_>, containers: &[Container]) -> Result<()> {
    let ids: Vec<&str> = containers.iter().map(|container| container.id.as_str()).collect();
    let all = ids.join(" ");
    world.installation.store.with(|db| meta::set(db, FROZEN, &all))?;
    for id in ids {
        if let Err(fault) = world.engine.pause(id).await {
            thaw(world.installation, &world.engine).await?;
            return Err(fault);
        }
    }
    killpoint::reached("frozen", &step::Step::Backup);
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
    unpause(engine, frozen(installation)?.as_deref()).await?;
    installation.store.with(|db| meta::forget(db, FROZEN))
}

/// As [`thaw`], on the way back, which needs no state.
pub async fn thaw_going_back(world: &mut World<'_>) -> Result<()> {
    match frozen(world.installation) {
        Ok(ids) => {
            unpause(&world.engine, ids.as_deref()).await?;
            let forgotten = world.installation.store.with(|db| meta::forget(db, FROZEN));
            world.written(forgotten)
        }
        Err(unreadable) => world.written(Err(unreadable)),
    }
}

async fn unpause(engine: &Engine, frozen: Option<&str>) -> Result<()> {
    for id in frozen.into_iter().flat_map(str::split_whitespace) {
        engine.unpause(id).await?;
    }
    Ok(())
}
