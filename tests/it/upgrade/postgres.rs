//! A real database under constant writes: what a backup of it holds is what the database itself finds sound, with every
//! row that was acknowledged before the cut.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::support::stack::{Device, Stack, docker};

const SERVICE: &str = "environment: {DB_PASSWORD: secret}\nvolumes: ['pg:/var/lib/postgresql']\n\
    healthcheck: {test: [CMD, pg_isready, -h, 127.0.0.1], interval: 1s, start_period: 60s, start_interval: 250ms}";
const HEALTH: &str = "[health]\ntimeout_ms = 60000\nstability_ms = 300\nsoak_ms = 0\n";
const PSQL: [&str; 9] =
    ["psql", "-h", "127.0.0.1", "-U", "guestbook", "-d", "guestbook", "-v", "ON_ERROR_STOP=1"];

fn database() -> (Stack, Device) {
    database_with("")
}

/// Its data is backed up as `policy` says.
fn database_with(policy: &str) -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", SERVICE)
            .dockerfile("db", "FROM guestbook-db:1.0.0\nCOPY own /own")
            .sections("volumes: {pg: {}}")
            .toml(&format!("{HEALTH}[backup.data.pg]\n{policy}\n"));
    });
    let device = Device::init(&stack);
    let name = device.container("db").name;
    let sql = "CREATE EXTENSION amcheck; CREATE TABLE rows (id bigint PRIMARY KEY, filler text NOT NULL);";
    ask(&name, sql);
    (stack, device)
}

fn psql(container: &str) -> Command {
    let mut command = Command::new("docker");
    command.args(["exec", "-i", "-e", "PGPASSWORD=secret", container]).args(PSQL);
    command
}

/// The answer of one statement, without headings.
fn ask(container: &str, sql: &str) -> String {
    let output = psql(container).args(["-A", "-t", "-c", sql]).output().unwrap();
    assert!(output.status.success(), "{sql}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// Writes one row after the other, each in a transaction of its own, and counts those that the database acknowledged.
struct Writer {
    session: Child,
    acknowledged: Arc<AtomicU64>,
    counts: Option<JoinHandle<()>>,
}

impl Writer {
    /// Rows `first`, `first + 1` …
    fn start(container: &str, first: u64) -> Self {
        let mut session = psql(container)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (mut input, output) = (session.stdin.take().unwrap(), session.stdout.take().unwrap());
        let acknowledged = Arc::new(AtomicU64::new(0));
        let count = acknowledged.clone();
        let counts = std::thread::spawn(move || {
            let mut answers = BufReader::new(output).lines();
            for id in first.. {
                let row = format!("INSERT INTO rows VALUES ({id}, repeat(md5({id}::text), 20));\n");
                // The database goes away sooner or later: that is what the test is about.
                if input.write_all(row.as_bytes()).is_err() {
                    return;
                }
                match answers.next() {
                    Some(Ok(answer)) if answer == "INSERT 0 1" => count.fetch_add(1, Ordering::SeqCst),
                    _ => return,
                };
            }
        });
        Self { session, acknowledged, counts: Some(counts) }
    }

    fn count(&self) -> u64 {
        self.acknowledged.load(Ordering::SeqCst)
    }

    fn wait_for_more(&self, more: u64) {
        let (wanted, deadline) = (self.count() + more, Instant::now() + Duration::from_secs(60));
        while self.count() < wanted {
            assert!(Instant::now() < deadline, "it does not write any more");
            std::thread::yield_now();
        }
    }

    /// Ends with the database, or is ended; how many rows were acknowledged in all.
    fn end(mut self) -> u64 {
        // It may have ended with its container.
        let _ended = self.session.kill();
        self.session.wait().unwrap();
        self.counts.take().unwrap().join().unwrap();
        self.count()
    }
}

/// Has the database itself check every table and index, and gives back how many rows there are.
fn sound(container: &str) -> u64 {
    let check = [
        "pg_amcheck",
        "-h",
        "127.0.0.1",
        "-U",
        "guestbook",
        "--heapallindexed",
        "--all",
        "--install-missing",
    ];
    let bin = "exec /usr/lib/postgresql/15/bin/\"$0\" \"$@\"";
    let mut command = Command::new("docker");
    command.args(["exec", "-e", "PGPASSWORD=secret", container, "sh", "-c", bin]).args(check);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
    let (rows, last) =
        (ask(container, "SELECT count(*) FROM rows"), ask(container, "SELECT max(id) FROM rows"));
    assert_eq!(rows, last, "there is a gap");
    rows.parse().unwrap()
}

/// A database of its own on a folder with the volume's content.
struct Beside(String);

impl Beside {
    fn start(image: &str, data: &str) -> Self {
        let beside = Self(format!("cutest-beside-{:08x}", rand::random::<u32>()));
        let volume = format!("{data}:/var/lib/postgresql");
        docker(&["run", "-d", "--network", "none", "--name", &beside.0, "-v", &volume, image]);
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = || {
            let ready = ["exec", &beside.0, "pg_isready", "-h", "127.0.0.1"];
            Command::new("docker").args(ready).output().unwrap().status.success()
        };
        while !ready() {
            assert!(Instant::now() < deadline, "{}", docker(&["logs", "--tail", "20", &beside.0]));
        }
        beside
    }
}

impl Drop for Beside {
    fn drop(&mut self) {
        let _gone = Command::new("docker").args(["rm", "-f", "-v", &self.0]).output();
    }
}

#[test]
fn a_backup_under_constant_writes_is_sound_and_has_every_row_acknowledged_before_it() {
    let (_stack, device) = database();
    let db = device.container("db").name;
    let image = docker(&["inspect", "-f", "{{.Image}}", &db]);
    let writer = Writer::start(&db, 1);
    writer.wait_for_more(200);

    let before = writer.count();
    let (code, made) = device.ask(&["backup", "create"]);
    let after = writer.count();
    assert_eq!((code, &made["status"]), (0, &"complete".into()), "{made}");
    writer.wait_for_more(50);

    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("to");
    let id = made["id"].as_str().unwrap();
    let unpacked = device.client(&["backup", "restore", id, "--to", to.to_str().unwrap()]);
    assert!(unpacked.status.success(), "{}", String::from_utf8_lossy(&unpacked.stderr));
    let beside = Beside::start(&image, to.join("volumes/pg").to_str().unwrap());
    let rows = sound(&beside.0);
    // One more may have been written and not yet acknowledged.
    assert!(
        (before..=after + 1).contains(&rows),
        "{rows} rows, acknowledged: {before} before, {after} after it"
    );
    drop(beside);

    // In place.
    let written = writer.end();
    let ended = device.run(&["backup", "restore", id, "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(sound(&device.container("db").name), rows);
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", undo, "--yes"]).code, 0);
    let again = sound(&device.container("db").name);
    assert!((written..=written + 1).contains(&again), "{again} rows of {written}");
}

#[test]
fn a_backup_for_which_it_is_stopped_has_every_row_it_ever_acknowledged() {
    let (_stack, device) = database_with("way = 'stop'");
    let writer = Writer::start(&device.container("db").name, 1);
    writer.wait_for_more(200);
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!((code, &made["status"]), (0, &"complete".into()), "{made}");
    // Its session ended with the database.
    let written = writer.end();
    assert_eq!(sound(&device.container("db").name), written, "it runs again");
    ask(&device.container("db").name, "DELETE FROM rows WHERE id > 10");
    let ended = device.run(&["backup", "restore", made["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let rows = sound(&device.container("db").name);
    assert!((written..=written + 1).contains(&rows), "{rows} rows, {written} acknowledged");
}

#[test]
fn a_dump_under_constant_writes_has_every_row_acknowledged_before_it() {
    let connect = "PGPASSWORD=$DB_PASSWORD PGHOST=127.0.0.1 PGUSER=guestbook PGDATABASE=guestbook";
    let policy = format!(
        "way = 'hook'\nservice = 'db'\ndump = ['sh', '-c', '{connect} exec pg_dump --clean --if-exists']\n\
         restore = ['sh', '-c', '{connect} exec psql -q -v ON_ERROR_STOP=1 -o /dev/null']"
    );
    let (_stack, device) = database_with(&policy);
    let db = device.container("db");
    let writer = Writer::start(&db.name, 1);
    writer.wait_for_more(200);
    let before = writer.count();
    let (code, made) = device.ask(&["backup", "create"]);
    let after = writer.count();
    assert_eq!((code, &made["status"]), (0, &"complete".into()), "{made}");
    writer.wait_for_more(20);
    assert_eq!(device.container("db"), db, "it was neither stopped nor replaced");
    let written = writer.end();

    let ended = device.run(&["backup", "restore", made["id"].as_str().unwrap(), "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let rows = sound(&db.name);
    assert!(
        (before..=after + 1).contains(&rows),
        "{rows} rows, acknowledged: {before} before, {after} after it"
    );
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", undo, "--yes"]).code, 0);
    let again = sound(&db.name);
    assert!((written..=written + 1).contains(&again), "{again} rows of {written}");
}

#[test]
fn a_migration_that_fails_loses_no_row_that_the_version_before_acknowledged() {
    let (mut stack, device) = database();
    stack.release("1.1.0", |r| {
        // It writes to the data, and is never well.
        let spoil =
            "touch /var/lib/postgresql/data/spoilt; rm -f /var/lib/postgresql/data/PG_VERSION; exit 1";
        r.rebuild("db")
            .service("db", &format!("{SERVICE}\nentrypoint: [sh, -c, '{spoil}']"))
            .toml(&format!("migrates_data = true\n{HEALTH}"));
    });
    let writer = Writer::start(&device.container("db").name, 1);
    writer.wait_for_more(200);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (20, "1.0.0".into()), "{ended:#?}");
    let written = writer.end();
    let rows = sound(&device.container("db").name);
    assert!((written..=written + 1).contains(&rows), "{rows} rows, {written} acknowledged");
    assert!(
        !device
            .path("backups")
            .read_dir()
            .unwrap()
            .any(|item| { item.unwrap().file_name().to_string_lossy().ends_with(".stage") })
    );
}
