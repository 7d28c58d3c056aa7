//! A command of a backup's own that ends before its time, and a client that ends while one runs.

use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::{UPGRADE, outcome, then_upgrade};
use crate::case::{Case, Ground, Outcome, Place};
use crate::shop::{NEW, OLD};
use crate::site::Site;
use crate::tiny::Done;
use crate::whole;

/// Hangs the first time, half-way through what it has to say; works from then on.
const HOOK: &str = r#"
[backup.data.pgdata]
way = "hook"
service = "db"
dump = ["sh", "-c", "if test -e /tmp/hook; then exec cat $PGDATA/PG_VERSION; fi; echo half; echo $$ > /tmp/hook; exec sleep 600"]
restore = ["cat"]
"#;

/// How long an upgrade may take to come to its backup.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn cases() -> Vec<Case> {
    let case = |row: &str, act: fn(&mut Ground<'_, '_>) -> Outcome| Case {
        section: "the command of a backup",
        row: row.to_owned(),
        column: String::new(),
        place: Place::Disk,
        begin: Some(OLD),
        act: Box::new(act),
    };
    vec![case("the hook is killed", killed_hook), case("SIGKILL while the hook runs", killed_client)]
}

fn killed_hook(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    let _settings = Settings::with_hook(site);
    let (client, hook) = upgrade_in_hook(site);
    let began = Instant::now();
    in_db(site, &format!("kill -9 {hook}")).expect(0);
    let done = Done::of_output(client.wait_with_output().unwrap());
    assert_ne!(done.code, Some(0), "half a dump was taken for a backup: {done:#?}");
    then_upgrade(ground, &done, began)
}

fn killed_client(ground: &mut Ground<'_, '_>) -> Outcome {
    let site = ground.site;
    let _settings = Settings::with_hook(site);
    let (mut client, _) = upgrade_in_hook(site);
    client.kill().unwrap();
    client.wait().unwrap();
    ground.pause();
    let began = Instant::now();
    site.upgrade_to(NEW).expect(0);
    let recovery = began.elapsed();
    whole::stack_is(site, NEW);
    outcome("new", recovery)
}

/// An upgrade whose backup waits for the hook, and the hook's process ID in its container.
fn upgrade_in_hook(site: &Site<'_>) -> (Child, String) {
    in_db(site, "rm -f /tmp/hook").expect(0);
    let mut command = site.command(&UPGRADE);
    let mut client = command.arg("--json").stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let began = Instant::now();
    loop {
        let seen = in_db(site, "cat /tmp/hook 2> /dev/null");
        if seen.code == Some(0) && !seen.stdout.trim().is_empty() {
            return (client, seen.stdout.trim().to_owned());
        }
        if client.try_wait().unwrap().is_some() || began.elapsed() > PATIENCE {
            client.kill().ok();
            panic!("it never ran the hook: {:#?}", Done::of_output(client.wait_with_output().unwrap()));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn in_db(site: &Site<'_>, command: &str) -> Done {
    let db = site.container("db", true);
    Done::of(Command::new("docker").args(["exec", &db, "sh", "-c", command]))
}

/// The operator's settings, as they were before when this is dropped.
struct Settings {
    path: PathBuf,
    before: String,
}

impl Settings {
    fn with_hook(site: &Site<'_>) -> Self {
        let path = site.root.join("client.toml");
        let before = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, format!("{before}{HOOK}")).unwrap();
        Self { path, before }
    }
}

impl Drop for Settings {
    fn drop(&mut self) {
        std::fs::write(&self.path, &self.before).unwrap();
    }
}
