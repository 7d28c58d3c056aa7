//! From a stack folder to a source a device can read, with the engine's real images.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::Command;

use compose_upgrade::publisher::{
    self, BuildReport, BuildRequest, ImageSaver, PatchBase, StackReader, inspect, publish,
};
use compose_upgrade::release::bundle::Index;
use compose_upgrade::release::operations::Operations;
use compose_upgrade::release::unpack::{apply_patch, unpack_stack};
use compose_upgrade::release::{Bundle, Digest};
use compose_upgrade::{Code, Fault, Result};
use serde_json::Value;
use time::OffsetDateTime;

use super::images::{EngineImages, docker};
use super::{snapshot, write_tree};
use crate::support::tiny::names_in;

/// Compose and the engine by their command lines.
struct Cli;

impl StackReader for Cli {
    fn model(&self, stack: &Path, compose: &[String]) -> Result<Value> {
        let mut args = vec!["compose".to_owned(), "--project-directory".into(), stack.display().to_string()];
        for file in compose {
            args.extend(["-f".into(), stack.join(file).display().to_string()]);
        }
        args.extend(["config", "--format", "json"].map(String::from));
        let args: Vec<&str> = args.iter().map(String::as_str).collect();
        Ok(serde_json::from_str(&docker(&args)).unwrap())
    }
}

impl ImageSaver for Cli {
    fn save(&self, references: &[String]) -> Result<Box<dyn Read + Send>> {
        for name in references {
            let found = Command::new("docker").args(["image", "inspect", name]).output().unwrap();
            if !found.status.success() {
                return Err(Fault::new(Code::ImageMissing, name, ""));
            }
        }
        let save = Command::new("docker").arg("save").args(references).output().unwrap();
        assert!(save.status.success());
        Ok(Box::new(std::io::Cursor::new(save.stdout)))
    }
}

struct Publisher {
    dir: tempfile::TempDir,
}

impl Publisher {
    /// A stack with `compose` as its Compose file and a few files around it.
    fn new(compose: &str) -> Self {
        let publisher = Self { dir: tempfile::tempdir().unwrap() };
        let files: [(&str, &[u8], u32); 7] = [
            ("compose.yaml", compose.as_bytes(), 0o644),
            (".env", b"PORT=80\n", 0o600),
            ("web/index.html", b"<h1>one</h1>", 0o644),
            ("old/gone.txt", b"gone", 0o644),
            ("data/rows.db", b"never packed", 0o644),
            (".git/HEAD", b"never packed", 0o644),
            ("notes.tmp", b"never packed", 0o644),
        ];
        write_tree(&publisher.path("stack"), &files);
        publisher.set("release.toml", "name = 'shop'\nnotes = 'what is new'\nexclude = ['*.tmp']\n");
        publisher
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn set(&self, path: &str, content: &str) {
        write_tree(&self.path("stack"), &[(path, content.as_bytes(), 0o644)]);
    }

    fn request(&self, version: &str) -> BuildRequest {
        BuildRequest {
            persist: Vec::new(),
            stack: self.path("stack"),
            version: version.parse().unwrap(),
            out: self.path(&format!("out-{version}")),
            arch: None,
            patch_from: None,
            delta_from: Vec::new(),
            released_at: OffsetDateTime::from_unix_timestamp(1_800_000_000).unwrap(),
        }
    }

    fn build(&self, version: &str) -> Result<BuildReport> {
        publisher::build(&self.request(version), &Cli, &Cli, &|_| {})
    }

    fn patch(&self, version: &str, from: PatchBase) -> Result<BuildReport> {
        let request = BuildRequest { patch_from: Some(from), ..self.request(version) };
        publisher::build(&request, &Cli, &Cli, &|_| {})
    }

    fn refusal(&self) -> Fault {
        self.build("9.0.0").unwrap_err()
    }
}

fn json(path: &Path) -> Value {
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn two_services(images: &EngineImages) -> String {
    format!("services:\n  a: {{image: '{}'}}\n  b: {{image: '{}'}}\n", images.names[0], images.names[1])
}

#[test]
fn deltas_are_from_older_releases_that_are_there() {
    let images = EngineImages::build(1);
    let publisher = Publisher::new(&format!("services:\n  a: {{image: '{}'}}\n", images.names[0]));
    publisher.build("1.1.0").unwrap();
    let from = |version: &str| {
        let request =
            BuildRequest { delta_from: vec![version.parse().unwrap()], ..publisher.request("1.1.0") };
        publisher::build(&request, &Cli, &Cli, &|_| {})
    };
    let fault = from("1.0.0").unwrap_err();
    assert_eq!((fault.code(), fault.object()), (Code::ReleaseUnknown, "1.0.0"));
    let fault = from("1.1.0").unwrap_err();
    assert_eq!((fault.code(), fault.object()), (Code::Usage, "--delta-from 1.1.0"));
    // Nothing half-made is left, and what was there is as it was.
    let names = names_in(&publisher.path("out-1.1.0"));
    assert_eq!(names, ["manifest.json", "shop-1.1.0.bundle", "shop-1.1.0.bundle.index.json"]);
}

#[test]
fn a_release_is_built_published_and_patched() {
    let images = EngineImages::build(3);
    let publisher = Publisher::new(&two_services(&images));
    let first = publisher.build("1.0.0").unwrap();
    assert_eq!((first.name.as_str(), first.arch.as_str(), first.images), ("shop", "amd64", 2));
    let bundle = Bundle::open(&first.bundle.path).unwrap();
    let files: Vec<_> = bundle.info().files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, [".env", "compose.yaml", "old/gone.txt", "web/index.html"]);
    assert_eq!(bundle.info().persist, [".env", "data", "logs", "upload"]);
    let found = inspect(&first.bundle.path).unwrap();
    assert!(found.valid && found.complete, "{:?}", found.problems);

    let manifest = json(&first.manifest);
    let full = &manifest["packages"]["full"];
    assert_eq!(full["url"], "shop-1.0.0.bundle");
    assert_eq!(full["hash"], first.bundle.hash.to_string());
    assert_eq!(manifest["platforms"]["x86_64"], *full);
    assert_eq!(manifest["release_date"], "2027-01-15T08:00:00Z");
    assert_eq!(manifest["release_notes"], "what is new");
    let index = fs::read(publisher.path("out-1.0.0/shop-1.0.0.bundle.index.json")).unwrap();
    assert_eq!(full["index"]["hash"], Digest::of(&index).to_string());
    Index::from_json(&index, first.bundle.size, "index").unwrap();
    assert_eq!(publisher.build("1.0.0").unwrap(), first, "a second build gives the same bytes");

    // The next level: one image and one page are new, a folder is gone.
    let compose = two_services(&images).replace(&images.names[1], &images.names[2]);
    publisher.set("compose.yaml", &compose);
    publisher.set("web/index.html", "<h1>two</h1>");
    publisher.set("fresh/a/b.txt", "b");
    fs::remove_dir_all(publisher.path("stack/old")).unwrap();
    let second = publisher.patch("1.0.0.1", PatchBase::Path(publisher.path("out-1.0.0"))).unwrap();
    let (from, package) = second.patch.as_ref().unwrap();
    assert_eq!(from.to_string(), "1.0.0");
    let manifest = json(&second.manifest);
    let entry = &manifest["patch"]["x86_64"];
    assert_eq!(
        (entry["from"].as_str(), entry["url"].as_str()),
        (Some("1.0.0"), Some("shop-1.0.0.1-from-1.0.0.patch"))
    );
    let operations: Operations = serde_json::from_value(entry["operations"].clone()).unwrap();
    assert_eq!(operations.replace.files, ["compose.yaml", "web/index.html"]);
    assert_eq!(operations.replace.directories, ["fresh"]);
    assert_eq!(operations.delete.directories, ["old"]);
    let patch = Bundle::open(&package.path).unwrap();
    let found = inspect(&package.path).unwrap();
    assert!(found.valid && !found.complete, "{:?}", found.problems);
    assert_eq!(found.images.iter().map(|image| image.included).collect::<Vec<_>>(), [false, true]);

    let has: Vec<_> = patch.info().images.iter().map(|image| patch.has_image(image)).collect();
    assert_eq!(has, [false, true]);

    // On the device both roads lead to the same folder.
    let (current, patched, whole) =
        (publisher.path("current"), publisher.path("patched"), publisher.path("whole"));
    unpack_stack(&bundle, &current).unwrap();
    apply_patch(&current, bundle.info(), &patch, &operations, &patched).unwrap();
    unpack_stack(&Bundle::open(&second.bundle.path).unwrap(), &whole).unwrap();
    assert_eq!(snapshot(&patched), snapshot(&whole));

    // Both in one source; the newer leads whatever the order.
    let source = publisher.path("source");
    publish(&publisher.path("out-1.0.0.1"), &source).unwrap();
    let report = publish(&publisher.path("out-1.0.0"), &source).unwrap();
    assert_eq!(report.newest.to_string(), "1.0.0.1");
    assert_eq!(report.releases.iter().map(ToString::to_string).collect::<Vec<_>>(), ["1.0.0", "1.0.0.1"]);
    let top = json(&source.join("manifest.json"));
    assert_eq!(
        (&top["version"], &top["releases"]),
        (&"1.0.0.1".into(), &serde_json::json!(["1.0.0", "1.0.0.1"]))
    );
    assert!(source.join(top["patch"]["x86_64"]["url"].as_str().unwrap()).is_file());
    let own = json(&source.join("manifest/1.0.0.json"));
    let bundle = source.join("manifest").join(own["packages"]["full"]["url"].as_str().unwrap());
    assert_eq!(Digest::of(fs::read(bundle).unwrap()), first.bundle.hash);

    // Again: nothing changes. Other content: refused, and nothing changes.
    let before = snapshot(&source);
    assert_eq!(publish(&publisher.path("out-1.0.0"), &source).unwrap().copied, Vec::<PathBuf>::new());
    assert_eq!(snapshot(&source), before);
    fs::write(publisher.path("out-1.0.0/shop-0.9.0.bundle"), "built before").unwrap();
    let left = publish(&publisher.path("out-1.0.0"), &source).unwrap().left;
    assert_eq!(left, [publisher.path("out-1.0.0/shop-0.9.0.bundle")], "what is not published is told");
    publisher.build("1.0.0").unwrap();
    assert_eq!(publish(&publisher.path("out-1.0.0"), &source).unwrap_err().code(), Code::ReleaseExists);
    assert_eq!(snapshot(&source), before);
}

#[test]
fn architectures_join_in_one_release() {
    let images = EngineImages::build(1);
    let publisher = Publisher::new(&format!("services: {{a: {{image: '{}'}}}}\n", images.names[0]));
    let with_arch = |arch: &str| BuildRequest { arch: Some(arch.into()), ..publisher.request("1.0.0") };
    let refused = publisher::build(&with_arch("arm64"), &Cli, &Cli, &|_| {}).unwrap_err();
    assert_eq!((refused.code(), refused.detail()), (Code::Usage, "the images are for amd64"));
    let report = publisher::build(&with_arch("x86_64"), &Cli, &Cli, &|_| {}).unwrap();
    assert!(report.bundle.path.ends_with("out-1.0.0/shop-1.0.0-amd64.bundle"));
    // Another architecture's build, by hand: only its entry differs.
    let source = publisher.path("source");
    publish(&publisher.path("out-1.0.0"), &source).unwrap();
    let mut manifest = json(&report.manifest);
    let mut entry = manifest["platforms"]["x86_64"].clone();
    let other = publisher.path("out-1.0.0/shop-1.0.0-arm64.bundle");
    fs::write(&other, "the arm64 bundle").unwrap();
    entry["url"] = "shop-1.0.0-arm64.bundle".into();
    entry["hash"] = Digest::of("the arm64 bundle").to_string().into();
    manifest["packages"]["full"] = entry.clone();
    manifest["platforms"] = serde_json::json!({"aarch64": entry});
    fs::write(&report.manifest, manifest.to_string()).unwrap();
    let second = publish(&publisher.path("out-1.0.0"), &source).unwrap();
    assert_eq!(second.copied, [source.join("shop-1.0.0-arm64.bundle")]);
    let top = json(&source.join("manifest.json"));
    let platforms: Vec<_> = top["platforms"].as_object().unwrap().keys().cloned().collect();
    assert_eq!(platforms, ["x86_64", "aarch64"]);
    assert_eq!(top["packages"]["full"]["url"], "shop-1.0.0-amd64.bundle");
}

#[test]
fn what_cannot_be_packed_is_named() {
    let publisher = Publisher::new("services: {a: {build: .}}\n");
    let fault = publisher.refusal();
    assert_eq!((fault.code(), fault.object()), (Code::ImageReference, "a"));
    publisher.set("compose.yaml", &format!("services: {{a: {{image: 'x@{}'}}}}\n", Digest::of("")));
    assert_eq!(publisher.refusal().code(), Code::ImageReference);
    publisher.set("compose.yaml", "services: {a: {image: 'cutest-nowhere:1'}}\n");
    let fault = publisher.refusal();
    assert_eq!((fault.code(), fault.object()), (Code::ImageMissing, "cutest-nowhere:1"));
    fs::remove_file(publisher.path("stack/compose.yaml")).unwrap();
    assert_eq!(publisher.refusal().code(), Code::ComposeInvalid);
    let left: Vec<_> = fs::read_dir(publisher.path("out-9.0.0")).unwrap().collect();
    assert!(left.is_empty(), "a failed build left {left:?}");
}

/// A stack without images: what the rules on files are tried with.
fn plain() -> Publisher {
    let publisher = Publisher::new("services: {}\n");
    publisher.set("sub/keep.txt", "keep");
    publisher
}

#[test]
fn only_the_chosen_files_are_packed() {
    let publisher = plain();
    publisher.set("release.toml", "name='shop'\ninclude=['web', 'sub/*.txt']\nexclude=['index.html']\n");
    let report = publisher.build("1.0.0").unwrap();
    assert_eq!(report.arch, "any");
    let bundle = Bundle::open(&report.bundle.path).unwrap();
    let files: Vec<_> = bundle.info().files.iter().map(|file| file.path.as_str()).collect();
    assert_eq!(files, [".env", "compose.yaml", "sub/keep.txt"]);

    std::os::unix::fs::symlink("../../etc", publisher.path("stack/sub/out")).unwrap();
    publisher.set("release.toml", "");
    assert_eq!(publisher.refusal().code(), Code::BundleUnsafe);
    fs::remove_file(publisher.path("stack/sub/out")).unwrap();
    for (text, cause) in [
        ("config=['none.conf']", "none.conf"),
        ("exclude=['[']", "exclude"),
        ("name='../x'", "name"),
        ("[services.web]\none_shot=true", "no service web"),
        ("[backup.data.rows]\nway='stop'", "rows is neither"),
        ("[backup]\nexclude=['volumes/data']", "volumes/data is neither"),
        ("[backup.data.data]\nway='hook'\nservice='db'\ndump=['x']\nrestore=['y']", "no service db"),
    ] {
        publisher.set("release.toml", text);
        let fault = publisher.refusal();
        assert!(fault.code() == Code::ConfigInvalid && fault.detail().contains(cause), "{text}: {fault}");
    }
    publisher.set(
        "release.toml",
        "[backup]\nexclude=['data', 'persist/logs']\n[backup.data.'persist/data']\nway='stop'\n",
    );
    publisher.build("1.0.1").unwrap();
}

#[test]
fn a_patch_needs_the_right_base() {
    let publisher = plain();
    publisher.build("1.0.0").unwrap();
    let base = || PatchBase::Path(publisher.path("out-1.0.0"));
    let bundle = || PatchBase::Path(publisher.path("out-1.0.0/shop-1.0.0.bundle"));
    assert_eq!(publisher.patch("1.0.1", base()).unwrap_err().code(), Code::Usage, "another base version");
    assert_eq!(publisher.patch("1.0.0", bundle()).unwrap_err().code(), Code::Usage, "not older");
    assert_eq!(publisher.patch("1.0.0", base()).unwrap_err().code(), Code::ReleaseUnknown);
    let version = PatchBase::Version("1.0.0".parse().unwrap());
    assert_eq!(publisher.patch("1.0.0.1", version.clone()).unwrap_err().code(), Code::ReleaseUnknown);
    fs::create_dir_all(publisher.path("out-1.0.0.1")).unwrap();
    fs::copy(publisher.path("out-1.0.0/shop-1.0.0.bundle"), publisher.path("out-1.0.0.1/shop-1.0.0.bundle"))
        .unwrap();
    let report = publisher.patch("1.0.0.1", version).unwrap();
    let manifest = json(&report.manifest);
    assert_eq!(
        manifest["patch"]["x86_64"], manifest["patch"]["aarch64"],
        "without images it fits every machine"
    );
    assert!(publisher.patch("1.0.0.1", bundle()).is_ok());
}

#[test]
fn inspection_says_what_is_wrong() {
    let publisher = plain();
    let report = publisher.build("1.0.0").unwrap();
    let path = report.bundle.path;
    let mut bytes = fs::read(&path).unwrap();
    let at = bytes.windows(12).position(|part| part == b"<h1>one</h1>").unwrap();
    bytes[at] = b'{';
    fs::write(&path, bytes).unwrap();
    let found = inspect(&path).unwrap();
    assert!(!found.valid && found.problems.len() == 1, "{:?}", found.problems);
    assert!(found.problems[0].contains("stack/web/index.html"));
    fs::write(path.with_extension("bundle.index.json"), r#"{"schema":1,"members":[]}"#).unwrap();
    assert!(inspect(&path).unwrap().problems[1].contains("index"));
    let mut client = Command::new(env!("CARGO_BIN_EXE_client"));
    let told = client.args(["release", "inspect"]).arg(&path).output().unwrap();
    assert_eq!(told.status.code(), Some(40), "{told:?}");
    assert!(String::from_utf8_lossy(&told.stdout).contains("stack/web/index.html"), "{told:?}");
}
