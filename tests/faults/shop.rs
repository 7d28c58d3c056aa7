//! The releases of the guestbook that the cases use, and the source they come from.
//!
//! | version | what it is |
//! |---|---|
//! | 1.0.0 | the factory release |
//! | 1.1.0 | good; every service differs from 1.0.0, so that all are swapped |
//! | 1.2.0 | as 1.1.0 with another label; on probation for a minute |
//!
//! A file in the folder `ctl`, which the worker mounts, makes any of them bad: `ill-V` (its worker is unhealthy),
//! `exit-V` (it ends at its start), `die-V` (it ends a while after it), `probe-V` (its last check fails).

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::http::HttpServer;
use crate::tiny::{Done, client, docker};

pub const OLD: &str = "1.0.0";
pub const NEW: &str = "1.1.0";
pub const SOAKING: &str = "1.2.0";
pub const SERVICES: [&str; 4] = ["db", "api", "web", "worker"];

/// The guestbook's own health checks are meant for people; here every case waits for several.
const FASTER: [(&str, &str); 10] = [
    // It makes its cluster first.
    (
        "      <<: *health\n      test: [\"CMD\", \"pg_isready\"",
        "      <<: *health\n      start_period: 60s\n      test: [\"CMD\", \"pg_isready\"",
    ),
    // Each check costs a process in the container: often only until the first is good.
    ("interval: 1s", "interval: 5s\n  start_interval: 400ms"),
    ("retries: 3\n  start_period: 30s", "retries: 3\n  start_period: 4s"),
    (
        "test -n \\\"$$(find /tmp/alive -mmin -0.1)\\\"",
        "test ! -e /ctl/ill-@V && test -n \\\"$$(find /tmp/alive -mmin -0.1)\\\"",
    ),
    (
        "      - ./data:/data\n    depends_on:\n      api: { condition: service_healthy }",
        "      - ./data:/data\n      - @CTL:/ctl:ro\n    command: [\"sh\", \"-c\", \"if test -e /ctl/exit-@V; then exit 7; fi; if test -e /ctl/die-@V; then exec timeout 2 python3 /app/worker.py; fi; exec python3 /app/worker.py\"]\n    depends_on:\n      web: { condition: service_healthy }",
    ),
    ("stop_signal: SIGINT", "stop_signal: SIGINT\n    labels: { release: \"@DB\" }"),
    ("timeout_ms = 30000", "timeout_ms = 15000\nsoak_ms = @SOAK"),
    ("timeout_ms = 60000", "timeout_ms = 20000"),
    ("stability_ms = 3000", "stability_ms = 300"),
    (
        "[services.db]",
        "[[health.probes]]\nname = \"the worker says so\"\ncommand = [\"test\", \"!\", \"-e\", \"/ctl/probe-@V\"]\nservice = \"worker\"\ntimeout_ms = 5000\n\n[services.db]",
    ),
];

/// Packed releases, a web server over them, and what the engine calls their images.
pub struct Shop {
    pub scratch: tempfile::TempDir,
    pub source: PathBuf,
    pub ctl: PathBuf,
    pub port: u16,
    pub server: HttpServer,
    /// Version, service, image ID.
    pub images: BTreeMap<&'static str, BTreeMap<&'static str, String>>,
    name: String,
}

impl Shop {
    /// Packs everything.
    pub fn open() -> Self {
        let scratch = tempfile::Builder::new().prefix("faults-").tempdir().unwrap();
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let source = scratch.path().join("source");
        let ctl = scratch.path().join("ctl");
        std::fs::create_dir(&ctl).unwrap();
        std::fs::create_dir(&source).unwrap();
        let name = format!("cufault-{:06x}", rand::random::<u32>() & 0xff_ffff);
        let server = HttpServer::serve_dir(&source);
        let mut shop = Self { scratch, source, ctl, port, server, images: BTreeMap::new(), name };
        for (version, like, database, soak) in
            [(OLD, "1.0.0", "1.0.0", 0), (NEW, "1.1.0", "1.1.0", 0), (SOAKING, "1.1.0", "1.1.0", 60_000)]
        {
            shop.pack(version, like, database, soak);
        }
        shop
    }

    /// The project the cases install.
    pub fn project(&self) -> &str {
        &self.name
    }

    /// An image of one's own on top of the guestbook's, so that nobody else's is removed with it.
    fn image(&self, service: &str, tag: &str) -> String {
        let reference = format!("{}-{service}:{tag}", self.name);
        let context = self.scratch.path().join("context");
        std::fs::create_dir_all(&context).unwrap();
        std::fs::write(context.join("mark"), &reference).unwrap();
        let dockerfile = format!("FROM guestbook-{service}:{tag}\nCOPY mark /mark\n");
        std::fs::write(context.join("Dockerfile"), dockerfile).unwrap();
        docker(&["build", "--quiet", "--tag", &reference, context.to_str().unwrap()]);
        docker(&["image", "inspect", "--format", "{{.Id}}", &reference]).trim().to_owned()
    }

    fn pack(&mut self, version: &'static str, like: &str, database: &str, soak: u32) {
        let stack = self.scratch.path().join(format!("stack-{version}"));
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scripts/guestbook-release");
        Done::of(Command::new(script).arg(like).arg(&stack)).expect(0);
        let mut images = BTreeMap::new();
        for service in SERVICES {
            let tag = if service == "db" { "1.0.0" } else { like };
            images.insert(service, self.image(service, tag));
        }
        self.images.insert(version, images);
        let mut done = 0;
        for file in ["compose.yaml", "release.toml", ".env"] {
            let path = stack.join(file);
            let mut text = std::fs::read_to_string(&path).unwrap();
            for (from, to) in FASTER {
                done += usize::from(text.contains(from));
                text = text.replace(from, to);
            }
            let text = text
                .replace("image: guestbook-", &format!("image: {}-", self.name))
                .replace(&format!("{}-worker:{like}", self.name), &format!("{}-worker:stable", self.name))
                .replace("@V", version)
                .replace("@CTL", self.ctl.to_str().unwrap())
                .replace("@DB", database)
                .replace("@SOAK", &soak.to_string())
                .replace("WEB_PORT=8080", &format!("WEB_PORT={}", self.port));
            std::fs::write(path, text).unwrap();
        }
        let worker = format!("{}-worker", self.name);
        docker(&["tag", &format!("{worker}:{like}"), &format!("{worker}:stable")]);
        assert_eq!(done, FASTER.len(), "the guestbook is not what this harness knows any more");
        let out = self.scratch.path().join(format!("out-{version}"));
        let mut build = client();
        build.args(["release", "build", "--version", version, "--stack"]).arg(&stack).arg("--out").arg(&out);
        Done::of(&mut build).expect(0);
        Done::of(client().args(["release", "publish"]).arg(&out).arg("--to").arg(&self.source)).expect(0);
    }

    /// The path, inside the source, of the bundle of `version`.
    pub fn bundle(&self, version: &str) -> String {
        let mut found = None;
        packages(&mut self.manifest(version), |package| found = package["url"].as_str().map(str::to_owned));
        found.unwrap().trim_start_matches("../").to_owned()
    }

    fn manifest_path(&self, version: &str) -> PathBuf {
        self.source.join(format!("manifest/{version}.json"))
    }

    fn manifest(&self, version: &str) -> Value {
        serde_json::from_slice(&std::fs::read(self.manifest_path(version)).unwrap()).unwrap()
    }

    /// Has `change` spoil the bundle of `version` and the manifest promise what comes of it; gives back what puts
    /// both right again.
    pub fn spoil(&self, version: &str, change: impl FnOnce(&mut Vec<u8>)) -> Spoilt {
        let bundle = self.source.join(self.bundle(version));
        let manifest = self.manifest_path(version);
        let files = [&bundle, &manifest].map(|path| (path.clone(), std::fs::read(path).unwrap()));
        let mut content = files[0].1.clone();
        change(&mut content);
        std::fs::write(&bundle, &content).unwrap();
        let hash = format!("sha256:{}", hex::encode(Sha256::digest(&content)));
        let mut document = self.manifest(version);
        packages(&mut document, |package| package["hash"] = hash.clone().into());
        std::fs::write(&manifest, document.to_string()).unwrap();
        Spoilt { files }
    }

    /// Makes a version bad, or good again.
    pub fn tell(&self, what: &str, version: &str, on: bool) {
        let path = self.ctl.join(format!("{what}-{version}"));
        if on {
            std::fs::write(path, "").unwrap();
        } else {
            std::fs::remove_file(path).ok();
        }
    }

    /// Makes every version good again.
    pub fn all_well(&self) {
        for entry in std::fs::read_dir(&self.ctl).unwrap() {
            std::fs::remove_file(entry.unwrap().path()).unwrap();
        }
    }
}

fn packages(manifest: &mut Value, mut each: impl FnMut(&mut Value)) {
    for part in ["packages", "platforms"] {
        for package in manifest[part].as_object_mut().into_iter().flat_map(|all| all.values_mut()) {
            if package["url"].is_string() {
                each(package);
            }
        }
    }
}

/// A release that is bad until this is dropped.
pub struct Spoilt {
    files: [(PathBuf, Vec<u8>); 2],
}

impl Drop for Spoilt {
    fn drop(&mut self) {
        for (path, content) in &self.files {
            std::fs::write(path, content).unwrap();
        }
    }
}

impl Shop {
    /// Removes its images and files; it lives as long as the process.
    pub fn close(&self) {
        let all = docker(&["image", "ls", "--format", "{{.Repository}}:{{.Tag}}"]);
        let own: Vec<&str> = all.lines().filter(|name| name.contains(&self.name)).collect();
        if !own.is_empty() {
            Done::of(Command::new("docker").args(["rmi", "-f"]).args(own));
        }
        std::fs::remove_dir_all(self.scratch.path()).ok();
    }
}
