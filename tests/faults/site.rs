//! An installation of the guestbook under a writer: installed once, taken up and down between the cases.

use std::path::PathBuf;
use std::process::Command;

use sha2::{Digest, Sha256};

use crate::shop::{OLD, Shop};
use crate::tiny::{Done, client, docker, names_in};
use crate::writer::Writer;

/// Room of an installation whose disk can be filled, in MiB: both releases' bundles, folders and a backup.
const ROOM: u64 = 700;

/// The installation.
pub struct Site<'a> {
    pub shop: &'a Shop,
    pub root: PathBuf,
    pub writer: Writer,
    small: bool,
}

impl<'a> Site<'a> {
    /// Installs 1.0.0, on a small disk of its own where `small`.
    pub fn install(shop: &'a Shop, small: bool) -> Self {
        shop.all_well();
        remove_project(shop.project());
        let root = shop.scratch.path().join(if small { "small" } else { "device" });
        std::fs::create_dir_all(&root).unwrap();
        if small {
            let size = format!("size={ROOM}m");
            let mount = ["-t", "tmpfs", "-o", &size, "tmpfs", root.to_str().unwrap()];
            Done::of(Command::new("mount").args(mount)).expect(0);
        }
        let writer = Writer::start(shop.port);
        let site = Self { shop, root, writer, small };
        let bundle = shop.source.join(shop.bundle(OLD));
        let url = shop.server.url();
        let mut init = site.command(&["init", "--project", shop.project(), "--source", &url, "--json"]);
        Done::of(init.arg("--bundle").arg(bundle)).expect(0);
        site
    }

    /// `client …` in this installation.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = client();
        command.arg("--root").arg(&self.root).args(arguments);
        command
    }

    /// Runs it with `--json`.
    pub fn client(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).arg("--json"))
    }

    /// What `current` points to.
    pub fn current(&self) -> String {
        let target = std::fs::read_link(self.root.join("current")).unwrap();
        target.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// Goes to `version` the ordinary way, where it is not there yet.
    pub fn go_to(&self, version: &str) {
        if self.current() == version {
            return;
        }
        match version {
            OLD => drop(self.client(&["rollback", "--to", OLD, "--keep-data", "--yes"]).expect(0)),
            _ => drop(self.upgrade_to(version).expect(0)),
        }
    }

    /// `client upgrade`, also to a version in quarantine.
    pub fn upgrade_to(&self, version: &str) -> Done {
        self.client(&["upgrade", "--yes", "--force", "--target", version])
    }

    /// Removes what was fetched of `version`, whole or in part: it is kept under its hash.
    pub fn forget_package(&self, version: &str) {
        let package = std::fs::read(self.shop.source.join(self.shop.bundle(version))).unwrap();
        let hash = hex::encode(Sha256::digest(package));
        let folder = self.root.join("bundles");
        for name in names_in(&folder).into_iter().filter(|name| name.contains(&hash)) {
            std::fs::remove_file(folder.join(name)).unwrap();
        }
    }

    /// The one container of a service that runs, or the one that does not.
    pub fn container(&self, service: &str, running: bool) -> String {
        let project = format!("label=com.docker.compose.project={}", self.shop.project());
        let service = format!("label=com.docker.compose.service={service}");
        let all = docker(&[
            "ps",
            "-a",
            "--no-trunc",
            "--format",
            "{{.ID}} {{.State}}",
            "--filter",
            &project,
            "--filter",
            &service,
        ]);
        let found =
            all.lines().find(|line| (line.ends_with("running") || line.ends_with("restarting")) == running);
        let line = found.unwrap_or_else(|| panic!("{service} has no such container: {all:?}"));
        line.split(' ').next().unwrap().to_owned()
    }

    /// Everything the project has in the engine is removed and the root emptied.
    fn remove(&self) {
        remove_project(self.shop.project());
        if self.small {
            Done::of(Command::new("umount").arg("--lazy").arg(&self.root));
        }
        std::fs::remove_dir_all(&self.root).ok();
    }
}

impl Drop for Site<'_> {
    fn drop(&mut self) {
        self.remove();
    }
}

/// Removes every container, network, volume and pin of a project.
pub fn remove_project(project: &str) {
    let label = format!("label=com.docker.compose.project={project}");
    for (list, remove) in [
        (&["ps", "-aq"][..], &["rm", "-f", "-v"][..]),
        (&["network", "ls", "-q"], &["network", "rm"]),
        (&["volume", "ls", "-q"], &["volume", "rm", "-f"]),
    ] {
        let found = docker(&[list, &["--filter", &label]].concat());
        let found: Vec<&str> = found.split_whitespace().collect();
        if !found.is_empty() {
            docker(&[remove, &found].concat());
        }
    }
    let pins = docker(&[
        "image",
        "ls",
        "--format",
        "{{.Repository}}:{{.Tag}}",
        &format!("compose-upgrade.pin/{project}"),
    ]);
    let pins: Vec<&str> = pins.split_whitespace().collect();
    if !pins.is_empty() {
        docker(&[&["rmi", "-f"], &pins[..]].concat());
    }
}
