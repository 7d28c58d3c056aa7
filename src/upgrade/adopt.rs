//! Taking over a stack that runs today from a plain folder: nothing is restarted and no data is moved.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use rusqlite::params;

use super::change::Tools;
use super::effects::images::pin;
use super::ending::remove_work;
use super::install::write_settings;
use super::installation::Installation;
use super::journal::{self, ChangeState, Journal};
use super::plan::{Kind, Plan};
use super::{origin, pointers, releases, report};
use crate::docker::{Container, Model, ServiceMount};
use crate::exit;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::{self, Outcome, Progress};
use crate::publisher::{BuildRequest, build_with_engine};
use crate::release::bundle::Bundle;
use crate::release::compose_files::default_compose_files;
use crate::release::unpack::unpack_stack;
use crate::release::{ReleaseInfo, Version};

/// Takes over the stack in `folder` as `version`, which becomes current and factory.
pub async fn adopt(
    mut installation: Installation,
    tools: &Tools,
    folder: &Path,
    version: &Version,
    progress: &Progress,
) -> Result<Outcome> {
    let started = Instant::now();
    let folder = folder.canonicalize().at(folder)?;
    let project = installation.settings.project.clone();
    let containers = tools.engine.containers(&project).await?;
    if containers.is_empty() {
        let cause = format!("no container of it runs; is '{project}' the name 'docker compose ls' shows?");
        return Err(Fault::new(Code::ContainerFailed, &project, cause));
    }
    progress.started(progress::Step::CheckingUpdates, Say::Adopting { folder: folder.display().to_string() });
    let files = default_compose_files(&folder);
    let model = tools.compose.compile(&project, &folder, &files, &folder).await?.model;
    check_running(tools, &model, &containers).await?;

    let written = written_paths(&model, &folder, &files);
    for path in written {
        if !installation.settings.persist.contains(&path) {
            installation.settings.persist.push(path);
        }
    }
    write_settings(&installation.layout.settings(), &installation.settings)?;

    let (file, info) = pack(&installation, tools, &folder, version).await?;
    put_in_place(&installation, &folder, &file, &info)?;
    for image in &info.images {
        let id = tools.engine.find_image(image).await?;
        let id =
            id.ok_or_else(|| Fault::new(Code::ImageMissing, &image.reference, "it was saved just now"))?;
        tools.engine.tag_image(&id, &pin(&project, image)).await?;
    }
    let plan = Plan { reason: "not_installed".into(), ..Plan::new(Kind::Adopt, None, version.clone()) };
    let outcome = outcome(&plan, started);
    record(&installation, &plan, &info, &file, &containers, &outcome)?;
    pointers::set(&installation.layout, Pointer::Factory, version)?;
    pointers::set(&installation.layout, Pointer::Current, version)?;
    let say = Say::Adopted { version: version.to_string(), count: containers.len() };
    progress.finished(progress::Step::Completed, say);
    Ok(outcome)
}

/// The tags must name the images that run, or a rollback to this state would start something else.
async fn check_running(tools: &Tools, model: &Model, containers: &[Container]) -> Result<()> {
    for container in containers.iter().filter(|container| !container.one_off) {
        let image = model.service(&container.service).and_then(|service| service.image);
        let Some(image) = image else { continue };
        let named = tools.engine.image_id(&image).await?;
        if named.as_ref() != Some(&container.image_id) {
            let cause = format!(
                "{} runs {}, and the name stands for {}; give it back with 'docker tag', or recreate the service",
                container.name,
                container.image_id,
                named.unwrap_or_else(|| "no image".into())
            );
            return Err(Fault::new(Code::ImageWrong, image, cause));
        }
    }
    Ok(())
}

/// What the stack writes in its own folder is its data, whether it is called `data` or not.
fn written_paths(model: &Model, folder: &Path, compose: &[String]) -> BTreeSet<String> {
    let mounts = model.services().into_iter().flat_map(|service| service.mounts);
    let inside = mounts.filter_map(|mount| match mount {
        ServiceMount::Bind { source, writable: true, .. } => {
            Some(source.strip_prefix(folder).ok()?.to_string_lossy().into_owned())
        }
        _ => None,
    });
    inside.filter(|path| !path.is_empty() && !compose.contains(path)).collect()
}

/// Packs the stack as it is, so that it can be brought back without any network.
async fn pack(
    installation: &Installation,
    tools: &Tools,
    folder: &Path,
    version: &Version,
) -> Result<(String, ReleaseInfo)> {
    let out = installation.layout.work("adopt");
    let request = BuildRequest {
        stack: folder.to_owned(),
        version: version.clone(),
        persist: installation.settings.persist.clone(),
        out: out.clone(),
        arch: None,
        patch_from: None,
        delta_from: Vec::new(),
        released_at: time::OffsetDateTime::now_utc(),
    };
    let report = build_with_engine(request, &tools.engine, &tools.compose, |_| {}).await?;
    let file = format!("{}.bundle", report.bundle.hash.hex());
    let place = installation.layout.bundles().join(&file);
    fs::rename(&report.bundle.path, &place).at(&place)?;
    // It holds the operator's own files.
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(&place, fs::Permissions::from_mode(0o600)).at(&place)?;
    fs::remove_dir_all(&out).at(&out)?;
    let info = Bundle::open(&place)?.info().clone();
    Ok((file, info))
}

/// Makes the release folder, with every path that outlives releases leading to where it is now.
fn put_in_place(installation: &Installation, folder: &Path, file: &str, info: &ReleaseInfo) -> Result<()> {
    let layout = &installation.layout;
    let staging: PathBuf = layout.releases().join(format!(".{}.new", info.version));
    if staging.exists() {
        fs::remove_dir_all(&staging).at(&staging)?;
    }
    fs::create_dir_all(&staging).at(&staging)?;
    unpack_stack(&Bundle::open(layout.bundles().join(file))?, &staging)?;
    for path in releases::persist(info, &installation.settings) {
        let (own, link) = (folder.join(&path), layout.shared().join(&path));
        if own.exists() && fs::symlink_metadata(&link).is_err() {
            releases::make_parent(&link)?;
            std::os::unix::fs::symlink(&own, &link).at(&link)?;
        }
    }
    releases::adopt_shared(layout, &staging, info, &installation.settings)?;
    releases::put_in_place(layout, &staging, &info.version)
}

fn record(
    installation: &Installation,
    plan: &Plan,
    info: &ReleaseInfo,
    file: &str,
    containers: &[Container],
    outcome: &Outcome,
) -> Result<()> {
    let journal = Journal::new(installation.store.clone());
    let version = plan.to.to_string();
    journal.open(&outcome.upgrade_id, plan.kind.name(), None, &version, &plan.to_json())?;
    let text = String::from_utf8_lossy(&info.to_json()).into_owned();
    installation.store.with(|db| {
        db.execute(
            "INSERT OR REPLACE INTO releases (version, info, bundle_hash, strategy, installed_at)
             VALUES (?1, ?2, ?3, 'full', ?4)",
            params![version, text, file, journal::now()],
        )?;
        for container in containers {
            origin::record(db, &container.id, &container.service, &version)?;
        }
        Ok(())
    })?;
    let id = &outcome.upgrade_id;
    report::conclude(&journal, installation, id, outcome, ChangeState::Completed)?;
    if let Err(fault) = remove_work(&installation.layout, id, ChangeState::Completed) {
        // The next change removes it.
        tracing::warn!(%fault, "the work files stay");
    }
    Ok(())
}

fn outcome(plan: &Plan, started: Instant) -> Outcome {
    Outcome {
        ok: true,
        to: Some(plan.to.to_string()),
        strategy: plan.strategy.clone(),
        reason: plan.reason.clone(),
        exit_code: exit::OK,
        duration_ms: started.elapsed().as_millis() as u64,
        upgrade_id: uuid::Uuid::now_v7().simple().to_string(),
        ..Outcome::blank()
    }
}
