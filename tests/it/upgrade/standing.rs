//! Containers that somebody removed, stopped or replaced: told, and brought back.

use crate::support::stack::{Device, IDLE, Stack, docker};

fn installed() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("side", IDLE).dockerfile("side", "LABEL unlike=app");
    });
    let device = Device::init(&stack);
    (stack, device)
}

/// What `doctor` has to say of containers, and its exit code.
fn told(device: &Device) -> (i32, Vec<(String, String)>) {
    let (code, found) = device.ask(&["doctor"]);
    let findings = found["findings"].as_array().unwrap().iter();
    let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
    let own = findings.filter(|finding| finding["check"] == "containers" && finding["status"] != "ok");
    (code, own.map(|finding| (text(&finding["message"]), text(&finding["help"]))).collect())
}

#[test]
fn a_container_that_somebody_removed_comes_back_with_the_next_upgrade() {
    let (mut stack, device) = installed();
    assert_eq!(told(&device), (0, vec![]));
    let side = device.container("side");
    docker(&["rm", "-f", &device.container("app").id]);
    let (code, findings) = told(&device);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    assert!(findings[0].0.contains("app") && findings[0].1.contains("client upgrade"), "{findings:?}");

    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(device.container("app").running);
    assert_eq!(device.container("side"), side, "what is there is not touched");
    assert_eq!(device.upgrade(&[]).outcome["strategy"], "none");

    // A newer release that is refused changes nothing about it.
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, 'exit 1']");
    });
    assert_eq!(device.upgrade(&[]).code, 20);
    docker(&["rm", "-f", &device.container("app").id]);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (11, &"QUARANTINED".into()), "{ended:#?}");
    assert!(ended.outcome["warnings"].to_string().contains("app"), "{ended:#?}");
    assert!(device.container("app").running);
    assert_eq!(told(&device).1, []);
}

#[test]
fn a_container_that_cannot_be_brought_back_is_not_said_to_be_back() {
    let mut stack = Stack::new();
    let check = "command: [sh, -c, 'test ! -e /rows/bad && exec sleep 100000']\nvolumes: ['rows:/rows']";
    stack.release("1.0.0", |r| {
        r.service("app", check).service("side", IDLE).dockerfile("side", "LABEL unlike=app");
        r.sections("volumes: { rows: {} }");
    });
    let device = Device::init(&stack);
    let (app, side) = (device.container("app"), device.container("side"));
    device.sh("app", "touch /rows/bad");
    docker(&["rm", "-f", &app.id]);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["rolled_back_to"]), (1, &serde_json::Value::Null), "{ended:#?}");
    assert!(ended.outcome["error"]["message"].to_string().contains("app"), "{ended:#?}");
    let left: Vec<String> = device.containers().into_values().map(|one| one.id).collect();
    assert_eq!(left, [side.id], "as it was");
    let (code, findings) = told(&device);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
}

#[test]
fn the_doctor_tells_what_does_not_run_or_is_another_release_s() {
    let (_stack, device) = installed();
    let app = device.container("app");
    docker(&["stop", "-t", "0", &app.id]);
    let (code, findings) = told(&device);
    assert_eq!((code, findings.len()), (1, 1), "{findings:?}");
    let command = findings[0].1.split('\'').nth(1).unwrap();
    assert!(command.starts_with("docker compose "), "{findings:?}");
    docker(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert_eq!(told(&device), (0, vec![]), "the command that was told mends it");
    assert_eq!(device.container("app").id, app.id);

    device.compose(&["down"]);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.containers().len()), (0, 0), "who took the stack down wants it down");
    assert!(ended.outcome["warnings"].to_string().contains(" up -d"), "{ended:#?}");
    let (_, findings) = told(&device);
    let command = findings[0].1.split('\'').nth(1).unwrap();
    docker(&command.split(' ').skip(1).collect::<Vec<_>>());
    assert_eq!(told(&device), (0, vec![]), "the command that was told mends it");
}

#[test]
fn the_doctor_has_nobody_start_what_a_change_has_stopped() {
    let (mut stack, device) = installed();
    stack.release("1.1.0", |r| {
        r.service("app", "command: [sleep, '99999']");
    });
    let advice = |says: &str| {
        let (code, found) = device.ask(&["doctor"]);
        let findings = found["findings"].as_array().unwrap();
        let at = |check: &str, status: &str| {
            let found = findings.iter().position(|one| one["check"] == check && one["status"] == status);
            found.unwrap_or_else(|| panic!("no {check}: {findings:#?}"))
        };
        let (first, stopped) = (at("journal", "warning"), at("containers", "failed"));
        assert!(first < stopped && code == 1, "{findings:#?}");
        assert!(findings[first].to_string().contains(says), "{:#?}", findings[first]);
        let told: Vec<String> = findings[stopped..].iter().map(|one| one["help"].to_string()).collect();
        assert!(!told.iter().any(|help| help.contains("docker compose")), "{told:?}");
        assert!(findings[stopped]["message"].as_str().unwrap().contains("does not run"), "{findings:#?}");
    };
    // The old container is stopped, the new one runs.
    device.killed("applied:swap:app", &["upgrade", "--yes"]);
    advice("client upgrade");
    // So it looks where neither way came to its end.
    let db = rusqlite::Connection::open(device.path("state.db")).unwrap();
    db.execute("UPDATE upgrades SET state = 'needs_attention' WHERE state = 'running'", []).unwrap();
    advice("needs_attention");
    db.execute("UPDATE upgrades SET state = 'running' WHERE state = 'needs_attention'", []).unwrap();
    drop(db);
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(told(&device), (0, vec![]));

    // Somebody else is at work and has stopped it.
    docker(&["stop", "-t", "0", &device.container("app").id]);
    let lock = std::fs::File::options().write(true).open(device.path("state.lock")).unwrap();
    lock.lock().unwrap();
    advice("another client");
    drop(lock);
    assert!(told(&device).1[0].1.contains("docker compose"), "nobody is at work any more");
}
