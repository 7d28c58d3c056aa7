//! A tiny stack on the real engine: busybox from scratch, a source folder, an install root. Everything it makes
//! bears its project's name, which is unique, and is removed when it is dropped.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::Value;

/// What a release of the stack is.
pub struct Release<'a> {
    pub version: &'a str,
    /// `compose.yaml`; `@` stands for the project's name.
    pub compose: String,
    pub release_toml: &'a str,
    /// More files of the stack folder.
    pub files: &'a [(&'a str, &'a str)],
}

/// A command that ended.
#[derive(Debug)]
pub struct Done {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Done {
    /// From what a process left.
    pub fn of_output(output: Output) -> Self {
        Self {
            code: output.status.code(),
            signal: output.status.signal(),
            stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
            stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Runs `command` to its end.
    pub fn of(command: &mut Command) -> Self {
        Self::of_output(command.output().unwrap())
    }

    /// The document on stdout.
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }

    #[track_caller]
    pub fn expect(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self:#?}");
        self
    }

    /// Ended with `code` and the error `name`, which comes with a remedy.
    #[track_caller]
    pub fn expect_error(self, code: i32, name: &str) -> Self {
        let done = self.expect(code);
        let error = &done.json()["error"];
        assert_eq!(error["code"], name, "{done:#?}");
        assert!(error["message"].as_str().is_some_and(|text| !text.is_empty()), "{done:#?}");
        assert!(error["help"].as_str().is_some_and(|text| !text.is_empty()), "{done:#?}");
        assert!(!done.stderr.contains("panicked"), "{done:#?}");
        done
    }

    /// The error's message.
    pub fn message(&self) -> String {
        self.json()["error"]["message"].as_str().unwrap_or_default().to_owned()
    }
}

/// A container as the engine knows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Container {
    pub id: String,
    pub state: String,
    pub started_at: String,
}

/// A stack and where it is installed.
pub struct Tiny {
    pub scratch: tempfile::TempDir,
    pub project: String,
    pub root: PathBuf,
    pub source: PathBuf,
    built: RefCell<Vec<String>>,
}

impl Tiny {
    pub fn new() -> Self {
        let scratch = tempfile::tempdir().unwrap();
        let project = format!("cutest-{:08x}", rand::random::<u32>());
        let root = scratch.path().join("device");
        let source = scratch.path().join("source");
        Self { project, root, source, scratch, built: RefCell::default() }
    }

    /// Puts the project's name where `@` stands.
    pub fn named(&self, text: &str) -> String {
        text.replace('@', &self.project)
    }

    /// Makes the image `@-<name>:stable`: busybox and a mark that makes it unlike others.
    pub fn image(&self, name: &str, mark: &str) -> String {
        let mut tar = tar::Builder::new(Vec::new());
        let busybox = std::fs::read("/bin/busybox").expect("the package busybox-static is installed");
        // Another test's image would be the same otherwise, and the engine has what that one loaded.
        let files = [
            ("bin/busybox", busybox.as_slice(), 0o755),
            ("mark", mark.as_bytes(), 0o644),
            ("project", self.project.as_bytes(), 0o644),
        ];
        for (path, content, mode) in files {
            let mut header = tar::Header::new_gnu();
            header.set_size(content.len() as u64);
            header.set_mode(mode);
            tar.append_data(&mut header, path, content).unwrap();
        }
        for link in ["bin/sh", "bin/sleep", "bin/httpd", "bin/cat", "bin/test", "bin/true"] {
            let mut header = tar::Header::new_gnu();
            header.set_entry_type(tar::EntryType::Symlink);
            header.set_size(0);
            tar.append_link(&mut header, link, "busybox").unwrap();
        }
        let path = self.scratch.path().join(format!("{name}-{mark}.tar"));
        std::fs::write(&path, tar.into_inner().unwrap()).unwrap();
        let reference = format!("{}-{name}:stable", self.project);
        let id = docker(&["import", "-c", "ENV PATH=/bin", path.to_str().unwrap(), &reference]);
        self.built.borrow_mut().push(id.trim().to_owned());
        reference
    }

    /// Has the engine forget the images that were built here, besides those the installed stack uses: whoever
    /// needs them must load them from a bundle.
    pub fn forget_built(&self) {
        let mut used = Vec::new();
        for name in self.containers().keys() {
            let told = docker(&["inspect", "--format", "{{.Image}} {{.Config.Image}}", name]);
            let (id, reference) = told.trim().split_once(' ').unwrap();
            docker(&["tag", id, reference]);
            used.push(id.to_owned());
        }
        for id in self.built.borrow_mut().drain(..).filter(|id| !used.contains(id)) {
            docker(&["rmi", "-f", &id]);
        }
    }

    /// Packs a release and adds it to the source.
    pub fn publish(&self, release: &Release<'_>) {
        let stack = self.scratch.path().join(format!("stack-{}", release.version));
        let files = [("compose.yaml", release.compose.as_str()), ("release.toml", release.release_toml)];
        for (path, text) in files.iter().chain(release.files) {
            let path = stack.join(path);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, self.named(text)).unwrap();
        }
        self.pack_with(&stack, release.version, &[]);
    }

    /// Packs a stack folder and adds it to the source, with these variables in the environment.
    pub fn pack_with(&self, stack: &Path, version: &str, variables: &[(&str, &str)]) {
        let out = self.scratch.path().join(format!("out-{version}"));
        let mut build = client();
        build.args(["release", "build", "--version", version, "--stack"]).arg(stack).arg("--out").arg(&out);
        Done::of(build.envs(variables.iter().copied())).expect(0);
        Done::of(client().args(["release", "publish"]).arg(&out).arg("--to").arg(&self.source)).expect(0);
    }

    /// `client … --root <root>`.
    pub fn command(&self, arguments: &[&str]) -> Command {
        let mut command = client();
        command.arg("--root").arg(&self.root).args(arguments);
        command
    }

    /// Runs it with `--json`.
    pub fn client(&self, arguments: &[&str]) -> Done {
        Done::of(self.command(arguments).arg("--json"))
    }

    /// Runs it and has it killed at `point`.
    #[track_caller]
    pub fn killed(&self, point: &str, arguments: &[&str]) {
        let mut command = self.command(arguments);
        let done = Done::of(command.env("COMPOSE_UPGRADE_KILL_AT", point));
        assert_eq!(done.signal, Some(9), "it was not killed at {point}: {done:#?}");
    }

    /// `client init` from the source.
    pub fn init(&self) -> Done {
        let source = self.source.to_str().unwrap();
        self.client(&["init", "--project", &self.project, "--source", source]).expect(0)
    }

    /// The path, inside the source, of the bundle of `version`.
    pub fn bundle(&self, version: &str) -> String {
        let path = self.source.join(format!("manifest/{version}.json"));
        let manifest: Value = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let packages = manifest["packages"].as_object().unwrap().values();
        let platforms =
            manifest["platforms"].as_object().into_iter().flat_map(|platforms| platforms.values());
        let url = packages.chain(platforms).find_map(|package| package["url"].as_str()).unwrap();
        url.trim_start_matches("../").to_owned()
    }

    /// From now on releases come from `source`.
    pub fn set_source(&self, source: &str) {
        let path = self.root.join("client.toml");
        let mut settings: toml::Table = std::fs::read_to_string(&path).unwrap().parse().unwrap();
        settings.insert("source".into(), source.into());
        std::fs::write(path, settings.to_string()).unwrap();
    }

    /// Begins a command whose output is read line by line.
    pub fn spawn(&self, arguments: &[&str]) -> Child {
        let mut command = self.command(arguments);
        command.args(["--progress", "json"]).stdout(Stdio::piped()).stderr(Stdio::null());
        command.spawn().unwrap()
    }

    /// The project's containers by name.
    pub fn containers(&self) -> BTreeMap<String, Container> {
        let ids = docker(&["ps", "-aq", "--no-trunc", "--filter", &self.label()]);
        let ids: Vec<&str> = ids.split_whitespace().collect();
        if ids.is_empty() {
            return BTreeMap::new();
        }
        let format = "{{.Name}} {{.Id}} {{.State.Status}} {{.State.StartedAt}}";
        let told = docker(&[&["inspect", "--format", format][..], &ids].concat());
        let read = |line: &str| {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, id, state, started_at] = words[..] else { panic!("{line}") };
            let text = |word: &str| word.to_owned();
            let container = Container { id: text(id), state: text(state), started_at: text(started_at) };
            (name.trim_start_matches('/').to_owned(), container)
        };
        told.lines().map(read).collect()
    }

    /// What the engine lists of the project, by name: `network`, `volume`.
    pub fn things(&self, kind: &str) -> Vec<String> {
        let told = docker(&[kind, "ls", "--format", "{{.Name}}", "--filter", &self.label()]);
        let mut names: Vec<String> = told.lines().map(str::to_owned).collect();
        names.sort();
        names
    }

    /// The pins that keep the releases' images.
    pub fn pins(&self) -> usize {
        let reference = format!("compose-upgrade.pin/{}", self.project);
        docker(&["image", "ls", "-q", &reference]).lines().count()
    }

    fn label(&self) -> String {
        format!("label=com.docker.compose.project={}", self.project)
    }
}

impl Drop for Tiny {
    fn drop(&mut self) {
        if std::thread::panicking() && std::env::var_os("CUTEST_KEEP").is_some() {
            let kept = std::mem::replace(&mut self.scratch, tempfile::tempdir().unwrap()).keep();
            eprintln!("kept: {} in {}", self.project, kept.display());
            return;
        }
        let quiet = |arguments: &[&str]| {
            let output = Command::new("docker").args(arguments).output();
            output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default()
        };
        let remove = |list: &[&str], remove: &[&str]| {
            let names = quiet(list);
            let names: Vec<&str> = names.split_whitespace().collect();
            if !names.is_empty() {
                quiet(&[remove, &names].concat());
            }
        };
        let label = self.label();
        remove(&["ps", "-aq", "--filter", &label], &["rm", "-f", "-v"]);
        remove(&["network", "ls", "-q", "--filter", &label], &["network", "rm"]);
        remove(&["volume", "ls", "-q", "--filter", &label], &["volume", "rm", "-f"]);
        let all = quiet(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        let own: Vec<&str> = all.lines().filter(|name| name.contains(&self.project)).collect();
        if !own.is_empty() {
            quiet(&[&["rmi", "-f"][..], &own].concat());
        }
    }
}

/// `client`, without anything of the surrounding environment that it would listen to.
pub fn client() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    for name in ["CLIENT_ROOT", "LC_ALL", "LC_MESSAGES", "LANG", "RUST_LOG", "COMPOSE_UPGRADE_KILL_AT"] {
        command.env_remove(name);
    }
    command.stdin(Stdio::null());
    command
}

/// Runs `docker` and gives its stdout.
#[track_caller]
pub fn docker(arguments: &[&str]) -> String {
    let output = Command::new("docker").args(arguments).output().unwrap();
    assert!(output.status.success(), "docker {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Waits until `ready` says so.
#[track_caller]
pub fn wait_for(what: &str, mut ready: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(20);
    while !ready() {
        assert!(Instant::now() < end, "in vain waited for: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The names in a folder; none where it is not there.
pub fn names_in(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
    names.sort();
    names
}
