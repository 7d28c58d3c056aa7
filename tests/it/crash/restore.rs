//! Killed while a backup's data comes back.

use super::Crash;

#[test]
fn at_every_step() {
    let mut crash = Crash::installed(|_| {});
    let made = crash.tiny.client(&["backup", "create"]).expect(0).json();
    let before = crash.rows.clone();
    crash.write();
    let restore = ["backup", "restore", made["id"].as_str().unwrap(), "--yes"];
    crash.killed_at_each(
        &[
            "started:protect",
            "applied:flip_current",
            "started:stop_services",
            "started:backup",
            "applied:backup",
            "started:restore_data",
            "applied:restore_data",
            "started:swap:db",
            "started:verify",
            "started:commit",
            "applied:commit",
            "applied:finalize",
            "started:clean_up",
        ],
        &restore,
    );
    // Whoever comes next finishes it.
    crash.upgrade("1.0.0").expect(0);
    crash.rows = before;
    crash.whole("1.0.0");
}
