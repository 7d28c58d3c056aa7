//! Stopped from outside in the middle of its work: by a signal, by a cut download, by another client's lock.

use std::io::{BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::Child;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use super::Crash;
use crate::support::http::HttpServer;
use crate::support::tiny::{docker, wait_for};

const UPGRADE: [&str; 4] = ["upgrade", "--yes", "--target", "1.1.0"];

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// Serves the installation's source slowly: its newest bundle takes more than two seconds.
fn slow_source(crash: &Crash) -> (HttpServer, String) {
    let server = HttpServer::serve_dir(&crash.tiny.source);
    let bundle = crash.tiny.bundle("1.1.0");
    let path = format!("/{bundle}");
    for _ in 0..2 {
        server.once(&path, |request, honest| honest(&request).pace(Duration::from_millis(80)));
    }
    crash.tiny.set_source(&server.url());
    (server, path)
}

fn downloading(crash: &Crash) -> bool {
    let entries = std::fs::read_dir(crash.tiny.root.join("bundles")).unwrap();
    let largest = entries.map(|entry| entry.unwrap()).filter(|entry| {
        let name = entry.file_name().to_string_lossy().into_owned();
        !name.ends_with(".bundle") && entry.metadata().is_ok_and(|found| found.len() > 500_000)
    });
    largest.count() > 0
}

#[test]
fn a_killed_download_is_resumed() {
    let mut crash = Crash::installed(|_| {});
    let (server, path) = slow_source(&crash);
    let mut child = crash.tiny.spawn(&UPGRADE);
    wait_for("half the bundle", || downloading(&crash));
    child.kill().unwrap();
    child.wait().unwrap();
    let result = crash.tiny.client(&UPGRADE).expect(0).json();
    assert!(result["bytes_downloaded"].as_u64() < result["bytes_bundle"].as_u64(), "{result:#}");
    assert_eq!(server.statuses(&path), [200, 206]);
    crash.whole("1.1.0");
}

#[test]
fn a_second_client_is_told_who_is_at_work() {
    let mut crash = Crash::installed(|_| {});
    let (_server, _path) = slow_source(&crash);
    let mut first = crash.tiny.spawn(&UPGRADE);
    wait_for("the first client's download", || downloading(&crash));
    for arguments in [&UPGRADE[..], &["rollback", "--yes"], &["backup", "create"]] {
        let refused = crash.tiny.client(arguments).expect_error(30, "LOCKED");
        assert!(refused.message().contains(&format!("pid {} (upgrade)", first.id())), "{refused:?}");
    }
    assert_eq!(crash.tiny.client(&["status"]).expect(0).json()["state"], "upgrading");
    std::fs::remove_file(crash.tiny.root.join("state.lock")).unwrap();
    for arguments in [&UPGRADE[..], &["rollback", "--yes"], &["backup", "create"]] {
        crash.tiny.client(arguments).expect_error(30, "LOCKED");
    }
    let mut output = String::new();
    std::io::Read::read_to_string(&mut first.stdout.take().unwrap(), &mut output).unwrap();
    assert!(first.wait().unwrap().success(), "{output}");
    crash.whole("1.1.0");
}

#[test]
fn a_journal_that_does_not_fit_tells_a_person_the_way_out() {
    let mut crash = Crash::installed(|_| {});
    crash.killed("started:swap:web", "1.1.0");
    let database = rusqlite::Connection::open(crash.tiny.root.join("state.db")).unwrap();
    let row = "INSERT INTO journal (upgrade_id, step, mark, at, detail) SELECT id, 0, 'undone', '', '' FROM upgrades";
    database.execute(&format!("{row} WHERE state = 'running'"), []).unwrap();
    let root = crash.tiny.root.canonicalize().unwrap();
    let back = format!("client --root {} rollback --to 1.0.0 ", root.display());
    for _ in 0..2 {
        let told = crash.tiny.client(&UPGRADE[..2]).expect_error(22, "ROLLBACK_FAILED");
        assert!(told.message().contains(&back), "{told:?}");
    }
    crash.tiny.client(&["rollback", "--to", "1.0.0", "--yes"]).expect(0);
    crash.stack_is("1.0.0");
}

#[test]
fn a_signal_in_the_swap_leaves_a_state_that_the_next_run_finishes() {
    let mut crash = Crash::installed(|_| {});
    for (signal, to) in [(Signal::INT, "1.1.0"), (Signal::TERM, "1.0.0")] {
        crash.write();
        let mut child = crash.tiny.spawn(&["upgrade", "--yes", "--target", to]);
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let stopping = lines.find(|line| line.contains("\"StoppingServices\""));
        assert!(stopping.is_some(), "no service was stopped");
        send(&child, signal);
        let last = lines.last().unwrap();
        assert_eq!(child.wait().unwrap().code(), Some(130), "{last}");
        let result: serde_json::Value = serde_json::from_str(&last).unwrap();
        assert_eq!(result["error"]["code"], "INTERRUPTED", "{last}");
        crash.upgrade(to).expect(0);
        crash.whole(to);
    }
}

#[test]
fn what_a_killed_backup_froze_is_thawed_by_the_next_command() {
    let crash = Crash::installed(|_| {});
    let paused = || {
        let project = format!("label=com.docker.compose.project={}", crash.tiny.project);
        let told = docker(&["ps", "-q", "--filter", "status=paused", "--filter", &project]);
        told.lines().count()
    };
    for next in [&["upgrade", "--yes", "--target", "1.0.0"][..], &["backup", "create"]] {
        let mut backup = crash.tiny.command(&["backup", "create"]);
        let killed = backup.env("COMPOSE_UPGRADE_KILL_AT", "frozen:backup").output().unwrap();
        assert_eq!(killed.status.signal(), Some(9), "{killed:?}");
        assert!(paused() > 0, "nothing was frozen");
        crash.tiny.client(next).expect(0);
        assert_eq!(paused(), 0);
    }
    let list = crash.tiny.client(&["backup", "list"]).expect(0).json();
    let statuses: Vec<&str> =
        list["backups"].as_array().unwrap().iter().map(|one| one["status"].as_str().unwrap()).collect();
    assert_eq!(statuses.iter().filter(|status| **status == "complete").count(), 1, "{list:#}");
    assert!(!statuses.contains(&"running"), "{list:#}");
    let left = crate::support::tiny::names_in(&crash.tiny.root.join("backups"));
    assert!(!left.iter().any(|name| name.ends_with(".stage")), "{left:?}");
}

#[test]
fn nobody_comes_in_before_a_client_that_is_stopping_is_gone() {
    let crash = Crash::installed(|_| {});
    let volume =
        docker(&["volume", "inspect", "--format", "{{.Mountpoint}}", &crash.tiny.things("volume")[0]]);
    let noise: Vec<u8> = (0..64 << 20).map(|_| rand::random()).collect();
    std::fs::write(format!("{}/noise", volume.trim()), noise).unwrap();
    let mut first = crash.tiny.spawn(&["backup", "create"]);
    let writes = || {
        let entries = std::fs::read_dir(crash.tiny.root.join("backups")).unwrap().map(Result::unwrap);
        let mut archives = entries.filter(|entry| entry.file_name().to_string_lossy().ends_with(".part"));
        archives.any(|archive| archive.metadata().is_ok_and(|found| found.len() > 1 << 20))
    };
    wait_for("a backup that is being written", writes);
    send(&first, Signal::INT);
    let begun = std::time::Instant::now();
    loop {
        let second = crash.tiny.client(&["backup", "prune"]);
        if second.code == Some(0) {
            break;
        }
        second.expect_error(30, "LOCKED");
        assert!(begun.elapsed() < Duration::from_secs(15), "the first never ended");
    }
    // Its files are closed a moment before its parent is told.
    wait_for("the first to be gone", || first.try_wait().unwrap().is_some());
    assert_eq!(first.wait().unwrap().code(), Some(130));
    let backups = crash.tiny.root.join("backups");
    assert_eq!(crate::support::tiny::names_in(&backups), [".lock"], "nothing is left or written on");
}
