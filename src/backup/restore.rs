//! Restores a verified backup: everything is unpacked beside the present data first, then exchanged, and the
//! former data is deleted only when all parts are in place.

mod staged;

use std::collections::HashMap;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use serde::{Deserialize, Serialize};

use super::record::{PartKind, PartRecord, Record, Status};
use super::scan::{self, PartContent, PartTar};
use super::selection::{Cover, Filter, Scope};
use super::swap::{FileSwap, FolderSwap, STAGING};
use super::unpack::{Place, Staged, StagedFolder, Unpacking, finish_unpacking, unpack};
use super::{BackupManager, walk, write};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Meter, Progress, Step, Unit};
use crate::state::meta;

/// The key in `meta` under which a restore that has begun to exchange data is recorded.
const FACT: &str = "backup.restore";

/// Takes a part as a plain tar stream (see [`PartTar`]).
pub type TakeTar<'a> = Box<dyn FnOnce(PartTar, Scope) -> Result<()> + 'a>;

/// Takes the content of a part that is one file.
pub type TakeContent<'a> = Box<dyn FnOnce(PartContent) -> Result<()> + 'a>;

/// Where a part is restored to.
pub enum RestoreTarget<'a> {
    /// A file or folder on the disk; a folder keeps its identity and gets the part's content, and nothing else.
    Disk(PathBuf),
    /// Paths inside a folder on the disk; what else is in it stays.
    Within {
        /// The folder.
        folder: PathBuf,
        /// Relative to it.
        only: Vec<String>,
    },
    /// Something that is only reachable through the engine's archive API. It is called after all disk parts
    /// are in place; when it fails, they are put back.
    Tar {
        /// The folder in the stream that all names lie below (see [`PartTar`]).
        top: PathBuf,
        /// Paths inside the part that alone are wanted; empty: all.
        only: Vec<String>,
        /// Sends the stream, and has it replace what the scope says.
        take: TakeTar<'a>,
    },
    /// Somebody takes the content of a part that is one file; called as for [`RestoreTarget::Tar`].
    Content(TakeContent<'a>),
}

/// What a restore did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The backup.
    pub id: String,
    /// The names of the parts that were restored.
    pub parts: Vec<String>,
    /// What could not be kept (owners without root, attributes the file system does not have).
    pub warnings: Vec<String>,
}

/// How an interrupted restore was settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Settled {
    /// All parts of this backup were in place already; what was left to delete is deleted.
    Restored(String),
    /// The former data is back as it was before the restore of this backup began.
    Former(String),
}

/// The durable fact about a restore under way.
#[derive(Debug, Serialize, Deserialize)]
struct Pending {
    schema: u32,
    id: String,
    phase: Phase,
    targets: Vec<PendingTarget>,
}

/// Whether a restore writes down how far it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Memory {
    /// In the state database: what is cut short is settled by the next one.
    Durable,
    /// Nothing that is present can be touched, so nothing has to be settled.
    None,
}

/// How far a restore is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Phase {
    /// Nothing present was touched; what was unpacked beside it is to be deleted.
    Unpacking,
    /// Present data is being exchanged: go back.
    Exchanging,
    /// All parts are in place: go on, not back.
    Committed,
}

#[derive(Debug, Serialize, Deserialize)]
struct PendingTarget {
    path: PathBuf,
    file: bool,
    existed: bool,
    /// What of a folder's former content is replaced.
    #[serde(default)]
    scope: Scope,
}

impl BackupManager {
    /// Restores the parts of backup `id` for which `targets` names a place.
    ///
    /// The whole archive is verified before anything is touched, and again while it is unpacked. An error
    /// leaves the former data in place (a [`RestoreTarget::Tar`] aside). After a crash, a restore that is run
    /// again first settles what was left and then restores from the beginning;
    /// [`settle_restore`](Self::settle_restore) alone brings the data to wholly old or wholly restored.
    pub fn restore<'t>(
        &self,
        id: &str,
        targets: &dyn Fn(&PartKind) -> Option<RestoreTarget<'t>>,
        step: Step,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Restored> {
        let _writer = self.wait_for_writer()?;
        let record = self.get(id)?;
        if record.status == Status::Staged {
            self.settle_locked()?;
            return self.restore_staged(&record, targets, step, progress, cancel);
        }
        let record = self.complete(id)?;
        self.settle_locked()?;
        self.restore_archive(record, targets, step, progress, cancel, Memory::Durable)
    }

    /// Unpacks the parts of the complete backup `id` for which `targets` names a place where nothing is yet. It takes no
    /// lock and leaves no fact, so that whatever becomes of it, it is in nobody's way; what a killed one left is a
    /// person's own.
    pub fn extract<'t>(
        &self,
        id: &str,
        targets: &dyn Fn(&PartKind) -> Option<RestoreTarget<'t>>,
        step: Step,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Restored> {
        self.restore_archive(self.complete(id)?, targets, step, progress, cancel, Memory::None)
    }

    fn restore_archive<'t>(
        &self,
        record: Record,
        targets: &dyn Fn(&PartKind) -> Option<RestoreTarget<'t>>,
        step: Step,
        progress: &Progress,
        cancel: &AtomicBool,
        memory: Memory,
    ) -> Result<Restored> {
        let path = self.path_of(&record);
        let expected = self.expected(&record)?;
        let mut plan: Vec<Unpacking> = Vec::new();
        let mut streams = Vec::new();
        let mut parts = Vec::new();
        for part in &record.parts {
            let scope = |only| Scope { selection: part.selection.clone(), only };
            let planned = match targets(&part.kind) {
                Some(RestoreTarget::Disk(path)) => place(part, path, scope(Vec::new()))?,
                Some(RestoreTarget::Within { folder, only }) => place(part, folder, scope(only))?,
                Some(RestoreTarget::Tar { top, only, take }) => {
                    streams.push((part.name.clone(), Taker::Tar { top, scope: scope(only), take }));
                    Unpacking::NotOnDisk
                }
                Some(RestoreTarget::Content(take)) => {
                    streams.push((part.name.clone(), Taker::Content(take)));
                    Unpacking::NotOnDisk
                }
                None => {
                    plan.push(Unpacking::NotOnDisk);
                    continue;
                }
            };
            plan.push(planned);
            parts.push(part.name.clone());
        }
        scan::scan(&path, &expected, cancel, &mut |_, _, _| Ok(()))?;
        check_room(&record, &plan)?;
        let mut pending =
            Pending { schema: 1, id: record.id.clone(), phase: Phase::Unpacking, targets: Vec::new() };
        for planned in &plan {
            if let Unpacking::Waiting(Place { path, scope, .. }) = planned {
                sweep(path)?;
                pending.targets.push(PendingTarget::folder(path.clone(), scope.clone()));
            }
        }
        self.remember(&pending, memory)?;
        let total: u64 = record.parts.iter().map(|part| part.bytes).sum();
        let say = Say::RestoreStarted { id: record.id.clone() };
        let mut meter = progress.meter(step, say, Unit::Bytes, Some(total));
        let unpacked = scan::scan(&path, &expected, cancel, &mut |index, entry, body| {
            unpack(
                &mut plan[index],
                &record.id,
                &record.parts[index].name,
                entry,
                &mut Metered(body, &mut meter),
            )
        });
        let mut warnings = Vec::new();
        let staged = finish_unpacking(plan, &mut warnings);
        let staged = match (unpacked, staged) {
            (Ok(_), (staged, None)) => staged,
            (Err(fault), (staged, _)) | (Ok(_), (staged, Some(fault))) => {
                return Err(self.undo(staged, fault, memory));
            }
        };
        self.exchange(&record, &path, staged, streams, &mut warnings, memory)?;
        Ok(Restored { id: record.id, parts, warnings })
    }

    /// Refuses a restore of backup `id` for which there is no room beside the present data. `places` names the folder or
    /// file of a part that lies on this machine's disk.
    pub fn check_room_for(&self, id: &str, places: &dyn Fn(&PartKind) -> Option<PathBuf>) -> Result<()> {
        let (record, mut needs) = (self.get(id)?, HashMap::new());
        for part in &record.parts {
            if let Some(place) = places(&part.kind) {
                need_room(&mut needs, &place, self.bytes_of(&record, part))?;
            }
        }
        check_needs(needs)
    }

    /// Bytes that a part of a backup takes when it is unpacked.
    pub fn bytes_of(&self, record: &Record, part: &PartRecord) -> u64 {
        match record.status {
            // The record of a copy does not tell yet how much it is.
            Status::Staged => walk::estimate(&self.stage_of(record).join(&part.name), &Filter::default()).1,
            _ => part.bytes,
        }
    }

    /// Finishes or undoes a restore that was cut short, from the durable facts alone. `None`: there was none.
    pub fn settle_restore(&self) -> Result<Option<Settled>> {
        let _writer = self.wait_for_writer()?;
        self.settle_locked()
    }

    /// The backup whose restore was cut short while data was being exchanged.
    pub fn pending_restore(&self) -> Result<Option<String>> {
        Ok(self.pending()?.map(|pending| pending.id))
    }

    /// A part of a complete backup as a plain tar stream (see [`PartTar`]). Verify the backup first.
    pub fn part_as_tar(&self, id: &str, part: &str, top: &Path) -> Result<PartTar> {
        let record = self.complete(id)?;
        if record.part(part).is_none() {
            return Err(Fault::new(Code::BackupUnknown, format!("{}/{part}", record.id), "no such part"));
        }
        Ok(PartTar::new(scan::open(&self.path_of(&record))?, part, top, Cover::default()))
    }

    /// The only phase in which present data is touched.
    fn exchange(
        &self,
        record: &Record,
        path: &Path,
        staged: Vec<Staged>,
        streams: Vec<(String, Taker<'_>)>,
        warnings: &mut Vec<String>,
        memory: Memory,
    ) -> Result<()> {
        let targets = staged.iter().map(pending_target).collect();
        let mut pending = Pending { schema: 1, id: record.id.clone(), phase: Phase::Exchanging, targets };
        if let Err(fault) = self.remember(&pending, memory) {
            return Err(self.undo(staged, fault, memory));
        }
        let exchanged = staged.iter().try_for_each(|part| match part {
            Staged::Folder(one) => one.swap.exchange(&one.root).map(|lost| warnings.extend(lost)),
            Staged::File(swap) => swap.exchange(),
        });
        let exchanged = exchanged.and_then(|()| {
            streams.into_iter().try_for_each(|(part, taker)| match taker {
                Taker::Tar { top, scope, take } => {
                    take(PartTar::new(scan::open(path)?, &part, &top, scope.cover(&part)?), scope)
                }
                Taker::Content(take) => take(PartContent::open(path, &part)?),
            })
        });
        pending.phase = Phase::Committed;
        if let Err(fault) = exchanged.and_then(|()| self.remember(&pending, memory)) {
            return Err(self.undo(staged, fault, memory));
        }
        for part in staged {
            match part {
                Staged::Folder(StagedFolder { swap, place, .. }) => {
                    swap.keep(&place.cover)?;
                    swap.clean_up()?;
                }
                Staged::File(swap) => swap.clean_up()?,
            }
        }
        self.forget(memory)
    }

    fn settle_locked(&self) -> Result<Option<Settled>> {
        let Some(pending) = self.pending()? else { return Ok(None) };
        let name = format!("{STAGING}{}", pending.id);
        let committed = pending.phase == Phase::Committed;
        for target in pending.targets {
            let path = target.path;
            if pending.phase == Phase::Unpacking && !path.is_dir() {
                // Where the folder it was to be in is gone, so is what was unpacked.
                if path.parent().is_some_and(Path::is_dir) {
                    FileSwap::begin(&path, &pending.id)?.clean_up()?;
                }
            } else if target.file {
                let swap = FileSwap::left_over(path, target.existed, &pending.id);
                if committed { swap.clean_up()? } else { swap.revert()? }
            } else if let Some(swap) = FolderSwap::left_over(&path, name.as_ref())? {
                if committed {
                    swap.keep(&target.scope.cover(&pending.id)?)?;
                    swap.clean_up()?;
                } else {
                    swap.revert()?;
                }
            }
        }
        self.forget(Memory::Durable)?;
        let settled = if committed { Settled::Restored } else { Settled::Former };
        Ok(Some(settled(pending.id)))
    }

    fn pending(&self) -> Result<Option<Pending>> {
        let Some(text) = self.store.with(|connection| meta::get(connection, FACT))? else { return Ok(None) };
        let read = serde_json::from_str::<Pending>(&text);
        let pending =
            read.map_err(|error| Fault::from_error(Code::StateInvalid, self.store.path().display(), error))?;
        Ok(Some(pending))
    }

    fn remember(&self, pending: &Pending, memory: Memory) -> Result<()> {
        if memory == Memory::None {
            return Ok(());
        }
        let text = serde_json::to_string(pending)
            .map_err(|error| Fault::from_error(Code::RestoreFailed, &pending.id, error))?;
        self.store.with(|connection| meta::set(connection, FACT, &text))
    }

    /// Puts everything back after `fault`; what fails on the way back is added to it, and the durable fact
    /// stays then, so that it is tried again.
    fn undo(&self, staged: Vec<Staged>, fault: Fault, memory: Memory) -> Fault {
        let reverted = staged.into_iter().rev().filter_map(|part| part.revert().err());
        let mut failed: Vec<String> = reverted.map(|error| error.to_string()).collect();
        if failed.is_empty() {
            failed.extend(self.forget(memory).err().map(|error| error.to_string()));
        }
        if failed.is_empty() {
            return fault;
        }
        let detail = format!("{fault}; and on the way back: {}", failed.join("; "));
        Fault::new(Code::RestoreFailed, fault.object(), detail)
    }

    fn forget(&self, memory: Memory) -> Result<()> {
        if memory == Memory::None {
            return Ok(());
        }
        self.store.with(|connection| meta::forget(connection, FACT))
    }
}

/// What the durable fact says of a part.
fn pending_target(staged: &Staged) -> PendingTarget {
    match staged {
        Staged::Folder(StagedFolder { place, .. }) => {
            PendingTarget::folder(place.path.clone(), place.scope.clone())
        }
        Staged::File(swap) => PendingTarget {
            path: swap.target.clone(),
            file: true,
            existed: swap.existed,
            scope: Scope::default(),
        },
    }
}

impl PendingTarget {
    fn folder(path: PathBuf, scope: Scope) -> Self {
        Self { path, file: false, existed: true, scope }
    }
}

/// Who takes a part that goes elsewhere than to the disk.
enum Taker<'t> {
    Tar { top: PathBuf, scope: Scope, take: TakeTar<'t> },
    Content(TakeContent<'t>),
}

fn place(part: &PartRecord, path: PathBuf, scope: Scope) -> Result<Unpacking> {
    let cover = scope.cover(&part.name)?;
    Ok(Unpacking::Waiting(Place { path, scope, cover }))
}

/// Settles what an earlier restore left in `target` that the database knows nothing of: it never began to
/// exchange data, or the database is a different one now.
pub(super) fn sweep(target: &Path) -> Result<()> {
    for name in FolderSwap::left_overs(target)? {
        if let Some(swap) = FolderSwap::left_over(target, &name)? {
            swap.revert()?;
        }
    }
    Ok(())
}

/// Old and new lie beside each other for a while, so each file system must take the whole of its parts.
fn check_room(record: &Record, plan: &[Unpacking]) -> Result<()> {
    let mut needs = HashMap::new();
    for (part, planned) in record.parts.iter().zip(plan) {
        let Unpacking::Waiting(place) = planned else { continue };
        need_room(&mut needs, &place.path, part.bytes)?;
    }
    check_needs(needs)
}

/// Bytes that are needed, by device, and a path on it.
type Needs = HashMap<u64, (u64, PathBuf)>;

fn need_room(needs: &mut Needs, target: &Path, bytes: u64) -> Result<()> {
    let existing = target.ancestors().find(|path| path.exists()).unwrap_or(Path::new("/"));
    let device = existing.metadata().at(existing)?.dev();
    needs.entry(device).or_insert((0, existing.to_owned())).0 += bytes;
    Ok(())
}

fn check_needs(needs: Needs) -> Result<()> {
    for (need, path) in needs.into_values() {
        let (free, _) = File::open(&path).and_then(write::room).at(&path)?;
        if free < need {
            let cause = format!("the restore needs {need} bytes, {free} are free");
            return Err(Fault::new(Code::DiskFull, path.display(), cause));
        }
    }
    Ok(())
}

struct Metered<'a>(&'a mut dyn Read, &'a mut Meter);

impl Read for Metered<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.0.read(buffer)?;
        self.1.add(count as u64);
        Ok(count)
    }
}
