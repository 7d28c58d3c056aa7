//! Making what runs agree with `current` again, where somebody or something came between them.
//!
//! A person who points `current` at another release that is kept here wants that one to run: then it is an ordinary
//! change from what really runs to that release, with the same backup and the same way back. Where `current` leads
//! nowhere, or to a version that failed here, it is pointed back at what runs.

use super::change::{self, Tools};
use super::ending::Ended;
use super::installation::Installation;
use super::plan::{Kind, Plan};
use super::pointers;
use super::quarantine;
use super::rebuild::is_rebuilt;
use super::rollback::{back_to, bundle_of};
use super::running::{self, Place};
use super::ways;
use crate::fault::Result;
use crate::layout::Pointer;
use crate::messages::Say;
use crate::progress::{self, Progress};
use crate::release::Version;
use crate::release::strategy::Reason;

/// Why what runs may not be what `current` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The state database was lost, perhaps in the middle of a change.
    StateRebuilt,
    /// `current` was pointed elsewhere by hand; this is the version that runs.
    Repointed(String),
    /// Somebody removed the containers of these services.
    Removed(Vec<String>),
    /// A person gave the change up that could neither be finished nor undone.
    GivenUp,
}

/// Whether a repair is wanted.
pub fn wanted(installation: &Installation) -> Result<Option<Why>> {
    if is_rebuilt(installation)? {
        return Ok(Some(Why::StateRebuilt));
    }
    let current = pointers::read(&installation.layout, Pointer::Current)?;
    let runs = running::version(installation)?.filter(|runs| Some(runs) != current.as_ref());
    Ok(runs.map(|runs| Why::Repointed(runs.to_string())))
}

/// Points `current` back at what runs where it leads nowhere, or to a version that failed here; what was done.
pub fn settle(installation: &Installation, progress: &Progress) -> Result<Vec<String>> {
    let Some(runs) = running::version(installation)? else { return Ok(Vec::new()) };
    let version = runs.to_string();
    let say = match running::place(&installation.layout)? {
        Place::Release(named) if named == runs => return Ok(Vec::new()),
        Place::Release(named) => match failed(installation, &named)? {
            Some(cause) => Say::PointerRefused { named: named.to_string(), version, cause },
            None if is_here(installation, &named)? => return Ok(Vec::new()),
            None => Say::PointerAstray { target: format!("releases/{named}"), version },
        },
        Place::Missing => Say::PointerMissing { version },
        Place::Astray(target) => Say::PointerAstray { target, version },
    };
    running::point(&installation.layout, &runs)?;
    Ok(vec![told(say, progress)])
}

/// As [`settle`], and a wish that is not carried out goes the same way: whoever asks wants something else.
pub fn put_back(installation: &Installation, progress: &Progress) -> Result<Vec<String>> {
    let mut all = settle(installation, progress)?;
    let (runs, place) = (running::version(installation)?, running::place(&installation.layout)?);
    if let (Some(runs), Place::Release(named)) = (runs, place)
        && runs != named
    {
        running::point(&installation.layout, &runs)?;
        let say = Say::PointerPutBack { named: named.to_string(), version: runs.to_string() };
        all.push(told(say, progress));
    }
    Ok(all)
}

fn told(say: Say, progress: &Progress) -> String {
    let text = say.text(progress.lang());
    progress.warning(progress::Step::CheckingUpdates, say);
    text
}

/// Why a version is in quarantine; none where it is not, or where a person left it by hand: that one may be gone back
/// to by hand.
fn failed(installation: &Installation, version: &Version) -> Result<Option<String>> {
    let name = version.to_string();
    let entry = quarantine::list(installation)?.into_iter().find(|entry| entry.version == name);
    Ok(entry.map(|entry| entry.reason).filter(|reason| reason != quarantine::BY_HAND))
}

/// Whether a release has its folder, or can be made again.
fn is_here(installation: &Installation, version: &Version) -> Result<bool> {
    let folder = installation.layout.release(&version.to_string());
    Ok(folder.is_dir() || ways::recorded(installation, version)?.is_some())
}

/// Brings every service to what `current` says; those that are there already are not touched.
pub async fn repair(
    installation: &Installation,
    tools: &Tools,
    why: Why,
    progress: &Progress,
) -> Result<Ended> {
    let layout = &installation.layout;
    let runs = running::base(installation)?;
    let version = pointers::read(layout, Pointer::Current)?.unwrap_or_else(|| runs.clone());
    let cause = match why {
        Why::StateRebuilt => "the state database was lost and rebuilt".to_owned(),
        Why::GivenUp => "an earlier change was given up".to_owned(),
        Why::Removed(services) => format!("the container of {} was removed", services.join(", ")),
        Why::Repointed(runs) => format!("'current' pointed to {runs}"),
    };
    let say = Say::Repairing { version: version.to_string(), cause };
    progress.warning(progress::Step::CheckingUpdates, say);
    // From here on it is a change like any other, and where it fails, what runs is what `current` says.
    if version != runs {
        running::point(layout, &runs)?;
    }
    let plan = Plan {
        reason: Reason::Corrupted.name().into(),
        prepare: back_to(bundle_of(installation, &version)?),
        ..Plan::new(Kind::Upgrade, Some(runs.clone()), version.clone())
    };
    let mut ended = change::begin(installation, tools, plan, None, progress).await;
    let back = pointers::read(layout, Pointer::Current)?.as_ref() == Some(&runs);
    if version != runs && !ended.outcome.ok && back {
        let say = Say::PointerPutBack { named: version.to_string(), version: runs.to_string() };
        ended.outcome.warnings.push(told(say, progress));
    }
    Ok(ended)
}
