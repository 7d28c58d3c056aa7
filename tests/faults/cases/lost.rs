//! SIGKILL, and then the state database is gone as well: what was under way is known by its journal's twin alone.

use super::UPGRADE;
use super::kill::{ROLLBACK_COMMAND, kill, rolled_back, undone, upgraded};
use crate::case::{Case, Ground, Outcome, Place};
use crate::shop::{NEW, OLD};

type Kill = fn(&mut Ground<'_, '_>, &str) -> Outcome;

const UPGRADES: [&str; 6] = [
    "applied:fetch",
    "applied:backup",
    "applied:flip_current",
    "started:swap:web",
    "applied:swap:worker",
    "started:finalize",
];
const UNDOINGS: [&str; 4] = [
    "undo_started:swap:worker",
    "undo_applied:swap:api",
    "undo_started:protect",
    "undo_applied:create_containers",
];
const ROLLBACKS: [&str; 2] = ["applied:swap:api", "started:swap:worker"];

pub fn cases() -> Vec<Case> {
    let rows = |row: &'static str, points: &'static [&'static str], begin, act: Kill| {
        points.iter().map(move |point| Case {
            section: "SIGKILL, and the state is lost",
            row: row.to_owned(),
            column: point.replace(':', " "),
            place: Place::Disk,
            begin: Some(begin),
            act: Box::new(move |ground| act(ground, point)),
        })
    };
    let mut all: Vec<Case> = rows("upgrade", &UPGRADES, OLD, upgrade).collect();
    all.extend(rows("undoing of an upgrade", &UNDOINGS, OLD, undoing));
    all.extend(rows("rollback", &ROLLBACKS, NEW, rollback));
    all
}

fn lose(ground: &mut Ground<'_, '_>, point: &str, command: &[&str]) {
    kill(ground, point, command);
    ground.pause();
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        std::fs::remove_file(ground.site.root.join(name)).unwrap();
    }
}

fn upgrade(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    lose(ground, point, &UPGRADE);
    upgraded(ground)
}

fn undoing(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    ground.site.shop.tell("probe", NEW, true);
    lose(ground, point, &UPGRADE);
    undone(ground)
}

fn rollback(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    lose(ground, point, &ROLLBACK_COMMAND);
    rolled_back(ground)
}
