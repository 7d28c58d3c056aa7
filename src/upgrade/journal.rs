//! The journal of a change: what was begun, done and undone, durable before each effect.
//!
//! A step's state follows from its marks through one total function, [`StepState::after`], which is used
//! live and on replay alike. A mark that cannot follow is an error, never a panic and never ignored.

mod state;
mod twin;

use std::sync::Arc;

use rusqlite::{OptionalExtension, Transaction, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::fault::{Code, Fault, Result};
use crate::state::Store;

pub use state::{ChangeState, Mark, StepState};
use twin::{Line, Twin};
pub use twin::{Told, told as told_in, unfinished as unfinished_in};

/// A change as it is recorded.
#[derive(Debug, Clone)]
pub struct Change {
    /// Unique, ordered by time.
    pub id: String,
    /// `install`, `adopt`, `upgrade`, `rollback`, `restore`, `factory`.
    pub kind: String,
    /// The plan, as JSON.
    pub plan: String,
    /// What the steps learnt, as JSON.
    pub facts: String,
    /// Where it stands.
    pub state: ChangeState,
    /// How often it was begun or continued.
    pub attempts: u32,
    /// How often its undoing was continued.
    pub undo_attempts: u32,
    /// The change whose failure it answers.
    pub parent: Option<String>,
}

/// The recorded changes of an installation.
#[derive(Clone)]
pub struct Journal {
    store: Arc<Store>,
}

/// Now, as stored.
pub fn now() -> String {
    OffsetDateTime::now_utc().format(&Rfc3339).expect("the present is a valid RFC 3339 time")
}

impl Journal {
    /// Over the installation's store.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// Records a new change, durable on return.
    pub fn open(&self, id: &str, kind: &str, from: Option<&str>, to: &str, plan: &str) -> Result<()> {
        self.store.with(|db| {
            db.execute(
                "INSERT INTO upgrades (id, kind, from_version, to_version, plan, state, attempts, started_at)
                 VALUES (?1, ?2, ?3, ?4, ?5, 'running', 1, ?6)",
                params![id, kind, from, to, plan, now()],
            )
            .map(drop)
        })?;
        self.twin(id).begin(&opened(kind, from, to, None, plan));
        Ok(())
    }

    fn twin(&self, id: &str) -> Twin {
        Twin::of(self.store.path(), id)
    }

    /// Closes the change `parent`, which could not be undone, and records the one that takes over, in one step.
    pub fn escalate(
        &self,
        parent: &str,
        id: &str,
        kind: &str,
        from: Option<&str>,
        to: &str,
        plan: &str,
    ) -> Result<()> {
        let path = self.store.path();
        self.store.transaction(|db| {
            let write = || -> rusqlite::Result<()> {
                db.execute(
                    "UPDATE upgrades SET state = 'escalated', ended_at = ?2 WHERE id = ?1",
                    params![parent, now()],
                )?;
                db.execute(
                    "INSERT INTO upgrades (id, kind, from_version, to_version, plan, state, attempts, started_at, parent)
                     VALUES (?1, ?2, ?3, ?4, ?5, 'running', 1, ?6, ?7)",
                    params![id, kind, from, to, plan, now(), parent],
                )
                .map(drop)
            };
            write().map_err(|error| crate::state::fault(path, error))
        })?;
        // At no time neither of them is open.
        self.twin(id).begin(&opened(kind, from, to, Some(parent), plan));
        self.twin(parent).add(&Line::State(ChangeState::Escalated.name().into()));
        Ok(())
    }

    /// The change a next run has to deal with, if any. The newest by the order in which they were recorded: the clock
    /// may have been set since.
    pub fn unfinished(&self) -> Result<Option<Change>> {
        self.one("state IN ('running', 'undoing', 'needs_attention') ORDER BY rowid DESC LIMIT 1", &[])
    }

    /// The change `id`.
    pub fn get(&self, id: &str) -> Result<Option<Change>> {
        self.one("id = ?1", &[id])
    }

    fn one(&self, condition: &str, values: &[&str]) -> Result<Option<Change>> {
        let sql = format!(
            "SELECT id, kind, plan, facts, attempts, undo_attempts, parent, state FROM upgrades WHERE {condition}"
        );
        let row = self.store.with(|db| {
            let read = |row: &rusqlite::Row<'_>| {
                let change = Change {
                    id: row.get(0)?,
                    kind: row.get(1)?,
                    plan: row.get(2)?,
                    facts: row.get(3)?,
                    state: ChangeState::Running,
                    attempts: row.get(4)?,
                    undo_attempts: row.get(5)?,
                    parent: row.get(6)?,
                };
                Ok((change, row.get::<_, String>(7)?))
            };
            db.query_row(&sql, rusqlite::params_from_iter(values), read).optional()
        })?;
        row.map(|(change, state)| {
            let state = ChangeState::from_name(&state)
                .ok_or_else(|| Fault::new(Code::JournalIllegal, &change.id, format!("state '{state}'")))?;
            Ok(Change { state, ..change })
        })
        .transpose()
    }

    /// Counts one more beginning of the change, or of its undoing where that is what it was at.
    pub fn attempt(&self, id: &str, state: ChangeState) -> Result<()> {
        let column = if state == ChangeState::Undoing { "undo_attempts" } else { "attempts" };
        self.update(&format!("UPDATE upgrades SET {column} = {column} + 1 WHERE id = ?1"), id)
    }

    /// How many of its steps were undone.
    pub fn undone(&self, id: &str) -> Result<u32> {
        let sql = "SELECT count(DISTINCT step) FROM journal WHERE upgrade_id = ?1 AND mark = 'undone'";
        self.store.with(|db| db.query_row(sql, [id], |row| row.get(0)))
    }

    /// How often it was begun or continued.
    pub fn attempts(&self, id: &str) -> Result<u32> {
        let sql = "SELECT attempts FROM upgrades WHERE id = ?1";
        self.store.with(|db| db.query_row(sql, [id], |row| row.get(0)))
    }

    /// Replaces the plan (when the preparation made its second half known).
    pub fn set_plan(&self, id: &str, plan: &str) -> Result<()> {
        self.store.with(|db| {
            db.execute("UPDATE upgrades SET plan = ?2 WHERE id = ?1", params![id, plan]).map(drop)
        })?;
        self.twin(id).add(&Line::Plan(plan.into()));
        Ok(())
    }

    /// Replaces what the steps learnt.
    pub fn set_facts(&self, id: &str, facts: &str) -> Result<()> {
        self.store.with(|db| {
            db.execute("UPDATE upgrades SET facts = ?2 WHERE id = ?1", params![id, facts]).map(drop)
        })?;
        self.twin(id).add(&Line::Facts(facts.into()));
        Ok(())
    }

    /// Moves the change to `state`.
    pub fn set_state(&self, id: &str, state: ChangeState) -> Result<()> {
        let ended = (!matches!(state, ChangeState::Running | ChangeState::Undoing)).then(now);
        self.store.with(|db| {
            db.execute(
                "UPDATE upgrades SET state = ?2, ended_at = ?3 WHERE id = ?1",
                params![id, state.name(), ended],
            )
            .map(drop)
        })?;
        self.twin(id).add(&Line::State(state.name().into()));
        Ok(())
    }

    /// Records the result as it was told and moves the change to `state`, together with what `also` writes.
    pub fn conclude(
        &self,
        id: &str,
        outcome: &str,
        state: ChangeState,
        also: impl Fn(&Transaction) -> rusqlite::Result<()>,
    ) -> Result<()> {
        let ended = (!matches!(state, ChangeState::Running | ChangeState::Undoing)).then(now);
        let sql = "UPDATE upgrades SET outcome = ?2, state = ?3, ended_at = ?4 WHERE id = ?1";
        self.store.transaction(|db| {
            db.execute(sql, params![id, outcome, state.name(), ended])
                .and_then(|_| also(db))
                .map_err(|error| crate::state::fault(self.store.path(), error))
        })?;
        self.twin(id).add(&Line::State(state.name().into()));
        Ok(())
    }

    /// Appends a mark, durable on return; refuses one that cannot follow.
    pub fn mark(
        &self,
        id: &str,
        step: usize,
        state: StepState,
        mark: Mark,
        detail: &str,
    ) -> Result<StepState> {
        let next = state.after(mark).ok_or_else(|| illegal(id, step, state, mark))?;
        self.store.with(|db| {
            db.execute(
                "INSERT INTO journal (upgrade_id, step, mark, at, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
                params![id, step, mark.name(), now(), detail],
            )
            .map(drop)
        })?;
        self.twin(id).add(&Line::Mark(step, mark.name().into()));
        Ok(next)
    }

    /// Replays the marks of a change into the states of its `steps` steps.
    pub fn replay(&self, id: &str, steps: usize) -> Result<Vec<StepState>> {
        let marks: Vec<(usize, String)> = self.store.with(|db| {
            db.prepare("SELECT step, mark FROM journal WHERE upgrade_id = ?1 ORDER BY seq")?
                .query_map([id], |row| Ok((row.get(0)?, row.get(1)?)))?
                .collect()
        })?;
        replay(id, steps, &marks)
    }

    fn update(&self, sql: &str, id: &str) -> Result<()> {
        self.store.with(|db| db.execute(sql, [id]).map(drop))
    }
}

fn opened(kind: &str, from: Option<&str>, to: &str, parent: Option<&str>, plan: &str) -> Line {
    let text = |text: &str| text.to_owned();
    let (kind, from, to, plan) = (text(kind), from.map(text), text(to), text(plan));
    Line::Opened { schema: 1, kind, from, to, parent: parent.map(text), plan }
}

/// The states of `steps` steps after `marks` (step index, mark name), in order.
pub fn replay(id: &str, steps: usize, marks: &[(usize, String)]) -> Result<Vec<StepState>> {
    let mut states = vec![StepState::default(); steps];
    for (step, name) in marks {
        let unknown = || Fault::new(Code::JournalIllegal, id, format!("step {step}: '{name}'"));
        let mark = Mark::from_name(name).ok_or_else(unknown)?;
        let state = states.get_mut(*step).ok_or_else(unknown)?;
        *state = state.after(mark).ok_or_else(|| illegal(id, *step, *state, mark))?;
    }
    Ok(states)
}

fn illegal(id: &str, step: usize, state: StepState, mark: Mark) -> Fault {
    Fault::new(Code::JournalIllegal, id, format!("step {step} is {state:?}; '{}' cannot follow", mark.name()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_replayed_from_the_database() {
        let journal = Journal::new(Arc::new(Store::in_memory().unwrap()));
        journal.open("u1", "upgrade", Some("1.0.0"), "1.1.0", "{}").unwrap();
        let state = journal.mark("u1", 0, StepState::Pending, Mark::Started, "").unwrap();
        journal.mark("u1", 0, state, Mark::Done, "").unwrap();
        journal.mark("u1", 1, StepState::Pending, Mark::Started, "").unwrap();
        let states = journal.replay("u1", 3).unwrap();
        assert_eq!(states, [StepState::Done, StepState::Started, StepState::Pending]);
        let open = journal.unfinished().unwrap().unwrap();
        assert_eq!((open.id.as_str(), open.state, open.attempts), ("u1", ChangeState::Running, 1));
        journal.set_state("u1", ChangeState::Completed).unwrap();
        assert!(journal.unfinished().unwrap().is_none());
    }

    #[test]
    fn an_illegal_mark_is_refused_live_and_on_replay() {
        let journal = Journal::new(Arc::new(Store::in_memory().unwrap()));
        journal.open("u1", "upgrade", None, "1.1.0", "{}").unwrap();
        let live = journal.mark("u1", 0, StepState::Pending, Mark::Done, "").unwrap_err();
        let replayed = replay("u1", 1, &[(0, "done".into())]).unwrap_err();
        for error in [live, replayed] {
            assert_eq!(error.code(), Code::JournalIllegal);
        }
        assert_eq!(replay("u1", 1, &[(1, "started".into())]).unwrap_err().code(), Code::JournalIllegal);
        assert_eq!(replay("u1", 1, &[(0, "begun".into())]).unwrap_err().code(), Code::JournalIllegal);
    }
}
