//! A stack of its own on the real engine, removed with all it left when the test ends.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Mutex;

use compose_upgrade::docker::{Compose, Container, Engine, Model, ReadyPolicy, Watched};
use compose_upgrade::release::info::ImageInfo;
use std::collections::BTreeMap;
use std::time::Duration;

/// The static binary all test images are made of.
const BUSYBOX: &str = "/bin/busybox";

/// An install root and a project with a unique name.
pub struct Stack {
    pub engine: Engine,
    pub compose: Compose,
    pub project: String,
    pub root: PathBuf,
    images: Mutex<Vec<String>>,
    // Dropped last, after the containers that mount it.
    _dir: tempfile::TempDir,
}

impl Stack {
    /// An empty root; `current` points nowhere yet.
    pub async fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cutest-").tempdir().unwrap();
        let root = dir.path().canonicalize().unwrap();
        std::fs::create_dir(root.join("work")).unwrap();
        Self {
            engine: Engine::connect().await.unwrap(),
            compose: Compose::find().await.unwrap(),
            project: format!("cutest-{}", &uuid::Uuid::now_v7().simple().to_string()[16..]),
            root,
            images: Mutex::default(),
            _dir: dir,
        }
    }

    /// Builds a busybox image `<project>-<name>` whose content is its own; gives its reference.
    pub fn image(&self, name: &str, tag: &str) -> String {
        self.image_with(name, tag, "")
    }

    /// As [`Stack::image`], with more lines in the Dockerfile.
    pub fn image_with(&self, name: &str, tag: &str, lines: &str) -> String {
        let reference = format!("{}-{name}:{tag}", self.project);
        let context = tempfile::tempdir_in(&self.root).unwrap();
        std::fs::copy(BUSYBOX, context.path().join("busybox")).unwrap();
        // Unlike any other test's image, so that tests cannot hold or remove each other's.
        std::fs::write(context.path().join("version"), format!("{reference}\n")).unwrap();
        let dockerfile = format!(
            "FROM scratch\nCOPY busybox /bin/busybox\nRUN [\"/bin/busybox\", \"--install\", \"-s\", \"/bin\"]\n\
             COPY version /version\n{lines}\nCMD [\"/bin/sleep\", \"1000\"]\n"
        );
        std::fs::write(context.path().join("Dockerfile"), dockerfile).unwrap();
        let path = context.path().display().to_string();
        docker(&["build", "--quiet", "--tag", &reference, &path]);
        self.images.lock().unwrap().push(reference.clone());
        reference
    }

    /// The path of a release.
    pub fn release(&self, version: &str) -> PathBuf {
        self.root.join("releases").join(version)
    }

    /// Writes a file of a release.
    pub fn file(&self, version: &str, path: &str, content: &str) {
        let path = self.release(version).join(path);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, content).unwrap();
    }

    /// `current`.
    pub fn current(&self) -> PathBuf {
        self.root.join("current")
    }

    /// Makes `current` point to a release.
    pub fn switch_to(&self, version: &str) {
        let next = self.root.join("current.next");
        std::os::unix::fs::symlink(self.release(version), &next).unwrap();
        std::fs::rename(next, self.current()).unwrap();
    }

    /// Compiles a release as if it were in `current` and writes the model.
    pub async fn compile(&self, version: &str) -> (Model, PathBuf) {
        let release = self.release(version);
        let compiled = self.compose.compile(&self.project, &release, &[], &self.current()).await.unwrap();
        let path = self.root.join("work").join(format!("{version}.json"));
        compiled.model.to_file(&path).unwrap();
        (compiled.model, path)
    }

    /// The hashes of a compiled model.
    pub async fn hashes(&self, model: &Path) -> BTreeMap<String, String> {
        self.compose.hashes(&self.project, &self.current(), model).await.unwrap()
    }

    /// What an administrator types in `current/`.
    pub fn administrator(&self, args: &[&str]) {
        let mut command = Command::new("docker");
        command.args(["compose", "--project-name", &self.project]).args(args).current_dir(self.current());
        // As a shell sets it; without it Compose sees the folder behind the link.
        command.env("PWD", self.current());
        checked(command);
    }

    /// All containers.
    pub async fn containers(&self) -> Vec<Container> {
        self.engine.containers(&self.project).await.unwrap()
    }

    /// The containers of a service.
    pub async fn of(&self, service: &str) -> Vec<Container> {
        self.containers().await.into_iter().filter(|one| one.service == service).collect()
    }

    /// `(ID, name)` of every container.
    pub async fn identities(&self) -> Vec<(String, String)> {
        self.containers().await.into_iter().map(|one| (one.id, one.name)).collect()
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        let label = format!("label=com.docker.compose.project={}", self.project);
        // An anonymous volume that was carried over to a new container counts as named for the engine.
        let mounted = words(Command::new("docker").args(["ps", "--all", "--quiet", "--filter", &label]));
        let names = ["inspect", "--format", "{{range .Mounts}}{{.Name}} {{end}}"];
        let volumes = words(Command::new("docker").args(names).args(mounted));
        for (list, remove) in [
            (vec!["ps", "--all", "--quiet"], vec!["rm", "--force", "--volumes"]),
            (vec!["volume", "ls", "--quiet"], vec!["volume", "rm", "--force"]),
            (vec!["network", "ls", "--quiet"], vec!["network", "rm"]),
        ] {
            let ids = words(Command::new("docker").args(list).args(["--filter", &label]));
            if !ids.is_empty() {
                let _ = Command::new("docker").args(remove).args(ids).output();
            }
        }
        if !volumes.is_empty() {
            let _ = Command::new("docker").args(["volume", "rm", "--force"]).args(volumes).output();
        }
        let images = self.images.get_mut().unwrap();
        if !images.is_empty() {
            let _ = Command::new("docker").args(["image", "rm", "--force"]).args(images).output();
        }
    }
}

/// A container to wait for, with short times.
pub fn watched(container: &Container, timeout_ms: u64, stability_ms: u64) -> Watched {
    Watched {
        service: container.service.clone(),
        container: container.id.clone(),
        policy: ReadyPolicy {
            patient: false,
            may_recover: false,
            timeout: Duration::from_millis(timeout_ms),
            stability: Duration::from_millis(stability_ms),
            one_shot: false,
            image_ids: vec![container.image_id.clone()],
        },
    }
}

/// An image as a release would describe it, by the engine's own word.
pub async fn image_info(engine: &Engine, reference: &str) -> ImageInfo {
    let facts = engine.image_facts(reference).await.unwrap();
    let id = facts.id.parse().unwrap();
    ImageInfo { reference: reference.to_owned(), id, digest: id, layers: Vec::new() }
}

/// Runs the docker command line; it must succeed.
pub fn docker(args: &[&str]) -> String {
    let mut command = Command::new("docker");
    command.args(args);
    String::from_utf8(checked(command).stdout).unwrap().trim().to_owned()
}

/// What a command printed, word by word; nothing where it failed.
fn words(command: &mut Command) -> Vec<String> {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).split_whitespace().map(str::to_owned).collect()
}

fn checked(mut command: Command) -> Output {
    let output = command.output().unwrap();
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output
}
