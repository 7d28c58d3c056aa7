//! Level 2: the version before does not come back, so the factory release does, or a person is told what to do.

use crate::support::stack::{Device, Ended, IDLE, Stack, docker};

/// `db` of 1.1.0 does not survive what 1.2.0 did to its data; whether 1.0.0 does is for the test to say. `side` has
/// nothing to do with it.
fn poisoned(factory_survives: bool) -> (Stack, Device) {
    let mut stack = Stack::new();
    let check = |test: &str| {
        format!(
            "{IDLE}\nvolumes: ['rows:/rows']\nhealthcheck: {{test: [CMD, sh, -c, '{test}'], interval: 200ms, retries: 2, start_period: 1s, start_interval: 200ms}}"
        )
    };
    let sound = check("test ! -e /rows/poison");
    stack.release("1.0.0", |r| {
        r.service("db", &if factory_survives { check("true") } else { sound.clone() })
            .service("side", &format!("{IDLE}\nrestart: always"))
            .sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("db").rebuild("side").service("db", &sound);
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    stack.release("1.2.0", |r| {
        r.rebuild("db").rebuild("side").service(
            "db",
            "command: [sh, -c, 'touch /rows/poison; exit 1']\nvolumes: ['rows:/rows']\ndepends_on: [side]",
        );
    });
    device.sh("db", "echo 1 > /rows/row");
    (stack, device)
}

fn is_wholly(device: &Device, version: &str) {
    let status = device.status();
    assert_eq!((&status["state"], &status["current"]), (&"idle".into(), &version.into()), "{status:#}");
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["state"], "running", "{status:#}");
        assert_eq!(service["image_id"], service["image_expected"], "{status:#}");
        assert_eq!(service["release"], version, "{status:#}");
    }
    assert_eq!(status["services"].as_array().unwrap().len(), device.containers().len(), "{status:#}");
    let before = device.containers();
    device.compose(&["up", "-d", "--remove-orphans"]);
    assert_eq!(device.containers(), before, "Compose's own 'up' changes something");
}

/// The stack is on the factory release, and the one that failed is what is told.
fn is_the_factory(device: &Device, ended: &Ended) {
    assert_eq!(ended.code, 21, "{ended:#?}");
    let outcome = &ended.outcome;
    assert_eq!((&outcome["ok"], &outcome["rolled_back_to"]), (&false.into(), &"1.0.0".into()));
    assert_eq!((&outcome["from"], &outcome["to"]), (&"1.1.0".into(), &"1.2.0".into()));
    assert_eq!(outcome["error"]["code"], "EXITED", "the first cause is told: {outcome:#}");
    assert!(!device.path("previous").is_symlink(), "there is nothing to go back to");
    is_wholly(device, "1.0.0");
    assert_eq!(device.sh("db", "cat /rows/row"), "1");
    let quarantined = device.status()["quarantined"].clone();
    assert_eq!(quarantined, serde_json::json!(["1.2.0", "1.1.0"]), "neither is taken again by itself");
    let warnings = outcome["warnings"].to_string();
    assert!(warnings.contains("on the factory release 1.0.0, because 1.1.0"), "{warnings}");
    assert!(!device.path("work").exists());
}

#[test]
fn the_factory_release_takes_over_where_the_version_before_does_not_come_back() {
    let (mut stack, device) = poisoned(true);
    let ended = device.upgrade(&[]);
    assert!(ended.events.iter().any(|event| {
        event["step"] == "RollingBack" && event["message"].as_str().unwrap().contains("factory release 1.0.0")
    }));
    is_the_factory(&device, &ended);

    stack.release("1.3.0", |r| {
        r.rebuild("db").rebuild("side").service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"));
    });
    let next = device.upgrade(&[]);
    assert_eq!(next.code, 0, "{next:#?}");
    is_wholly(&device, "1.3.0");
}

#[test]
fn a_factory_installation_that_is_killed_anywhere_goes_on() {
    for point in [
        "undo_started:protect",
        "factory/started:create_containers",
        "factory/applied:swap:db",
        "factory/started:swap:side",
        "factory/applied:commit",
    ] {
        let (_stack, device) = poisoned(true);
        device.killed(point, &["upgrade", "--yes"]);
        let ended = device.upgrade(&[]);
        eprintln!("killed at {point}");
        is_the_factory(&device, &ended);
    }
}

/// Removes the state database.
fn lose_state(device: &Device) {
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        let _may_be_gone = std::fs::remove_file(device.path(name));
    }
    assert!(!device.path("state.db").exists());
}

/// Both journals' twins are there: that of the change that failed, and that of the one which took over.
#[test]
fn a_factory_installation_goes_on_where_the_state_is_lost_with_it() {
    for point in ["factory/started:create_containers", "factory/started:swap:side"] {
        let (_stack, device) = poisoned(true);
        device.killed(point, &["upgrade", "--yes"]);
        lose_state(&device);
        let ended = device.upgrade(&[]);
        eprintln!("killed at {point}");
        assert_eq!((ended.code, &ended.outcome["rolled_back_to"]), (21, &"1.0.0".into()), "{ended:#?}");
        assert_eq!((&ended.outcome["from"], &ended.outcome["to"]), (&"1.1.0".into(), &"1.2.0".into()));
        is_wholly(&device, "1.0.0");
        assert_eq!(device.sh("db", "cat /rows/row"), "1");
        assert!(!device.path("work").exists());
    }
}

#[test]
fn who_waits_for_a_person_still_does_after_the_state_is_lost_and_takes_another_way_out() {
    let (mut stack, device) = poisoned(false);
    assert_eq!(device.upgrade(&[]).code, 22);
    lose_state(&device);
    let again = device.upgrade(&[]);
    assert_eq!(again.code, 22, "{again:#?}");
    stack.release("1.3.0", |r| {
        r.rebuild("db").rebuild("side").service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"));
    });
    lose_state(&device);
    let out = device.upgrade(&["--target", "1.3.0"]);
    assert_eq!(out.code, 0, "{out:#?}");
    is_wholly(&device, "1.3.0");
    assert!(!device.path("work").exists());
}

fn running(device: &Device, service: &str) -> Option<String> {
    let containers = device.containers().into_values();
    containers.filter(|one| one.service == service && one.running).map(|one| one.id).next()
}

#[test]
fn where_nothing_comes_up_a_person_is_told_and_what_can_run_runs() {
    let (mut stack, device) = poisoned(false);
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 22, "{ended:#?}");
    let message = ended.outcome["error"]["message"].as_str().unwrap();
    for part in ["rollback --to", "doctor --fix", "db"] {
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(device.status()["state"], "needs_attention");
    let root = device.path("").canonicalize().unwrap();
    let lines: Vec<&str> = message.lines().filter_map(|line| line.strip_prefix("  ")).collect();
    let back = format!("client --root {} rollback --to 1.1.0    # ", root.display());
    assert!(lines.iter().any(|line| line.starts_with(&back)), "{message}");
    assert!(!message.contains("VERSION"), "every line can be pasted: {message}");
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!(
        (code, &made["version"]),
        (0, &serde_json::Value::Null),
        "it is the data of no version: {made:#}"
    );
    let refused = device.client(&["backup", "restore", made["id"].as_str().unwrap(), "--yes"]);
    let told = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert!(refused.status.code() == Some(22) && told.contains("rollback --to 1.1.0"), "{told}");
    for service in ["db", "side"] {
        assert!(running(&device, service).is_some(), "what can run is left running: {service}");
    }
    let again = device.upgrade(&[]);
    assert_eq!(again.code, 22, "it is tried again, and tells: {again:#?}");

    // The person mends the cause …
    docker(&["exec", &running(&device, "db").unwrap(), "busybox", "rm", "/rows/poison"]);
    let mended = device.upgrade(&[]);
    is_the_factory(&device, &mended);

    // … or names another way out.
    let (mut other, device) = poisoned(false);
    assert_eq!(device.upgrade(&[]).code, 22);
    for stack in [&mut stack, &mut other] {
        stack.release("1.3.0", |r| {
            r.rebuild("db").rebuild("side").service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"));
        });
    }
    let out = device.upgrade(&["--target", "1.3.0"]);
    assert_eq!(out.code, 0, "{out:#?}");
    is_wholly(&device, "1.3.0");
    assert_eq!(device.sh("db", "cat /rows/row"), "1");
}

#[test]
fn a_stopped_old_container_does_not_come_back_with_the_next_boot() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nrestart: always"));
    });
    let device = Device::init(&stack);
    let policy = |name: &str| docker(&["inspect", "-f", "{{.HostConfig.RestartPolicy.Name}}", name]);
    let old = device.container("app");
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, 'exit 1']\nrestart: always");
    });
    device.killed("undo_started:swap:app", &["upgrade", "--yes"]);
    assert_eq!(policy(&old.id), "no", "dockerd would start it beside the new one");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.container("app").id), (20, old.id.clone()), "{ended:#?}");
    assert_eq!(policy(&old.id), "always", "as it was");
    assert!(!device.path("work").exists(), "a change that is over leaves no work files");
    assert_eq!(ended.outcome["error"]["code"], "EXITED", "the cause survives the kill");
    assert_eq!(device.status()["quarantined"], serde_json::json!(["1.1.0"]));
}
