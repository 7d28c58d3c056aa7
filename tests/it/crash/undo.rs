//! Killed on the way back: the next run ends wholly on the old version.

use super::{BROKEN, Crash, RELEASE, compose, extra};
use crate::support::tiny::{Release, Tiny};

fn broken(tiny: &Tiny) {
    tiny.image("app", "1.2.0");
    tiny.publish(&Release {
        version: "1.2.0",
        compose: compose(BROKEN),
        release_toml: RELEASE,
        files: &[("site/index", "three"), (".env", "GREETING=hello\nWRONG=1\n")],
    });
}

const BAD: [&str; 5] = ["upgrade", "--yes", "--force", "--target", "1.2.0"];

#[test]
fn at_every_step_in_one_upgrade() {
    let mut crash = Crash::installed(broken);
    crash.write();
    let env = || std::fs::read_to_string(crash.tiny.root.join("shared/.env")).unwrap();
    let before = env();
    for step in [
        "swap:bad",
        "swap:web",
        "swap:fixed",
        "swap:db",
        "flip_current",
        "protect",
        "backup",
        "create_containers",
        "tag_images",
        "load_images",
        "carry_edits",
        "unpack",
        "fetch",
    ] {
        for moment in ["undo_before", "undo_started", "undo_applied"] {
            crash.tiny.killed(&format!("{moment}:{step}"), &BAD);
        }
    }
    let result = crash.tiny.client(&BAD).expect(20).json();
    assert_eq!(result["rolled_back_to"], "1.0.0", "{result:#}");
    assert!(
        result["error"]["message"].as_str().unwrap().contains("bad"),
        "its first cause is lost: {result:#}"
    );
    assert_eq!(env(), before, "the failed release's keys stayed in .env");
    crash.whole_after_undo("1.0.0");
    assert_eq!(crash.last()["state"], "rolled_back");
    crash.upgrade("1.1.0").expect(0);
    crash.whole("1.1.0");
}

#[test]
fn once_in_each_upgrade() {
    let mut crash = Crash::installed(broken);
    for point in ["undo_started:swap:db", "undo_applied:protect", "undo_started:create_containers"] {
        crash.write();
        crash.tiny.killed(point, &BAD);
        crash.tiny.client(&BAD).expect(20);
        crash.whole_after_undo("1.0.0");
    }
    // Killed on the way forward, then the release turns out to be bad.
    crash.tiny.killed("applied:swap:web", &BAD);
    crash.tiny.client(&BAD).expect(20);
    crash.whole_after_undo("1.0.0");
}

#[test]
fn after_a_verification_that_failed() {
    let mut crash = Crash::installed(|tiny| {
        tiny.image("app", "1.2.0");
        let probe =
            "[[health.probes]]\nname = 'never'\ncommand = ['test', '-e', '/never']\nservice = 'web'\n";
        tiny.publish(&Release {
            version: "1.2.0",
            compose: compose(&extra()),
            release_toml: &format!("{RELEASE}{probe}"),
            files: &[("site/index", "three")],
        });
    });
    crash.write();
    for point in
        ["undo_started:verify", "undo_applied:verify", "undo_started:swap:extra", "undo_applied:swap:extra"]
    {
        crash.tiny.killed(point, &BAD);
    }
    crash.tiny.client(&BAD).expect(20);
    crash.whole_after_undo("1.0.0");
}
