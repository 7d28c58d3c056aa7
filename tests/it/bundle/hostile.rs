//! Bundles nobody should be able to harm a device with.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};

use compose_upgrade::Code;
use compose_upgrade::release::bundle::{Limits, fault_of};
use compose_upgrade::release::unpack::unpack_stack;
use compose_upgrade::release::{Bundle, Digest};
use serde_json::{Value, json};

/// A tar entry as an attacker writes it: nothing is checked.
struct Raw<'a> {
    path: &'a str,
    kind: u8,
    link: &'a str,
    data: &'a [u8],
}

fn file<'a>(path: &'a str, data: &'a [u8]) -> Raw<'a> {
    Raw { path, kind: b'0', link: "", data }
}

fn write_tar(path: &Path, entries: &[Raw<'_>]) {
    let mut out = File::create(path).unwrap();
    for entry in entries {
        let mut header = tar::Header::new_gnu();
        let bytes = header.as_mut_bytes();
        bytes[..entry.path.len()].copy_from_slice(entry.path.as_bytes());
        bytes[157..157 + entry.link.len()].copy_from_slice(entry.link.as_bytes());
        bytes[156] = entry.kind;
        header.set_mode(0o4777);
        header.set_size(entry.data.len() as u64);
        header.set_cksum();
        out.write_all(header.as_bytes()).unwrap();
        out.write_all(entry.data).unwrap();
        out.write_all(&vec![0; entry.data.len().next_multiple_of(512) - entry.data.len()]).unwrap();
    }
    out.write_all(&[0; 1024]).unwrap();
}

fn release_json(files: Value, images: Value) -> Vec<u8> {
    json!({"schema": 1, "name": "x", "version": "1.0.0", "arch": "any", "compose": ["c"], "persist": [],
        "images": images, "files": files})
    .to_string()
    .into_bytes()
}

/// Opens and unpacks; what it was refused for.
fn refusal(bundle: &Path) -> Option<Code> {
    let out = bundle.with_extension("out");
    let done = Bundle::open(bundle).and_then(|bundle| unpack_stack(&bundle, &out));
    let _ = fs::remove_dir_all(&out);
    done.err().map(|fault| fault.code())
}

struct Case {
    dir: tempfile::TempDir,
}

impl Case {
    fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    fn bundle(&self, entries: &[Raw<'_>]) -> PathBuf {
        let path = self.dir.path().join("x.bundle");
        write_tar(&path, entries);
        path
    }
}

#[test]
fn entries_that_could_write_elsewhere_are_refused() {
    let case = Case::new();
    let empty = release_json(json!([]), json!([]));
    let link = |path, link| Raw { path, kind: b'2', link, data: b"" };
    let other = |path, kind| Raw { path, kind, link: "stack/x", data: b"" };
    let cases: Vec<(&str, Vec<Raw<'_>>)> = vec![
        ("up", vec![file("stack/../../etc/x", b"")]),
        ("absolute", vec![file("/etc/x", b"")]),
        ("dot", vec![file("./stack/x", b"")]),
        ("backslash", vec![file("stack/..\\x", b"")]),
        ("link to absolute", vec![link("stack/x", "/etc")]),
        ("link up", vec![link("stack/a/x", "../../y")]),
        ("link up after a name", vec![link("stack/a/x", "b/../../..")]),
        ("link outside the stack", vec![link("images/index.json", "x")]),
        ("through a link", vec![link("stack/a", "b"), file("stack/a/x", b"")]),
        ("hard link", vec![other("stack/x", b'1')]),
        ("character device", vec![other("stack/x", b'3')]),
        ("block device", vec![other("stack/x", b'4')]),
        ("fifo", vec![other("stack/x", b'6')]),
        ("sparse", vec![other("stack/x", b'S')]),
    ];
    for (name, mut entries) in cases {
        entries.push(file("release.json", &empty));
        assert_eq!(refusal(&case.bundle(&entries)), Some(Code::BundleUnsafe), "{name}");
    }
}

#[test]
fn a_bundle_that_is_none_or_disagrees_with_itself_is_refused() {
    let case = Case::new();
    let empty = release_json(json!([]), json!([]));
    let declared = |path: &str, content: &[u8]| {
        release_json(json!([{"path": path, "hash": Digest::of(content), "mode": 0o644}]), json!([]))
    };
    let one = declared("a", b"right");
    let setuid = release_json(json!([{"path": "a", "hash": Digest::of(b""), "mode": 0o4755}]), json!([]));
    let escape = declared("../a", b"");
    let own = declared(".release.json", b"");
    let cases: Vec<(&str, Code, Vec<Raw<'_>>)> = vec![
        ("nothing in it", Code::BundleInvalid, vec![]),
        ("no release.json", Code::BundleInvalid, vec![file("stack/a", b"")]),
        ("not JSON", Code::BundleInvalid, vec![file("release.json", b"{")]),
        ("twice", Code::BundleInvalid, vec![file("release.json", &empty), file("release.json", &empty)]),
        ("not declared", Code::BundleInvalid, vec![file("release.json", &empty), file("stack/a", b"")]),
        ("declared, not there", Code::BundleInvalid, vec![file("release.json", &one)]),
        (
            "another kind",
            Code::BundleInvalid,
            vec![file("release.json", &one), Raw { path: "stack/a", kind: b'2', link: "b", data: b"" }],
        ),
        ("wrong content", Code::HashMismatch, vec![file("release.json", &one), file("stack/a", b"wrong")]),
        ("setuid", Code::BundleUnsafe, vec![file("release.json", &setuid), file("stack/a", b"")]),
        ("escape in release.json", Code::BundleUnsafe, vec![file("release.json", &escape)]),
        ("reserved", Code::BundleInvalid, vec![file("release.json", &own), file("stack/.release.json", b"")]),
    ];
    for (name, code, entries) in cases {
        assert_eq!(refusal(&case.bundle(&entries)), Some(code), "{name}");
    }
    let page = case.dir.path().join("page.bundle");
    fs::write(&page, "<html>404</html>".repeat(200)).unwrap();
    assert_eq!(refusal(&page), Some(Code::BundleInvalid));
}

#[test]
fn a_bundle_cut_anywhere_is_called_truncated() {
    let dir = tempfile::tempdir().unwrap();
    let stack = dir.path().join("stack");
    super::sample_stack(&stack);
    let whole = super::pack_stack(&dir.path().join("whole.bundle"), &stack, "1.0.0");
    let bytes = fs::read(&whole.path).unwrap();
    let cut = dir.path().join("cut.bundle");
    let ends = (0..bytes.len()).step_by(512).chain((1..bytes.len()).step_by(379)).chain([bytes.len() - 1]);
    for end in ends {
        fs::write(&cut, &bytes[..end]).unwrap();
        assert_eq!(refusal(&cut), Some(Code::BundleTruncated), "cut at {end} of {}", bytes.len());
    }
}

#[test]
fn a_flipped_byte_is_never_installed() {
    let dir = tempfile::tempdir().unwrap();
    let stack = dir.path().join("stack");
    super::sample_stack(&stack);
    let whole = super::pack_stack(&dir.path().join("whole.bundle"), &stack, "1.0.0");
    let bytes = fs::read(&whole.path).unwrap();
    let bad = dir.path().join("bad.bundle");
    let out = dir.path().join("out");
    unpack_stack(&Bundle::open(&whole.path).unwrap(), &out).unwrap();
    let good = super::snapshot(&out);
    for at in (0..bytes.len()).step_by(97) {
        let mut copy = bytes.clone();
        copy[at] ^= 0x20;
        fs::write(&bad, copy).unwrap();
        fs::remove_dir_all(&out).unwrap();
        // Bytes nobody reads (padding) may differ, and release.json is vouched for by the manifest.
        if let Ok(bundle) = Bundle::open(&bad)
            && bundle.info() == Bundle::open(&whole.path).unwrap().info()
            && unpack_stack(&bundle, &out).is_ok()
        {
            assert_eq!(super::snapshot(&out), good, "flipped byte {at}");
        }
        fs::create_dir_all(&out).unwrap();
    }
}

#[test]
fn bombs_are_stopped_at_the_declared_size() {
    let case = Case::new();
    let content = vec![0u8; 50 << 20];
    let bomb = zstd::encode_all(&content[..], 3).unwrap();
    let digest = Digest::of(&content);
    let path = format!("images/blobs/sha256/{}.zst", digest.hex());
    let layer = |size: u64| {
        let layer = json!({"diff_id": digest, "digest": digest, "size": size});
        json!([{"ref": "x:1", "id": digest, "digest": digest, "layers": [layer]}])
    };
    let code = |result: std::io::Result<u64>| result.err().map(|error| fault_of(error, "x").code());

    let small = release_json(json!([]), layer(1000));
    let bundle = Bundle::open(case.bundle(&[file("release.json", &small), file(&path, &bomb)])).unwrap();
    let mut out = Vec::new();
    let mut blob = bundle.blob(&digest, 1000).unwrap();
    assert_eq!(code(blob.read_to_end(&mut out).map(|n| n as u64)), Some(Code::BundleTooLarge));
    assert!(out.len() <= 1000);
    assert_eq!(bundle.small_blob(&digest).unwrap_err().code(), Code::BundleTooLarge);

    let honest = release_json(json!([]), layer(content.len() as u64));
    let entries = [file("release.json", &honest), file(&path, &bomb)];
    let path = case.bundle(&entries);
    let mut blob = Bundle::open(&path).unwrap().blob(&digest, content.len() as u64).unwrap();
    assert_eq!(std::io::copy(&mut blob, &mut std::io::sink()).unwrap(), content.len() as u64);
    for limits in [
        Limits { member: 1 << 20, ..Limits::default() },
        Limits { total: 1 << 20, ..Limits::default() },
        Limits { entries: 1, ..Limits::default() },
        Limits { document: 10, ..Limits::default() },
    ] {
        assert_eq!(Bundle::open_with(&path, limits).unwrap_err().code(), Code::BundleTooLarge, "{limits:?}");
    }
}
