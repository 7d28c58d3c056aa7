//! Where the command line meets the layers that do the work: their answers become its views.

use std::path::Path;

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::backup::{Copied, Entry, Record};
use crate::docker::{Compose, Engine};
use crate::fault::{Code, Fault, IoContext, Result};
use crate::progress::Progress;
use crate::publisher::{self, BuildRequest, Inspection, PatchBase};
use crate::upgrade::{self, Installation, RestoreOptions};

pub use crate::upgrade::{
    INSIDE, SEND, backup_restore, check, doctor, download, exchange_inside, history, history_entry, init,
    newer_data, plan, rollback, rollback_plan, send_inside, status, thaw, upgrade,
};

use super::args::BuildArgs;
use super::view::backup::{BackupDetail, BackupEntry, BackupView, CopyView};
use super::view::release::{BuildView, InspectView, PublishView};

/// Whoever gives a lock back from now on still has it until the process ends.
pub fn keep_locks() {
    crate::state::StateLock::outlive_holders();
}

/// Makes a backup.
pub async fn backup_create(installation: &Installation, progress: &Progress) -> Result<BackupView> {
    upgrade::backup_create(installation, progress).await.map(view)
}

/// All backups, oldest first.
pub async fn backup_list(installation: &Installation) -> Result<Vec<BackupView>> {
    Ok(upgrade::backup_list(installation)?.into_iter().map(view).collect())
}

/// One backup and what is in it.
pub async fn backup_show(installation: &Installation, id: &str) -> Result<BackupDetail> {
    let (record, entries) = upgrade::backup_show(installation, id).await?;
    let entry =
        |entry: Entry| BackupEntry { path: entry.path.to_string_lossy().into_owned(), size: entry.size };
    Ok(BackupDetail { record: view(record), contents: entries.into_iter().map(entry).collect() })
}

/// Reads a backup through; a damaged one is an error.
pub async fn backup_verify(installation: &Installation, id: &str) -> Result<BackupView> {
    upgrade::backup_verify(installation, id).await.map(view)
}

/// Unpacks a backup into a folder; with it come things a person should know.
pub async fn backup_extract(
    installation: &Installation,
    id: &str,
    options: &RestoreOptions,
    to: &Path,
    progress: &Progress,
) -> Result<(BackupView, Vec<String>)> {
    let (record, warnings) = upgrade::backup_extract(installation, id, options, to, progress).await?;
    Ok((view(record), warnings))
}

/// Copies the backups that have no copy yet.
pub async fn backup_copy(installation: &Installation, progress: &Progress) -> Result<Vec<CopyView>> {
    let copied = upgrade::backup_copy(installation, progress).await?;
    let view = |copied: Copied| CopyView {
        id: copied.backup,
        path: copied.path,
        size: copied.size,
        hash: copied.hash.to_string(),
    };
    Ok(copied.into_iter().map(view).collect())
}

/// Takes an archive in.
pub async fn backup_import(
    installation: &Installation,
    file: &Path,
    identity: Option<&Path>,
) -> Result<BackupView> {
    upgrade::backup_import(installation, file, identity).await.map(view)
}

/// Deletes a backup.
pub async fn backup_delete(installation: &Installation, id: &str) -> Result<BackupView> {
    upgrade::backup_delete(installation, id).map(view)
}

/// Deletes what the retention rules no longer keep; what was deleted.
pub async fn backup_prune(installation: &Installation, progress: &Progress) -> Result<Vec<BackupView>> {
    Ok(upgrade::backup_prune(installation, progress).await?.into_iter().map(view).collect())
}

/// Packs a release.
pub async fn release_build(args: &BuildArgs) -> Result<BuildView> {
    let (engine, compose) = (Engine::connect().await?, Compose::find().await?);
    let request = BuildRequest {
        stack: args.stack.canonicalize().at(&args.stack)?,
        version: args.version.clone(),
        persist: Vec::new(),
        out: args.out.clone(),
        arch: args.arch.clone(),
        patch_from: args.patch_from.clone().map(PatchBase::Version),
        delta_from: args.delta_from.clone(),
        released_at: OffsetDateTime::now_utc(),
    };
    let report = publisher::build_with_engine(request, &engine, &compose, |stage| {
        tracing::info!(?stage, "packing");
    })
    .await?;
    let patch = report.patch.map(|(_, package)| package.path);
    let mut written = vec![report.bundle.path.clone()];
    written.extend(patch.clone());
    written.push(report.manifest);
    Ok(BuildView {
        schema: 1,
        version: report.version,
        arch: report.arch,
        bundle: report.bundle.path,
        size: report.bundle.size,
        hash: report.bundle.hash.to_string(),
        patch,
        deltas: report.deltas,
        written,
    })
}

/// Adds a packed release to a source folder.
pub async fn release_publish(out: &Path, source: &Path) -> Result<PublishView> {
    let (out, folder) = (out.to_owned(), source.to_owned());
    let work = tokio::task::spawn_blocking(move || publisher::publish(&out, &folder));
    let report = work.await.map_err(|error| Fault::from_error(Code::Io, source.display(), error))??;
    Ok(PublishView {
        schema: 1,
        version: report.version,
        source: source.to_owned(),
        newest: report.newest,
        written: report.copied,
        left: report.left,
    })
}

/// What is in a bundle: in full for machines, and in short for people.
pub async fn release_inspect(file: &Path) -> Result<(Inspection, InspectView)> {
    let path = file.to_owned();
    let work = tokio::task::spawn_blocking(move || publisher::inspect(&path));
    let found = work.await.map_err(|error| Fault::from_error(Code::Io, file.display(), error))??;
    let view = InspectView {
        schema: 1,
        file: found.path.clone(),
        size: found.size,
        hash: found.hash.to_string(),
        problems: found.problems.clone(),
        release: found.release.clone(),
    };
    Ok((found, view))
}

fn view(record: Record) -> BackupView {
    BackupView {
        id: record.id,
        file: record.file,
        kind: record.kind.name().into(),
        status: record.status.name().into(),
        project: record.project,
        version: record.version.map(|version| version.to_string()),
        target: record.target.map(|version| version.to_string()),
        size: record.size,
        files: record.files,
        hash: record.hash.map(|hash| hash.to_string()),
        started_at: instant(record.started_at),
        ended_at: record.ended_at.map(instant),
        error: record.error,
    }
}

fn instant(at: OffsetDateTime) -> String {
    at.format(&Rfc3339).unwrap_or_else(|_| at.unix_timestamp().to_string())
}
