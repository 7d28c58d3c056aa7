//! `current` pointed elsewhere by hand: what runs is brought to agree with it.

use crate::support::stack::{Device, Ended, IDLE, Stack};

#[test]
fn what_runs_follows_a_pointer_that_was_moved_by_hand() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("same", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.rollback(&["--keep-data"]).code, 0);
    assert_eq!(device.version("current"), "1.0.0");
    let (app, same) = (device.container("app"), device.container("same"));

    std::fs::remove_file(device.path("current")).unwrap();
    std::os::unix::fs::symlink("releases/1.1.0", device.path("current")).unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["reason"]), (0, &"corrupted".into()), "{ended:#?}");
    let told =
        ended.events.iter().any(|event| event["message"].as_str().unwrap().contains("pointed to 1.0.0"));
    assert!(told, "{ended:#?}");
    assert_ne!(device.container("app").image, app.image);
    assert_eq!(device.container("same"), same, "what agrees is not touched");
    let again = device.upgrade(&[]);
    assert_eq!((again.code, &again.outcome["strategy"]), (0, &"none".into()), "{again:#?}");
}

const WELL: &str = "healthcheck: {test: [CMD, sh, -c, '! test -e /rows/bad'], interval: 200ms, retries: 2}";

/// Points `current` elsewhere, as an administrator would.
fn point_to(device: &Device, target: &str) {
    std::fs::remove_file(device.path("current")).unwrap();
    std::os::unix::fs::symlink(target, device.path("current")).unwrap();
}

/// 1.0.0 runs; 1.1.0 was left by hand and is kept. It is well as long as there is no `/rows/bad`.
fn went_back() -> (Stack, Device) {
    let mut stack = Stack::new();
    let rows = format!("{IDLE}\nvolumes: ['rows:/rows']");
    stack.release("1.0.0", |r| {
        r.service("app", &rows).sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", &format!("{rows}\n{WELL}"));
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.rollback(&["--keep-data"]).code, 0);
    assert_eq!((device.version("current"), device.version("previous")), ("1.0.0".into(), "1.1.0".into()));
    (stack, device)
}

fn warned(ended: &Ended, words: &[&str]) {
    let warnings = ended.outcome["warnings"].to_string();
    assert!(words.iter().all(|word| warnings.contains(word)), "{words:?}: {ended:#?}");
}

#[test]
fn a_version_that_is_no_good_is_left_for_what_really_ran() {
    let (_stack, device) = went_back();
    device.sh("app", "touch /rows/bad");
    let app = device.container("app");
    point_to(&device, "releases/1.1.0");
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let outcome = &ended.outcome;
    assert_eq!(
        (&outcome["from"], &outcome["rolled_back_to"]),
        (&"1.0.0".into(), &"1.0.0".into()),
        "{ended:#?}"
    );
    warned(&ended, &["1.1.0", "it points to 1.0.0 again"]);
    let status = device.status();
    assert_eq!((&status["current"], &status["previous"]), (&"1.0.0".into(), &"1.1.0".into()));
    let same = |when: &str| {
        let now = device.container("app");
        assert_eq!((now.id.as_str(), now.running), (app.id.as_str(), true), "{when}");
    };
    same("after the way back");
    let (_, backups) = device.ask(&["backup", "list"]);
    let last = backups["backups"].as_array().unwrap().last().unwrap().clone();
    assert_eq!(last["version"], "1.0.0", "whose data it is: {backups:#}");

    // It failed here, so it is not brought up by itself again.
    let started_at = device.container("app").started_at;
    point_to(&device, "releases/1.1.0");
    let again = device.upgrade(&[]);
    warned(&again, &["1.1.0", "quarantine", "--target 1.1.0 --force", "it points to 1.0.0 again"]);
    assert_eq!(device.version("current"), "1.0.0");
    assert_eq!(device.container("app").started_at, started_at, "nothing was touched: {again:#?}");
    assert_eq!(device.status()["quarantined"], serde_json::json!(["1.1.0"]));

    device.sh("app", "mv /rows/bad /rows/good");
    point_to(&device, "releases/1.1.0");
    let forced = device.upgrade(&["--target", "1.1.0", "--force"]);
    assert_eq!((forced.code, &forced.outcome["from"]), (0, &"1.0.0".into()), "{forced:#?}");
    assert_eq!((device.version("current"), device.version("previous")), ("1.1.0".into(), "1.0.0".into()));
}

#[test]
fn what_ran_before_a_pointer_was_moved_is_the_way_back() {
    let (_stack, device) = went_back();
    let app = device.container("app").image;
    point_to(&device, "releases/1.1.0");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["from"]), (0, &"1.0.0".into()), "{ended:#?}");
    assert_eq!((device.version("current"), device.version("previous")), ("1.1.0".into(), "1.0.0".into()));
    assert_ne!(device.container("app").image, app);
    assert_eq!(device.rollback(&["--keep-data"]).code, 0);
    assert_eq!((device.version("current"), device.container("app").image), ("1.0.0".into(), app));

    // The release is made anew where it is not whole.
    device.write("releases/1.1.0/compose.yaml", "services: {}\n");
    point_to(&device, "releases/1.1.0");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["from"]), (0, &"1.0.0".into()), "{ended:#?}");
    assert_eq!((device.version("current"), device.version("previous")), ("1.1.0".into(), "1.0.0".into()));
    assert!(device.container("app").running);
}

#[test]
fn a_command_that_names_another_way_goes_from_what_runs() {
    let (_stack, device) = went_back();
    let app = device.container("app");
    point_to(&device, "releases/1.1.0");
    let back = device.rollback(&["--to", "1.0.0"]);
    assert_eq!(back.code, 0, "{back:#?}");
    warned(&back, &["it points to 1.0.0 again"]);
    assert_eq!((device.version("current"), device.container("app")), ("1.0.0".into(), app), "{back:#?}");

    assert_eq!(device.upgrade(&["--target", "1.1.0", "--force"]).code, 0);
    let app = device.container("app");
    point_to(&device, "releases/1.0.0");
    let newest = device.upgrade(&[]);
    assert_eq!(newest.code, 0, "{newest:#?}");
    warned(&newest, &["'current' was pointed to 1.0.0", "it points to 1.1.0 again"]);
    assert_eq!((device.version("current"), device.container("app")), ("1.1.0".into(), app), "{newest:#?}");
}

#[test]
fn a_pointer_that_leads_nowhere_is_mended() {
    let (_stack, device) = went_back();
    let app = device.container("app");
    for target in ["/etc", "releases/0.9.0", "releases"] {
        point_to(&device, target);
        let ended = device.upgrade(&["--target", "1.0.0"]);
        assert_eq!(ended.code, 0, "{target}: {ended:#?}");
        warned(&ended, &[target, "it points to 1.0.0 again"]);
        assert_eq!(device.version("current"), "1.0.0", "{target}");
    }
    point_to(&device, "/etc");
    let status = device.status();
    assert_eq!((&status["current"], &status["previous"]), (&serde_json::Value::Null, &"1.1.0".into()));
    assert!(status["warnings"].to_string().contains("doctor --fix"), "{status:#}");
    assert_eq!(status["services"][0]["state"], "running", "{status:#}");
    let doctor = device.ask(&["doctor"]).1.to_string();
    assert!(doctor.contains("current points to /etc") && doctor.contains("doctor --fix"), "{doctor}");
    device.ask(&["doctor", "--fix"]);
    assert_eq!(device.version("current"), "1.0.0");

    std::fs::remove_file(device.path("current")).unwrap();
    assert!(device.status()["warnings"].to_string().contains("doctor --fix"));
    let gone = device.rollback(&["--to", "1.0.0"]);
    assert_eq!((gone.code, device.version("current")), (0, "1.0.0".into()), "{gone:#?}");
    warned(&gone, &["'current' was gone"]);
    assert_eq!(device.container("app"), app);
}
