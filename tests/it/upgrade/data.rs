//! The stack's data: it survives, is backed up, and comes back exactly.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};

use crate::support::stack::{Device, IDLE, Stack, snapshot};

/// Tells everything about the volume of `db`.
const TELL: &str = "cd /rows; find . | sort | while read f; do stat -c '%n %a %u:%g %F %N' $f; \
    [ -f $f ] && cat $f; done";

/// A database with a named volume and an app with a persist folder.
pub fn installed() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"))
            .service("app", &format!("{IDLE}\nvolumes: ['./data:/data']\ndepends_on: [db]"))
            .sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    (stack, device)
}

/// Data with everything that is easily lost.
pub fn fill(device: &Device) {
    let volume = "cd /rows; echo one > a; mkdir -p deep/empty; chmod 1750 deep/empty; chmod 4755 a; \
        chown 70:71 a deep; ln -s a link; ln a hard";
    device.sh("db", volume);
    let data = device.path("shared/data");
    fs::create_dir_all(data.join("deep/empty")).unwrap();
    fs::write(data.join("file"), "one").unwrap();
    fs::set_permissions(data.join("file"), fs::Permissions::from_mode(0o640)).unwrap();
    fs::set_permissions(data.join("deep/empty"), fs::Permissions::from_mode(0o2711)).unwrap();
    symlink("file", data.join("link")).unwrap();
    xattr::set(data.join("file"), "user.note", b"mine").unwrap();
}

/// All of it, to be compared.
pub fn state(device: &Device) -> (String, BTreeMap<String, String>, Option<Vec<u8>>) {
    let data = device.path("shared/data");
    (device.sh("db", TELL), snapshot(&data), xattr::get(data.join("file"), "user.note").unwrap())
}

/// Everything is different afterwards.
pub fn spoil(device: &Device) {
    device.sh("db", "cd /rows; echo two > a; chmod 600 a; rm -r deep link; touch new");
    let data = device.path("shared/data");
    fs::remove_dir_all(data.join("deep")).unwrap();
    fs::remove_file(data.join("link")).unwrap();
    fs::remove_file(data.join("file")).unwrap();
    fs::write(data.join("file"), "two").unwrap();
    fs::write(data.join("new"), "new").unwrap();
}

#[test]
fn data_survives_an_upgrade_and_can_be_restored_to_before_it() {
    let (mut stack, device) = installed();
    fill(&device);
    let before = state(&device);
    stack.release("1.1.0", |r| {
        r.rebuild("db").rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(state(&device), before);
    assert_eq!(device.sh("app", "cat /data/file"), "one");

    let id = ended.outcome["backup_id"].as_str().unwrap();
    let (code, list) = device.ask(&["backup", "list"]);
    let backups = list["backups"].as_array().unwrap();
    assert_eq!((code, backups.len()), (0, 1));
    assert_eq!((&backups[0]["id"], &backups[0]["kind"]), (&id.into(), &"pre-upgrade".into()));
    assert_eq!((&backups[0]["version"], &backups[0]["status"]), (&"1.0.0".into(), &"complete".into()));
    let (code, shown) = device.ask(&["backup", "show", id]);
    let paths = shown["contents"].to_string();
    assert!(code == 0 && paths.contains("rows") && paths.contains("deep/empty"), "{shown}");
    assert_eq!(device.ask(&["backup", "verify", id]).0, 0);

    spoil(&device);
    let spoilt = state(&device);
    let ended = device.run(&["backup", "restore", id, "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(state(&device), before);
    assert_eq!(device.version("current"), "1.1.0", "only the data went back");
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    let ended = device.run(&["backup", "restore", undo, "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(state(&device), spoilt, "a restore can be taken back");
}

#[test]
fn a_manual_backup_is_restored_and_a_damaged_one_is_refused() {
    let (_stack, device) = installed();
    fill(&device);
    let before = state(&device);
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!((code, &made["kind"], &made["status"]), (0, &"manual".into(), &"complete".into()));
    let id = made["id"].as_str().unwrap();
    spoil(&device);
    assert_eq!(device.run(&["backup", "restore", id]).code, 11, "nobody agreed to it");
    assert_eq!(device.run(&["backup", "restore", id, "--yes"]).code, 0);
    assert_eq!(state(&device), before);

    let file = device.path("backups").join(made["file"].as_str().unwrap());
    let mut bytes = fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x55;
    fs::write(&file, bytes).unwrap();
    let containers = device.containers();
    let ended = device.run(&["backup", "restore", id, "--yes"]);
    assert_ne!(ended.code, 0, "{ended:#?}");
    assert_ne!(device.ask(&["backup", "verify", id]).0, 0);
    assert_eq!(device.containers(), containers, "nothing was stopped");
    assert_eq!(state(&device), before);
}

/// Publishes a release that changes the data and then fails.
fn failing_migration(stack: &mut Stack, declared: bool) {
    stack.release("1.1.0", |r| {
        let line = "echo two > /rows/a; rm -r /rows/deep; touch /rows/new; exec sleep 100000";
        r.service("db", &format!("command: [sh, -c, '{line}']\nvolumes: ['rows:/rows']"))
            .service("app", "command: [sh, -c, 'echo two > /data/file; exit 1']\nvolumes: ['./data:/data']\ndepends_on: [db]")
            .toml(&format!("migrates_data = {declared}\n[health]\ntimeout_ms = 5000\nstability_ms = 300\n"));
    });
}

#[test]
fn a_failed_migration_gives_the_data_back_exactly() {
    let (mut stack, device) = installed();
    fill(&device);
    let before = state(&device);
    failing_migration(&mut stack, true);
    let containers = device.containers();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(state(&device), before);
    for (name, container) in device.containers() {
        assert!(container.running && container.id == containers[&name].id, "{name}");
    }
}

#[test]
fn a_failed_migration_gives_the_data_back_although_the_state_was_lost_in_the_middle() {
    for point in ["started:swap:app", "undo_started:swap:db"] {
        let (mut stack, device) = installed();
        fill(&device);
        let before = state(&device);
        failing_migration(&mut stack, true);
        let containers = device.containers();
        device.killed(point, &["upgrade", "--yes"]);
        for name in ["state.db", "state.db-wal", "state.db-shm"] {
            std::fs::remove_file(device.path(name)).unwrap();
        }
        let ended = device.upgrade(&[]);
        assert_eq!(ended.code, 20, "{point}: {ended:#?}");
        assert_eq!(state(&device), before, "{point}");
        for (name, container) in device.containers() {
            assert!(container.running && container.id == containers[&name].id, "{point}: {name}");
        }
        let (_, list) = device.ask(&["backup", "list"]);
        let all = list["backups"].as_array().unwrap();
        assert!(all.iter().all(|one| one["status"] == "complete"), "{point}: {list:#}");
    }
}

#[test]
fn an_upgrade_that_fails_every_night_does_not_fill_the_disk() {
    let (mut stack, device) = installed();
    fill(&device);
    failing_migration(&mut stack, false);
    let settings = device.read("client.toml");
    assert!(settings.contains("keep = 3"), "{settings}");
    device.write("client.toml", &settings.replace("keep = 3", "keep = 2"));
    for _ in 0..4 {
        assert_eq!(device.upgrade(&["--target", "1.1.0", "--force"]).code, 20);
    }
    let (_, list) = device.ask(&["backup", "list"]);
    assert_eq!(list["backups"].as_array().unwrap().len(), 2, "{list:#}");
}

#[test]
fn a_version_that_is_not_to_be_had_is_refused_before_an_interrupted_upgrade_is_dealt_with() {
    let (mut stack, device) = installed();
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    device.killed("applied:swap:app", &["upgrade", "--yes"]);
    let before = device.containers();
    let ended = device.rollback(&["--to", "9.9.9"]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (1, &"RELEASE_UNKNOWN".into()), "{ended:#?}");
    assert_eq!(device.containers(), before, "1 says that nothing was changed");
    assert_eq!(device.upgrade(&[]).code, 0);
}

#[test]
fn data_is_left_alone_where_no_migration_is_declared() {
    let (mut stack, device) = installed();
    fill(&device);
    failing_migration(&mut stack, false);
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(
        device.sh("db", "cat /rows/a"),
        "two",
        "what was written while it was tried is not thrown away"
    );
}

#[test]
fn rolling_back_a_declared_migration_restores_the_data_unless_it_is_to_be_kept() {
    let (mut stack, device) = installed();
    fill(&device);
    let before = state(&device);
    stack.release("1.1.0", |r| {
        let line = "[ -e /rows/new ] || echo two > /rows/a; touch /rows/new; exec sleep 100000";
        r.service("db", &format!("command: [sh, -c, '{line}']\nvolumes: ['rows:/rows']"))
            .toml("migrates_data = true\n[health]\ntimeout_ms = 5000\nstability_ms = 300\n");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/a"), "two");
    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!((device.version("current").as_str(), state(&device)), ("1.0.0", before));

    assert_eq!(device.upgrade(&["--target", "1.1.0", "--force"]).code, 0);
    let ended = device.rollback(&["--keep-data"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", "cat /rows/a"), "two");
}

/// A database whose volume has driver options: it is reached through the engine alone.
pub fn with_options() -> (Stack, Device, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let mut stack = Stack::new();
    let path = folder.path().display();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']")).sections(&format!(
            "volumes: {{rows: {{driver: local, driver_opts: {{type: none, o: bind, device: '{path}'}}}}}}"
        ));
    });
    let device = Device::init(&stack);
    (stack, device, folder)
}

fn helpers(stack: &Stack) -> String {
    let restores = format!("name=compose-upgrade-restore-{}", stack.project());
    let backups = format!("name=compose-upgrade-backup-{}", stack.project());
    crate::support::stack::docker(&["ps", "-aq", "--filter", &restores, "--filter", &backups])
}

#[test]
fn a_volume_that_only_the_engine_reaches_holds_what_the_backup_holds_and_nothing_else() {
    let (stack, device, folder) = with_options();
    let fill = "cd /rows; echo one > a; mkdir -p deep/empty; chmod 1750 deep/empty; chmod 4755 a; \
        chown 70:71 a deep .; chmod 750 .; ln -s a link; ln -s ../../etc/x beyond; ln a hard";
    device.sh("db", fill);
    let before = device.sh("db", TELL);
    let (_, made) = device.ask(&["backup", "create"]);
    device.sh(
        "db",
        "cd /rows; echo two > a; chmod 600 a; rm -r deep link; touch new .hidden; mkdir more; chmod 777 .",
    );
    let spoilt = device.sh("db", TELL);
    let ended = device.run(&["backup", "restore", made["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", TELL), before);
    assert_eq!(helpers(&stack), "");
    let ended = device.run(&["backup", "restore", ended.outcome["backup_id"].as_str().unwrap(), "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", TELL), spoilt);
    drop(folder);
}

#[test]
fn killed_anywhere_in_it_the_next_run_ends_with_one_or_the_other() {
    let (stack, device, folder) = with_options();
    device.sh("db", "cd /rows; echo one > a; mkdir deep; touch deep/b");
    let before = device.sh("db", TELL);
    let (_, made) = device.ask(&["backup", "create"]);
    let spoil = "cd /rows; echo two > a; rm -rf deep; touch new";
    for wait_ms in [0, 150, 300, 450, 600, 900] {
        device.sh("db", spoil);
        let spoilt = device.sh("db", TELL);
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_client"));
        command.env("CLIENT_ROOT", device.path("")).stdout(std::process::Stdio::null());
        command.args(["backup", "restore", made["id"].as_str().unwrap(), "--yes", "--progress", "none"]);
        let mut child = command.spawn().unwrap();
        crate::support::tiny::wait_for("the helper", || {
            !helpers(&stack).is_empty() || child.try_wait().unwrap().is_some()
        });
        std::thread::sleep(std::time::Duration::from_millis(wait_ms));
        child.kill().unwrap();
        child.wait().unwrap();
        let ended = device.upgrade(&[]);
        assert!(matches!(ended.code, 0 | 20), "{ended:#?}");
        let now = device.sh("db", TELL);
        assert!(now == before || now == spoilt, "after {wait_ms} ms: {now}");
        assert_eq!(device.status()["state"], "idle");
    }
    assert_eq!(helpers(&stack), "");
    drop(folder);
}

#[test]
fn what_the_failed_version_wrote_is_kept_also_while_the_archive_of_before_is_still_written() {
    let (mut stack, device) = installed();
    fill(&device);
    // Much that is slow to compress: the new version has failed long before the archive is whole.
    let noise: Vec<u8> =
        (0..48 << 20).map(|index: u32| (index.wrapping_mul(2_654_435_761) >> 13) as u8 & 0x3f).collect();
    fs::write(device.path("shared/data/noise"), noise).unwrap();
    let settings = device.read("client.toml");
    let slow = settings.replace("threads = 0", "threads = 1\nlevel = 12");
    assert_ne!(slow, settings);
    device.write("client.toml", &slow);
    let before = state(&device);
    failing_migration(&mut stack, true);
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(state(&device), before);
    let (_, list) = device.ask(&["backup", "list"]);
    let backups = list["backups"].as_array().unwrap();
    let kinds: Vec<(&str, &str)> =
        backups.iter().map(|one| (one["kind"].as_str().unwrap(), one["status"].as_str().unwrap())).collect();
    assert_eq!(kinds, [("pre-upgrade", "complete"), ("safety", "complete")], "{list:#}");
    let kept = backups[1]["id"].as_str().unwrap();
    assert!(ended.outcome["warnings"].to_string().contains(kept), "{ended:#?}");
    assert_eq!(
        device.run(&["backup", "restore", kept, "--yes"]).code,
        11,
        "1.0.0 may not be able to read it"
    );
    assert_eq!(device.run(&["backup", "restore", kept, "--yes", "--force"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/a"), "two");
}
