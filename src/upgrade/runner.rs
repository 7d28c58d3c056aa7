//! Carries out steps under the journal: dumb on purpose.
//!
//! Before each effect its mark is durable. A failure before the commit undoes, in reverse, every step that may
//! have had an effect, and goes on when one of these fails, so that as much as possible is put back.

use async_trait::async_trait;

use super::journal::{Journal, Mark, StepState};
use super::killpoint;
use super::step::Step;
use crate::fault::{Fault, Result};

/// What steps do to the world. Every method is idempotent: a process killed at any moment repeats it.
#[async_trait]
pub trait Effects: Send {
    /// Makes the step's effect.
    async fn apply(&mut self, step: &Step) -> Result<()>;
    /// Undoes it, also where it was made in part.
    async fn revert(&mut self, step: &Step) -> Result<()>;
    /// Whether `fault` came of an outage (the engine was restarted) that is over by now, so that the step is worth
    /// another try.
    async fn outlasted(&mut self, fault: &Fault) -> bool;
}

/// Outages that one step is repeated after.
const MOST_OUTAGES: u32 = 3;

/// What undoing left behind.
#[derive(Debug, Default)]
pub struct Left {
    /// The stack is not wholly back.
    pub vital: Vec<Fault>,
    /// It is, and something lies about.
    pub remains: Vec<Fault>,
}

/// The steps of one change and where each stands.
pub struct Runner<'a> {
    journal: &'a Journal,
    id: &'a str,
    steps: Vec<Step>,
    states: Vec<StepState>,
}

impl<'a> Runner<'a> {
    /// For the change `id`, replaying what its journal says.
    pub fn new(journal: &'a Journal, id: &'a str, steps: Vec<Step>) -> Result<Self> {
        let states = journal.replay(id, steps.len())?;
        Ok(Self { journal, id, steps, states })
    }

    /// Whether the commit is done: from then on there is only forward.
    pub fn committed(&self) -> bool {
        self.any(|step, state| *step == Step::Commit && state == StepState::Done)
    }

    /// Whether the running stack may have been touched.
    pub fn touched(&self) -> bool {
        self.any(|step, state| step.touches_stack() && state != StepState::Pending)
    }

    fn any(&self, test: impl Fn(&Step, StepState) -> bool) -> bool {
        self.steps.iter().zip(&self.states).any(|(step, state)| test(step, *state))
    }

    /// Makes the effects of all steps that are not done yet, in order, and stops at the first failure.
    pub async fn forward(&mut self, effects: &mut dyn Effects) -> Result<()> {
        for index in 0..self.steps.len() {
            if self.states[index] == StepState::Done {
                continue;
            }
            self.take(index, effects, "").await?;
        }
        Ok(())
    }

    /// As [`Runner::forward`], but a service that does not come up, or a check that fails, does not keep the others
    /// from being brought up; then there is no commit. Gives what failed.
    pub async fn push_on(&mut self, effects: &mut dyn Effects) -> Result<Vec<Fault>> {
        let mut failures = Vec::new();
        for index in 0..self.steps.len() {
            if self.states[index] == StepState::Done {
                continue;
            }
            if self.steps[index] == Step::Commit && !failures.is_empty() {
                break;
            }
            match self.take(index, effects, "factory/").await {
                Err(fault) if self.may_fail(index) => failures.push(fault),
                taken => taken?,
            }
        }
        Ok(failures)
    }

    /// Whether what failed was the step itself, and one without which the others can go on.
    fn may_fail(&self, index: usize) -> bool {
        self.states[index] == StepState::Failed
            && matches!(self.steps[index], Step::Swap { .. } | Step::Verify)
    }

    /// Takes one step, with its marks; `points` begins the names of its kill points.
    async fn take(&mut self, index: usize, effects: &mut dyn Effects, points: &str) -> Result<()> {
        let step = self.steps[index].clone();
        let reached = |moment: &str| killpoint::reached(&format!("{points}{moment}"), &step);
        reached("before");
        self.mark(index, Mark::Started, "")?;
        reached("started");
        match repeated(effects, &step, false).await {
            Ok(()) => {
                reached("applied");
                self.mark(index, Mark::Done, "")
            }
            Err(fault) => {
                // A disk that is too full for the mark must not hide what came first.
                self.mark(index, Mark::Failed, &fault.to_string()).ok();
                Err(fault)
            }
        }
    }

    /// Undoes, in reverse, every step that may have had an effect; gives back what could not be undone.
    ///
    /// A journal that cannot be written (the new release may have filled the disk) does not stop it: undoing again
    /// what is undone does no harm.
    pub async fn back(&mut self, effects: &mut dyn Effects) -> Left {
        let mut left = Left::default();
        for index in (0..self.steps.len()).rev() {
            if !self.states[index].has_effect() {
                continue;
            }
            let step = self.steps[index].clone();
            killpoint::reached("undo_before", &step);
            left.remains.extend(self.mark(index, Mark::UndoStarted, "").err());
            killpoint::reached("undo_started", &step);
            let mark = match repeated(effects, &step, true).await {
                Ok(()) => {
                    killpoint::reached("undo_applied", &step);
                    self.mark(index, Mark::Undone, "")
                }
                Err(fault) => {
                    let marked = self.mark(index, Mark::UndoFailed, &fault.to_string());
                    if step.is_vital() { &mut left.vital } else { &mut left.remains }.push(fault);
                    marked
                }
            };
            left.remains.extend(mark.err());
        }
        left
    }

    fn mark(&mut self, index: usize, mark: Mark, detail: &str) -> Result<()> {
        let state = self.states[index];
        // What is not written is known to this process all the same.
        self.states[index] = state.after(mark).unwrap_or(state);
        self.journal.mark(self.id, index, state, mark, detail).map(drop)
    }
}

/// Makes or undoes the effect, again after each outage that is over.
async fn repeated(effects: &mut dyn Effects, step: &Step, undo: bool) -> Result<()> {
    let mut outages = 0;
    loop {
        let result = if undo { effects.revert(step).await } else { effects.apply(step).await };
        match result {
            Err(fault) if outages < MOST_OUTAGES && effects.outlasted(&fault).await => outages += 1,
            other => return other,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::fault::Code;
    use crate::state::Store;

    /// A world that records effects and fails where it is told to.
    #[derive(Default)]
    struct World {
        made: Vec<String>,
        /// Faults left that are outages.
        outages: u32,
        fail_apply: Option<String>,
        fail_revert: Option<String>,
    }

    #[async_trait]
    impl Effects for World {
        async fn apply(&mut self, step: &Step) -> Result<()> {
            if self.fail_apply.as_deref() == Some(&step.name()) {
                return Err(Fault::new(Code::Unhealthy, step.name(), "told to"));
            }
            self.made.retain(|name| *name != step.name());
            self.made.push(step.name());
            Ok(())
        }

        async fn revert(&mut self, step: &Step) -> Result<()> {
            if self.fail_revert.as_deref() == Some(&step.name()) {
                return Err(Fault::new(Code::ContainerFailed, step.name(), "told to"));
            }
            self.made.retain(|name| *name != step.name());
            Ok(())
        }

        async fn outlasted(&mut self, _fault: &Fault) -> bool {
            let over = self.outages > 0;
            self.outages = self.outages.saturating_sub(1);
            if self.outages == 0 && over {
                (self.fail_apply, self.fail_revert) = (None, None);
            }
            over
        }
    }

    fn steps() -> Vec<Step> {
        let swap = |service: &str| Step::Swap { service: service.into() };
        vec![Step::Protect, Step::FlipCurrent, swap("db"), swap("api"), Step::Verify, Step::Commit]
    }

    fn journal() -> Journal {
        let journal = Journal::new(Arc::new(Store::in_memory().unwrap()));
        journal.open("u", "upgrade", Some("1.0.0"), "1.1.0", "{}").unwrap();
        journal
    }

    #[tokio::test]
    async fn a_good_run_makes_every_effect_in_order_and_is_committed() {
        let journal = journal();
        let mut world = World::default();
        let mut runner = Runner::new(&journal, "u", steps()).unwrap();
        assert!(!runner.touched());
        runner.forward(&mut world).await.unwrap();
        assert_eq!(world.made, ["protect", "flip_current", "swap:db", "swap:api", "verify", "commit"]);
        assert!(runner.committed() && runner.touched());
    }

    #[tokio::test]
    async fn a_failure_is_undone_in_reverse_and_leaves_nothing() {
        for fail in ["protect", "flip_current", "swap:db", "swap:api", "verify", "commit"] {
            let journal = journal();
            let mut world = World { fail_apply: Some(fail.into()), ..World::default() };
            let mut runner = Runner::new(&journal, "u", steps()).unwrap();
            let fault = runner.forward(&mut world).await.unwrap_err();
            assert_eq!(fault.object(), fail);
            assert!(runner.back(&mut world).await.vital.is_empty());
            assert!(world.made.is_empty(), "after {fail}: {:?}", world.made);
            assert!(!runner.committed());
        }
    }

    #[tokio::test]
    async fn a_step_is_repeated_after_an_outage_but_not_for_ever() {
        for (outages, ends_well) in [(1, true), (3, true), (4, false)] {
            let journal = journal();
            let mut world = World { fail_apply: Some("swap:api".into()), outages, ..World::default() };
            let mut runner = Runner::new(&journal, "u", steps()).unwrap();
            assert_eq!(runner.forward(&mut world).await.is_ok(), ends_well, "{outages} outages");
        }
    }

    #[tokio::test]
    async fn pushing_on_brings_up_what_can_run_and_does_not_commit() {
        let journal = journal();
        let mut world = World { fail_apply: Some("swap:db".into()), ..World::default() };
        let mut runner = Runner::new(&journal, "u", steps()).unwrap();
        let failures = runner.push_on(&mut world).await.unwrap();
        assert_eq!(failures.len(), 1);
        assert_eq!(world.made, ["protect", "flip_current", "swap:api", "verify"]);
        world.fail_apply = None;
        let mut again = Runner::new(&journal, "u", steps()).unwrap();
        assert!(again.push_on(&mut world).await.unwrap().is_empty());
        assert!(again.committed(), "the next try goes on where this one could not");
    }

    #[tokio::test]
    async fn what_is_not_vital_does_not_make_the_way_back_fail() {
        let journal = journal();
        let mut world = World { fail_revert: Some("create_containers".into()), ..World::default() };
        let steps = vec![Step::CreateContainers, Step::Protect];
        let mut runner = Runner::new(&journal, "u", steps).unwrap();
        runner.forward(&mut world).await.unwrap();
        let left = runner.back(&mut world).await;
        assert_eq!((left.vital.len(), left.remains.len()), (0, 1));
    }

    #[tokio::test]
    async fn what_cannot_be_undone_is_told_and_the_rest_is_undone() {
        let journal = journal();
        let mut world = World {
            fail_apply: Some("verify".into()),
            fail_revert: Some("swap:db".into()),
            ..World::default()
        };
        let mut runner = Runner::new(&journal, "u", steps()).unwrap();
        runner.forward(&mut world).await.unwrap_err();
        assert_eq!(runner.back(&mut world).await.vital.len(), 1);
        assert_eq!(world.made, ["swap:db"]);
        world.fail_revert = None;
        let mut again = Runner::new(&journal, "u", steps()).unwrap();
        assert!(again.back(&mut world).await.vital.is_empty());
        assert!(world.made.is_empty());
    }

    #[tokio::test]
    async fn a_run_cut_off_after_any_mark_is_finished_by_the_next() {
        // The journal as a killed process leaves it: the first `cut` marks of a good run.
        let marks = steps().len() * 2;
        for cut in 0..=marks {
            let journal = journal();
            let mut states = vec![StepState::Pending; steps().len()];
            for index in 0..cut {
                let mark = if index % 2 == 0 { Mark::Started } else { Mark::Done };
                let step = index / 2;
                states[step] = journal.mark("u", step, states[step], mark, "").unwrap();
            }
            let mut world =
                World { made: steps()[..cut / 2].iter().map(Step::name).collect(), ..World::default() };
            let mut runner = Runner::new(&journal, "u", steps()).unwrap();
            runner.forward(&mut world).await.unwrap();
            assert_eq!(
                world.made,
                steps().iter().map(Step::name).collect::<Vec<_>>(),
                "cut after {cut} marks"
            );
        }
    }
}
