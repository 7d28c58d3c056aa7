//! Versions that are not tried again by themselves.

use std::fs;

use serde_json::{Value, json};

use crate::support::stack::{Device, IDLE, Stack};

const SICK: &str = "command: [sh, -c, 'exit 3']";

fn installed() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    (stack, device)
}

/// Changes `manifest.json` of the source.
fn edit(stack: &Stack, change: impl FnOnce(&mut Value)) {
    let path = stack.source().join("manifest.json");
    let mut manifest = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    change(&mut manifest);
    fs::write(&path, manifest.to_string()).unwrap();
}

#[test]
fn a_failed_patch_level_stays_out_however_it_would_be_installed() {
    let (mut stack, device) = installed();
    stack.release("1.0.0.1", |r| {
        r.service("app", SICK).patch_from("1.0.0");
    });
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["strategy"]), (20, &"patch".into()), "{ended:#?}");

    edit(&stack, |manifest| manifest["release_notes"] = "other words".into());
    let bundle = stack.bundle("1.0.0.1");
    for more in
        [&[][..], &["--force-full"], &["--target", "1.0.0.1"], &["--bundle", bundle.to_str().unwrap()]]
    {
        let refused = device.upgrade(more);
        assert_eq!(
            (refused.code, &refused.outcome["error"]["code"]),
            (11, &"QUARANTINED".into()),
            "{refused:#?}"
        );
    }
    let (code, checked) = device.ask(&["check"]);
    assert_eq!((code, &checked["error"]["code"]), (11, &"QUARANTINED".into()));
    let message = checked["error"]["message"].as_str().unwrap();
    assert!(message.contains("1.0.0.1") && message.contains("since 20"), "{message}");
    assert!(checked["error"]["help"].as_str().unwrap().contains("--target 1.0.0.1 --force"), "{checked}");
    assert_eq!(device.ask(&["upgrade", "--check"]).0, 11);

    let status = device.status();
    assert_eq!(status["quarantined"], json!(["1.0.0.1"]));
    assert_eq!(status["quarantine"][0]["version"], "1.0.0.1");
    assert!(status["quarantine"][0]["reason"].as_str().unwrap().contains("app"), "{status}");
    assert!(status["quarantine"][0]["at"].is_string());

    edit(&stack, |manifest| {
        let patch = manifest["patch"].as_object_mut().unwrap().values_mut().next().unwrap();
        patch["hash"] = format!("sha256:{}", "a".repeat(64)).into();
    });
    assert_eq!(device.ask(&["check"]).0, 10, "the vendor mended it");
}

#[test]
fn the_newest_version_that_is_permitted_is_taken_instead() {
    let (mut stack, device) = installed();
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    stack.release("1.2.0", |r| {
        r.rebuild("app").service("app", SICK);
    });
    assert_eq!(device.upgrade(&[]).code, 20);
    let (code, checked) = device.ask(&["check"]);
    assert_eq!((code, &checked["available"]), (10, &"1.1.0".into()), "{checked}");
    assert_eq!(checked["passed_over"][0]["version"], "1.2.0");
    assert_eq!(device.ask(&["plan"]).1["to"], "1.1.0");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current").as_str()), (0, "1.1.0"), "{ended:#?}");
    assert_eq!(device.upgrade(&[]).code, 11, "nothing else is left");
}

#[test]
fn a_version_a_person_went_back_from_is_not_offered_until_they_go_forward_again() {
    let (mut stack, device) = installed();
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.rollback(&[]).code, 0);
    assert_eq!(device.status()["quarantine"][0]["reason"], "rolled back by hand");
    assert_eq!(device.upgrade(&[]).code, 11);
    assert_eq!(device.rollback(&["--to", "1.1.0"]).code, 0, "a person chose it");
    assert_eq!(
        (device.status()["quarantined"].clone(), device.version("current")),
        (json!([]), "1.1.0".into())
    );
    assert_eq!(device.rollback(&[]).code, 0);
    let ended = device.upgrade(&["--target", "1.1.0", "--force"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.status()["quarantined"], json!([]));
}
