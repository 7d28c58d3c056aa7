//! Whatever comes in from outside and is wrong: an error of its own, with object and remedy, and the running stack
//! is not touched.

mod device;
mod packages;
mod releases;
mod source;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;

use crate::support::tiny::{Container, Done, Release, Tiny};

const RELEASE: &str = "[health]\nstability_ms = 200\ntimeout_ms = 5000\n";

/// One service that listens on nothing; `more` are further lines of it, `tail` further sections.
fn compose(more: &str, tail: &str) -> String {
    format!(
        "services:\n  web:\n    image: @-web:stable\n    command: [sleep, '3600']\n    stop_signal: SIGKILL\n    \
         network_mode: none\n{more}{tail}"
    )
}

/// An installation of 1.0.0 whose source offers something bad.
struct Bad {
    tiny: Tiny,
    stack: BTreeMap<String, Container>,
    things: Vec<String>,
}

impl Bad {
    /// 1.0.0 is installed and 1.1.0, which has another image, is published.
    fn new() -> Self {
        Self::with(&compose("", ""), |tiny| {
            tiny.image("web", "1.1.0");
            tiny.publish(&Release {
                version: "1.1.0",
                compose: tiny.named(&compose("", "")),
                release_toml: RELEASE,
                files: &[],
            });
        })
    }

    /// 1.0.0 has this Compose file, and `publish` publishes what comes after it.
    fn with(first: &str, publish: impl FnOnce(&Tiny)) -> Self {
        let tiny = Tiny::new();
        tiny.image("web", "1.0.0");
        let compose = first.to_owned();
        tiny.publish(&Release { version: "1.0.0", compose, release_toml: RELEASE, files: &[] });
        tiny.init();
        publish(&tiny);
        tiny.forget_built();
        let stack = tiny.containers();
        assert!(!stack.is_empty());
        let things = Self::things(&tiny);
        Self { tiny, stack, things }
    }

    fn things(tiny: &Tiny) -> Vec<String> {
        let mut things = [tiny.things("network"), tiny.things("volume")].concat();
        things.push(fs::read_link(tiny.root.join("current")).unwrap().display().to_string());
        things
    }

    /// The manifest of the newest release.
    fn manifest(&self) -> Value {
        serde_json::from_slice(&fs::read(self.tiny.source.join("manifest.json")).unwrap()).unwrap()
    }

    /// The upgrade to what `manifest` says is refused.
    #[track_caller]
    fn refused_for(&self, manifest: impl AsRef<[u8]>, exit: i32, code: &str) -> Done {
        let path = self.tiny.source.join("manifest.json");
        let good = fs::read(&path).unwrap();
        fs::write(&path, manifest).unwrap();
        let done = self.refused(&["upgrade", "--yes"], exit, code);
        fs::write(&path, good).unwrap();
        done
    }

    /// The command is refused and nothing was touched.
    #[track_caller]
    fn refused(&self, arguments: &[&str], exit: i32, code: &str) -> Done {
        let done = self.tiny.client(arguments).expect_error(exit, code);
        self.untouched();
        done
    }

    #[track_caller]
    fn untouched(&self) {
        assert_eq!(self.tiny.containers(), self.stack);
        assert_eq!(Self::things(&self.tiny), self.things);
    }

    /// The newest release's bundle.
    fn bundle(&self) -> PathBuf {
        self.tiny.source.join(self.tiny.bundle("1.1.0"))
    }

    /// The upgrade to a release whose bundle holds these bytes, and whose manifest says so, is refused.
    #[track_caller]
    fn refused_bundle(&self, bytes: &[u8], exit: i32, code: &str) -> Done {
        let place = self.tiny.source.join("bad.bundle");
        fs::write(&place, bytes).unwrap();
        let hash = compose_upgrade::release::Digest::of(bytes);
        let mut manifest = self.manifest();
        for package in packages(&mut manifest) {
            package["url"] = "bad.bundle".into();
            package["hash"] = hash.to_string().into();
            package["size"] = bytes.len().into();
        }
        self.refused_for(manifest.to_string(), exit, code)
    }
}

/// Every full package of a manifest.
fn packages(manifest: &mut Value) -> Vec<&mut Value> {
    let top = manifest.as_object_mut().unwrap();
    let mut found = Vec::new();
    for (key, value) in top.iter_mut() {
        match key.as_str() {
            "packages" => found.extend(value.get_mut("full")),
            "platforms" => found.extend(value.as_object_mut().unwrap().values_mut()),
            _ => {}
        }
    }
    found.into_iter().filter(|package| package.is_object()).collect()
}

/// The entries of a bundle: path and content.
fn entries(bundle: &Path) -> Vec<(String, Vec<u8>)> {
    let mut archive = tar::Archive::new(fs::File::open(bundle).unwrap());
    let read = |entry: std::io::Result<tar::Entry<'_, fs::File>>| {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        std::io::Read::read_to_end(&mut entry, &mut content).unwrap();
        (entry.path().unwrap().display().to_string(), content)
    };
    archive.entries().unwrap().map(read).collect()
}

/// A bundle with these files.
fn pack(entries: &[(String, Vec<u8>)]) -> tar::Builder<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, content) in entries {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, content.as_slice()).unwrap();
    }
    tar
}
