//! The change that was under way when the state was lost, as its twin in `work/` tells it.

use std::path::Path;

use rusqlite::params;

use super::words::Loss;
use crate::durable;
use crate::fault::{IoContext, Result};
use crate::layout::Layout;
use crate::state::Store;
use crate::upgrade::effects::quiet;
use crate::upgrade::journal::{self, ChangeState, Told, replay};
use crate::upgrade::plan::{Facts, Plan};
use crate::upgrade::step::Step;

/// Records the newest unfinished change again, so that it is gone on with; the files of others go.
pub fn fill(store: &Store, layout: &Layout, losses: &mut Vec<Loss>) -> Result<()> {
    let work = layout.all_work();
    let found = find(&work).unwrap_or_default();
    for (told, committed) in &found {
        record(store, told, *committed)?;
    }
    if let Some((told, _)) = found.last() {
        losses.push(Loss::Change { from: told.from.clone().unwrap_or_default(), to: told.to.clone() });
    }
    if !work.is_dir() {
        return Ok(());
    }
    for entry in std::fs::read_dir(&work).at(&work)? {
        let entry = entry.at(&work)?;
        if found.iter().any(|(told, _)| entry.file_name() == told.id.as_str()) {
            continue;
        }
        match entry.file_type().at(entry.path())?.is_dir() {
            true => durable::remove_dir_all(&entry.path())?,
            false => durable::remove_file(&entry.path())?,
        }
    }
    Ok(())
}

/// The change that was under way, after the one whose failure it answers, each with whether its commit is done. None
/// where it cannot be gone on with by what is there.
fn find(work: &Path) -> Option<Vec<(Told, bool)>> {
    let told = journal::unfinished_in(work)?;
    let mut found = Vec::new();
    if let Some(parent) = &told.parent {
        let parent = journal::told_in(work, parent)?;
        let committed = committed(&parent)?;
        found.push((Told { state: ChangeState::Escalated, ..parent }, committed));
    }
    let committed = committed(&told)?;
    found.push((told, committed));
    Some(found)
}

/// Whether its commit is done; none where it cannot be gone on with by this.
fn committed(told: &Told) -> Option<bool> {
    let plan = Plan::from_json(&told.plan, &told.id).ok()?;
    serde_json::from_str::<Facts>(&told.facts).ok()?;
    let steps = plan.steps();
    let states = replay(&told.id, steps.len(), &told.marks).ok()?;
    let mut both = steps.iter().zip(states);
    Some(both.any(|(step, state)| *step == Step::Commit && state == journal::StepState::Done))
}

fn record(store: &Store, told: &Told, committed: bool) -> Result<()> {
    let now = journal::now();
    let Told { id, kind, from, to, parent, plan, facts, state, marks } = told;
    let held: Facts = serde_json::from_str(facts).unwrap_or_default();
    store.with(|db| {
        // What the one that failed had held is swapped by now, perhaps.
        let open = *state != ChangeState::Escalated;
        if open && !(held.frozen.is_empty() && held.halted.is_empty()) {
            quiet::remember(db, &held.frozen, &held.halted)?;
        }
        db.execute(
            "INSERT INTO upgrades
               (id, kind, from_version, to_version, plan, facts, state, committed, attempts, started_at, parent)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, 1, ?9, ?10)",
            params![id, kind, from, to, plan, facts, state.name(), committed, now, parent],
        )?;
        marks.iter().try_for_each(|(step, mark)| {
            let sql = "INSERT INTO journal (upgrade_id, step, mark, at) VALUES (?1, ?2, ?3, ?4)";
            db.execute(sql, params![id, step, mark, now]).map(drop)
        })
    })
}
