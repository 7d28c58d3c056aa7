//! Backing the data up, in as little time of the services as there is a way to.
//!
//! Where the data lies on this machine's disk it is copied while the services run; then, while they are held still, only
//! what changed since. The archive is written from the copy while the change goes on, and is whole before the change is
//! committed. Elsewhere the archive is written at once, while the services do not write.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use tokio::sync::oneshot;

use super::data::{Data, Purpose, all_data, doubtful_names, info_of, mounts_any, part};
use super::host::unkept;
use super::quiet::Writers;
use super::{besides, dump};
use crate::backup::{BackupRequest, Kind as BackupKind, Packing, Record, Stage};
use crate::docker::{Container, Model, State};
use crate::fault::{Code, Fault, Result};
use crate::messages::{DataNote, Say};
use crate::progress::{Progress, Step};
use crate::release::Version;
use crate::settings::{DataPolicy, Way};
use crate::upgrade::analyse::OLD_MODEL;
use crate::upgrade::plan::Kind;
use crate::upgrade::unarchived;
use crate::upgrade::world::World;

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
    let kind = kind_of(world);
    if let Some(survey) = survey(world, kind).await? {
        let request = request(world, kind, of_upgrade(world), &survey).await?;
        match begin(world, request).await? {
            Ok(stage) => world.stage = Some(stage),
            // The last line of defence is worth a try with less.
            Err(_) if world.plan.kind == Kind::Factory => {}
            // It is written at once then, when the services are stopped already.
            Err(request) => {
                let manager = world.installation.backup_manager();
                blocking(world, move || manager.check_room_for_all(&request.parts)).await?;
            }
        }
    }
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
    let Some(survey) = survey(world, kind).await? else { return Ok(None) };
    let copied = match world.stage.take() {
        Some(stage) => Ok(stage),
        None => {
            let request = request(world, kind, versions, &survey).await?;
            begin(world, request).await?
        }
    };
    let record = match copied {
        Ok(stage) => cut(world, stage, &survey.writers(true), archive).await?,
        Err(request) => at_once(world, request, &survey.writers(false)).await?,
    };
    Ok(Some(record.id))
}

/// What is to be backed up, and who may write to it.
struct Survey {
    model: Model,
    data: Vec<Data>,
    /// Those that run.
    containers: Vec<Container>,
}

/// None where the stack has no data.
async fn survey(world: &mut World<'_>, kind: BackupKind) -> Result<Option<Survey>> {
    let model = Model::from_file(&world.work_file(OLD_MODEL)?)?;
    let mut containers = world.engine.containers(world.project()).await?;
    let mut data: Vec<Data> = all_data(world, &model, &containers, Purpose::Backup).await?;
    let doubtful = doubtful_names(world, &model)?;
    for name in doubtful.unknown {
        world.warn(Step::CreatingBackup, Say::Data(DataNote::Unknown { name }))?;
    }
    for name in doubtful.both {
        world.warn(Step::CreatingBackup, Say::Data(DataNote::OfBoth { name }))?;
    }
    for (name, service) in data.iter().filter_map(Data::hook) {
        if model.service(service).is_none() {
            let (name, service) = (name.to_owned(), service.to_owned());
            world.warn(Step::CreatingBackup, Say::Data(DataNote::ServiceUnknown { name, service }))?;
        }
    }
    // Better known before it is missed.
    for note in unkept(world, &model, &containers, &data)? {
        world.warn(Step::CreatingBackup, Say::Data(note))?;
    }
    containers.retain(|one| one.state == State::Running);
    // What is to be put back by itself comes back as files, whatever has become of the service meanwhile.
    let as_files = match kind {
        BackupKind::Safety => true,
        BackupKind::PreUpgrade => world.plan.change.as_ref().is_some_and(|change| change.restores_data),
        BackupKind::Manual | BackupKind::Scheduled => false,
    };
    for policy in data.iter_mut().map(|one| &mut one.policy) {
        let runs = containers.iter().any(|container| Some(&container.service) == policy.service.as_ref());
        match policy.way {
            Way::Hook if as_files || !runs => *policy = DataPolicy::default(),
            // A migration that failed may have left what SQLite does not take.
            Way::Sqlite if as_files => policy.way = Way::Warm,
            _ => {}
        }
    }
    Ok((!data.is_empty()).then_some(Survey { model, data, containers }))
}

impl Survey {
    /// Who is held still while the data is read; data that is taken live is so only where it is copied first.
    fn writers(&self, staged: bool) -> Writers {
        let (mut freeze, mut stop) = (Vec::new(), Vec::new());
        let of = |ways: &'static [Way]| self.data.iter().filter(move |data| ways.contains(&data.policy.way));
        let frozen: &[Way] = if staged { &[Way::Warm] } else { &[Way::Warm, Way::Sqlite] };
        for one in &self.containers {
            if mounts_any(one, &self.model, of(&[Way::Stop])) {
                stop.push(one.clone());
            } else if mounts_any(one, &self.model, of(frozen)) {
                freeze.push(one.clone());
            }
        }
        Writers { freeze, stop }.ordered(&self.model)
    }
}

/// The backup that is to be made. What a service gives by a command of its own is taken here.
async fn request(
    world: &World<'_>,
    kind: BackupKind,
    versions: Versions,
    survey: &Survey,
) -> Result<BackupRequest> {
    let mut parts = Vec::new();
    for (number, one) in survey.data.iter().enumerate() {
        parts.push(match one.policy.way {
            Way::Hook => dump::take(world, one, number).await?,
            Way::Warm | Way::Stop | Way::Sqlite => part(world, one),
        });
    }
    parts.extend(besides::parts(world, &info_of(world)?)?);
    let (version, target) = versions.map_or((None, None), |(version, target)| (Some(version), target));
    let (project, packing) = (world.project().to_owned(), packing(world));
    Ok(BackupRequest { project, version, target, kind, parts, packing, read: None })
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
async fn cut(world: &mut World<'_>, mut stage: Stage, writers: &Writers, archive: Archive) -> Result<Record> {
    let cancel = CancelOnDrop::default();
    let stop = cancel.0.clone();
    let mut stage = blocking(world, move || stage.take_live(&stop).map(|()| stage)).await?;
    let (info, began) = (info_of(world)?, Instant::now());
    writers.hold(world).await?;
    let stop = cancel.0.clone();
    let done = blocking(world, move || stage.cut(&stop).map(|()| stage)).await;
    let held = writers.check_held(world).await;
    writers.release(world, &info, began).await?;
    let stage = done?;
    held?;
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
async fn at_once(world: &mut World<'_>, mut request: BackupRequest, writers: &Writers) -> Result<Record> {
    let (read, mut was_read) = oneshot::channel();
    request.read = Some(Box::new(move || {
        // Nobody waits any more when the backup was given up.
        let _ = read.send(());
    }));
    let (info, began) = (info_of(world)?, Instant::now());
    writers.hold(world).await?;
    let cancel = CancelOnDrop::default();
    let work = Arc::new(world.installation.backup_manager()).create_in_background(
        request,
        world.progress.clone(),
        cancel.0.clone(),
    );
    let mut work = std::pin::pin!(work);
    // Held only while the data is read; checking the archive needs nobody to wait.
    let early = tokio::select! {
        result = &mut work => Some(result),
        _ = &mut was_read => None,
    };
    let held = writers.check_held(world).await;
    writers.release(world, &info, began).await?;
    // One that somebody started again has written to what was read.
    held?;
    match early {
        Some(result) => result,
        None => work.await,
    }
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
///
/// A full disk is no reason to give up what runs well: the copy is as good as a backup, and the next command writes the
/// archive ([`unarchived`]).
pub async fn archived(world: &mut World<'_>) -> Result<()> {
    let mut tried = None;
    if let Some(archiving) = world.archiving.take() {
        let done = archiving.work.await;
        let done = done.map_err(|error| Fault::from_error(Code::BackupFailed, world.project(), error))?;
        tried = world.facts().backup_id.clone();
        conclude(world, tried.as_deref().unwrap_or_default(), done)?;
    }
    let (manager, packing) = (world.installation.backup_manager(), packing(world));
    for left in manager.staged()?.into_iter().filter(|left| Some(&left.id) != tried.as_ref()) {
        let cancel = CancelOnDrop::default();
        let (manager, id) = (manager.clone(), left.id.clone());
        let (progress, stop) = (world.progress.clone(), cancel.0.clone());
        let work = move || manager.archive(&id, &packing, &progress, &stop);
        let done = blocking(world, work).await;
        conclude(world, &left.id, done)?;
    }
    Ok(())
}

/// Tells what came of the archive of backup `id`. Any fault but a want of room is one of the backup.
fn conclude(world: &mut World<'_>, id: &str, done: Result<Record>) -> Result<()> {
    match done {
        Err(fault) if fault.code() == Code::DiskFull => {
            let say = unarchived::told(id, &fault, world.progress.lang());
            world.warn(Step::CreatingBackup, say)
        }
        done => tell(world, &done?),
    }
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
