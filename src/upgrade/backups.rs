//! `client backup`: backups outside of an upgrade.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use super::change::{self, Tools};
use super::effects::archiving;
use super::effects::backup::{self, Archive};
use super::effects::{data, quiet};
use super::installation::Installation;
use super::journal::{ChangeState, Journal};
use super::plan::{Facts, Kind, Plan};
use super::world::World;
use super::{analyse, needed, rebuild, repair, rollback, running, unarchived};
use crate::backup::{
    BackupManager, Copied, Entry, ImportRequest, Kind as BackupKind, Packing, PartKind, PartRecord, Record,
    RestoreTarget, Status,
};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::messages::Say;
use crate::progress::{Outcome, Progress, Step};
use crate::release::Version;
use crate::release::info::is_safe_relative;

/// Backs the data of the running stack up.
pub async fn backup_create(installation: &Installation, progress: &Progress) -> Result<Record> {
    let lock = installation.lock("backup create")?;
    let tools = Tools::find().await?;
    // What is written there while a person is needed is the data of no version: nothing goes back to it by itself.
    let stuck = is_stuck(installation)?;
    if stuck {
        quiet::thaw(installation, &tools.engine).await?;
        installation.backup_manager().reconcile()?;
    } else {
        settle(installation, &tools, progress).await?;
    }
    let version = running::base(installation)?;
    let of_version = (!stuck).then(|| (version.clone(), None));
    let id = format!("backup-{}", uuid::Uuid::now_v7().simple());
    let plan = restore_plan(&version);
    let progress = progress.for_upgrade(&id);
    let mut world = World::new(
        installation,
        &tools.engine,
        &tools.compose,
        progress.clone(),
        &id,
        plan,
        Facts::default(),
    );
    analyse::compile_current(&mut world).await?;
    let made = backup::make_backup(&mut world, BackupKind::Manual, of_version, Archive::Now).await;
    let archived = archiving::archived(&mut world).await;
    let work = installation.layout.work(&id);
    std::fs::remove_dir_all(&work).at(&work)?;
    let cause = "the stack has neither named volumes nor persist paths";
    archived?;
    let made = made?.ok_or_else(|| Fault::new(Code::BackupFailed, &installation.settings.project, cause))?;
    let record = installation.backup_manager().get(&made)?;
    // An upload may take hours, and nothing of the installation is changed by it.
    drop(lock);
    if !installation.settings.backup.copy.to.is_empty() {
        backup_copy(installation, &progress).await.map_err(|fault| {
            let detail = format!("{} (backup {made} itself is whole)", fault.detail());
            Fault::new(fault.code(), fault.object(), detail)
        })?;
    }
    Ok(record)
}

/// All backups, oldest first.
pub fn backup_list(installation: &Installation) -> Result<Vec<Record>> {
    rebuild::recover_backups(installation)?;
    installation.backup_manager().list()
}

/// A backup and every entry in it.
pub async fn backup_show(installation: &Installation, id: &str) -> Result<(Record, Vec<Entry>)> {
    let (id, packing) = (id.to_owned(), Packing::from(&installation.settings.backup));
    blocking(installation, move |manager| Ok((whole(manager, &id, &packing)?, manager.contents(&id)?))).await
}

/// Reads a backup through; a damaged one is an error.
pub async fn backup_verify(installation: &Installation, id: &str) -> Result<Record> {
    let (id, packing) = (id.to_owned(), Packing::from(&installation.settings.backup));
    blocking(installation, move |manager| {
        let record = whole(manager, &id, &packing)?;
        manager.verify(&id, &AtomicBool::new(false))?;
        Ok(record)
    })
    .await
}

/// What of a backup is brought back, and where to.
#[derive(Debug, Clone, Default)]
pub struct RestoreOptions {
    /// Volumes (Compose keys), persist paths or parts (`volumes/pgdata`), or paths inside one of these; empty: everything.
    pub only: Vec<String>,
    /// Also where the data is of a newer release that changed it.
    pub force: bool,
}

/// What speaks against restoring backup `id` onto the version that is installed: a newer one wrote it in a way of its own.
pub fn newer_data(installation: &Installation, id: &str) -> Result<Option<Fault>> {
    let record = installation.backup_manager().get(id)?;
    let base = running::base(installation)?;
    let of = record.version.filter(|of| *of > base);
    Ok(match of {
        Some(of) if rollback::outgrew(installation, &of, &base)? => {
            let cause = format!("{of} wrote it, and {base}, which is installed, may not be able to read it");
            Some(Fault::new(Code::DataNewer, format!("backup {}", record.id), cause))
        }
        _ => None,
    })
}

/// Unpacks a backup, or parts of it, into a folder beside the stack, which goes on. Each part comes under its name.
pub async fn backup_extract(
    installation: &Installation,
    id: &str,
    options: &RestoreOptions,
    to: &Path,
    progress: &Progress,
) -> Result<(Record, Vec<String>)> {
    let (id, options, to) = (id.to_owned(), options.clone(), std::path::absolute(to).at(to)?);
    let (packing, progress) = (Packing::from(&installation.settings.backup), progress.clone());
    blocking(installation, move |manager| {
        let record = whole(manager, &id, &packing)?;
        let parts = parts(manager, &record, &options.only)?;
        let wanted = |part: &PartRecord| {
            let below = format!("{}/", part.name);
            parts.is_empty() || parts.iter().any(|word| *word == part.name || word.starts_with(&below))
        };
        for part in record.parts.iter().filter(|part| wanted(part)) {
            let place = to.join(&part.name);
            if std::fs::symlink_metadata(&place).is_ok() {
                let cause = "it is there already; name a folder that does not exist or is empty";
                return Err(Fault::new(Code::Usage, place.display(), cause));
            }
        }
        let targets = |kind: &PartKind| {
            let part = record.parts.iter().find(|part| part.kind == *kind).filter(|part| wanted(part))?;
            let (folder, only) = (to.join(&part.name), data::inside(&parts, &part.name));
            Some(match only.is_empty() {
                true => RestoreTarget::Disk(folder),
                false => RestoreTarget::Within { folder, only },
            })
        };
        let never = AtomicBool::new(false);
        let restored = manager.extract(&record.id, &targets, Step::RollingBack, &progress, &never)?;
        Ok((record, restored.warnings))
    })
    .await
}

/// The parts, and the paths inside parts, that `only` means. Every path is in the backup.
fn parts(manager: &BackupManager, record: &Record, only: &[String]) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for word in only {
        let asked = word.trim_end_matches('/');
        let meant = record.parts.iter().find_map(|part| Some((part, inside(part, asked)?)));
        let (part, path) = meant.ok_or_else(|| {
            let names: Vec<&str> = record.parts.iter().map(|part| part.name.as_str()).collect();
            let cause = format!("backup {} has no such part; it has: {}", record.id, names.join(", "));
            Fault::new(Code::Usage, word, cause)
        })?;
        if path.is_empty() {
            found.push(part.name.clone());
            // The files that a dump stands for are what comes back where it cannot be taken.
            if let PartKind::Dump { of, .. } = &part.kind {
                found.push(of.clone());
            }
            continue;
        }
        let whole = format!("{}/{path}", part.name);
        let is_there = |entry: &Entry| entry.path == Path::new(&whole);
        if !is_safe_relative(path) || !manager.contents(&record.id)?.iter().any(is_there) {
            let cause =
                format!("{} in backup {} has no such path; see 'client backup show'", part.name, record.id);
            return Err(Fault::new(Code::Usage, word, cause));
        }
        found.push(whole);
    }
    Ok(found)
}

/// The rest of `word` behind a name of `part`, where it begins with one; empty where it is one.
fn inside<'w>(part: &PartRecord, word: &'w str) -> Option<&'w str> {
    let short = match &part.kind {
        PartKind::Volume { volume } => volume,
        PartKind::Path { path } | PartKind::Host { path } => path,
        PartKind::Edit { .. } | PartKind::Installation => &part.name,
        PartKind::Dump { of, .. } => {
            of.strip_prefix("volumes/").or(of.strip_prefix("persist/")).unwrap_or(of)
        }
    };
    let behind = |name: &str| {
        let rest = word.strip_prefix(name)?;
        if rest.is_empty() { Some(rest) } else { rest.strip_prefix('/') }
    };
    behind(&part.name).or_else(|| behind(short)).filter(|rest| part.is_folder() || rest.is_empty())
}

/// Brings the data of a backup back: what holds it is stopped, a backup of the present data is made, and when
/// the stack does not come up with the restored data, the present data comes back.
pub async fn backup_restore(
    installation: &Installation,
    id: &str,
    options: &RestoreOptions,
    progress: &Progress,
) -> Result<Outcome> {
    let _lock = installation.lock("backup restore")?;
    let tools = Tools::find().await?;
    settle(installation, &tools, progress).await?;
    let (wanted, packing) = (id.to_owned(), Packing::from(&installation.settings.backup));
    let asked = options.only.clone();
    // Before anything is stopped.
    let (record, only) = blocking(installation, move |manager| {
        let record = whole(manager, &wanted, &packing)?;
        manager.verify(&wanted, &AtomicBool::new(false))?;
        let only = parts(manager, &record, &asked)?;
        let is_besides = |part: &&PartRecord| {
            matches!(part.kind, PartKind::Edit { .. } | PartKind::Installation) && only.contains(&part.name)
        };
        if let Some(part) = record.parts.iter().find(is_besides) {
            let cause = "it is not put back by itself; unpack it with --to DIR";
            return Err(Fault::new(Code::Usage, &part.name, cause));
        }
        Ok((record, only))
    })
    .await?;
    let mut told = Vec::new();
    if let Some(fault) = newer_data(installation, &record.id)? {
        if !options.force {
            return Err(fault);
        }
        let text = fault.message(progress.lang());
        progress.warning(Step::CheckingUpdates, Say::Warning { text: text.clone() });
        told.push(text);
    }
    told.extend(repair::put_back(installation, progress)?);
    let plan = Plan { only, ..restore_plan(&running::base(installation)?) };
    let mut outcome = change::begin(installation, &tools, plan, Some(&record.id), progress).await.outcome;
    outcome.warnings.splice(0..0, told);
    Ok(rebuild::tell(installation, outcome, progress))
}

/// Copies every whole backup that has no copy yet to where the settings say, and reads the copies back.
pub async fn backup_copy(installation: &Installation, progress: &Progress) -> Result<Vec<Copied>> {
    let (settings, progress) = (installation.settings.backup.copy.clone(), progress.clone());
    let root = installation.layout.root().to_owned();
    if settings.to.is_empty() {
        let cause = "backup.copy.to names no place";
        return Err(Fault::new(Code::ConfigInvalid, installation.layout.settings().display(), cause));
    }
    let packing = Packing::from(&installation.settings.backup);
    blocking(installation, move |manager| {
        for left in manager.staged()? {
            whole(manager, &left.id, &packing)?;
        }
        manager.copy(&settings, &root, &progress, &AtomicBool::new(false))
    })
    .await
}

/// Takes an archive, or an encrypted copy of one, in.
pub async fn backup_import(
    installation: &Installation,
    file: &Path,
    identity: Option<&Path>,
) -> Result<Record> {
    let (file, identity) = (file.to_owned(), identity.map(Path::to_owned));
    let (settings, root) = (installation.settings.clone(), installation.layout.root().to_owned());
    blocking(installation, move |manager| {
        let request = ImportRequest {
            from: &file,
            settings: &settings.backup.copy,
            root: &root,
            identities: identity.as_deref(),
            project: &settings.project,
        };
        manager.import(&request, &AtomicBool::new(false))
    })
    .await
}

/// Deletes a backup; one that is [needed] is refused.
pub fn backup_delete(installation: &Installation, id: &str) -> Result<Record> {
    let _lock = installation.lock("backup delete")?;
    let manager = installation.backup_manager();
    let record = manager.get(id)?;
    if needed::backups(installation)?.contains(&record.id) {
        let cause =
            "a change that has not ended, or the rollback of the version on probation, would restore it";
        return Err(Fault::new(Code::BackupNeeded, record.id, cause));
    }
    manager.delete(&record.id)
}

/// Deletes what the retention rules no longer keep, after mending what a backup that was killed left: containers held
/// still, records and files that do not agree.
pub async fn backup_prune(installation: &Installation, progress: &Progress) -> Result<Vec<Record>> {
    let _lock = installation.lock("backup prune")?;
    let thawed = thaw_held(installation).await;
    installation.backup_manager().reconcile()?;
    // Whoever frees a full disk has no room to give.
    let (gone, _told) = unarchived::catch_up(installation, progress).await?;
    // An engine that does not answer is no reason to keep a disk full, but is told.
    thawed.map(|_| gone)
}

/// Whether an earlier change waits for a person.
fn is_stuck(installation: &Installation) -> Result<bool> {
    let unfinished = Journal::new(installation.store.clone()).unfinished()?;
    Ok(unfinished.is_some_and(|change| change.state == ChangeState::NeedsAttention))
}

async fn settle(installation: &Installation, tools: &Tools, progress: &Progress) -> Result<()> {
    match change::finish(installation, tools, progress).await? {
        Some(ended) if matches!(ended.state, ChangeState::NeedsAttention | ChangeState::Running) => {
            let next = change::next_commands(installation, None, None).text(progress.lang());
            let cause = format!("an earlier change could neither be finished nor undone\n{next}");
            Err(Fault::new(Code::RollbackFailed, &installation.settings.project, cause))
        }
        Some(_) => Ok(()),
        None => {
            // What is told of them is in the events.
            unarchived::before(installation, progress).await;
            Ok(())
        }
    }
}

/// Lets go on what a stopped command held still for a backup.
pub async fn thaw(installation: &Installation) -> Result<()> {
    // Whoever holds the lock by now is at work with it.
    let Ok(_lock) = installation.lock("thaw") else { return Ok(()) };
    thaw_held(installation).await.map(drop)
}

/// Under the lock: lets go on what was held, and says whether anything was.
async fn thaw_held(installation: &Installation) -> Result<bool> {
    let held = quiet::is_held(installation)?;
    if held {
        quiet::thaw(installation, &crate::docker::Engine::connect().await?).await?;
    }
    Ok(held)
}

fn restore_plan(version: &Version) -> Plan {
    Plan { strategy: "none".into(), ..Plan::new(Kind::Restore, Some(version.clone()), version.clone()) }
}

/// The row of a backup, whose archive is written first where a process that was killed had come no further than the copy.
fn whole(manager: &BackupManager, id: &str, packing: &Packing) -> Result<Record> {
    let record = manager.get(id)?;
    match record.status {
        Status::Staged => manager.archive(&record.id, packing, &Progress::silent(), &AtomicBool::new(false)),
        _ => Ok(record),
    }
}

async fn blocking<T: Send + 'static>(
    installation: &Installation,
    work: impl FnOnce(&BackupManager) -> Result<T> + Send + 'static,
) -> Result<T> {
    rebuild::recover_backups(installation)?;
    let manager = Arc::new(installation.backup_manager());
    let done = tokio::task::spawn_blocking(move || work(&manager));
    done.await.map_err(|error| Fault::from_error(Code::BackupFailed, "backup", error))?
}
