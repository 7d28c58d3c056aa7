//! SIGKILL at every point of an upgrade, of its undoing, of a rollback and of a restore.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::{RESTORE, UPGRADE, outcome};
use crate::case::{Case, Ground, Outcome, Place};
use crate::hold;
use crate::shop::{NEW, OLD};
use crate::tiny::Done;
use crate::whole;

const PREPARE: [&str; 5] = ["secure_ways", "fetch", "unpack", "carry_edits", "load_images"];
const CHANGE: [&str; 11] = [
    "tag_images",
    "create_containers",
    "backup",
    "protect",
    "flip_current",
    "swap:db",
    "swap:api",
    "swap:web",
    "swap:worker",
    "verify",
    "commit",
];
const AFTER: [&str; 2] = ["finalize", "clean_up"];
/// A service that migrated no data keeps it on the way back, so nothing is restored.
const ROLLBACK: [&str; 15] = [
    "secure_ways",
    "load_images",
    "tag_images",
    "create_containers",
    "backup",
    "protect",
    "flip_current",
    "swap:db",
    "swap:api",
    "swap:web",
    "swap:worker",
    "verify",
    "commit",
    "finalize",
    "clean_up",
];
const RESTORED: [&str; 12] = [
    "copy_data",
    "protect",
    "flip_current",
    "stop_services",
    "backup",
    "restore_data",
    "swap:db",
    "swap:worker",
    "verify",
    "commit",
    "finalize",
    "clean_up",
];
pub(super) const ROLLBACK_COMMAND: [&str; 4] = ["rollback", "--to", "previous", "--yes"];
const FORWARD: [&str; 3] = ["before", "started", "applied"];
const BACKWARD: [&str; 3] = ["undo_before", "undo_started", "undo_applied"];

pub fn cases() -> Vec<Case> {
    let upgrade: Vec<&str> = PREPARE.into_iter().chain(CHANGE).chain(AFTER).collect();
    let undo: Vec<&str> = PREPARE.into_iter().chain(CHANGE).filter(|step| *step != "commit").rev().collect();
    let mut all = Vec::new();
    all.extend(section("SIGKILL in an upgrade", &upgrade, FORWARD, OLD, killed_upgrade));
    all.extend(section("SIGKILL in the undoing of an upgrade", &undo, BACKWARD, OLD, killed_undo));
    all.extend(section("SIGKILL in a rollback", &ROLLBACK, FORWARD, NEW, killed_rollback));
    let restores = section(RESTORE, &RESTORED, FORWARD, NEW, killed_restore);
    all.extend(restores.into_iter().map(|case| Case { begin: None, ..case }));
    all.push(completeness("of an upgrade", OLD, upgrade, |ground, see| {
        hold::run(ground.site.shop.scratch.path(), ground.site.command(&UPGRADE), "*", see).expect(0);
    }));
    all.push(completeness("of a rollback", NEW, ROLLBACK.to_vec(), |ground, see| {
        hold::run(ground.site.shop.scratch.path(), ground.site.command(&ROLLBACK_COMMAND), "*", see)
            .expect(0);
    }));
    all.push(completeness("of an undoing", OLD, undo, |ground, see| {
        ground.site.shop.tell("probe", NEW, true);
        hold::run(ground.site.shop.scratch.path(), ground.site.command(&UPGRADE), "*", see).expect(20);
    }));
    all.push(completeness("of a restore", NEW, RESTORED.to_vec(), |ground, see| {
        let id = make_backup(ground);
        let command = ground.site.command(&["backup", "restore", &id, "--yes"]);
        hold::run(ground.site.shop.scratch.path(), command, "*", see).expect(0);
        ground.site.writer.went_back(0, ground.site.writer.count());
    }));
    all
}

type Kill = fn(&mut Ground<'_, '_>, &str) -> Outcome;

fn section(
    title: &'static str,
    steps: &[&'static str],
    moments: [&'static str; 3],
    begin: &'static str,
    kill: Kill,
) -> Vec<Case> {
    let mut cases = Vec::new();
    for step in steps {
        for moment in moments {
            let point = format!("{moment}:{step}");
            cases.push(Case {
                section: title,
                row: (*step).to_owned(),
                column: moment.to_owned(),
                place: Place::Disk,
                begin: Some(begin),
                act: Box::new(move |ground| kill(ground, &point)),
            });
        }
    }
    cases
}

/// Takes the stack through a change and names every step it met.
type Walk = fn(&mut Ground<'_, '_>, &mut dyn FnMut(&str));

/// The tables above have every step there is.
fn completeness(row: &str, begin: &'static str, known: Vec<&'static str>, run: Walk) -> Case {
    let undo = row.contains("undoing");
    Case {
        section: "every step has its points",
        row: row.to_owned(),
        column: String::new(),
        place: Place::Disk,
        begin: Some(begin),
        act: Box::new(move |ground| {
            let mut met = BTreeSet::new();
            run(ground, &mut |point: &str| {
                let (moment, step) = point.split_once(':').unwrap();
                if moment.starts_with("undo") == undo {
                    met.insert(step.to_owned());
                }
            });
            let known: BTreeSet<String> = known.iter().map(|step| (*step).to_owned()).collect();
            assert_eq!(met, known, "the steps there are, and those that are killed");
            outcome(&format!("{} steps", met.len()), Duration::ZERO)
        }),
    }
}

pub(super) fn kill(ground: &Ground<'_, '_>, point: &str, arguments: &[&str]) {
    let mut command = ground.site.command(arguments);
    let done = Done::of(command.env("COMPOSE_UPGRADE_KILL_AT", point));
    assert_eq!(done.signal, Some(9), "it was not killed at {point}: {done:#?}");
}

fn killed_upgrade(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    kill(ground, point, &UPGRADE);
    ground.pause();
    upgraded(ground)
}

/// What the next command has to come to.
pub(super) fn upgraded(ground: &Ground<'_, '_>) -> Outcome {
    let began = Instant::now();
    ground.site.upgrade_to(NEW).expect(0);
    let recovery = began.elapsed();
    whole::stack_is(ground.site, NEW);
    outcome("new", recovery)
}

fn killed_undo(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    ground.site.shop.tell("probe", NEW, true);
    kill(ground, point, &UPGRADE);
    ground.pause();
    undone(ground)
}

/// What the next command has to come to.
pub(super) fn undone(ground: &Ground<'_, '_>) -> Outcome {
    let began = Instant::now();
    ground.site.upgrade_to(NEW).expect(20);
    let recovery = began.elapsed();
    whole::stack_is(ground.site, OLD);
    outcome("old", recovery)
}

fn killed_rollback(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    kill(ground, point, &ROLLBACK_COMMAND);
    ground.pause();
    rolled_back(ground)
}

/// What the next command has to come to.
pub(super) fn rolled_back(ground: &Ground<'_, '_>) -> Outcome {
    let began = Instant::now();
    ground.site.client(&ROLLBACK_COMMAND).expect(0);
    let recovery = began.elapsed();
    whole::stack_is(ground.site, OLD);
    outcome("old", recovery)
}

fn make_backup(ground: &Ground<'_, '_>) -> String {
    let made = ground.site.client(&["backup", "create"]).expect(0).json();
    made["id"].as_str().unwrap_or_else(|| panic!("{made:#}")).to_owned()
}

fn killed_restore(ground: &mut Ground<'_, '_>, point: &str) -> Outcome {
    let site = ground.site;
    let version = site.current();
    let before = site.writer.count();
    let id = make_backup(ground);
    let restore = ["backup", "restore", id.as_str(), "--yes"];
    kill(ground, point, &restore);
    ground.pause();
    let began = Instant::now();
    // Either finishes it; the restore is then made once more.
    if rand::Rng::random(ground.random) {
        site.client(&["upgrade", "--yes", "--target", &version]).expect(0);
    } else {
        site.client(&restore).expect(0);
    }
    let recovery = began.elapsed();
    whole::stack_is(site, &version);
    site.writer.went_back(before, site.writer.count());
    site.writer.nothing_lost();
    site.client(&["backup", "delete", &id, "--yes"]).expect(0);
    outcome("restored", recovery)
}
