//! Backing the data up, in as little time of the services as there is a way to.
//!
//! Where the data lies on this machine's disk it is copied while the services run; then, while they are held still, only
//! what changed since. The archive is written from the copy while the change goes on, and is whole before the change is
//! committed. Elsewhere the archive is written at once, while the services do not write.

use std::sync::Arc;
use std::time::Instant;

use tokio::sync::oneshot;

use super::archiving::{CancelOnDrop, archive_meanwhile, blocking, packing, warn};
use super::data::{Data, Purpose, all_data, doubtful_names, info_of, mounts_any, part};
use super::host::unkept;
use super::quiet::Writers;
use super::{besides, dump};
use crate::backup::{BackupRequest, Kind as BackupKind, Record, Stage};
use crate::docker::{Container, Model, State};
use crate::fault::Result;
use crate::messages::{DataNote, Say};
use crate::progress::Step;
use crate::release::Version;
use crate::settings::{DataPolicy, Way};
use crate::upgrade::analyse::OLD_MODEL;
use crate::upgrade::plan::Kind;
use crate::upgrade::world::World;

/// The installed version and the one that is about to come.
pub type Versions = Option<(Version, Option<Version>)>;

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
    /// The copy is enough for the time being: see [`super::archiving::archived`].
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
    let mut copied = match world.stage.take() {
        Some(stage) => Ok(stage),
        None => {
            let request = request(world, kind, versions.clone(), &survey).await?;
            begin(world, request).await?
        }
    };
    let mut restless = Vec::new();
    loop {
        let done = match copied {
            Ok(stage) => {
                let stage = cut(world, stage, survey.writers(true)).await?;
                return last(world, stage, archive).await.map(|record| Some(record.id));
            }
            Err(request) => at_once(world, request, &survey.writers(false).stopping(&restless)).await?,
        };
        match done {
            Ok(record) => return Ok(Some(record.id)),
            Err(more) => restless.extend(more),
        }
        copied = Err(request(world, kind, versions.clone(), &survey).await?);
    }
}

/// What is to be backed up, and who may write to it.
struct Survey {
    model: Model,
    data: Vec<Data>,
    /// Those that run.
    containers: Vec<Container>,
    /// Those that ended and will be started again by the engine.
    restless: Vec<Container>,
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
    let restless = containers.extract_if(.., |one| one.state == State::Restarting).collect();
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
    Ok((!data.is_empty()).then_some(Survey { model, data, containers, restless }))
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
        let held: Vec<Way> = frozen.iter().copied().chain([Way::Stop]).collect();
        let data = || self.data.iter().filter(|data| held.contains(&data.policy.way));
        let restless =
            self.restless.iter().filter(|one| mounts_any(one, &self.model, data())).cloned().collect();
        Writers { freeze, stop, restless }.ordered(&self.model)
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
        (world.installation.backup_manager(), world.progress.clone(), cancel.flag());
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

/// Takes what changed, while nothing writes.
async fn cut(world: &mut World<'_>, mut stage: Stage, mut writers: Writers) -> Result<Stage> {
    let cancel = CancelOnDrop::default();
    let stop = cancel.flag();
    stage = blocking(world, move || stage.take_live(&stop).map(|()| stage)).await?;
    let (info, began) = (info_of(world)?, Instant::now());
    loop {
        writers.hold(world).await?;
        let stop = cancel.flag();
        let done = blocking(world, move || stage.cut(&stop).map(|()| stage)).await;
        let held = writers.check_held(world).await;
        writers.release(world, &info, began).await?;
        stage = done?;
        match held? {
            restless if restless.is_empty() => return Ok(stage),
            // Every time there are fewer that are frozen.
            restless => writers = writers.stopping(&restless),
        }
    }
}

/// Makes a copy last.
async fn last(world: &mut World<'_>, stage: Stage, archive: Archive) -> Result<Record> {
    if archive == Archive::Now {
        let cancel = CancelOnDrop::default();
        let (packing, progress, stop) = (packing(world), world.progress.clone(), cancel.flag());
        let record = blocking(world, move || stage.archive(&packing, &progress, &stop)).await?;
        warn(world, &record)?;
        world.progress.finished(Step::CreatingBackup, Say::BackupFinished { id: record.id.clone() });
        return Ok(record);
    }
    let record = blocking(world, move || stage.seal()).await?;
    world.progress.finished(Step::CreatingBackup, Say::BackupTaken { id: record.id.clone() });
    Ok(record)
}

/// Writes the archive while nothing writes to the data; gives the IDs of those back that did all the same.
async fn at_once(
    world: &mut World<'_>,
    mut request: BackupRequest,
    writers: &Writers,
) -> Result<std::result::Result<Record, Vec<String>>> {
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
        cancel.flag(),
    );
    let mut work = std::pin::pin!(work);
    // Held only while the data is read; checking the archive needs nobody to wait.
    let early = tokio::select! {
        result = &mut work => Some(result),
        _ = &mut was_read => None,
    };
    let held = writers.check_held(world).await;
    writers.release(world, &info, began).await?;
    let still = matches!(&held, Ok(restless) if restless.is_empty());
    if !still {
        cancel.cancel();
    }
    let done = match early {
        Some(result) => result,
        None => work.await,
    };
    match (done, still) {
        (done, true) => done.map(Ok),
        // One that runs again has written to what was read: an archive of that is none.
        (Ok(spoilt), false) => {
            world.installation.backup_manager().delete(&spoilt.id)?;
            held.map(Err)
        }
        (Err(_), false) => held.map(Err),
    }
}
