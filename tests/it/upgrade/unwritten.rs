//! The way back does not need the state: what cannot be written there is told, and the stack comes back.

use std::io::{BufRead, BufReader};

use crate::support::stack::{Device, IDLE, Stack};

fn installed() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    (stack, device)
}

#[test]
fn a_state_that_takes_nothing_more_does_not_keep_the_stack_from_coming_back() {
    let (mut stack, device) = installed();
    let sick = format!("{IDLE}\nhealthcheck: {{test: [CMD, sh, -c, exit 1], interval: 3s, retries: 1}}");
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", &sick);
    });
    let before = device.container("app");
    let mut running = device.spawn(&["upgrade", "--yes"]);
    let mut lines = BufReader::new(running.stdout.take().unwrap()).lines().map(Result::unwrap);
    // The new container was started and is waited for.
    lines.find(|line| line.contains("app: starting")).expect("the swap began");
    let state = rusqlite::Connection::open(device.path("state.db")).unwrap();
    state.execute_batch("ALTER TABLE upgrades RENAME TO taken_away").unwrap();
    let last = lines.last().expect("there is a result");
    let outcome: serde_json::Value = serde_json::from_str(&last).unwrap();
    assert_eq!(running.wait().unwrap().code(), Some(20), "{outcome:#}");
    assert_eq!(outcome["rolled_back_to"], "1.0.0", "{outcome:#}");
    assert!(
        outcome["warnings"].to_string().contains("upgrades"),
        "what was not written is told: {outcome:#}"
    );
    let after = device.container("app");
    assert_eq!((after.id, after.running), (before.id, true));
    assert_eq!(device.version("current"), "1.0.0");
}

#[test]
fn a_restore_that_fails_brings_the_stack_back_though_current_is_gone() {
    let mut stack = Stack::new();
    let well = "healthcheck: {test: [CMD, sh, -c, '! test -e /rows/bad'], interval: 200ms, retries: 2}";
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['rows:/rows']\n{well}")).sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    device.sh("app", "touch /rows/bad");
    let (code, bad) = device.ask(&["backup", "create"]);
    assert_eq!(code, 0, "{bad:#}");
    device.sh("app", "mv /rows/bad /rows/good");
    let before = device.container("app");
    let id = bad["id"].as_str().unwrap();
    device.killed("undo_started:protect", &["backup", "restore", id, "--yes"]);
    assert!(!device.container("app").running);
    std::fs::remove_file(device.path("current")).unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let after = device.container("app");
    assert_eq!((after.id, after.running), (before.id, true), "{ended:#?}");
    assert_eq!(device.version("current"), "1.0.0");
}
