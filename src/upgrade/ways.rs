//! The ways back: what it takes to return to `current`, `previous` and `factory` is there and whole.
//!
//! A way back is a release folder, the images in the engine, and the bundles both can be made from again. People
//! prune engines and clean disks; so every upgrade looks at all three before it leaves a version, mends what it can
//! and says what it cannot. Where a rollback leads must be whole before anything is touched.

mod bundle;
mod deltas;
mod donors;
mod folder;
mod images;
mod layers;
mod repack;
mod retention;
mod source;
mod sparse;
mod survey;

use std::sync::{Mutex, PoisonError};

use super::change::Tools;
use super::edits;
use super::installation::Installation;
use super::plan::Kind;
use super::pointers;
use super::world::World;
use crate::docker::Engine;
use crate::fault::{Fault, Result};
use crate::layout::Pointer;
use crate::messages::Say;
use crate::messages::ways::{Condition, Part, Way};
use crate::progress::{Progress, Step};
use crate::release::{ReleaseInfo, Version};

pub use folder::info_of;
pub use images::{bring, speaks_against_bundle};
pub use retention::needed;
pub use sparse::{Lacking, sparse_of};

/// What mending needs besides the version. Cheap to make; it borrows nothing of a [`World`].
pub struct Keeper<'a> {
    installation: &'a Installation,
    engine: Engine,
    progress: Progress,
    /// Whoever asked has the time for everything that can be done.
    thorough: bool,
    /// Edits that were found where none belong and were set aside: whoever asked tells them.
    edits: Mutex<Vec<Say>>,
}

impl<'a> Keeper<'a> {
    /// For an installation.
    pub fn new(installation: &'a Installation, engine: &Engine, progress: &Progress) -> Self {
        Self {
            installation,
            engine: engine.clone(),
            progress: progress.clone(),
            thorough: false,
            edits: Mutex::default(),
        }
    }

    /// The installation.
    pub fn installation(&self) -> &'a Installation {
        self.installation
    }

    /// The engine.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Who is told of progress.
    pub fn progress(&self) -> &Progress {
        &self.progress
    }

    /// For a change.
    pub fn of(world: &World<'a>) -> Self {
        Self::new(world.installation, &world.engine, &world.progress)
    }
}

/// Whether what is lacking is only told or also brought back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// Look only.
    Look,
    /// Bring back what can be.
    Mend,
}

/// The first step of a change: folder and images of every version it may go back to are mended, edits by hand are
/// shown. For a rollback it is the version it leads to, which must be whole.
pub async fn secure(world: &mut World<'_>) -> Result<()> {
    let keeper = Keeper::of(world);
    let id = world.id.clone();
    if matches!(world.plan.kind, Kind::Rollback | Kind::Factory) {
        let target = world.plan.to.clone();
        for part in [Part::Folder, Part::Images] {
            let (way, fault) = keeper.tend(&target, part, Act::Mend, &id).await?;
            tell_edits(world, &keeper)?;
            if let Some(fault) = fault {
                return Err(fault);
            }
            tell(world, way)?;
        }
        return Ok(());
    }
    for version in pointed(world.installation)? {
        for part in [Part::Folder, Part::Images] {
            let (way, _) = keeper.tend(&version, part, Act::Mend, &id).await?;
            tell_edits(world, &keeper)?;
            tell(world, way)?;
        }
    }
    if let Some(current) = pointers::read(world.layout(), Pointer::Current)? {
        for edit in edits::by_hand(world.installation, &current)? {
            world.warn(Step::CheckingUpdates, edit.say(edits::SHORT))?;
        }
    }
    Ok(())
}

/// What every upgrade does that finds nothing to do: folders and images of the ways back are looked at and mended. What
/// cannot be mended is told.
pub async fn keep_up(installation: &Installation, engine: &Engine, progress: &Progress) -> Result<Vec<Way>> {
    let keeper = Keeper::new(installation, engine, progress);
    let id = super::change::new_id();
    let mut lost = Vec::new();
    for version in pointed(installation)? {
        for part in [Part::Folder, Part::Images] {
            let (way, _) = keeper.tend(&version, part, Act::Mend, &id).await?;
            match &way.condition {
                Condition::Whole => {}
                Condition::Mended(_) => progress.note(Step::CheckingUpdates, Say::Way(way)),
                Condition::Lacking(_) | Condition::Lost(..) => {
                    progress.warning(Step::CheckingUpdates, Say::Way(way.clone()));
                    lost.push(way);
                }
            }
        }
    }
    keeper.take_edits().into_iter().for_each(|say| progress.warning(Step::CheckingUpdates, say));
    Ok(lost)
}

/// The bundles of all ways back, verified and mended; this reads them whole, so it is done beside a download.
pub async fn bundles(keeper: &Keeper<'_>) -> Result<Vec<Way>> {
    let mut ways = Vec::new();
    for version in pointed(keeper.installation)? {
        ways.push(keeper.tend(&version, Part::Bundle, Act::Mend, "").await?.0);
    }
    Ok(ways)
}

/// Loads what the engine lacks of the images of `info` from whatever bundle has them, and pins them.
pub async fn images_for(world: &World<'_>, info: &ReleaseInfo) -> Result<()> {
    bring(&Keeper::of(world), info, None).await.map(drop)
}

/// How every part of every way back is; changes nothing.
pub async fn inspect(installation: &Installation, tools: &Tools, progress: &Progress) -> Result<Vec<Way>> {
    all(installation, tools, progress, Act::Look).await
}

/// Brings back what can be, and says what was done and what could not be.
pub async fn mend(installation: &Installation, tools: &Tools, progress: &Progress) -> Result<Vec<Way>> {
    all(installation, tools, progress, Act::Mend).await
}

async fn all(installation: &Installation, tools: &Tools, progress: &Progress, act: Act) -> Result<Vec<Way>> {
    let keeper = Keeper { thorough: true, ..Keeper::new(installation, &tools.engine, progress) };
    let id = super::change::new_id();
    let mut ways = Vec::new();
    for version in pointed(installation)? {
        // The bundle first: folder and images may have to be made from it.
        for part in [Part::Bundle, Part::Folder, Part::Images] {
            ways.push(keeper.tend(&version, part, act, &id).await?.0);
        }
    }
    keeper.take_edits().into_iter().for_each(|say| keeper.progress.warning(Step::CheckingUpdates, say));
    Ok(ways)
}

fn tell_edits(world: &mut World<'_>, keeper: &Keeper<'_>) -> Result<()> {
    keeper.take_edits().into_iter().try_for_each(|say| world.warn(Step::CheckingUpdates, say))
}

/// Tells what became of a part: a note where it is back, a warning that the result repeats where it is not.
pub fn tell(world: &mut World<'_>, way: Way) -> Result<()> {
    match way.condition {
        Condition::Whole => Ok(()),
        Condition::Mended(_) => {
            world.progress.note(Step::CheckingUpdates, Say::Way(way));
            Ok(())
        }
        Condition::Lacking(_) | Condition::Lost(..) => world.warn(Step::CheckingUpdates, Say::Way(way)),
    }
}

/// The file in `bundles/` that the release here was installed from; none for one that is no longer kept.
pub fn recorded(installation: &Installation, version: &Version) -> Result<Option<String>> {
    let version = version.to_string();
    installation.store.with(|db| {
        use rusqlite::OptionalExtension;
        let sql = "SELECT bundle_hash FROM releases WHERE version = ?1";
        Ok(db.query_row(sql, [&version], |row| row.get(0)).optional()?.flatten())
    })
}

/// The versions pointers name, each once, the last line of defence first.
fn pointed(installation: &Installation) -> Result<Vec<Version>> {
    let mut versions = Vec::new();
    for pointer in [Pointer::Factory, Pointer::Previous, Pointer::Current] {
        let found = pointers::read(&installation.layout, pointer)?;
        versions.extend(found.filter(|version| !versions.contains(version)));
    }
    Ok(versions)
}

impl Keeper<'_> {
    fn take_edits(&self) -> Vec<Say> {
        std::mem::take(&mut *self.edits.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Looks at one part of the way to `version`, and mends it where that is asked for. The fault is why it could not
    /// be mended; a failure to find out anything at all is an error.
    async fn tend(&self, version: &Version, part: Part, act: Act, id: &str) -> Result<(Way, Option<Fault>)> {
        let way = |condition| Way { version: version.to_string(), part, condition };
        let Some(info) = info_of(self.installation, version)? else {
            let folder = self.installation.layout.release(&version.to_string());
            let cause = "neither its folder nor the state says what it consists of";
            let fault = Fault::new(crate::fault::Code::ReleaseUnknown, version, cause);
            return Ok((way(Condition::Lost(folder.display().to_string(), cause.into())), Some(fault)));
        };
        let lacking = match part {
            Part::Folder => self.folder_lacks(&info)?,
            Part::Images => self.images_lack(&info).await?,
            Part::Bundle => self.bundle_lacks(&info).await?,
        };
        if lacking.is_empty() {
            return Ok((way(Condition::Whole), None));
        }
        let what = lacking.join(", ");
        if act == Act::Look {
            return Ok((way(Condition::Lacking(what)), None));
        }
        let mended = match part {
            Part::Bundle => self.refetch(&info).await,
            _ => self.bring_back(&info, part, id).await,
        };
        Ok(match mended {
            Ok(()) => (way(Condition::Mended(what)), None),
            Err(fault) => {
                let cause = fault.message(self.progress.lang());
                (way(Condition::Lost(what, cause)), Some(fault))
            }
        })
    }

    /// Makes the folder again, or loads and pins the images; where nothing here has what that takes, the bundle is got
    /// again first.
    async fn bring_back(&self, info: &ReleaseInfo, part: Part, id: &str) -> Result<()> {
        let Err(fault) = self.bring_back_from_here(info, part, id).await else { return Ok(()) };
        if self.bundle_lacks(info).await?.is_empty() {
            return Err(fault);
        }
        match self.refetch(info).await {
            Ok(()) => self.bring_back_from_here(info, part, id).await,
            Err(other) => {
                Err(Fault::new(fault.code(), fault.object(), format!("{}; {other}", fault.detail())))
            }
        }
    }

    async fn bring_back_from_here(&self, info: &ReleaseInfo, part: Part, id: &str) -> Result<()> {
        match part {
            Part::Folder => self.remake(info, id).await,
            _ => bring(self, info, None).await.map(drop),
        }
    }
}
