//! Packages of the older kind install too, and are trusted as little as any other.

use std::fs::{self, File};
use std::io::{Cursor, Read, Write};
use std::path::{Path, PathBuf};

use compose_upgrade::Code;
use compose_upgrade::publisher::inspect;
use compose_upgrade::release::legacy::{apply_legacy_patch, convert, is_legacy};
use compose_upgrade::release::operations::Operations;
use compose_upgrade::release::unpack::unpack_stack;
use compose_upgrade::release::{Bundle, Version, tree};
use flate2::Compression;
use flate2::write::GzEncoder;

use super::images::EngineImages;
use super::{sample_stack, snapshot};

const LINK: u32 = 0o120_777;

/// An entry: path, mode with file type, content or link target.
type Raw = (String, u32, Vec<u8>);

fn entry(path: &str, mode: u32, data: impl AsRef<[u8]>) -> Raw {
    (path.into(), mode, data.as_ref().to_vec())
}

fn tar_of(entries: &[Raw]) -> Vec<u8> {
    let mut out = Vec::new();
    for (path, mode, data) in entries {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..path.len()].copy_from_slice(path.as_bytes());
        header.set_mode(mode & 0o777);
        let (kind, body): (_, &[u8]) = match mode & 0o170_000 {
            0o120_000 => {
                header.as_mut_bytes()[157..157 + data.len()].copy_from_slice(data);
                (tar::EntryType::Symlink, b"")
            }
            0o020_000 => (tar::EntryType::Char, b""),
            _ => (tar::EntryType::Regular, data),
        };
        header.set_entry_type(kind);
        header.set_size(body.len() as u64);
        header.set_cksum();
        out.extend(header.as_bytes());
        out.extend(body);
        out.resize(out.len().next_multiple_of(512), 0);
    }
    out.extend([0; 1024]);
    out
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn zip_of(entries: &[Raw]) -> Vec<u8> {
    let mut writer = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (path, mode, data) in entries {
        let options = zip::write::SimpleFileOptions::default().unix_permissions(mode & 0o777);
        match mode & 0o170_000 {
            0o120_000 => writer.add_symlink(path, String::from_utf8(data.clone()).unwrap(), options).unwrap(),
            _ => {
                writer.start_file(path, options).unwrap();
                writer.write_all(data).unwrap();
            }
        }
    }
    writer.finish().unwrap().into_inner()
}

/// The three forms of one package, under names that say nothing.
fn forms(dir: &Path, entries: &[Raw]) -> Vec<PathBuf> {
    let tar = tar_of(entries);
    let forms = [zip_of(entries), gzip(&tar), zstd::encode_all(&tar[..], 1).unwrap()];
    let write = |(number, bytes): (usize, Vec<u8>)| {
        let path = dir.join(format!("package-{number}"));
        fs::write(&path, bytes).unwrap();
        path
    };
    forms.into_iter().enumerate().map(write).collect()
}

/// The sample stack as it lies in a package.
fn stack_entries(stack: &Path, prefix: &str) -> Vec<Raw> {
    let entries = tree::list(stack, |_, _| false).unwrap().into_iter().map(|path| {
        let file = tree::describe(stack, &path).unwrap().unwrap();
        match file.link {
            Some(target) => entry(&format!("{prefix}{path}"), LINK, target),
            None => {
                entry(&format!("{prefix}{path}"), 0o100_000 | file.mode, fs::read(stack.join(&path)).unwrap())
            }
        }
    });
    entries.collect()
}

fn version(text: &str) -> Version {
    text.parse().unwrap()
}

fn refusal(package: &Path, dir: &Path) -> Option<Code> {
    let out = dir.join("refused.bundle");
    let code = convert(package, &version("1.0.0"), "amd64", &out, dir).err().map(|fault| fault.code());
    assert_eq!(fs::remove_file(&out).is_ok(), code.is_none(), "a refused package left a bundle");
    assert!(!dir.join("legacy").exists(), "the scratch folder was left");
    code
}

#[test]
fn every_form_becomes_the_same_bundle() {
    let engine = EngineImages::build(1);
    let dir = tempfile::tempdir().unwrap();
    let stack = dir.path().join("stack");
    sample_stack(&stack);
    let saved = dir.path().join("saved.tar");
    engine.save(&saved);
    let image = fs::read(&saved).unwrap();
    let mut entries = stack_entries(&stack, "docker/");
    entries.push(entry("README.txt", 0o100_644, "hello"));
    entries.push(entry("docker/images/app-amd64.tar.gz", 0o100_644, gzip(&image)));
    entries.push(entry("docker/images/app-arm64.tar", 0o100_644, "not looked at"));
    for package in forms(dir.path(), &entries) {
        assert!(is_legacy(&package).unwrap());
        let out = package.with_extension("bundle");
        let summary = convert(&package, &version("1.2.0"), "amd64", &out, dir.path()).unwrap();
        assert!(!is_legacy(&out).unwrap());
        let found = inspect(&summary.path).unwrap();
        assert!(found.valid && found.complete, "{:?}", found.problems);
        assert_eq!(found.release.images[0].reference, engine.names[0]);
        assert_eq!(found.release.compose, ["compose.yaml"]);
        let unpacked = package.with_extension("out");
        unpack_stack(&Bundle::open(&out).unwrap(), &unpacked).unwrap();
        fs::remove_file(unpacked.join(tree::OWN_RELEASE_JSON)).unwrap();
        assert_eq!(snapshot(&unpacked), snapshot(&stack));
    }
    let other = dir.path().join("other.bundle");
    let package = dir.path().join("package-1");
    let wrong = convert(&package, &version("1.2.0"), "arm64", &other, dir.path()).unwrap_err();
    assert_eq!(wrong.code(), Code::BundleTruncated, "the archive for arm64 is none: {wrong}");
}

#[test]
fn hostile_packages_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let compose = || entry("docker/compose.yaml", 0o100_644, "services: {}");
    let file = |path: &str| entry(path, 0o100_644, "x");
    let link = |path: &str, target: &str| entry(path, LINK, target);
    let cases = [
        ("up", Code::BundleUnsafe, vec![file("docker/../../x")]),
        ("absolute", Code::BundleUnsafe, vec![file("/etc/x")]),
        ("link out of the stack", Code::BundleUnsafe, vec![link("docker/x", "../y")]),
        ("absolute link", Code::BundleUnsafe, vec![link("docker/x", "/etc/passwd")]),
        ("link over files", Code::BundleUnsafe, vec![link("docker/x", "y"), file("docker/x/z")]),
        ("no Compose file", Code::BundleInvalid, vec![file("docker/x")]),
        ("no docker folder", Code::BundleInvalid, vec![file("compose.yaml")]),
    ];
    for (name, code, mut entries) in cases {
        if code == Code::BundleUnsafe {
            entries.push(compose());
        }
        for package in forms(dir.path(), &entries) {
            assert_eq!(refusal(&package, dir.path()), Some(code), "{name} in {}", package.display());
        }
    }
    let package = dir.path().join("x");
    fs::write(&package, gzip(&tar_of(&[compose(), entry("docker/tty", 0o020_666, "")]))).unwrap();
    assert_eq!(refusal(&package, dir.path()), Some(Code::BundleUnsafe), "device");
    fs::write(&package, gzip(&tar_of(&[compose(), compose()]))).unwrap();
    assert_eq!(refusal(&package, dir.path()), Some(Code::BundleInvalid), "twice");
    let whole = gzip(&tar_of(&[compose(), entry("docker/x", 0o100_644, vec![1; 4000])]));
    assert_eq!(fs::write(&package, &whole).ok().and_then(|()| refusal(&package, dir.path())), None);
    for end in [10, whole.len() / 2, whole.len() - 1] {
        fs::write(&package, &whole[..end]).unwrap();
        assert_eq!(refusal(&package, dir.path()), Some(Code::BundleTruncated), "cut at {end}");
    }
    let zip = zip_of(&[compose()]);
    fs::write(&package, &zip[..zip.len() - 30]).unwrap();
    assert_eq!(refusal(&package, dir.path()), Some(Code::BundleInvalid), "a zip without its end");
}

#[test]
fn a_patch_of_the_older_kind_makes_the_next_release() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let stack = path("stack");
    sample_stack(&stack);
    let full = &forms(dir.path(), &stack_entries(&stack, "docker/"))[0];
    let summary = convert(full, &version("1.0.0"), "amd64", &path("full.bundle"), dir.path()).unwrap();
    let bundle = Bundle::open(&summary.path).unwrap();
    let current = path("current");
    unpack_stack(&bundle, &current).unwrap();
    fs::remove_file(current.join(".env")).unwrap();
    std::os::unix::fs::symlink("../../shared/.env", current.join(".env")).unwrap();

    let operations: Operations = serde_json::from_str(
        r#"{"replace":{"files":["compose.yaml"],"directories":["web/"]},"delete":{"files":["empty"]}}"#,
    )
    .unwrap();
    let apply = |package: &Path, operations: &Operations, to: &Path| {
        let to_version = version("1.0.0.1");
        apply_legacy_patch(package, &current, bundle.info(), operations, &to_version, to, dir.path())
    };
    for (number, prefix) in ["docker/", ""].into_iter().enumerate() {
        let entries = [
            entry(&format!("{prefix}compose.yaml"), 0o100_644, "services: {a: {}}"),
            entry(&format!("{prefix}web/new.html"), 0o100_640, "new"),
            entry(&format!("{prefix}not/named.txt"), 0o100_644, "ignored"),
        ];
        let package = &forms(dir.path(), &entries)[number];
        let staging = path(&format!("staging-{number}"));
        let info = apply(package, &operations, &staging).unwrap();
        assert_eq!(info.version, version("1.0.0.1"));
        assert_eq!(tree::verify_release(&staging, &info, &info.persist).unwrap(), []);
        let files: Vec<_> = info.files.iter().map(|file| file.path.as_str()).collect();
        assert_eq!(files, ["bin/run.sh", "bin/static", "compose.yaml", "web/new.html"]);
        let mut text = String::new();
        File::open(staging.join("compose.yaml")).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!(text, "services: {a: {}}");
    }

    let refused = |operations: &str, entries: &[Raw]| {
        let operations: Operations = serde_json::from_str(operations).unwrap();
        let package = &forms(dir.path(), entries)[1];
        apply(package, &operations, &path("refused")).unwrap_err().code()
    };
    let some = [entry("images/a.tar", 0o100_644, "x")];
    assert_eq!(refused(r#"{"replace":{"files":["absent"]}}"#, &some), Code::BundleInvalid);
    assert_eq!(refused(r#"{"replace":{"directories":["images"]}}"#, &some), Code::BundleInvalid);
    assert_eq!(refused(r#"{"replace":{"files":["../x"]}}"#, &some), Code::BundleUnsafe);
    assert_eq!(refused(r#"{"delete":{"files":["compose.yaml"]}}"#, &some), Code::BundleInvalid);
    fs::write(current.join("bin/run.sh"), "edited").unwrap();
    assert_eq!(refused("{}", &some), Code::ReleaseDamaged);
}
