//! Writing the archive of what was copied, beside the change that goes on, and waiting for it before the change ends.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::oneshot;

use crate::backup::{Packing, Record};
use crate::fault::{Code, Fault, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step};
use crate::upgrade::unarchived;
use crate::upgrade::world::World;

/// The priority of what is done beside the services.
const NICE: i32 = 10;

/// What is told to end when it is dropped: who drops a future (Ctrl-C) leaves no work behind.
#[derive(Default)]
pub struct CancelOnDrop(Arc<AtomicBool>);

impl CancelOnDrop {
    /// What the work looks at.
    pub fn flag(&self) -> Arc<AtomicBool> {
        self.0.clone()
    }

    /// Tells it to end.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

impl Drop for CancelOnDrop {
    fn drop(&mut self) {
        self.cancel();
    }
}

/// An archive that is written while the change goes on.
pub struct Archiving {
    work: oneshot::Receiver<Result<Record>>,
    _cancel: CancelOnDrop,
}

/// Begins to write the archive of what was copied, beside everything else.
pub fn archive_meanwhile(world: &mut World<'_>) {
    let Some(id) = world.facts().backup_id.clone() else { return };
    let cancel = CancelOnDrop::default();
    let (manager, stop) = (world.installation.backup_manager(), cancel.flag());
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
        let (progress, stop) = (world.progress.clone(), cancel.flag());
        let work = move || manager.archive(&id, &packing, &progress, &stop);
        let done = blocking(world, work).await;
        match done {
            // What an earlier change left is no part of this one.
            Err(fault) if world.facts().backup_id.as_ref() != Some(&left.id) => {
                let say = unarchived::told(&left.id, &fault, world.progress.lang());
                world.warn(Step::CreatingBackup, say)?;
            }
            done => conclude(world, &left.id, done)?,
        }
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

/// Tells what could not be kept as it was.
pub fn warn(world: &mut World<'_>, record: &Record) -> Result<()> {
    record.warnings().into_iter().try_for_each(|text| world.warn(Step::CreatingBackup, Say::Warning { text }))
}

fn tell(world: &mut World<'_>, record: &Record) -> Result<()> {
    warn(world, record)?;
    world.progress.note(Step::CreatingBackup, Say::BackupFinished { id: record.id.clone() });
    Ok(())
}

/// How archives are packed here.
pub fn packing(world: &World<'_>) -> Packing {
    (&world.installation.settings.backup).into()
}

/// Does blocking work on a thread of its own.
pub async fn blocking<T: Send + 'static>(
    world: &World<'_>,
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Fault::from_error(Code::BackupFailed, world.project(), error))?
}
