//! Restoring what is copied, but not archived yet: from the copy itself.

use std::collections::HashMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::AtomicBool;

use super::{
    BackupManager, Memory, Pending, PendingTarget, Phase, RestoreTarget, Restored, need_room, sweep,
};
use crate::backup::mirror::{Control, Mirror};
use crate::backup::record::{PartKind, Record};
use crate::backup::selection::{Filter, Scope};
use crate::backup::swap::{FileSwap, FolderSwap, folder_entry};
use crate::backup::unpack::{Place, Staged, StagedFolder};
use crate::backup::walk;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Progress, Step, Unit};

impl BackupManager {
    /// Restores the parts for which `targets` names a place on the disk. The writer's lock is held, and what an earlier
    /// restore left is settled.
    pub(super) fn restore_staged<'t>(
        &self,
        record: &Record,
        targets: &dyn Fn(&PartKind) -> Option<RestoreTarget<'t>>,
        step: Step,
        progress: &Progress,
        cancel: &AtomicBool,
    ) -> Result<Restored> {
        let folder = self.stage_of(record);
        let mut plan: Vec<(PathBuf, Place)> = Vec::new();
        let mut parts = Vec::new();
        for part in &record.parts {
            match targets(&part.kind) {
                Some(RestoreTarget::Disk(path)) => {
                    let scope = Scope { selection: part.selection.clone(), only: Vec::new() };
                    let cover = scope.cover(&part.name)?;
                    plan.push((folder.join(&part.name), Place { path, scope, cover }));
                }
                Some(
                    RestoreTarget::Tar { .. } | RestoreTarget::Within { .. } | RestoreTarget::Content(_),
                ) => {
                    let cause = format!("{} can only be restored once its archive is written", part.name);
                    return Err(Fault::new(Code::RestoreFailed, &record.id, cause));
                }
                None => continue,
            }
            parts.push(part.name.clone());
        }
        let mut needs = HashMap::new();
        let mut total = 0;
        for (source, place) in &plan {
            let (length, stored) = walk::estimate(source, &Filter::default());
            total += length;
            need_room(&mut needs, &place.path, stored)?;
        }
        super::check_needs(needs)?;
        let mut pending =
            Pending { schema: 1, id: record.id.clone(), phase: Phase::Unpacking, targets: Vec::new() };
        for (_, place) in &plan {
            sweep(&place.path)?;
            pending.targets.push(PendingTarget::folder(place.path.clone(), place.scope.clone()));
        }
        self.remember(&pending, Memory::Durable)?;
        let say = Say::RestoreStarted { id: record.id.clone() };
        let mut meter = progress.meter(step, say, Unit::Bytes, Some(total));
        let mut warnings = Vec::new();
        let mut staged = Vec::new();
        for (source, place) in plan {
            let mut control = Control { cancel, copied: &mut |bytes| meter.add(bytes) };
            match beside(&source, place, &record.id, &mut control, &mut warnings) {
                Ok(part) => staged.push(part),
                Err(fault) => return Err(self.undo(staged, fault, Memory::Durable)),
            }
        }
        self.exchange(record, &folder, staged, Vec::new(), &mut warnings, Memory::Durable)?;
        Ok(Restored { id: record.id.clone(), parts, warnings })
    }
}

/// Puts a copy of `source` beside what is at `target`, ready for the exchange.
fn beside(
    source: &Path,
    place: Place,
    id: &str,
    control: &mut Control<'_>,
    warnings: &mut Vec<String>,
) -> Result<Staged> {
    let mut mirror = Mirror::new();
    let target = place.path.as_path();
    let wrong = |cause: &str| Fault::new(Code::RestoreFailed, target.display(), cause);
    let staged = if source.is_dir() {
        if target.exists() && !target.is_dir() {
            return Err(wrong("there is a file where a folder belongs"));
        }
        let swap = FolderSwap::begin(target, id)?;
        let open = File::open(source).at(source)?;
        let root = Box::new(folder_entry(&open.into()).at(source)?);
        let copied = mirror
            .pass(source, &swap.new_path(), &Filter::default(), control)
            .and_then(|()| rustix::fs::syncfs(swap.new_content()?).map_err(std::io::Error::from).at(target));
        match copied {
            Ok(()) => Staged::Folder(StagedFolder { swap, place, root }),
            Err(fault) => {
                swap.revert()?;
                return Err(fault);
            }
        }
    } else {
        if target.is_dir() {
            return Err(wrong("there is a folder where a file belongs"));
        }
        let swap = FileSwap::begin(target, id)?;
        let new = swap.staged();
        mirror.pass(source, &new, &Filter::default(), control)?;
        File::open(&new).and_then(|file| file.sync_all()).at(&new)?;
        Staged::File(swap)
    };
    warnings.extend(mirror.warnings());
    Ok(staged)
}
