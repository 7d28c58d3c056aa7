//! The device's side: an install root, the real `client`, and the engine as its user sees it.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::net::{UnixListener, UnixStream};
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use serde_json::Value;

use super::{Stack, docker};
use crate::support::http::HttpServer;

/// An installation. It goes before the stack it runs, whose end sweeps the engine.
pub struct Device {
    dir: tempfile::TempDir,
    project: String,
    source: String,
}

/// A run of `client` with `--progress json`.
#[derive(Debug)]
pub struct Ended {
    pub code: i32,
    /// The last line.
    pub outcome: Value,
    /// The lines before.
    pub events: Vec<Value>,
}

/// A container as the engine tells it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub name: String,
    pub service: String,
    pub image: String,
    pub started_at: String,
    pub running: bool,
}

impl Device {
    /// An empty machine that knows where the stack's releases come from.
    pub fn empty(stack: &Stack) -> Self {
        Self::with_source(stack, &stack.source().display().to_string())
    }

    pub fn with_source(stack: &Stack, source: &str) -> Self {
        Self {
            dir: tempfile::tempdir().unwrap(),
            project: stack.project().to_owned(),
            source: source.to_owned(),
        }
    }

    /// A machine on which the newest release is installed.
    pub fn init(stack: &Stack) -> Self {
        let device = Self::empty(stack);
        let ended = device.try_init(&[]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        device
    }

    /// A machine on which the newest release is installed from a server, and the server.
    pub fn served(stack: &Stack) -> (HttpServer, Self) {
        let server = HttpServer::serve_dir(stack.source());
        let device = Self::with_source(stack, &server.url());
        let ended = device.try_init(&[]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        (server, device)
    }

    pub fn try_init(&self, more: &[&str]) -> Ended {
        let args = ["init", "--project", &self.project, "--source", &self.source];
        self.run(&[&args, more].concat())
    }

    pub fn upgrade(&self, more: &[&str]) -> Ended {
        self.run(&[&["upgrade", "--yes"], more].concat())
    }

    pub fn rollback(&self, more: &[&str]) -> Ended {
        self.run(&[&["rollback", "--yes"], more].concat())
    }

    /// Runs a command that changes something.
    pub fn run(&self, args: &[&str]) -> Ended {
        let output = self.client(&[args, &["--progress", "json"]].concat());
        let stdout = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let parsed = stdout.lines().map(|line| serde_json::from_str(line).expect(line));
        let mut events: Vec<Value> = parsed.collect();
        let outcome = events.pop().unwrap_or_else(|| panic!("{args:?} said nothing: {stderr}"));
        Ended { code: output.status.code().unwrap(), outcome, events }
    }

    /// Runs a command that answers, with its exit code.
    pub fn ask(&self, args: &[&str]) -> (i32, Value) {
        let output = self.client(&[args, &["--json", "--progress", "none"]].concat());
        let text = String::from_utf8(output.stdout).unwrap();
        let stderr = String::from_utf8_lossy(&output.stderr);
        let value = serde_json::from_str(&text).unwrap_or_else(|_| panic!("{args:?}: {text}{stderr}"));
        (output.status.code().unwrap(), value)
    }

    /// `status --json`.
    pub fn status(&self) -> Value {
        let (code, status) = self.ask(&["status"]);
        assert_eq!(code, 0);
        status
    }

    /// Runs a command and has it killed at `point`.
    #[track_caller]
    pub fn killed(&self, point: &str, args: &[&str]) {
        let output = self.command(args).env("COMPOSE_UPGRADE_KILL_AT", point).output().unwrap();
        assert_eq!(output.status.signal(), Some(9), "it was not killed at {point}: {output:?}");
    }

    /// Runs a command that is held at `point`, where it comes there for the first time, until `act` has returned, which is told who is held.
    pub fn held(&self, point: &str, args: &[&str], act: impl FnOnce(&Child)) -> Output {
        let socket = self.path("hold.sock");
        let listener = UnixListener::bind(&socket).unwrap();
        let mut command = self.command(args);
        command.env("COMPOSE_UPGRADE_PAUSE_AT", point).env("COMPOSE_UPGRADE_PAUSE_SOCKET", &socket);
        let child = command.stdout(Stdio::piped()).spawn().unwrap();
        let hear = |held: &UnixStream| {
            BufReader::new(held).read_line(&mut String::new()).unwrap();
        };
        let (held, _) = listener.accept().unwrap();
        act(&child);
        hear(&held);
        drop(held);
        std::thread::spawn(move || listener.incoming().for_each(|again| hear(&again.unwrap())));
        child.wait_with_output().unwrap()
    }

    pub fn client(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Begins a command that changes something; its events are read line by line.
    pub fn spawn(&self, args: &[&str]) -> Child {
        let mut command = self.command(args);
        command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// `client` on this installation, not run yet.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
        command.env("CLIENT_ROOT", self.dir.path()).env("LC_ALL", "C.UTF-8").env_remove("RUST_LOG");
        command.args(args);
        command
    }

    /// A path below the install root.
    pub fn path(&self, path: &str) -> PathBuf {
        self.dir.path().join(path)
    }

    pub fn read(&self, path: &str) -> String {
        fs::read_to_string(self.path(path)).unwrap_or_else(|error| panic!("{path}: {error}"))
    }

    pub fn write(&self, path: &str, content: &str) {
        fs::write(self.path(path), content).unwrap_or_else(|error| panic!("{path}: {error}"));
    }

    /// The version a pointer names.
    pub fn version(&self, pointer: &str) -> String {
        let target = fs::read_link(self.path(pointer)).unwrap_or_else(|error| panic!("{pointer}: {error}"));
        target.file_name().unwrap().to_string_lossy().into_owned()
    }

    /// All containers of the project, by name.
    pub fn containers(&self) -> BTreeMap<String, Container> {
        containers(&self.project)
    }

    /// The only container of a service.
    pub fn container(&self, service: &str) -> Container {
        let mut found: Vec<_> =
            self.containers().into_values().filter(|container| container.service == service).collect();
        assert_eq!(found.len(), 1, "containers of {service}: {found:?}");
        found.remove(0)
    }

    /// The containers, networks and volumes of the project: what must be the same when an upgrade was undone.
    pub fn belongings(&self) -> BTreeSet<String> {
        let ours = format!("label=com.docker.compose.project={}", self.project);
        let lists: [&[&str]; 3] = [
            &["ps", "-a", "--no-trunc", "--filter", &ours, "--format", "{{.ID}} {{.Names}} {{.State}}"],
            &["network", "ls", "--no-trunc", "--filter", &ours, "--format", "{{.ID}} {{.Name}}"],
            &["volume", "ls", "--filter", &ours, "--format", "{{.Name}}"],
        ];
        lists.iter().flat_map(|list| docker(list).lines().map(str::to_owned).collect::<Vec<_>>()).collect()
    }

    /// Runs a shell line in the container of a service.
    pub fn sh(&self, service: &str, line: &str) -> String {
        docker(&["exec", &self.container(service).name, "sh", "-c", line])
    }

    /// What an administrator types in `current/`.
    pub fn compose(&self, args: &[&str]) -> String {
        compose_in(&self.path("current"), args)
    }
}

/// `docker compose` typed in a folder, as an administrator would; what it said.
pub fn compose_in(folder: &std::path::Path, args: &[&str]) -> String {
    let mut command = Command::new("docker");
    // As `cd` does: Compose takes the name of the folder from there, and `current` is a link.
    command.current_dir(folder).env("PWD", folder);
    let output = command.arg("compose").args(args).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(output.status.success(), "docker compose {args:?}: {said}");
    said
}

/// All containers of a project, by name.
pub fn containers(project: &str) -> BTreeMap<String, Container> {
    let ours = format!("label=com.docker.compose.project={project}");
    let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &ours]);
    let ids: Vec<&str> = ids.split_whitespace().collect();
    if ids.is_empty() {
        return BTreeMap::new();
    }
    let found: Value = serde_json::from_str(&docker(&[&["inspect"], &ids[..]].concat())).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let read = |container: &Value| Container {
        id: text(&container["Id"]),
        name: text(&container["Name"]).trim_start_matches('/').to_owned(),
        service: text(&container["Config"]["Labels"]["com.docker.compose.service"]),
        image: text(&container["Image"]),
        started_at: text(&container["State"]["StartedAt"]),
        running: container["State"]["Running"] == true,
    };
    found.as_array().unwrap().iter().map(read).map(|container| (container.name.clone(), container)).collect()
}
