//! SIGKILL at every step of a change: the next run ends wholly on the new version or wholly on the old.

mod forward;
mod restore;
mod rollback;
mod stopped;
mod undo;

use crate::support::tiny::{Done, Release, Tiny, docker, names_in};

/// Forks its work, so that a SIGTERM is answered at once.
const WAIT: &str = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $$!; done";

const RELEASE: &str = "persist = ['data']\n[health]\nsoak_ms = 0\nstability_ms = 300\ntimeout_ms = 10000\n";

fn compose(more: &str) -> String {
    format!(
        r#"
services:
  db:
    image: @-app:stable
    command: ["sh", "-c", "echo up > /ready; {WAIT}"]
    volumes: ["rows:/rows", "./data:/data"]
    healthcheck: {{ test: ["CMD", "test", "-e", "/ready"], interval: 200ms, timeout: 5s }}
  web:
    image: @-app:stable
    command: ["sh", "-c", "{WAIT}"]
    depends_on: {{ db: {{ condition: service_healthy }} }}
    volumes: ["./site:/site:ro"]
  fixed:
    image: @-app:stable
    container_name: @-fixed
    command: ["sh", "-c", "{WAIT}"]
    network_mode: none
  same:
    image: @-same:stable
    command: ["sh", "-c", "{WAIT}"]
    network_mode: none
{more}
"#
    )
}

const VOLUMES: &str = "volumes:\n  rows: {}\n";

/// 1.1.0 has a service more, which makes it an addition on the way up and a removal on the way down.
fn extra() -> String {
    format!(
        "  extra:\n    image: @-app:stable\n    command: [\"sh\", \"-c\", \"{WAIT}\"]\n    network_mode: none\n{VOLUMES}"
    )
}

/// 1.2.0 ends right after its start, and brings a network and a volume.
const BROKEN: &str = r#"  bad:
    image: @-app:stable
    command: ["sh", "-c", "sleep 0.1; exit 7"]
    depends_on: [web]
    networks: [side]
    volumes: ["heap:/heap"]
networks:
  side: {}
volumes:
  rows: {}
  heap: {}
"#;

struct Crash {
    tiny: Tiny,
    rows: Vec<String>,
    same: Option<String>,
}

impl Crash {
    /// On 1.0.0, with 1.1.0 (and what `more` publishes) in the source.
    fn installed(more: impl FnOnce(&Tiny)) -> Self {
        let tiny = Tiny::new();
        tiny.image("same", "1");
        tiny.image("app", "1.0.0");
        let env = (".env", "GREETING=hello\n");
        tiny.publish(&Release {
            version: "1.0.0",
            compose: compose(VOLUMES),
            release_toml: RELEASE,
            files: &[("site/index", "one"), env],
        });
        tiny.init();
        tiny.image("app", "1.1.0");
        tiny.publish(&Release {
            version: "1.1.0",
            compose: compose(&extra()),
            release_toml: RELEASE,
            files: &[("site/index", "two"), (".env", "GREETING=hello\nADDED=1\n")],
        });
        more(&tiny);
        tiny.forget_built();
        let mut crash = Self { tiny, rows: Vec::new(), same: None };
        crash.write();
        crash.whole("1.0.0");
        crash
    }

    /// Adds a row in the database's volume and in the persist folder.
    fn write(&mut self) {
        let row = format!("row {}", self.rows.len());
        let command = format!("echo {row} >> /rows/table; echo {row} >> /data/table");
        docker(&["exec", &format!("{}-db-1", self.tiny.project), "sh", "-c", &command]);
        self.rows.push(row);
    }

    fn upgrade(&self, to: &str) -> Done {
        self.tiny.client(&["upgrade", "--yes", "--target", to])
    }

    fn killed(&self, point: &str, to: &str) {
        self.tiny.killed(point, &["upgrade", "--yes", "--target", to]);
    }

    /// Killed once at each point in turn, in one change: every run goes on where the one before was killed. The limit of
    /// attempts is not what is tried here.
    fn killed_at_each(&self, points: &[&str], arguments: &[&str]) {
        let database = rusqlite::Connection::open(self.tiny.root.join("state.db")).unwrap();
        for point in points {
            self.tiny.killed(point, arguments);
            database.execute("UPDATE upgrades SET attempts = 0", []).unwrap();
        }
    }

    /// The stack is wholly on `version`: nothing is missing, nothing is left over, and Compose agrees.
    #[track_caller]
    fn stack_is(&mut self, version: &str) {
        let tiny = &self.tiny;
        let status = tiny.client(&["status"]).expect(0).json();
        assert_eq!(status["state"], "idle", "{status:#}");
        assert_eq!(status["current"], version, "{status:#}");
        for service in status["services"].as_array().unwrap() {
            assert_eq!(service["state"], "running", "{status:#}");
            assert_eq!(service["image_id"], service["image_expected"], "{status:#}");
            if service["name"] != "same" {
                assert_eq!(service["release"], version, "{status:#}");
            }
        }
        let project = &tiny.project;
        let before = tiny.containers();
        let mut expected =
            vec![format!("{project}-db-1"), format!("{project}-fixed"), format!("{project}-same-1")];
        if version == "1.1.0" {
            expected.push(format!("{project}-extra-1"));
        }
        expected.push(format!("{project}-web-1"));
        expected.sort();
        assert_eq!(before.keys().cloned().collect::<Vec<_>>(), expected, "{before:#?}");
        assert!(before.values().all(|container| container.state == "running"), "{before:#?}");
        let same = &before[&format!("{project}-same-1")].id;
        assert_eq!(self.same.get_or_insert_with(|| same.clone()), same, "an unchanged service was touched");
        assert_eq!(tiny.things("network"), [format!("{project}_default")]);
        assert_eq!(tiny.things("volume"), [format!("{project}_rows")]);

        let site = std::fs::read_to_string(tiny.root.join("current/site/index")).unwrap();
        assert_eq!(site, if version == "1.0.0" { "one" } else { "two" });

        let table = docker(&["exec", &format!("{project}-db-1"), "cat", "/rows/table", "/data/table"]);
        let twice = [self.rows.as_slice(), self.rows.as_slice()].concat();
        assert_eq!(table.lines().collect::<Vec<_>>(), twice);

        let current = tiny.root.join("current");
        let mut up = std::process::Command::new("docker");
        // A shell that went there says so in PWD; without it Compose would resolve the link.
        up.args(["compose", "up", "-d", "--remove-orphans"]).env("PWD", &current).current_dir(current);
        assert!(up.output().unwrap().status.success());
        assert_eq!(tiny.containers(), before, "Compose's own 'up' changes something");
    }

    /// [`Crash::stack_is`], and nothing else is left in the install root and among the pins.
    #[track_caller]
    fn whole(&mut self, version: &str) {
        self.stack_is(version);
        let tiny = &self.tiny;
        let releases = names_in(&tiny.root.join("releases"));
        assert!(releases.iter().all(|name| ["1.0.0", "1.1.0"].contains(&name.as_str())), "{releases:?}");
        assert_eq!(tiny.pins(), releases.len() + 1, "an image too many or too few is pinned");
        assert_eq!(names_in(&tiny.root.join("work")), [""; 0]);
    }

    /// [`Crash::whole`] after an upgrade that failed: its folder and its images may wait for another attempt until
    /// the next change that succeeds.
    #[track_caller]
    fn whole_after_undo(&mut self, version: &str) {
        self.stack_is(version);
        assert_eq!(self.last()["state"], "rolled_back");
    }

    /// The last change in the history.
    fn last(&self) -> serde_json::Value {
        let history = self.tiny.client(&["history"]).expect(0).json();
        history["changes"].as_array().unwrap_or_else(|| panic!("{history:#}")).last().unwrap().clone()
    }
}
