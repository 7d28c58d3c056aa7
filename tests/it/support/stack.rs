//! A product as its publisher knows it: a Compose stack of tiny images, released version by version with the
//! real `client`, into a folder that serves as the source. Everything in the engine that bears the project's
//! name is gone when the value is.

mod device;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub use device::{Container, Device, Ended, compose_in, containers};

/// A service that does nothing, for as long as it takes.
pub const IDLE: &str = "command: [sleep, '100000']";

/// The publisher's side. What a release sets stays as it is in the next one.
pub struct Stack {
    dir: tempfile::TempDir,
    project: String,
    services: BTreeMap<String, Service>,
    /// Compose sections besides `services`.
    sections: String,
    toml: String,
}

struct Service {
    yaml: String,
    tag: String,
    build: u32,
    dockerfile: String,
}

/// One release in the making.
pub struct Release<'a> {
    stack: &'a mut Stack,
    version: &'static str,
    patch_from: Option<&'static str>,
    delta_from: Vec<&'static str>,
    /// What image references stood for before they were built anew: the device must not have them yet.
    built: BTreeMap<String, Option<String>>,
}

impl Stack {
    pub fn new() -> Self {
        let dir = tempfile::Builder::new().prefix("cutest").rand_bytes(8).tempdir().unwrap();
        let random = dir.path().file_name().unwrap().to_string_lossy().to_lowercase();
        let project = format!("cutest-{}", random.trim_start_matches("cutest"));
        let context = dir.path().join("image/bin");
        fs::create_dir_all(&context).unwrap();
        fs::create_dir_all(dir.path().join("stack")).unwrap();
        fs::copy("/bin/busybox", context.join("busybox")).unwrap();
        for name in ["sh", "sleep", "httpd", "nc", "cat", "stat", "touch", "ls"] {
            std::os::unix::fs::symlink("busybox", context.join(name)).unwrap();
        }
        let toml = "[health]\ntimeout_ms = 10000\nstability_ms = 500\nsoak_ms = 0\n".to_owned();
        Self { dir, project, services: BTreeMap::new(), sections: String::new(), toml }
    }

    /// The Compose project, also the beginning of every image's name.
    pub fn project(&self) -> &str {
        &self.project
    }

    /// The folder releases are published to.
    pub fn source(&self) -> PathBuf {
        self.dir.path().join("source")
    }

    /// The bundle of a version, as it was built.
    pub fn bundle(&self, version: &str) -> PathBuf {
        let out = self.dir.path().join("out");
        let mut found = fs::read_dir(out).unwrap().map(|entry| entry.unwrap().path());
        let fits = |path: &PathBuf| path.to_string_lossy().ends_with(&format!("-{version}.bundle"));
        found.find(fits).unwrap_or_else(|| panic!("no bundle of {version}"))
    }

    /// The folder it is released from.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().join("stack")
    }

    /// Puts a file into the folder that images are built from; what is below `bin/` is in the base of every image that
    /// is built afterwards.
    pub fn context(&self, path: &str, content: &[u8]) {
        fs::write(self.dir.path().join("image").join(path), content).unwrap();
    }

    /// The Compose file as it is now.
    pub fn compose(&self) -> String {
        let mut text = "services:\n".to_owned();
        for (name, service) in &self.services {
            let image = self.image(name);
            text.push_str(&format!("  {name}:\n    image: {image}\n{}", indented(&service.yaml, 4)));
        }
        text + &self.sections
    }

    /// The image reference of a service.
    pub fn image(&self, service: &str) -> String {
        format!("{}-{service}:{}", self.project, self.services[service].tag)
    }

    /// Publishes a release that differs from the one before by what `change` says.
    pub fn release(&mut self, version: &'static str, change: impl FnOnce(&mut Release<'_>)) -> &mut Self {
        let mut release = Release::new(self, version);
        change(&mut release);
        release.publish();
        self
    }

    /// Builds what `change` says into the engine and publishes nothing.
    pub fn unpublished(&mut self, change: impl FnOnce(&mut Release<'_>)) -> &mut Self {
        change(&mut Release::new(self, "0.0.0"));
        self
    }

    fn build_image(&self, name: &str) {
        let service = &self.services[name];
        let context = self.dir.path().join("image");
        fs::write(context.join("own"), format!("build {}", service.build)).unwrap();
        let dockerfile = format!(
            "FROM scratch\nLABEL of={}\nCOPY bin /bin\nCOPY own /own\nSTOPSIGNAL SIGKILL\n{}",
            self.project, service.dockerfile
        );
        fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        docker(&["build", "-q", "-t", &self.image(name), context.to_str().unwrap()]);
    }
}

impl<'a> Release<'a> {
    fn new(stack: &'a mut Stack, version: &'static str) -> Self {
        Self { stack, version, patch_from: None, delta_from: Vec::new(), built: BTreeMap::new() }
    }

    /// Adds a service, or says anew what it is. `yaml` are its lines in the Compose file besides `image`.
    pub fn service(&mut self, name: &str, yaml: &str) -> &mut Self {
        match self.stack.services.get_mut(name) {
            Some(service) => service.yaml = yaml.to_owned(),
            None => {
                let service =
                    Service { yaml: yaml.to_owned(), tag: "1".into(), build: 1, dockerfile: String::new() };
                self.stack.services.insert(name.to_owned(), service);
                self.build(name);
            }
        }
        self
    }

    pub fn without(&mut self, name: &str) -> &mut Self {
        self.stack.services.remove(name);
        self
    }

    /// New code in a service's image, under a new tag.
    pub fn rebuild(&mut self, name: &str) -> &mut Self {
        let service = self.stack.services.get_mut(name).unwrap();
        service.build += 1;
        service.tag = service.build.to_string();
        self.build(name);
        self
    }

    /// New code in a service's image, under the tag it has.
    pub fn rebuild_same_tag(&mut self, name: &str) -> &mut Self {
        self.stack.services.get_mut(name).unwrap().build += 1;
        self.build(name);
        self
    }

    /// More lines in the Dockerfile of a service.
    pub fn dockerfile(&mut self, name: &str, lines: &str) -> &mut Self {
        self.stack.services.get_mut(name).unwrap().dockerfile = format!("{lines}\n");
        self.build(name);
        self
    }

    /// Compose sections besides `services`.
    pub fn sections(&mut self, yaml: &str) -> &mut Self {
        self.stack.sections = format!("{yaml}\n");
        self
    }

    /// The stack folder.
    pub fn folder(&self) -> PathBuf {
        self.stack.folder()
    }

    /// A file of the stack folder.
    pub fn file(&mut self, path: &str, content: &str) -> &mut Self {
        let path = self.stack.folder().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, content).unwrap();
        self
    }

    /// `release.toml`, whole.
    pub fn toml(&mut self, text: &str) -> &mut Self {
        self.stack.toml = text.to_owned();
        self
    }

    /// Also publish a patch from `version`.
    pub fn patch_from(&mut self, version: &'static str) -> &mut Self {
        self.patch_from = Some(version);
        self
    }

    /// Also deltas from the layers of `version`.
    pub fn delta_from(&mut self, version: &'static str) -> &mut Self {
        self.delta_from.push(version);
        self
    }

    fn build(&mut self, name: &str) {
        let image = self.stack.image(name);
        self.built.entry(image.clone()).or_insert_with(|| image_id(&image));
        self.stack.build_image(name);
    }

    fn publish(self) {
        let folder = self.stack.folder();
        fs::write(folder.join("compose.yaml"), self.stack.compose()).unwrap();
        fs::write(folder.join("release.toml"), &self.stack.toml).unwrap();
        let out = self.stack.dir.path().join("out");
        let (folder, out) = (folder.to_str().unwrap(), out.to_str().unwrap());
        let mut args = vec!["release", "build", "--stack", folder, "--version", self.version, "--out", out];
        args.extend(self.patch_from.iter().flat_map(|from| ["--patch-from", from]));
        args.extend(self.delta_from.iter().flat_map(|from| ["--delta-from", from]));
        client(&args);
        client(&["release", "publish", out, "--to", self.stack.source().to_str().unwrap()]);
        // A device gets its images from the bundle and from nowhere else.
        for (image, before) in self.built {
            let built = image_id(&image).unwrap();
            let Some(before) = before else {
                docker(&["rmi", &image]);
                continue;
            };
            docker(&["tag", &before, &image]);
            if docker(&["image", "inspect", "-f", "{{len .RepoTags}}", &built]) == "0" {
                docker(&["rmi", &built]);
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        sweep(&self.project);
    }
}

/// Removes everything of a project from the engine. Says nothing: a test that fails has more to say.
fn sweep(project: &str) {
    let ours = format!("label=com.docker.compose.project={project}");
    let all = |list: &[&str], remove: &[&str]| {
        let listed = Command::new("docker").args(list).output().unwrap();
        let text = String::from_utf8_lossy(&listed.stdout).into_owned();
        let found: Vec<&str> = text.split_whitespace().filter(|name| *name != "<none>:<none>").collect();
        if !found.is_empty() {
            let _ = Command::new("docker").args(remove).args(found).output();
        }
    };
    // A volume without a name that was carried over counts as named, and `rm -v` leaves it.
    let mounts = "{{range .Mounts}}{{if eq .Type \"volume\"}}{{println .Name}}{{end}}{{end}}";
    let ids = Command::new("docker").args(["ps", "-aq", "--filter", &ours]).output().unwrap().stdout;
    let ids = String::from_utf8_lossy(&ids).into_owned();
    let mounted =
        Command::new("docker").args(["inspect", "-f", mounts]).args(ids.split_whitespace()).output();
    let mounted = String::from_utf8_lossy(&mounted.unwrap().stdout).into_owned();
    all(&["ps", "-aq", "--filter", &ours], &["rm", "-f", "-v"]);
    let _ = Command::new("docker").args(["volume", "rm", "-f"]).args(mounted.split_whitespace()).output();
    all(&["network", "ls", "-q", "--filter", &ours], &["network", "rm"]);
    all(&["volume", "ls", "-q", "--filter", &ours], &["volume", "rm", "-f"]);
    for pattern in [format!("{project}-*"), format!("compose-upgrade.pin/{project}")] {
        let filter = format!("reference={pattern}");
        let format = ["--format", "{{.Repository}}:{{.Tag}}"];
        all(&["images", "--filter", &filter, format[0], format[1]], &["rmi", "-f"]);
    }
}

fn indented(yaml: &str, by: usize) -> String {
    yaml.lines().map(|line| format!("{}{line}\n", " ".repeat(by))).collect()
}

/// Runs `docker` and gives back what it printed.
pub fn docker(args: &[&str]) -> String {
    let output = Command::new("docker").args(args).stdin(Stdio::null()).output().unwrap();
    assert!(output.status.success(), "docker {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// The ID an image reference stands for.
pub fn image_id(reference: &str) -> Option<String> {
    let args = ["image", "inspect", "-f", "{{.Id}}", reference];
    let output = Command::new("docker").args(args).output().unwrap();
    output.status.success().then(|| String::from_utf8(output.stdout).unwrap().trim().to_owned())
}

/// Runs `client` and insists that it succeeds.
fn client(args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_client")).args(args).output().unwrap();
    assert!(output.status.success(), "client {args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// Every path below `root` with its kind, mode and content.
pub fn snapshot(root: &Path) -> BTreeMap<String, String> {
    use std::os::unix::fs::MetadataExt;
    let mut found = BTreeMap::new();
    for entry in walkdir::WalkDir::new(root).min_depth(1) {
        let entry = entry.unwrap();
        let meta = entry.metadata().unwrap();
        let content = if meta.is_symlink() {
            format!("-> {}", fs::read_link(entry.path()).unwrap().display())
        } else if meta.is_file() {
            hex::encode(fs::read(entry.path()).unwrap())
        } else {
            String::new()
        };
        let path = entry.path().strip_prefix(root).unwrap().display().to_string();
        found.insert(path, format!("{:o} {}:{} {content}", meta.mode(), meta.uid(), meta.gid()));
    }
    found
}
