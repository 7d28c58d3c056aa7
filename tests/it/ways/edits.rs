//! Edits by hand of what was shipped: shown, kept, never lost.

use std::fs;

use super::{troubles, upgraded};
use crate::support::stack::{Device, IDLE, Stack};

/// On 1.0.0, with an edit of the Compose file and of a declared config file.
fn edited() -> (Stack, Device, String) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE)
            .file("app.conf", "shipped\n")
            .file("notes.txt", "one\ntwo\n")
            .toml("config = ['app.conf']\n[health]\nstability_ms = 300\nsoak_ms = 0\n");
    });
    let device = Device::init(&stack);
    let compose = device.read("current/compose.yaml") + "# by hand\n";
    device.write("current/compose.yaml", &compose);
    device.write("current/notes.txt", "one\n2\n");
    device.write("current/app.conf", "mine\n");
    (stack, device, compose)
}

#[test]
fn what_was_edited_is_shown_as_a_difference_before_it_is_set_aside() {
    let (mut stack, device, compose) = edited();
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let (_, plan) = device.ask(&["plan"]);
    let paths: Vec<_> = plan["edits"].as_array().unwrap().iter().map(|edit| edit["path"].clone()).collect();
    assert_eq!(paths, ["compose.yaml", "notes.txt"], "what may be edited is carried over and not named");
    let text = String::from_utf8(device.client(&["plan"]).stdout).unwrap();
    for line in ["+# by hand", "-two", "+2"] {
        assert!(text.lines().any(|told| told.trim() == line), "{line} is not in {text}");
    }
    let doctor = troubles(&device, &[]).join("\n");
    assert!(doctor.contains("+# by hand") && doctor.contains("compose.yaml, notes.txt"), "{doctor}");

    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let warned = ended.events.iter().position(|event| {
        event["kind"] == "warning" && event["message"].as_str().unwrap().contains("+# by hand")
    });
    let stopped = ended.events.iter().position(|event| event["step"] == "StoppingServices");
    assert!(warned.is_some() && warned < stopped, "it is told before anything stops: {ended:#?}");
    let warnings = ended.outcome["warnings"].to_string();
    for told in ["+# by hand", "shared/edits/1.0.0/compose.yaml", "shared/edits/1.0.0/notes.txt"] {
        assert!(warnings.contains(told), "{told} is not in {warnings}");
    }
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), compose);
    assert_eq!(device.read("current/app.conf"), "mine\n");
    assert!(!device.read("current/compose.yaml").contains("by hand"));

    let back = device.rollback(&[]);
    assert_eq!(back.code, 0, "{back:#?}");
    assert_eq!(device.read("current/compose.yaml"), compose, "what ran is what comes back");
}

#[test]
fn an_edit_of_a_release_that_does_not_run_is_kept_and_the_release_made_whole() {
    let (mut stack, device) = upgraded();
    let shipped = device.read("factory/compose.yaml");
    device.write("releases/1.0.0/compose.yaml", &format!("{shipped}# by hand\n"));
    stack.release("1.2.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.read("factory/compose.yaml"), shipped);
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), format!("{shipped}# by hand\n"));
    let warnings = ended.outcome["warnings"].to_string();
    for told in ["+# by hand", "shared/edits/1.0.0/compose.yaml"] {
        assert!(warnings.contains(told), "{told} is not in {warnings}");
    }
}

#[test]
fn installing_the_same_version_anew_loses_no_edit_when_it_is_killed() {
    for point in ["started:unpack", "applied:unpack", "started:carry_edits", "applied:carry_edits"] {
        let (_stack, device, compose) = edited();
        device.killed(point, &["upgrade", "--yes"]);
        let ended = device.upgrade(&[]);
        assert_eq!(ended.code, 0, "{point}: {ended:#?}");
        assert_eq!(device.read("current/app.conf"), "mine\n", "{point}");
        assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), compose, "{point}");
        assert_eq!(device.read("shared/edits/1.0.0/notes.txt"), "one\n2\n", "{point}");
        assert!(!device.read("current/compose.yaml").contains("by hand"), "{point}");
        let left: Vec<_> = fs::read_dir(device.path("shared/edits/1.0.0")).unwrap().collect();
        assert_eq!(left.len(), 2, "{point}: nothing is kept twice: {left:?}");
    }
}
