//! Killed on the way forward: the next run ends on the new version.

use super::Crash;

const OTHER: [&str; 2] = ["1.1.0", "1.0.0"];

/// Two kills before the commit in each upgrade: a third attempt is the last one that goes forward.
fn survives(points: &[&str]) {
    let mut crash = Crash::installed(|_| {});
    for (turn, pair) in points.chunks(2).enumerate() {
        let to = OTHER[turn % 2];
        crash.write();
        for point in pair {
            crash.killed(point, to);
        }
        let result = crash.upgrade(to).expect(0).json();
        assert_eq!((&result["ok"], &result["to"]), (&true.into(), &to.into()), "{pair:?}: {result:#}");
        crash.whole(to);
        assert_eq!(crash.last()["state"], "completed", "{pair:?}");
    }
}

#[test]
fn while_the_release_is_prepared() {
    let mut crash = Crash::installed(|_| {});
    for step in ["fetch", "unpack", "carry_edits", "load_images"] {
        for moment in ["before", "started", "applied"] {
            crash.write();
            crash.killed(&format!("{moment}:{step}"), "1.1.0");
        }
    }
    let result = crash.upgrade("1.1.0").expect(0).json();
    assert_eq!(result["from"], "1.0.0", "{result:#}");
    crash.whole("1.1.0");
}

#[test]
fn before_anything_stops() {
    survives(&[
        "before:tag_images",
        "started:tag_images",
        "applied:tag_images",
        "started:create_containers",
        "applied:create_containers",
        "started:backup",
        "applied:backup",
        "started:protect",
        "applied:protect",
        "started:flip_current",
        "applied:flip_current",
        "before:swap:db",
    ]);
}

#[test]
fn while_services_are_swapped() {
    survives(&[
        "started:swap:db",
        "applied:swap:db",
        "applied:swap:fixed",
        "started:swap:web",
        "started:swap:extra",
        "applied:swap:extra",
        "started:swap:fixed",
        "applied:swap:web",
        "started:verify",
        "applied:verify",
        "started:swap:extra",
        "started:commit",
    ]);
}

#[test]
fn around_the_commit_and_after_it() {
    survives(&["before:commit", "applied:commit"]);
    let mut crash = Crash::installed(|_| {});
    crash.write();
    // After the commit there is no limit: only forward.
    for point in [
        "before:finalize",
        "started:finalize",
        "applied:finalize",
        "before:clean_up",
        "started:clean_up",
        "applied:clean_up",
    ] {
        crash.killed(point, "1.1.0");
    }
    crash.upgrade("1.1.0").expect(0);
    crash.whole("1.1.0");
}

#[test]
fn an_upgrade_that_is_killed_again_and_again_goes_back() {
    let mut crash = Crash::installed(|_| {});
    crash.write();
    for _ in 0..3 {
        crash.killed("started:swap:web", "1.1.0");
    }
    let result = crash.upgrade("1.1.0").expect(20).json();
    assert_eq!(result["rolled_back_to"], "1.0.0", "{result:#}");
    crash.whole_after_undo("1.0.0");
}
