//! `client init`: a fresh installation of a release.

mod traces;

use std::fs;
use std::path::{Path, PathBuf};

use super::api::{InitOptions, UpgradeOptions};
use super::change::{self, Tools};
use super::command::strategy_words;
use super::ending;
use super::installation::Installation;
use super::journal::Journal;
use super::plan::{Kind, Plan};
use super::{adopt, pointers, quarantine, resolve};
use crate::durable;
use crate::fault::{Code, Fault, IoContext, Result};
use crate::layout::{Layout, Pointer};
use crate::messages::Say;
use crate::progress::{self, Outcome, Progress};
use crate::settings::Settings;
use traces::Traces;

/// Installs the newest release (or a bundle), or takes over a running stack.
pub async fn init(options: &InitOptions, progress: &Progress) -> Outcome {
    let traces = Traces::before(&options.root);
    let mut outcome = match try_init(options, progress).await {
        Ok(outcome) => outcome,
        Err(fault) => {
            progress.failed(progress::Step::Failed, &fault);
            let to = options.adopt.as_ref().map(|(_, version)| version.to_string());
            ending::not_begun(&fault, None, to, progress)
        }
    };
    if !outcome.ok
        && let Err(fault) = traces.remove()
    {
        outcome.warnings.push(fault.message(progress.lang()));
    }
    outcome
}

async fn try_init(options: &InitOptions, progress: &Progress) -> Result<Outcome> {
    check_project(&options.project)?;
    let tools = Tools::find().await?;
    let installation = prepare(options)?;
    let _lock = installation.lock("init")?;
    check_free(&installation, options)?;
    settle_in(&installation)?;
    if let Some(ended) = change::finish(&installation, &tools, progress).await?
        && matches!(ended.kind, Kind::Install | Kind::Adopt)
    {
        return Ok(ended.outcome);
    }
    if let Some((folder, version)) = &options.adopt {
        return adopt::adopt(installation, &tools, folder, version, progress).await;
    }
    if !tools.engine.containers(&options.project).await?.is_empty() {
        return Err(Fault::new(Code::ProjectRunning, &options.project, "its containers are in the engine"));
    }
    progress.started(progress::Step::CheckingUpdates, Say::StrategyStarted);
    let wanted = UpgradeOptions { bundle: options.bundle.clone(), ..UpgradeOptions::default() };
    let offer = resolve::offer(&installation, &tools.engine, &wanted, progress).await?;
    progress.finished(progress::Step::CheckingUpdates, strategy_words(&offer));
    let plan = Plan {
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        manifest_hash: Some(quarantine::Content::of(&offer.manifest)),
        bytes_bundle: offer.bytes().unwrap_or(0),
        prepare: offer.package.map(|package| change::preparation(package, offer.patch)).unwrap_or_default(),
        ..Plan::new(Kind::Install, None, offer.manifest.version.clone())
    };
    Ok(change::begin(&installation, &tools, plan, None, progress).await.outcome)
}

/// What Compose accepts as a project name.
fn check_project(name: &str) -> Result<()> {
    let fits = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
    let begins = name.starts_with(|c: char| c.is_ascii_lowercase() || c.is_ascii_digit());
    if begins && name.chars().all(fits) {
        return Ok(());
    }
    let cause =
        "a Compose project name has small letters, digits, '-' and '_', and begins with a letter or digit";
    Err(Fault::new(Code::Usage, format!("--project {name}"), cause))
}

/// Opens the root with the settings that are asked for. Nothing of an installation that is there is touched yet.
fn prepare(options: &InitOptions) -> Result<Installation> {
    let root = &options.root;
    fs::create_dir_all(root).at(root)?;
    let root = root.canonicalize().at(root)?;
    let layout = Layout::new(&root);
    let path = layout.settings();
    let present = if path.is_file() { Some(Settings::load(&path)?) } else { None };
    if let Some(present) = present.as_ref().filter(|present| present.project != options.project) {
        let cause = format!("it is for the project {}", present.project);
        return Err(Fault::new(Code::AlreadyInitialised, root.display(), cause));
    }
    let settings = Settings {
        project: options.project.clone(),
        source: absolute_source(&options.source)?,
        insecure: options.insecure,
        ..present.unwrap_or_default()
    };
    Installation::with(layout, settings)
}

/// Refuses a root in which a release is installed. One whose installation is unfinished is free: it is finished, or
/// begun anew.
fn check_free(installation: &Installation, options: &InitOptions) -> Result<()> {
    let layout = &installation.layout;
    let installed = [Pointer::Current, Pointer::Factory].map(|pointer| layout.pointer(pointer).is_symlink());
    if !installed.contains(&true) {
        return Ok(());
    }
    // Taking a stack over sets `current` last.
    if let Some((_, version)) = &options.adopt
        && pointers::read(layout, Pointer::Current)?.is_none()
        && pointers::read(layout, Pointer::Factory)?.as_ref() == Some(version)
    {
        return Ok(());
    }
    let unfinished = Journal::new(installation.store.clone()).unfinished()?;
    if unfinished.is_some_and(|change| change.kind == Kind::Install.name()) {
        return Ok(());
    }
    let cause = match layout.settings().is_file() {
        true => "",
        false => "only its client.toml is missing; write it again, with 'project' and 'source'",
    };
    Err(Fault::new(Code::AlreadyInitialised, layout.root().display(), cause))
}

/// Writes the settings down, now that the lock is held and the root is free.
fn settle_in(installation: &Installation) -> Result<()> {
    let layout = &installation.layout;
    for folder in [layout.releases(), layout.shared(), layout.bundles(), layout.backups()] {
        fs::create_dir_all(&folder).at(&folder)?;
    }
    restrict(&layout.backups(), 0o700)?;
    // It holds addresses with credentials and, in plans, what .env says.
    restrict(&layout.state_db(), 0o600)?;
    write_settings(&layout.settings(), &installation.settings)
}

/// Writes `client.toml`, which may hold credentials.
pub fn write_settings(path: &Path, settings: &Settings) -> Result<()> {
    let beside = path.with_extension("toml.next");
    durable::write_private(&beside, settings.to_toml().as_bytes())?;
    durable::rename(&beside, path)
}

fn restrict(path: &Path, mode: u32) -> Result<()> {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).at(path)
}

/// A folder as source must be found from any working directory.
fn absolute_source(source: &str) -> Result<String> {
    if source.contains("://") {
        return Ok(source.to_owned());
    }
    let path = PathBuf::from(source);
    let path = path.canonicalize().at(&path)?;
    Ok(path.to_string_lossy().into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn project_names_are_those_of_compose() {
        for name in ["shop", "0-a_b"] {
            assert!(check_project(name).is_ok(), "{name}");
        }
        for name in ["", "Shop", "-a", "_a", "a b", "a.b", "../a"] {
            assert_eq!(check_project(name).unwrap_err().code(), Code::Usage, "{name}");
        }
    }
}
