//! Versions that do not become well, do not stay well, or whose way back is not well either.

use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};
use std::time::Instant;

use super::{outcome, then_upgrade};
use crate::case::{Case, Ground, Outcome, Place};
use crate::hold;
use crate::shop::{NEW, OLD, SOAKING};
use crate::tiny::docker;
use crate::whole;

const SECTION: &str = "versions that are not well";
const TO_SOAKING: [&str; 5] = ["upgrade", "--yes", "--force", "--target", SOAKING];

pub fn cases() -> Vec<Case> {
    let case = |row: &str, begin, act: fn(&mut Ground<'_, '_>) -> Outcome| Case {
        section: SECTION,
        row: row.to_owned(),
        column: String::new(),
        place: Place::Disk,
        begin: Some(begin),
        act: Box::new(act),
    };
    vec![
        case("the new one is unhealthy", OLD, |ground| fails(ground, "ill")),
        case("the new one exits at its start", OLD, |ground| fails(ground, "exit")),
        case("the new one fails its last check", OLD, |ground| fails(ground, "probe")),
        case("the new one exits after the stability window", NEW, dies_later),
        case("new and old are unhealthy", NEW, |ground| to_factory(ground, "ill")),
        case("new and old exit at their start", NEW, |ground| to_factory(ground, "exit")),
        case("new, old and factory are unhealthy", NEW, |ground| nothing_works(ground, "ill")),
        case("new, old and factory exit at their start", NEW, |ground| nothing_works(ground, "exit")),
    ]
}

fn fails(ground: &mut Ground<'_, '_>, how: &str) -> Outcome {
    let site = ground.site;
    site.shop.tell(how, NEW, true);
    let began = Instant::now();
    let done = site.upgrade_to(NEW);
    assert_eq!(done.code, Some(20), "{done:#?}");
    whole::stack_is(site, OLD);
    let recovery = began.elapsed();
    site.shop.all_well();
    // It is not tried again by itself.
    let again = site.client(&["upgrade", "--yes", "--target", NEW]);
    assert_eq!(again.code, Some(11), "a version that failed is tried again by itself: {again:#?}");
    let text = then_upgrade(ground, &done, began).text;
    Outcome { text, recovery }
}

/// A crash loop within the probation is rolled back by the next command.
fn dies_later(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    site.shop.tell("die", SOAKING, true);
    let done = site.client(&TO_SOAKING);
    assert_eq!(done.code, Some(0), "it did not pass the stability window: {done:#?}");
    assert_eq!(site.client(&["status"]).expect(0).json()["state"], "soaking");
    let label = format!("label=com.docker.compose.project={}", site.shop.project());
    let mut events = Command::new("docker")
        .args(["events", "--since", "0s", "--filter", &label, "--filter", "event=die", "--format", "{{.ID}}"])
        .args(["--filter", "label=com.docker.compose.service=worker"])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let id = site.container("worker", true);
    let restarts =
        || docker(&["inspect", "--format", "{{.RestartCount}}", &id]).trim().parse::<u32>().unwrap();
    let mut lines = BufReader::new(events.stdout.take().unwrap()).lines();
    // Those of before the probation do not count.
    let before = restarts();
    while restarts() < before + 3 {
        lines.next().unwrap().unwrap();
    }
    events.kill().unwrap();
    events.wait().unwrap();
    let began = Instant::now();
    let next = site.client(&["upgrade", "--yes"]);
    assert_eq!(next.code, Some(20), "a crash loop on probation is let be: {next:#?}");
    let recovery = began.elapsed();
    assert_eq!(next.json()["rolled_back_to"], NEW, "{next:#?}");
    whole::stack_is(site, NEW);
    site.shop.all_well();
    outcome("back (20)", recovery)
}

/// Tells `versions` to fail as soon as the last check of an upgrade to the third version begins.
fn break_all(ground: &Ground<'_, '_>, how: &str, versions: &[&str]) -> crate::tiny::Done {
    let site = ground.site;
    hold::at(site.shop.scratch.path(), site.command(&TO_SOAKING), "started:swap:worker", || {
        versions.iter().for_each(|version| site.shop.tell(how, version, true));
    })
}

fn to_factory(ground: &mut Ground<'_, '_>, how: &str) -> Outcome {
    let site = ground.site;
    let began = Instant::now();
    let done = break_all(ground, how, &[SOAKING, NEW]);
    assert_eq!(done.code, Some(21), "{done:#?}");
    let recovery = began.elapsed();
    whole::stack_is(site, OLD);
    site.shop.all_well();
    let next = site.upgrade_to(NEW);
    assert_eq!(next.code, Some(0), "after 21, the next upgrade does not work: {next:#?}");
    outcome("factory (21)", recovery)
}

fn nothing_works(ground: &mut Ground<'_, '_>, how: &str) -> Outcome {
    let site = ground.site;
    let began = Instant::now();
    let done = break_all(ground, how, &[SOAKING, NEW, OLD]);
    assert_eq!(done.code, Some(22), "{done:#?}");
    let recovery = began.elapsed();
    assert!(
        done.stdout.contains("client ") || done.stderr.contains("client "),
        "no command is named: {done:#?}"
    );
    assert_eq!(site.client(&["status"]).expect(0).json()["state"], "needs_attention");
    for service in ["db", "api", "web"] {
        site.container(service, true);
    }
    // A person has mended it.
    site.shop.all_well();
    let retried = site.client(&["upgrade", "--yes"]);
    assert!(matches!(retried.code, Some(0 | 21)), "a retry after mending does not work: {retried:#?}");
    let next = site.upgrade_to(NEW);
    assert_eq!(next.code, Some(0), "{next:#?}");
    outcome("needs attention (22)", recovery)
}
