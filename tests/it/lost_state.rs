//! `state.db` lost or damaged: rebuilt from what is there, told, and the stack goes on.

mod reserve;

use std::fs::{self, File};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use serde_json::Value;

use crate::support::tiny::{Release, Tiny, docker, names_in};

const RELEASE: &str = "[health]\nstability_ms = 300\ntimeout_ms = 10000\nsoak_ms = 0\n";

fn compose(version: &str) -> String {
    format!(
        "services:\n  web:\n    image: @-app:stable\n    init: true\n    command: [sleep, '100000']\n    \
         network_mode: none\n    environment: [V={version}]\n    volumes: ['rows:/rows']\n  \
         same:\n    image: @-same:stable\n    init: true\n    command: [sleep, '100000']\n    network_mode: none\n\
         volumes:\n  rows: {{}}\n"
    )
}

fn publish(tiny: &Tiny, version: &str) {
    tiny.image("app", version);
    tiny.publish(&Release { version, compose: compose(version), release_toml: RELEASE, files: &[] });
}

/// On 1.0.0, with 1.1.0 in the source.
fn installed() -> Tiny {
    let tiny = Tiny::new();
    tiny.image("same", "1");
    publish(&tiny, "1.0.0");
    tiny.init();
    publish(&tiny, "1.1.0");
    tiny.forget_built();
    tiny
}

fn remove_journal(root: &Path) {
    for name in ["state.db-wal", "state.db-shm"] {
        let _absent = fs::remove_file(root.join(name));
    }
}

type Damage = (&'static str, fn(&Path));

/// Each leaves a `state.db` that cannot be used.
const DAMAGES: [Damage; 6] = [
    ("deleted", |root| {
        fs::remove_file(root.join("state.db")).unwrap();
        remove_journal(root);
    }),
    ("no database", |root| {
        remove_journal(root);
        fs::write(root.join("state.db"), "this is no database".repeat(300)).unwrap();
    }),
    ("emptied", |root| {
        remove_journal(root);
        fs::write(root.join("state.db"), "").unwrap();
    }),
    ("cut off", |root| {
        remove_journal(root);
        let whole = fs::read(root.join("state.db")).unwrap();
        fs::write(root.join("state.db"), &whole[..whole.len() / 2]).unwrap();
    }),
    ("scratched", |root| {
        remove_journal(root);
        let mut bytes = fs::read(root.join("state.db")).unwrap();
        bytes[4096..].fill(0xA5);
        fs::write(root.join("state.db"), bytes).unwrap();
    }),
    ("deleted beside its journal", |root| {
        fs::write(root.join("state.db-wal"), vec![7; 9000]).unwrap();
        fs::remove_file(root.join("state.db")).unwrap();
    }),
];

fn warned(document: &Value) -> bool {
    document["warnings"].as_array().is_some_and(|all| {
        all.iter()
            .any(|text| text.as_str().is_some_and(|text| text.contains("was rebuilt from what is there")))
    })
}

#[track_caller]
fn is_on(tiny: &Tiny, version: &str) {
    let status = tiny.client(&["status"]).expect(0).json();
    assert_eq!(status["current"], version, "{status:#}");
    for service in status["services"].as_array().unwrap() {
        assert_eq!(service["state"], "running", "{status:#}");
        assert_eq!(service["image_id"], service["image_expected"], "{status:#}");
    }
    let names: Vec<String> = tiny.containers().into_keys().collect();
    assert_eq!(names, [format!("{}-same-1", tiny.project), format!("{}-web-1", tiny.project)]);
}

#[test]
fn every_damage_is_noticed_told_and_mended() {
    let tiny = installed();
    tiny.client(&["upgrade", "--yes"]).expect(0);
    let before = tiny.containers();
    for (count, (name, damage)) in DAMAGES.iter().enumerate() {
        damage(&tiny.root);
        let status = tiny.client(&["status"]).expect(0).json();
        assert!(warned(&status), "{name}: {status:#}");
        assert_eq!((&status["current"], &status["previous"]), (&"1.1.0".into(), &"1.0.0".into()), "{name}");
        let mode = fs::metadata(tiny.root.join("state.db")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{name}");
        let kept = names_in(&tiny.root).into_iter().filter(|name| name.contains("damaged")).count();
        // Nothing was left of the first, and the last left only its journal.
        assert_eq!(kept, count, "{name}: {:?}", names_in(&tiny.root));
        // The command that changes something tells it once, and finds nothing to do.
        let result = tiny.client(&["upgrade", "--yes"]).expect(0).json();
        assert!(warned(&result), "{name}: {result:#}");
        assert!(!warned(&tiny.client(&["upgrade", "--yes"]).expect(0).json()), "{name}");
        assert!(!warned(&tiny.client(&["status"]).expect(0).json()), "{name}");
        assert_eq!(tiny.containers(), before, "{name}");
    }
    // Containers, bundles and backups are known again, so the way back and forth works as ever.
    let status = tiny.client(&["status"]).expect(0).json();
    let release = |service: &str| {
        let all = status["services"].as_array().unwrap();
        all.iter().find(|one| one["name"] == service).unwrap()["release"].clone()
    };
    assert_eq!((release("web"), release("same")), ("1.1.0".into(), "1.0.0".into()), "{status:#}");
    let backups = tiny.client(&["backup", "list"]).expect(0).json();
    let backup = &backups["backups"][0];
    assert_eq!((&backup["status"], &backup["version"]), (&"complete".into(), &"1.0.0".into()), "{backups:#}");
    tiny.client(&["backup", "verify", backup["id"].as_str().unwrap()]).expect(0);
    tiny.client(&["rollback", "--yes", "--restore-data"]).expect(0);
    is_on(&tiny, "1.0.0");
    tiny.client(&["upgrade", "--yes", "--target", "1.1.0", "--force"]).expect(0);
    is_on(&tiny, "1.1.0");
}

#[test]
fn nothing_is_rebuilt_behind_the_back_of_who_holds_the_lock() {
    let tiny = installed();
    let lock = File::options().write(true).open(tiny.root.join("state.lock")).unwrap();
    lock.lock().unwrap();
    fs::remove_file(tiny.root.join("state.db")).unwrap();
    for command in ["status", "history"] {
        let done = tiny.client(&[command]);
        assert_eq!(done.code, Some(30), "{command}: {done:#?}");
    }
    assert!(tiny.client(&["doctor"]).stdout.contains("another client is at work"));
    assert!(!tiny.root.join("state.db").exists());
    drop(lock);
    tiny.client(&["status"]).expect(0);
}

#[test]
fn what_a_lost_backup_had_frozen_goes_on() {
    let tiny = installed();
    docker(&["pause", &format!("{}-web-1", tiny.project)]);
    fs::remove_file(tiny.root.join("state.db")).unwrap();
    remove_journal(&tiny.root);
    tiny.client(&["upgrade", "--yes"]).expect(0);
    is_on(&tiny, "1.1.0");
}

#[test]
fn a_bundle_of_a_rebuilt_release_is_not_taken_for_rubbish() {
    let tiny = installed();
    let before = names_in(&tiny.root.join("bundles"));
    fs::remove_file(tiny.root.join("state.db")).unwrap();
    remove_journal(&tiny.root);
    tiny.client(&["upgrade", "--yes"]).expect(0);
    let after = names_in(&tiny.root.join("bundles"));
    assert!(before.iter().all(|name| after.contains(name)), "{before:?} {after:?}");
}

#[test]
fn after_a_loss_in_the_middle_one_can_go_back_at_once() {
    for point in ["applied:swap:web", "applied:create_containers"] {
        let tiny = installed();
        tiny.killed(point, &["upgrade", "--yes"]);
        fs::remove_file(tiny.root.join("state.db")).unwrap();
        remove_journal(&tiny.root);
        tiny.client(&["rollback", "--yes", "--to", "1.0.0", "--keep-data"]).expect(0);
        tiny.client(&["upgrade", "--yes", "--target", "1.0.0"]).expect(0);
        is_on(&tiny, "1.0.0");
    }
}

/// Removes the state; `twin` says whether the journal's twin in `work/` stays.
fn lose_state(tiny: &Tiny, twin: bool) {
    fs::remove_file(tiny.root.join("state.db")).unwrap();
    remove_journal(&tiny.root);
    if !twin {
        fs::remove_dir_all(tiny.root.join("work")).unwrap();
    }
}

/// What comes next makes the stack whole, on either side, whether the journal's twin is there or not.
#[test]
fn a_change_under_way_ends_wholly_on_one_side() {
    for (point, twin) in [
        ("applied:swap:web", true),
        ("applied:swap:web", false),
        ("started:swap:web", true),
        ("applied:flip_current", false),
        ("applied:commit", true),
        ("started:clean_up", true),
    ] {
        let tiny = installed();
        tiny.killed(point, &["upgrade", "--yes"]);
        lose_state(&tiny, twin);
        let result = tiny.client(&["upgrade", "--yes"]).expect(0).json();
        assert!(warned(&result), "{point}: {result:#}");
        is_on(&tiny, "1.1.0");
        assert!(!tiny.root.join("work").exists(), "{point}: {:?}", names_in(&tiny.root.join("work")));
        tiny.client(&["rollback", "--yes", "--to", "1.0.0", "--keep-data"]).expect(0);
        is_on(&tiny, "1.0.0");
    }
}

/// 1.2.0, which never gets well; with the image that 1.0.0 has where it is not `rebuilt`.
fn publish_sick(tiny: &Tiny, rebuilt: bool) {
    let sick = compose("1.2.0").replace(
        "volumes: ['rows:/rows']\n",
        "volumes: ['rows:/rows']\n    healthcheck: {test: [CMD, sh, -c, exit 1], interval: 200ms, retries: 2}\n",
    );
    if rebuilt {
        tiny.image("app", "1.2.0");
    }
    tiny.publish(&Release { version: "1.2.0", compose: sick, release_toml: RELEASE, files: &[] });
    tiny.forget_built();
}

fn ids(tiny: &Tiny) -> Vec<(String, String)> {
    tiny.containers().iter().map(|(name, one)| (name.clone(), one.id.clone())).collect()
}

/// The version that was coming is no good: what ran before is what is gone back to, wherever the state was lost.
#[test]
fn a_bad_version_that_was_coming_is_left_for_what_ran() {
    for (point, rebuilt, twin) in [
        ("applied:flip_current", true, false),
        ("applied:flip_current", true, true),
        ("started:swap:web", false, true),
        ("undo_applied:swap:web", true, true),
        ("undo_started:protect", false, true),
    ] {
        let tiny = Tiny::new();
        tiny.image("same", "1");
        publish(&tiny, "1.0.0");
        tiny.init();
        publish_sick(&tiny, rebuilt);
        let before = ids(&tiny);
        tiny.killed(point, &["upgrade", "--yes"]);
        lose_state(&tiny, twin);
        let result = tiny.client(&["upgrade", "--yes"]).expect(20).json();
        assert_eq!(
            (&result["from"], &result["rolled_back_to"]),
            (&"1.0.0".into(), &"1.0.0".into()),
            "{point}: {result:#}"
        );
        is_on(&tiny, "1.0.0");
        assert_eq!(ids(&tiny), before, "{point}");
        assert!(!tiny.root.join("work").exists(), "{point}: {:?}", names_in(&tiny.root.join("work")));
        assert!(!tiny.root.join("previous").is_symlink(), "{point}");
    }
}

/// An upgrade that ends well compares every service; then nothing is left to be compared, or unpaused.
#[test]
fn a_good_upgrade_ends_the_time_after_a_loss() {
    let tiny = installed();
    fs::write(tiny.root.join("state.db"), "").unwrap();
    remove_journal(&tiny.root);
    tiny.client(&["upgrade", "--yes"]).expect(0);
    is_on(&tiny, "1.1.0");
    let doctor = tiny.client(&["doctor"]).stdout;
    assert!(!doctor.contains("was rebuilt"), "{doctor}");
    let name = format!("{}-same-1", tiny.project);
    docker(&["pause", &name]);
    tiny.client(&["upgrade", "--yes"]).expect(0);
    assert_eq!(tiny.containers()[&name].state, "paused", "an administrator's pause is his own");
}
