//! How data is made consistent while it is backed up, chosen per volume: stopped services, commands in a service, SQLite
//! databases that are written to meanwhile; and volumes that only the engine reaches.

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::TestRunner;
use rusqlite::Connection;
use rustix::process::Pid;

use super::data::with_options;
use crate::backup::tree::{Item, Node, build, describe, item, plain};
use crate::support::stack::{Device, IDLE, Stack, docker};

const HEALTH: &str = "[health]\ntimeout_ms = 10000\nstability_ms = 500\nsoak_ms = 0\n";

/// `db` with a volume that is backed up as `policy` says, and `app`, which depends on it.
fn installed(policy: &str) -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"))
            .service("app", &format!("{IDLE}\nvolumes: ['./data:/data']\ndepends_on: [db]"))
            .sections("volumes: {rows: {}}")
            .toml(&format!("{HEALTH}[backup.data.rows]\n{policy}\n"));
    });
    let device = Device::init(&stack);
    device.sh("db", "cd /rows; echo one > table; echo kept > other");
    (stack, device)
}

fn backup(device: &Device) -> String {
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!((code, &made["status"]), (0, &"complete".into()), "{made}");
    made["id"].as_str().unwrap().to_owned()
}

fn started_at(device: &Device, service: &str) -> String {
    device.container(service).started_at
}

#[test]
fn what_is_to_be_stopped_is_stopped_for_the_moment_and_runs_again() {
    let (_stack, device) = installed("way = 'stop'");
    let (db, app) = (started_at(&device, "db"), started_at(&device, "app"));
    let id = backup(&device);
    assert_ne!(started_at(&device, "db"), db, "it was stopped and started");
    assert_eq!(started_at(&device, "app"), app, "it has nothing of that data");
    assert!(device.container("db").running);

    device.sh("db", "echo two > /rows/table");
    assert_eq!(device.run(&["backup", "restore", &id, "--yes"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/table"), "one");
}

#[test]
fn what_a_killed_backup_had_stopped_runs_again_after_the_next_command() {
    let (_stack, device) = installed("way = 'stop'");
    device.killed("frozen:backup", &["backup", "create"]);
    assert!(!device.container("db").running, "the test is about a service that is down");
    let id = backup(&device);
    assert!(device.container("db").running);
    assert_eq!(device.ask(&["backup", "verify", &id]).0, 0);
}

/// One that only held still for the copy is not swapped: nothing else starts it.
#[test]
fn what_an_upgrade_had_stopped_runs_again_where_the_state_is_lost_with_it() {
    let (mut stack, device) = installed("way = 'stop'");
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    device.killed("frozen:backup", &["upgrade", "--yes"]);
    assert!(!device.container("db").running, "the test is about a service that is down");
    for name in ["state.db", "state.db-wal", "state.db-shm"] {
        fs::remove_file(device.path(name)).unwrap();
    }
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(device.container("db").running);
    assert_eq!(device.sh("db", "cat /rows/table"), "one");
}

/// With a service that the engine starts again when it ends by itself.
fn always_restarted() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']\nrestart: always"))
            .sections("volumes: {rows: {}}")
            .toml(HEALTH);
    });
    let device = Device::init(&stack);
    device.sh("db", "echo one > /rows/table");
    (stack, device)
}

fn process_of(device: &Device, service: &str) -> Pid {
    let pid = docker(&["inspect", "--format", "{{.State.Pid}}", &device.container(service).id]);
    Pid::from_raw(pid.trim().parse().unwrap()).unwrap()
}

/// As when it ends in the moment in which it is to be frozen.
#[test]
fn one_that_ends_and_is_started_again_while_it_should_stand_still_is_stopped_for_the_backup() {
    let (_stack, device) = always_restarted();
    let id = device.container("db").id;
    let output = device.held("frozen:backup", &["backup", "create", "--json"], |_| {
        rustix::process::kill_process(process_of(&device, "db"), rustix::process::Signal::KILL).unwrap();
        docker(&["unpause", &id]);
        let deadline = Instant::now() + Duration::from_secs(30);
        while docker(&["inspect", "--format", "{{.RestartCount}} {{.State.Status}}", &id]).trim()
            != "1 running"
        {
            assert!(Instant::now() < deadline, "the engine does not start it again");
        }
        docker(&["exec", &id, "busybox", "sh", "-c", "echo two > /rows/table"]);
    });
    let made: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((output.status.code(), &made["status"]), (Some(0), &"complete".into()), "{made:#}");
    assert!(device.container("db").running, "it goes on");
    device.sh("db", "echo three > /rows/table");
    let id = made["id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", id, "--yes"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/table"), "two", "as it was when it stood still at last");
}

#[test]
fn what_a_killed_backup_holds_is_told_by_doctor_and_let_go() {
    for (way, mend) in [("warm", &["doctor", "--fix"][..]), ("stop", &["backup", "prune"])] {
        let (_stack, device) = installed(&format!("way = '{way}'"));
        device.killed("frozen:backup", &["backup", "create"]);
        let told = |args: &[&str]| {
            let (code, found) = device.ask(args);
            (code, found.to_string().contains("a backup that did not end"))
        };
        assert_eq!(told(&["doctor", "--lang", "en"]), (1, true), "{way}");
        device.client(mend);
        assert!(!told(&["doctor", "--lang", "en"]).1, "{way}");
        assert_eq!(device.sh("db", "cat /rows/table"), "one", "{way}");
    }
}

#[test]
fn where_one_cannot_go_on_the_others_do() {
    let beside = tempfile::tempdir().unwrap();
    let file = beside.path().join("file");
    fs::write(&file, "").unwrap();
    let bound = format!("{{type: bind, source: '{}', target: /file}}", file.display());
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows', {bound}]"))
            .service("app", &format!("{IDLE}\nvolumes: ['rows:/rows']\ndepends_on: [db]"))
            .sections("volumes: {rows: {}}")
            .toml(&format!("{HEALTH}[backup.data.rows]\nway = 'stop'\n"));
    });
    let device = Device::init(&stack);
    device.killed("frozen:backup", &["backup", "create"]);
    let run = |device: &Device| (device.container("db").running, device.container("app").running);
    assert_eq!(run(&device), (false, false));
    fs::remove_file(&file).unwrap();
    let (code, told) = device.ask(&["backup", "prune"]);
    assert_eq!((code, run(&device)), (1, (false, true)), "{told}");
    fs::write(&file, "").unwrap();
    let (code, told) = device.ask(&["backup", "prune"]);
    assert_eq!((code, run(&device)), (0, (true, true)), "it is still known: {told}");
}

const HOOK: &str = "way = 'hook'\nservice = 'db'\ndump = ['sh', '-c', 'test ! -e /rows/killed || kill -9 $$; test ! -e /rows/broken && cat /rows/table']\n\
    restore = ['sh', '-c', 'cat > /rows/new && test ! -e /rows/stuck && mv /rows/new /rows/table']";

#[test]
fn what_a_command_gives_is_kept_in_place_of_the_files_and_given_back_to_one() {
    let (_stack, device) = installed(HOOK);
    let (db, app) = (started_at(&device, "db"), started_at(&device, "app"));
    let id = backup(&device);
    assert_eq!((started_at(&device, "db"), started_at(&device, "app")), (db, app), "nothing was stopped");
    let (_, shown) = device.ask(&["backup", "show", &id]);
    let contents = shown["contents"].to_string();
    assert!(contents.contains("dumps/volumes/rows") && !contents.contains("other"), "{shown}");

    device.sh("db", "cd /rows; echo two > table; echo changed > other");
    let ended = device.run(&["backup", "restore", &id, "--only", "rows", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        device.sh("db", "cat /rows/table /rows/other"),
        "one\nchanged",
        "the command's data came back"
    );

    // It can be taken back: what was there is kept as files.
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", undo, "--yes"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/table /rows/other"), "two\nchanged");

    let beside = tempfile::tempdir().unwrap();
    let to = beside.path().join("to");
    assert!(device.client(&["backup", "restore", &id, "--to", to.to_str().unwrap()]).status.success());
    assert_eq!(fs::read_to_string(to.join("dumps/volumes/rows")).unwrap(), "one\n");
}

#[test]
fn a_command_that_fails_leaves_no_backup_and_a_restore_that_fails_the_data_as_it_was() {
    let (mut stack, device) = installed(HOOK);
    let id = backup(&device);
    device.sh("db", "cd /rows; echo two > table; touch stuck");
    let ended = device.run(&["backup", "restore", &id, "--yes"]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (20, &"HOOK_FAILED".into()), "{ended:#?}");
    assert_eq!(device.sh("db", "cat /rows/table; ls /rows"), "two\nother\nstuck\ntable");
    assert!(device.container("app").running && device.container("db").running);

    device.sh("db", "rm /rows/stuck; touch /rows/broken");
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"HOOK_FAILED".into()), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("cat /rows/table"), "{told}");
    device.sh("db", "mv /rows/broken /rows/killed");
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"HOOK_FAILED".into()), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("137"), "{told}");
    // Nor is there an upgrade without the backup that was wanted.
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let before = device.containers();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (1, "1.0.0".into()), "{ended:#?}");
    assert_eq!(device.containers(), before);
    let names = fs::read_dir(device.path("backups")).unwrap().map(|item| item.unwrap().file_name());
    let left: Vec<_> = names.filter(|name| !name.to_string_lossy().starts_with('.')).collect();
    assert_eq!(left.len(), 2, "only the whole ones: {left:?}");
    device.sh("db", "rm /rows/killed");
    assert_eq!(device.upgrade(&[]).code, 0);
}

#[test]
fn a_release_that_migrates_keeps_the_files_whatever_is_said_of_commands() {
    let (mut stack, device) = installed(HOOK);
    stack.release("1.1.0", |r| {
        r.service("db", "command: [sh, -c, 'rm /rows/other; exit 1']\nvolumes: ['rows:/rows']")
            .toml(&format!("migrates_data = true\n{HEALTH}[backup.data.rows]\n{HOOK}\n"));
    });
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (20, "1.0.0".into()), "{ended:#?}");
    assert_eq!(device.sh("db", "cat /rows/table /rows/other"), "one\nkept");
}

/// Writes rows to a SQLite database, each in a transaction of its own, until it is dropped.
struct Writer {
    stop: Arc<AtomicBool>,
    rows: Arc<AtomicU64>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Writer {
    fn start(path: &Path) -> Self {
        let database = Connection::open(path).unwrap();
        database.pragma_update(None, "journal_mode", "wal").unwrap();
        database.busy_timeout(Duration::from_secs(60)).unwrap();
        database
            .execute_batch("CREATE TABLE IF NOT EXISTS rows (id INTEGER PRIMARY KEY, filler TEXT)")
            .unwrap();
        let (stop, rows) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (stopped, count) = (stop.clone(), rows.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::SeqCst) {
                database.execute("INSERT INTO rows (filler) VALUES (hex(randomblob(500)))", []).unwrap();
                count.fetch_add(1, Ordering::SeqCst);
            }
        });
        Self { stop, rows, thread: Some(thread) }
    }

    fn wait_for(&self, rows: u64) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while self.rows.load(Ordering::SeqCst) < rows {
            assert!(Instant::now() < deadline, "it does not write");
            std::thread::yield_now();
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

#[test]
fn a_sqlite_database_is_copied_while_it_is_written_to() {
    let (_stack, device) = installed("way = 'warm'");
    let settings = device.read("client.toml");
    device.write("client.toml", &format!("{settings}\n[backup.data.data]\nway = 'sqlite'\n"));
    let folder = device.path("shared/data");
    fs::create_dir_all(&folder).unwrap();
    fs::write(folder.join("plain"), "text").unwrap();
    let writer = Writer::start(&folder.join("app.db"));
    writer.wait_for(500);
    let before = writer.rows.load(Ordering::SeqCst);
    let id = backup(&device);
    let after = writer.rows.load(Ordering::SeqCst);
    assert!(after > before, "it went on writing meanwhile");

    let beside = tempfile::tempdir().unwrap();
    let to = beside.path().join("to");
    assert!(device.client(&["backup", "restore", &id, "--to", to.to_str().unwrap()]).status.success());
    let mut names: Vec<_> =
        fs::read_dir(to.join("persist/data")).unwrap().map(|item| item.unwrap().file_name()).collect();
    names.sort();
    assert_eq!(names, ["app.db", "plain"], "a whole database needs nothing beside it");
    let copy = Connection::open(to.join("persist/data/app.db")).unwrap();
    let one = |sql: &str| copy.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("PRAGMA integrity_check"), "ok");
    let rows: u64 = one("SELECT CAST(count(*) AS TEXT) FROM rows").parse().unwrap();
    assert!((before..=after + 1).contains(&rows), "{rows} rows, written: {before} before, {after} after it");
}

#[test]
fn a_name_that_means_nothing_is_told() {
    let (_stack, device) = installed("way = 'warm'");
    let settings = device.read("client.toml");
    device.write("client.toml", &format!("{settings}\n[backup.data.rwos]\nway = 'stop'\n"));
    let output = device.client(&["backup", "create", "--lang", "en"]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("rwos"), "{said}");

    device.write("client.toml", &format!("{settings}\n[backup.data.rows]\nway = 'hook'\n"));
    let output = device.client(&["backup", "create", "--lang", "en"]);
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert_eq!(output.status.code(), Some(2), "{said}");
    assert!(said.contains("backup.data.rows") && said.contains("dump"), "{said}");
}

#[test]
fn a_name_that_a_volume_and_a_path_have_both_hides_neither() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        let hook = "[backup.data.data]\nway = 'hook'\nservice = 'db'\ndump = ['cat', '/rows/table']\nrestore = ['cat']";
        r.service("db", &format!("{IDLE}\nvolumes: ['data:/rows']"))
            .service("app", &format!("{IDLE}\nvolumes: ['./data:/data']"))
            .sections("volumes: {data: {}}")
            .toml(&format!("{HEALTH}{hook}\n"));
    });
    let device = Device::init(&stack);
    device.sh("db", "echo one > /rows/table");
    device.sh("app", "echo one > /data/file");
    let settings = device.read("client.toml");
    let shown = |exclude: &str| {
        device.write("client.toml", &settings.replace("exclude = []", &format!("exclude = [{exclude}]")));
        let said = device.client(&["backup", "create", "--lang", "en"]);
        assert!(said.status.success(), "{said:?}");
        let said =
            String::from_utf8_lossy(&said.stderr).into_owned() + &String::from_utf8_lossy(&said.stdout);
        let (_, all) = device.ask(&["backup", "list"]);
        let id = all["backups"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned();
        let contents = device.ask(&["backup", "show", &id]).1["contents"].to_string();
        (contents.contains("dumps/volumes/data"), contents.contains("persist/data/file"), said)
    };
    assert!(settings.contains("exclude = []"), "{settings}");
    let (dump, file, said) = shown("");
    assert!(dump && file && !said.contains("both"), "{said}");
    let (dump, file, said) = shown("'volumes/data'");
    assert!(!dump && file && !said.contains("both"), "{said}");
    let (dump, file, said) = shown("'data'");
    assert!(!dump && !file && said.contains("volumes/data or persist/data"), "{said}");
}

#[test]
fn a_dump_that_says_nothing_or_has_no_service_is_told() {
    let (_stack, device) = installed("way = 'warm'");
    let settings = device.read("client.toml");
    let hook = |service: &str| {
        let commands = "dump = ['sh', '-c', ':']\nrestore = ['cat']";
        format!("{settings}\n[backup.data.rows]\nway = 'hook'\nservice = '{service}'\n{commands}\n")
    };
    device.write("client.toml", &hook("db"));
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_FAILED".into()), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("wrote nothing"), "{told}");

    device.write("client.toml", &hook("bd"));
    let output = device.client(&["backup", "create", "--lang", "en"]);
    let said =
        String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && said.contains("backup.data.rows") && said.contains("bd"), "{said}");
}

#[test]
fn what_was_installed_and_what_was_edited_is_in_it_too() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service(
            "app",
            &format!("{IDLE}\nvolumes: ['./data:/data', './app.conf:/app.conf', './other.conf:/other.conf']"),
        )
        .file("app.conf", "shipped\n")
        .file("other.conf", "shipped\n")
        .file("plain.conf", "shipped\n")
        .toml(&format!("config = ['app.conf']\n{HEALTH}"));
    });
    let device = Device::init(&stack);
    device.write("current/app.conf", "mine\n");
    device.write("current/other.conf", "mine, too\n");
    let id = backup(&device);
    let beside = tempfile::tempdir().unwrap();
    let to = beside.path().join("to");
    assert!(device.client(&["backup", "restore", &id, "--to", to.to_str().unwrap()]).status.success());
    let read = |path: &str| fs::read_to_string(to.join(path)).unwrap();
    assert_eq!((read("edits/app.conf"), read("edits/other.conf")), ("mine\n".into(), "mine, too\n".into()));
    assert!(!to.join("edits/plain.conf").exists());
    let told: serde_json::Value = serde_json::from_str(&read("installation.json")).unwrap();
    assert_eq!((&told["current"], &told["factory"]), (&"1.0.0".into(), &"1.0.0".into()));
    let app = device.container("app").image;
    assert!(told["images"].to_string().contains(&app), "{told} has not {app}");
    let output = device.client(&["backup", "restore", &id, "--only", "edits/app.conf", "--yes"]);
    assert_eq!(output.status.code(), Some(2), "{}", String::from_utf8_lossy(&output.stderr));
    device.write("current/app.conf", "other\n");
    assert_eq!(device.run(&["backup", "restore", &id, "--yes"]).code, 0);
    assert_eq!(device.read("current/app.conf"), "other\n", "nobody asked for it");
}

#[test]
fn a_path_inside_a_volume_comes_back_alone() {
    let (_stack, device) = installed("exclude = ['cache']");
    device.sh("db", "cd /rows; mkdir -p deep cache; echo one > deep/a; echo one > cache/hit");
    let id = backup(&device);
    device.sh("db", "cd /rows; echo two > table; echo two > deep/a; echo two > deep/b; echo two > cache/hit");
    let ended = device.run(&["backup", "restore", &id, "--only", "rows/deep/a", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", "cd /rows; cat table deep/a deep/b cache/hit"), "two\none\ntwo\ntwo");
    for wrong in ["rows/nothing", "rows/../x", "rows/cache/hit"] {
        let output = device.client(&["backup", "restore", &id, "--only", wrong, "--yes"]);
        assert_eq!(output.status.code(), Some(2), "{wrong}: {}", String::from_utf8_lossy(&output.stderr));
    }
    let ended = device.run(&["backup", "restore", &id, "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", "cd /rows; cat table deep/a cache/hit; ls deep"), "one\none\ntwo\na");
}

#[test]
fn a_backup_through_the_engine_that_is_killed_leaves_nothing_after_the_next_command() {
    let (stack, device, _folder) = with_options();
    device.sh("db", "head -c 50000000 /dev/zero > /rows/big; echo one > /rows/table");
    device.killed("frozen:backup", &["backup", "create"]);
    let mut child = device.spawn(&["backup", "create"]);
    let name = format!("name=compose-upgrade-backup-{}", stack.project());
    let deadline = Instant::now() + Duration::from_secs(30);
    while docker(&["ps", "-aq", "--filter", &name]).is_empty() && child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline, "it makes no container to read by");
    }
    child.kill().unwrap();
    child.wait().unwrap();
    let id = backup(&device);
    assert_eq!(docker(&["ps", "-aq", "--filter", &name]), "");
    device.sh("db", "echo two > /rows/table");
    assert_eq!(device.run(&["backup", "restore", &id, "--yes"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/table"), "one");
}

#[test]
fn a_volume_that_only_the_engine_reaches_comes_back_exactly() {
    let (_stack, device, folder) = with_options();
    let root = folder.path();
    let empty = |root: &Path| {
        for entry in fs::read_dir(root).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() && !path.is_symlink() {
                fs::remove_dir_all(path)
            } else {
                fs::remove_file(path)
            }
            .unwrap();
        }
    };
    let strategy = proptest::collection::btree_map("[a-z]{1,5}", item(), 1..5);
    let mut runner = TestRunner::deterministic();
    for case in 0..6 {
        empty(root);
        let items = strategy.new_tree(&mut runner).unwrap().current();
        let items: Vec<(Vec<u8>, Item)> =
            items.into_iter().map(|(name, item)| (name.into_bytes(), item)).collect();
        for (name, item) in &items {
            build(&root.join(String::from_utf8_lossy(name).as_ref()), item);
        }
        let before = describe(root);
        let id = backup(&device);
        assert_eq!(describe(root), before, "case {case}: a backup changes nothing");
        empty(root);
        build(&root.join("stale"), &plain(Node::Fifo, 0o600));
        let ended = device.run(&["backup", "restore", &id, "--yes"]);
        assert_eq!(ended.code, 0, "case {case}: {ended:#?}");
        assert_eq!(describe(root), before, "case {case}");
    }
}
