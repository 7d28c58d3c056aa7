//! A stack so small that a change takes a second: a database with a volume and a healthcheck, one service that is
//! swapped, and one whose name is fixed. Nothing has a network, so it runs on an engine that has none either.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::tiny::{Done, Release, Tiny, docker, names_in};

pub const OLD: &str = "1.0.0";
pub const NEW: &str = "1.1.0";

const SETTINGS: &str = "persist = ['data']\n[health]\nstability_ms = 100\ntimeout_ms = 15000\nsoak_ms = 0\n";

fn compose(version: &str) -> String {
    // Forks its work, so that a SIGTERM is answered at once.
    let wait = "trap 'exit 0' TERM; while :; do sleep 3600 & wait $$!; done";
    format!(
        r#"
services:
  db:
    image: @-app:stable
    command: ["sh", "-c", "echo up > /ready; {wait}"]
    restart: unless-stopped
    network_mode: none
    labels: {{ release: "{version}" }}
    volumes: ["rows:/rows", "./data:/data"]
    healthcheck: {{ test: ["CMD", "test", "-e", "/ready"], interval: 2s, start_interval: 150ms, start_period: 10s, timeout: 5s }}
  web:
    image: @-app:stable
    command: ["sh", "-c", "{wait}"]
    restart: unless-stopped
    network_mode: none
    depends_on: {{ db: {{ condition: service_healthy }} }}
    volumes: ["./site:/site:ro"]
  fixed:
    image: @-app:stable
    container_name: @-fixed
    command: ["sh", "-c", "{wait}"]
    restart: unless-stopped
    network_mode: none
volumes:
  rows: {{}}
"#
    )
}

/// The stack, installed, and the rows that were written to it.
pub struct Stack {
    pub tiny: Tiny,
    pub rows: Vec<String>,
    written: usize,
}

impl Stack {
    /// On 1.0.0, with 1.1.0 in the source.
    pub fn install() -> Self {
        let tiny = Tiny::new();
        for version in [OLD, NEW] {
            tiny.image("app", version);
            tiny.publish(&Release {
                version,
                compose: compose(version),
                release_toml: SETTINGS,
                files: &[("site/index", version)],
            });
            if version == OLD {
                tiny.init();
            }
        }
        tiny.forget_built();
        let mut stack = Self { tiny, rows: Vec::new(), written: 0 };
        stack.write();
        stack
    }

    /// Adds a row in the volume and in the persist folder.
    pub fn write(&mut self) {
        let row = format!("row{}", self.written);
        self.written += 1;
        let command = format!("echo {row} >> /rows/table; echo {row} >> /data/table");
        docker(&["exec", &format!("{}-db-1", self.tiny.project), "sh", "-c", &command]);
        self.rows.push(row);
    }

    pub fn upgrade(&self, to: &str) -> Done {
        self.tiny.client(&["upgrade", "--yes", "--force", "--target", to])
    }

    /// [`Stack::whole_but_work`], and `work/` is empty.
    pub fn whole(&self, version: &str) {
        self.whole_but_work(version);
        assert_eq!(names_in(&self.tiny.root.join("work")), [""; 0], "files are left in work/");
    }

    /// The stack is wholly on `version`, with all rows, and nothing is left over but what the next change removes.
    pub fn whole_but_work(&self, version: &str) {
        let tiny = &self.tiny;
        let project = &tiny.project;
        let status = tiny.client(&["status"]).expect(0).json();
        assert_eq!(
            (&status["state"], &status["current"]),
            (&"idle".into(), &Value::from(version)),
            "{status:#}"
        );
        for service in status["services"].as_array().unwrap() {
            assert_eq!(service["image_id"], service["image_expected"], "{status:#}");
        }
        let containers = tiny.containers();
        let names: Vec<&str> = containers.keys().map(String::as_str).collect();
        let wanted = ["db-1", "fixed", "web-1"].map(|name| format!("{project}-{name}"));
        assert_eq!(names, wanted, "containers too many or too few: {containers:#?}");
        for (name, container) in &containers {
            assert_eq!(container.state, "running", "{name}: {containers:#?}");
            let mark = docker(&["exec", name, "cat", "/mark"]);
            assert_eq!(mark, version, "{name} has the image of {mark}");
        }
        let site = docker(&["exec", &format!("{project}-web-1"), "cat", "/site/index"]);
        assert_eq!(site, version, "web mounts the files of {site}");
        let table = docker(&["exec", &format!("{project}-db-1"), "cat", "/rows/table", "/data/table"]);
        let twice = [self.rows.as_slice(), self.rows.as_slice()].concat();
        assert_eq!(table.lines().collect::<Vec<_>>(), twice, "rows are lost or back");
        assert_eq!(tiny.things("volume"), [format!("{project}_rows")]);
        let releases = names_in(&tiny.root.join("releases"));
        assert!(releases.iter().all(|name| [OLD, NEW].contains(&name.as_str())), "{releases:?}");
    }

    /// What an administrator types changes nothing.
    pub fn compose_agrees(&self) {
        let before = self.tiny.containers();
        let current: &Path = &self.tiny.root.join("current");
        let mut up = Command::new("docker");
        Done::of(up.args(["compose", "up", "-d"]).env("PWD", current).current_dir(current)).expect(0);
        assert_eq!(before, self.tiny.containers(), "Compose's own 'up' changes something");
    }
}
