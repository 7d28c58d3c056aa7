//! Patches: small, and in the end the same as a full release.

use std::fs;

use crate::support::stack::{Device, IDLE, Stack, snapshot};

/// A stack whose `web` shows a page from the release's files and whose `api` does not.
fn published() -> Stack {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("web", &format!("{IDLE}\nvolumes: ['./page:/page:ro']"))
            .service("api", IDLE)
            .file("page/index.html", "one")
            .file("page/old.html", "old");
    });
    stack
}

#[test]
fn a_patch_swaps_only_who_mounts_what_changed_and_equals_a_full_release() {
    let mut stack = published();
    let device = Device::init(&stack);
    let before = device.containers();
    stack.release("1.0.0.1", |r| {
        fs::remove_file(r.folder().join("page/old.html")).unwrap();
        r.file("page/index.html", "two").file("page/deep/new.html", "new").patch_from("1.0.0");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(ended.outcome["strategy"], "patch");
    assert_eq!(ended.outcome["reason"], "patch_available");
    assert_eq!(ended.outcome["downtime_ms"].as_object().unwrap().keys().collect::<Vec<_>>(), ["web"]);
    let after = device.containers();
    for (name, container) in &after {
        assert_eq!(*container == before[name], container.service == "api", "{name}");
    }
    assert_eq!(device.sh("web", "cat /page/index.html"), "two");
    assert_eq!(device.sh("web", "ls /page"), "deep\nindex.html");
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after);
    let patched = snapshot(&device.path("releases/1.0.0.1"));

    let ended = device.upgrade(&["--force-full"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!((&ended.outcome["strategy"], &ended.outcome["reason"]), (&"full".into(), &"forced".into()));
    assert_eq!(snapshot(&device.path("releases/1.0.0.1")), patched, "the same, bit by bit");
    assert_eq!(device.containers(), after, "and so nothing is swapped");
}

#[test]
fn a_skipped_patch_level_is_a_full_upgrade() {
    let mut stack = published();
    let device = Device::init(&stack);
    stack.release("1.0.0.1", |r| {
        r.file("page/index.html", "two").patch_from("1.0.0");
    });
    stack.release("1.0.0.2", |r| {
        r.file("page/index.html", "three").patch_from("1.0.0.1");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        (&ended.outcome["strategy"], &ended.outcome["reason"]),
        (&"full".into(), &"patches_skipped".into())
    );
    assert_eq!(device.sh("web", "cat /page/index.html"), "three");
}
