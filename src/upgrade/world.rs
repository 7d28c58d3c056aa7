//! The real world a plan is carried out in: the installation, the engine, Compose, and what was learnt.

use std::collections::BTreeSet;

use async_trait::async_trait;

use super::effects;
use super::installation::Installation;
use super::journal::Journal;
use super::plan::{ChangePlan, Facts, Plan};
use super::runner::Effects;
use super::step::Step;
use crate::backup::Stage;
use crate::docker::{Compose, Engine};
use crate::durable;
use crate::fault::{Code, Fault, Result};
use crate::layout::Layout;
use crate::messages::Say;
use crate::progress::{self, Progress};
use crate::release::ReleaseInfo;

/// Everything the effects of a change need.
pub struct World<'a> {
    /// The installation that is changed.
    pub installation: &'a Installation,
    /// The engine; another connection after it was restarted.
    pub engine: Engine,
    /// The Compose command.
    pub compose: &'a Compose,
    /// Who is told.
    pub progress: Progress,
    /// The change's ID.
    pub id: String,
    /// What will be done.
    pub plan: Plan,
    /// Where the new release is, when it is not in its place yet (a preview).
    pub staged: Option<std::path::PathBuf>,
    /// The data, copied while its services run, for the backup to come.
    pub stage: Option<Stage>,
    /// The archive that is written meanwhile.
    pub archiving: Option<effects::archiving::Archiving>,
    /// Containers this process started, and those it stopped: what must run, or not, after an outage.
    pub started: BTreeSet<String>,
    /// See `started`.
    pub stopped: BTreeSet<String>,
    /// The engine came back without containers it had.
    pub lost: bool,
    /// There was an outage since everything was verified.
    pub unverified: bool,
    /// The engine went away and did not come back in time: nothing waits for it again.
    pub engine_lost: bool,
    /// On the way back, which goes on where nothing can be written.
    pub undoing: bool,
    /// What could not be written on the way back.
    pub unwritten: Vec<Fault>,
    /// What was learnt; change it only through [`World::learn`].
    facts: Facts,
    journal: Journal,
}

impl<'a> World<'a> {
    /// For the change `id`.
    pub fn new(
        installation: &'a Installation,
        engine: &Engine,
        compose: &'a Compose,
        progress: Progress,
        id: &str,
        plan: Plan,
        facts: Facts,
    ) -> Self {
        let journal = Journal::new(installation.store.clone());
        Self {
            installation,
            engine: engine.clone(),
            compose,
            progress,
            id: id.to_owned(),
            plan,
            staged: None,
            stage: None,
            archiving: None,
            started: BTreeSet::new(),
            stopped: BTreeSet::new(),
            lost: false,
            unverified: false,
            engine_lost: false,
            undoing: false,
            unwritten: Vec::new(),
            facts,
            journal,
        }
    }

    /// Where things are.
    pub fn layout(&self) -> &Layout {
        &self.installation.layout
    }

    /// The Compose project.
    pub fn project(&self) -> &str {
        &self.installation.settings.project
    }

    /// What the steps learnt so far.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }

    /// Adds to what was learnt; durable on return.
    pub fn learn(&mut self, add: impl FnOnce(&mut Facts)) -> Result<()> {
        let before = self.facts.clone();
        add(&mut self.facts);
        if self.facts == before {
            return Ok(());
        }
        let text = serde_json::to_string(&self.facts).expect("facts are always valid JSON");
        let written = self.journal.set_facts(&self.id, &text);
        self.written(written)
    }

    /// On the way back, takes a write to the state that failed for done, to be told later: the engine can bring the
    /// stack back without it, whatever is wrong with the disk or the database.
    pub fn written(&mut self, result: Result<()>) -> Result<()> {
        match result {
            Err(fault) if self.undoing => {
                self.unwritten.push(fault);
                Ok(())
            }
            other => other,
        }
    }

    /// Tells a person something that the result repeats.
    pub fn warn(&mut self, step: progress::Step, say: Say) -> Result<()> {
        let text = say.text(self.progress.lang());
        self.progress.warning(step, say);
        self.learn(|facts| {
            if !facts.warnings.contains(&text) {
                facts.warnings.push(text);
            }
        })
    }

    /// The half of the plan that touches the stack.
    pub fn change(&self) -> Result<&ChangePlan> {
        self.plan
            .change
            .as_ref()
            .ok_or_else(|| Fault::new(Code::JournalIllegal, &self.id, "the change is not planned yet"))
    }

    /// The release the change leads to.
    pub fn target(&self) -> Result<ReleaseInfo> {
        match &self.staged {
            Some(folder) => super::releases::read_info(folder),
            None => super::releases::require(self.layout(), &self.plan.to),
        }
    }

    /// The folder of that release.
    pub fn target_folder(&self) -> std::path::PathBuf {
        self.staged.clone().unwrap_or_else(|| self.layout().release(&self.plan.to.to_string()))
    }

    /// A file this change needs while it runs; its folder is made.
    pub fn work_file(&self, name: &str) -> Result<std::path::PathBuf> {
        let folder = self.layout().work(&self.id);
        // Dumps and models are nobody else's business.
        durable::create_private_dir_all(&folder)?;
        Ok(folder.join(name))
    }
}

#[async_trait]
impl Effects for World<'_> {
    async fn apply(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::SecureWays => super::ways::secure(self).await,
            Step::Fetch(package) => effects::prepare::fetch(self, package).await,
            Step::Unpack { file, patch } => effects::prepare::unpack(self, file, patch.as_ref()).await,
            Step::CarryEdits => effects::edits::carry(self),
            Step::LoadImages { file } => effects::images::load(self, file.as_deref()).await,
            Step::TagImages { moves } => effects::images::tag(self, moves).await,
            Step::CreateContainers => effects::containers::create(self).await,
            Step::Backup => effects::backup::backup(self).await,
            Step::CopyData => effects::backup::copy(self).await,
            Step::Protect => effects::containers::protect(self).await,
            Step::FlipCurrent => effects::finish::flip(self),
            Step::StopServices { services } => effects::containers::stop(self, services).await,
            Step::RestoreData { backup } => effects::restore::restore(self, backup).await,
            Step::Swap { service } => effects::swap::swap(self, service).await,
            Step::Verify => effects::swap::verify(self).await,
            Step::Commit => effects::finish::commit(self).await,
            Step::Finalize => effects::finish::finalize(self).await,
            Step::CleanUp => effects::finish::clean_up(self).await,
        }
    }

    async fn outlasted(&mut self, fault: &Fault) -> bool {
        effects::outage::outlasted(self, fault).await
    }

    async fn revert(&mut self, step: &Step) -> Result<()> {
        match step {
            Step::CarryEdits => effects::edits::put_back(self),
            Step::TagImages { moves } => effects::images::untag(self, moves).await,
            Step::CreateContainers => effects::containers::remove_created(self).await,
            Step::Backup => effects::restore::undo_backup(self).await,
            Step::CopyData => effects::backup::drop_copy(self).await,
            Step::Protect => effects::back::bring_back(self).await,
            Step::FlipCurrent => effects::finish::flip_back(self),
            Step::RestoreData { .. } => effects::restore::undo_restore(self).await,
            Step::Swap { service } => effects::swap::swap_back(self, service).await,
            Step::Commit => effects::finish::take_back_commit(self),
            // What these made is found again by its content and is in nobody's way; `Protect` brings back
            // what was stopped.
            Step::SecureWays
            | Step::Fetch(_)
            | Step::Unpack { .. }
            | Step::LoadImages { .. }
            | Step::StopServices { .. }
            | Step::Verify
            | Step::Finalize
            | Step::CleanUp => Ok(()),
        }
    }
}
