//! `client upgrade`, `check` and `plan`.

use super::ahead;
use super::api::{CheckReport, PlanEdit, PlanReport, PlanService, PlanStep, UpgradeOptions};
use super::change::{self, Tools};
use super::edits;
use super::ending::{self, Ended};
use super::installation::Installation;
use super::journal::ChangeState;
use super::plan::{Kind, Plan};
use super::rebuild;
use super::repair;
use super::resolve::{self, Offer};
use super::running;
use super::soak;
use super::standing;
use super::step::Step;
use super::unarchived;
use super::ways;
use super::{pointers, quarantine};
use crate::docker::Engine;
use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::{self, Outcome, Progress};
use crate::release::Version;
use crate::release::strategy::{Reason, Strategy};

/// Compares the source's newest permitted release with the installed one.
pub async fn check(installation: &Installation, progress: &Progress) -> Result<CheckReport> {
    let engine = Engine::connect().await?;
    let offer = resolve::offer(installation, &engine, &UpgradeOptions::default(), progress).await?;
    Ok(CheckReport {
        schema: 1,
        installed: offer.installed.clone(),
        available: offer.manifest.version.clone(),
        upgrade_available: offer.decision.strategy != Strategy::None,
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        release_date: offer.manifest.release_date.clone(),
        release_notes: offer.manifest.release_notes.clone(),
        bytes: offer.bytes(),
        passed_over: offer.passed_over,
    })
}

/// What an upgrade would do; changes nothing.
pub async fn plan(
    installation: &Installation,
    options: &UpgradeOptions,
    progress: &Progress,
) -> Result<PlanReport> {
    let tools = Tools::find().await?;
    let offer = resolve::offer(installation, &tools.engine, options, progress).await?;
    let preview = super::preview::preview(installation, &tools, &offer, progress).await?;
    let lang = progress.lang();
    let describe =
        |step: &Step| PlanStep { step: step.public().name().into(), description: step.describe(lang) };
    let change = preview.as_ref().map(|preview| preview.steps.as_slice()).unwrap_or_default();
    let prepare = offer.package.clone().map(|package| change::preparation(package, offer.patch.clone()));
    let steps = prepare.iter().flatten().chain(change).map(describe).collect();
    let services = preview.iter().flat_map(|preview| &preview.services).map(|service| PlanService {
        name: service.name.clone(),
        action: service.action.name().into(),
        reason: service.reasons.join(", "),
    });
    let package = super::preview::to_fetch(installation, &tools.engine, &offer, progress).await?;
    let unpacked = if package.fetch == 0 { package.keep } else { package.fetch };
    Ok(PlanReport {
        schema: 1,
        from: offer.installed.clone(),
        to: offer.manifest.version.clone(),
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        bytes_to_fetch: package.fetch,
        // The package, and as much again for what it unpacks to, as far as that is not in the engine.
        disk_needed: offer.manifest.requires.disk_bytes.unwrap_or(package.keep + unpacked),
        steps,
        services: services.collect(),
        edits: edits_by_hand(installation, &offer)?,
        services_known: preview.is_some() || offer.decision.strategy == Strategy::None,
        back: None,
    })
}

/// What a person changed in the release that would be left.
fn edits_by_hand(installation: &Installation, offer: &Offer) -> Result<Vec<PlanEdit>> {
    let Some(version) = offer.installed.as_ref().filter(|_| offer.decision.strategy != Strategy::None) else {
        return Ok(Vec::new());
    };
    shown(installation, version)
}

/// The edits by hand of a release, as a plan shows them.
pub fn shown(installation: &Installation, version: &Version) -> Result<Vec<PlanEdit>> {
    let found = edits::by_hand(installation, version)?;
    let shown =
        |edit: edits::Edit| PlanEdit { path: edit.path, diff: edits::shortened(&edit.diff, edits::LONG) };
    Ok(found.into_iter().map(shown).collect())
}

/// The main job. Finishes an interrupted change first.
pub async fn upgrade(installation: &Installation, options: &UpgradeOptions, progress: &Progress) -> Outcome {
    let mut told = Vec::new();
    let mut outcome = match try_upgrade(installation, options, progress, &mut told).await {
        Ok(outcome) => outcome,
        Err(fault) => not_begun(installation, options, &fault, progress),
    };
    outcome.warnings.splice(0..0, told);
    rebuild::tell(installation, outcome, progress)
}

/// Fetches what the next upgrade will need, and changes nothing else; not even an interrupted change is finished.
pub async fn download(installation: &Installation, options: &UpgradeOptions, progress: &Progress) -> Outcome {
    let fetched = try_download(installation, options, progress).await;
    fetched.unwrap_or_else(|fault| not_begun(installation, options, &fault, progress))
}

async fn try_download(
    installation: &Installation,
    options: &UpgradeOptions,
    progress: &Progress,
) -> Result<Outcome> {
    let _lock = installation.lock("download")?;
    let engine = Engine::connect().await?;
    progress.started(progress::Step::CheckingUpdates, Say::StrategyStarted);
    let offer = resolve::offer(installation, &engine, options, progress).await?;
    let Some(package) = &offer.package else { return Ok(nothing_to_do(&offer, progress)) };
    progress.finished(progress::Step::CheckingUpdates, strategy_words(&offer));
    let outcome = ahead::fetch(installation, &engine, &offer, package, progress).await?;
    let version = offer.manifest.version.to_string();
    progress.finished(progress::Step::Completed, Say::FetchedAhead { version });
    Ok(outcome)
}

fn not_begun(
    installation: &Installation,
    options: &UpgradeOptions,
    fault: &Fault,
    progress: &Progress,
) -> Outcome {
    progress.failed(progress::Step::Failed, fault);
    let from = pointers::read(&installation.layout, Pointer::Current);
    let from = from.ok().flatten().map(|version| version.to_string());
    let to = options.target.as_ref().map(ToString::to_string);
    ending::not_begun(fault, from, to, progress)
}

/// Whether a service of the installed release lost its container.
async fn removed(installation: &Installation, tools: &Tools) -> Result<Option<repair::Why>> {
    let services = standing::removed(installation, tools).await?;
    Ok((!services.is_empty()).then_some(repair::Why::Removed(services)))
}

/// Ends with the refusal of a newer release. That is no reason to leave the present one with a service missing.
async fn refuse(
    installation: &Installation,
    tools: &Tools,
    refused: Fault,
    options: &UpgradeOptions,
    progress: &Progress,
) -> Result<Outcome> {
    // Where that cannot be found out, the refusal says more.
    let Ok(Some(why)) = removed(installation, tools).await else { return Err(refused) };
    let ended = repair::repair(installation, tools, why.clone(), progress).await?;
    if !ended.outcome.ok {
        return Ok(ended.outcome);
    }
    let outcome = not_begun(installation, options, &refused, progress);
    let repair::Why::Removed(services) = why else { return Ok(outcome) };
    let say = Say::BroughtBack { services: services.join(", ") };
    let warnings = [ended.outcome.warnings, vec![say.text(progress.lang())]].concat();
    Ok(Outcome { warnings, ..outcome })
}

async fn try_upgrade(
    installation: &Installation,
    options: &UpgradeOptions,
    progress: &Progress,
    told: &mut Vec<String>,
) -> Result<Outcome> {
    let _lock = installation.lock("upgrade")?;
    let tools = Tools::find().await?;
    let finished = change::finish(installation, &tools, progress).await?;
    if let Some(ended) = &finished
        && !goes_on(installation, ended, options, progress)?
    {
        return Ok(ended.outcome.clone());
    }
    // Whoever has to go back does so at once.
    if let Some(ended) = soak::settle(installation, &tools, progress).await? {
        return Ok(ended.outcome);
    }
    told.extend(repair::settle(installation, progress)?);
    if finished.is_none() {
        told.extend(unarchived::before(installation, progress).await);
    }
    let layout = &installation.layout;
    if pointers::read(layout, Pointer::Factory)?.is_some() {
        running::base(installation)?;
    }
    progress.started(progress::Step::CheckingUpdates, Say::StrategyStarted);
    let offered = resolve::offer(installation, &tools.engine, options, progress).await;
    let mut offer = match (offered, finished) {
        (Ok(offer), Some(ended)) if offer.decision.strategy == Strategy::None => return Ok(ended.outcome),
        // The interrupted upgrade is finished; that there is nothing more to be had now is no failure of it.
        (Err(_), Some(ended)) => return Ok(ended.outcome),
        (Err(refused), None) => return refuse(installation, &tools, refused, options, progress).await,
        (Ok(offer), _) => offer,
    };
    if offer.decision.strategy == Strategy::None {
        let why = match repair::wanted(installation)? {
            Some(why) => Some(why),
            None => removed(installation, &tools).await?,
        };
        return match why {
            Some(why) => Ok(repair::repair(installation, &tools, why, progress).await?.outcome),
            None => {
                let lost = ways::keep_up(installation, &tools.engine, progress).await?;
                let mut warnings: Vec<String> =
                    lost.into_iter().map(|way| Say::Way(way).text(progress.lang())).collect();
                if offer.installed.is_some() && standing::is_down(installation, &tools).await? {
                    let current = installation.layout.current().display().to_string();
                    let say = Say::StackDown { current };
                    warnings.push(say.text(progress.lang()));
                    progress.warning(progress::Step::CheckingUpdates, say);
                }
                Ok(Outcome { warnings, ..nothing_to_do(&offer, progress) })
            }
        };
    }
    let runs = running::version(installation)?.filter(|_| offer.installed.is_some());
    if runs.is_some() && runs != offer.installed {
        // What comes next is a change from what runs, not from where somebody pointed meanwhile.
        told.extend(repair::put_back(installation, progress)?);
        if offer.installed.as_ref() != Some(&offer.manifest.version) {
            offer = resolve::offer(installation, &tools.engine, options, progress).await?;
        }
        offer.installed = runs;
        if offer.decision.strategy == Strategy::None {
            return Ok(nothing_to_do(&offer, progress));
        }
    }
    progress.finished(progress::Step::CheckingUpdates, strategy_words(&offer));
    let plan = Plan {
        strategy: offer.decision.strategy.name().into(),
        reason: offer.decision.reason.name().into(),
        manifest_hash: Some(quarantine::Content::of(&offer.manifest)),
        bytes_bundle: offer.bytes().unwrap_or(0),
        skipped_migrations: offer.skipped_migrations.clone(),
        prepare: offer.package.map(|package| change::preparation(package, offer.patch)).unwrap_or_default(),
        ..Plan::new(Kind::Upgrade, offer.installed.clone(), offer.manifest.version.clone())
    };
    Ok(change::begin(installation, &tools, plan, None, progress).await.outcome)
}

/// Whether something new begins after an interrupted change was dealt with. One that is committed but not tidied up is
/// still open; one that needs a person is let be where that person names another way out.
fn goes_on(
    installation: &Installation,
    ended: &Ended,
    options: &UpgradeOptions,
    progress: &Progress,
) -> Result<bool> {
    match ended.state {
        ChangeState::Completed => Ok(ended.outcome.ok),
        ChangeState::NeedsAttention if options.target.is_some() || options.bundle.is_some() => {
            change::supersede(installation, progress)?;
            Ok(true)
        }
        _ => Ok(false),
    }
}

/// The words for the decision.
pub fn strategy_words(offer: &Offer) -> Say {
    match offer.decision.strategy {
        Strategy::Patch => {
            Say::StrategyPatch { from: offer.installed.as_ref().map(ToString::to_string).unwrap_or_default() }
        }
        _ => Say::StrategyFull { reason: offer.decision.reason.name().into() },
    }
}

fn nothing_to_do(offer: &Offer, progress: &Progress) -> Outcome {
    let version = offer.installed.as_ref().map(ToString::to_string);
    let say = Say::UpToDate { version: version.clone().unwrap_or_default() };
    progress.finished(progress::Step::Completed, say);
    let to = match offer.decision.reason {
        Reason::InstalledNewer => version.clone(),
        _ => Some(offer.manifest.version.to_string()),
    };
    Outcome { from: version, to, reason: offer.decision.reason.name().into(), ..ending::nothing() }
}
