//! Killed while a rollback brings the data back.

use super::Crash;

const BACK: [&str; 5] = ["rollback", "--to", "previous", "--restore-data", "--yes"];

/// On 1.1.0, with rows that were written after the upgrade.
fn upgraded(crash: &mut Crash) -> Vec<String> {
    // Whoever went back from it before has to insist.
    crash.tiny.client(&["upgrade", "--yes", "--target", "1.1.0", "--force"]).expect(0);
    let before = crash.rows.clone();
    crash.write();
    before
}

#[test]
fn it_is_finished_and_only_once() {
    let mut crash = Crash::installed(|_| {});
    for pair in [
        ["started:stop_services", "applied:stop_services"],
        ["started:backup", "applied:backup"],
        ["started:restore_data", "applied:restore_data"],
    ] {
        let before = upgraded(&mut crash);
        for point in pair {
            crash.tiny.killed(point, &BACK);
        }
        let result = crash.tiny.client(&BACK).expect(0).json();
        assert_eq!(
            (&result["from"], &result["to"]),
            (&"1.1.0".into(), &"1.0.0".into()),
            "{pair:?}: {result:#}"
        );
        crash.rows = before;
        crash.whole("1.0.0");
    }
}

#[test]
fn at_every_step() {
    let mut crash = Crash::installed(|_| {});
    crash.upgrade("1.1.0").expect(0);
    crash.write();
    let keep = ["rollback", "--to", "previous", "--keep-data", "--yes"];
    crash.killed_at_each(
        &[
            "started:load_images",
            "applied:load_images",
            "started:tag_images",
            "applied:create_containers",
            "started:protect",
            "applied:flip_current",
            "applied:swap:extra",
            "started:swap:db",
            "applied:swap:fixed",
            "started:swap:web",
            "started:verify",
            "started:commit",
            "applied:commit",
            "applied:finalize",
            "started:clean_up",
        ],
        &keep,
    );
    crash.tiny.client(&keep).expect(0);
    crash.whole("1.0.0");
}

#[test]
fn one_that_is_given_up_puts_the_newer_data_back() {
    let mut crash = Crash::installed(|_| {});
    upgraded(&mut crash);
    for _ in 0..3 {
        crash.tiny.killed("started:swap:web", &BACK);
    }
    for point in ["undo_started:restore_data", "undo_applied:restore_data"] {
        crash.tiny.killed(point, &BACK);
    }
    let result = crash.tiny.client(&BACK).expect(20).json();
    assert_eq!(result["rolled_back_to"], "1.1.0", "{result:#}");
    crash.whole_after_undo("1.1.0");
}
