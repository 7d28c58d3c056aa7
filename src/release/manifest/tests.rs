use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

const SIMPLE: &[u8] = include_bytes!("../../../fixtures/manifest/simple.json");
const ENHANCED: &[u8] = include_bytes!("../../../fixtures/manifest/enhanced.json");
const SCHEMA_1: &[u8] = include_bytes!("../../../fixtures/manifest/schema-1.json");
const HELLO: &str = "2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824";

fn read(bytes: &[u8]) -> Manifest {
    Manifest::from_json(bytes, "manifest.json").unwrap()
}

fn refuse(value: &Value) -> Fault {
    Manifest::from_json(value.to_string().as_bytes(), "manifest.json").unwrap_err()
}

fn minimal() -> Value {
    json!({ "version": "1.0.0", "packages": { "full": { "url": "x.bundle", "hash": HELLO } } })
}

/// `minimal()` with the value at the JSON pointer replaced or added.
fn with(pointer: &str, value: Value) -> Value {
    let mut document = minimal();
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    document.pointer_mut(parent).unwrap()[key] = value;
    document
}

#[test]
fn the_simple_form_is_read() {
    let manifest = read(SIMPLE);
    assert_eq!(manifest.version.to_string(), "0.0.12");
    assert_eq!(manifest.release_notes.as_deref(), Some("First public release"));
    let full = manifest.package_for(Some(Arch::Aarch64)).unwrap();
    assert_eq!(full.url, "https://downloads.example.com/docker-0.0.12.zip");
    assert_eq!(full.hash.digest(), Some(HELLO.parse().unwrap()));
    assert_eq!((full.size, full.signature.as_deref()), (None, None));
    assert_eq!(manifest.patch_for(Some(Arch::X86_64)), None);
    assert_eq!(manifest.document, Digest::of(SIMPLE));
}

#[test]
fn the_enhanced_form_is_read() {
    let manifest = read(ENHANCED);
    let own = manifest.package_for(Some(Arch::X86_64)).unwrap();
    assert_eq!(own.url, "https://downloads.example.com/x86_64/docker-0.0.13.2.zip");
    assert_eq!(own.hash, PackageHash::External);
    assert_eq!(own.signature.as_deref(), Some("c2lnbmF0dXJl"));
    let generic = manifest.package_for(None).unwrap();
    assert_eq!(generic.url, "https://downloads.example.com/docker-0.0.13.2.zip");

    let patch = manifest.patch_for(Some(Arch::X86_64)).unwrap();
    assert_eq!(patch.operations.replace.files, ["docker-compose.yml", "config/app.yml"]);
    assert_eq!(patch.operations.replace.directories, ["app", "web"]);
    assert_eq!(patch.operations.delete.files, ["config/old.yml"]);
    assert_eq!(patch.operations.delete.directories, ["legacy"]);
    assert_eq!(manifest.patch_base(patch).unwrap().to_string(), "0.0.13.1");
    assert_eq!(manifest.patch_for(Some(Arch::Aarch64)), None);
}

#[test]
fn our_own_form_is_read() {
    let manifest = read(SCHEMA_1);
    let full = manifest.package_for(Some(Arch::Aarch64)).unwrap();
    assert_eq!(full.mirrors, ["https://mirror.example.net/guestbook-1.2.0.bundle"]);
    assert_eq!(full.index.as_ref().unwrap().url, "guestbook-1.2.0.bundle.index.json");
    assert_eq!(full.size, Some(73_400_320));
    let patch = manifest.patch_for(Some(Arch::X86_64)).unwrap();
    assert_eq!(manifest.patch_base(patch).unwrap().to_string(), "1.1.9");
    assert_eq!(manifest.requires.from.as_deref(), Some(">=1.0.0"));
    assert_eq!(manifest.requires.disk_bytes, Some(1 << 30));
    assert_eq!(manifest.releases.len(), 3);
    assert_eq!(manifest.channel.as_deref(), Some("stable"));
}

#[test]
fn what_is_written_is_read_back() {
    for document in [SIMPLE, ENHANCED, SCHEMA_1] {
        let manifest = read(document);
        assert_eq!(read(&manifest.to_json()), manifest);
    }
    let mut manifest = read(SCHEMA_1);
    manifest.patch_generic = manifest.patches.get(&Arch::X86_64).cloned();
    manifest.full = None;
    let again = read(&manifest.to_json());
    assert_eq!(again, manifest);
    assert_eq!(again.to_json(), manifest.to_json());
}

#[test]
fn an_architecture_without_a_package_is_named() {
    let mut manifest = read(SCHEMA_1);
    manifest.full = None;
    let fault = manifest.package_for(Some(Arch::Aarch64)).unwrap_err();
    assert_eq!(fault.code(), Code::NoPackage);
    assert!(fault.to_string().contains("aarch64") && fault.to_string().contains("x86_64"), "{fault}");
}

#[test]
fn oci_names_of_architectures_are_taken() {
    let entry = json!({ "url": "a.bundle" });
    let manifest = read(with("/platforms", json!({ "arm64": entry })).to_string().as_bytes());
    assert_eq!(manifest.package_for(Some(Arch::Aarch64)).unwrap().url, "a.bundle");
    let twice = refuse(&with("/platforms", json!({ "arm64": entry, "aarch64": entry })));
    assert!(twice.detail().contains("second entry"), "{twice}");
}

#[test]
fn hash_forms() {
    for (text, digest) in [
        (HELLO.to_owned(), Some(HELLO)),
        (format!("sha256:{HELLO}"), Some(HELLO)),
        ("external".to_owned(), None),
        (String::new(), None),
    ] {
        let manifest = read(with("/packages/full/hash", json!(text)).to_string().as_bytes());
        let expected = digest.map(|digits| digits.parse().unwrap());
        assert_eq!(manifest.full.unwrap().hash.digest(), expected, "{text:?}");
    }
}

#[test]
fn a_manifest_over_a_mebibyte_is_refused_and_one_of_a_mebibyte_is_not() {
    let mut document = minimal().to_string().into_bytes();
    document.resize(MAX_BYTES as usize, b' ');
    read(&document);
    document.push(b' ');
    let fault = Manifest::from_json(&document, "manifest.json").unwrap_err();
    assert_eq!(fault.code(), Code::ManifestTooLarge);
}

#[test]
fn bytes_that_are_no_json_object_are_refused() {
    let deep = "[".repeat(100_000);
    for bytes in
        [&b""[..], b"{", b"<html>", b"[]", b"null", b"\"1.0.0\"", b"{}", b"\xff\xfe", deep.as_bytes()]
    {
        let fault = Manifest::from_json(bytes, "here").unwrap_err();
        assert_eq!(fault.code(), Code::ManifestInvalid);
        assert!(fault.to_string().contains("here"), "{fault}");
    }
}

#[test]
fn every_wrong_field_is_named() {
    let patch = |value: Value| with("/patch", json!({ "x86_64": value }));
    let replace = |value: Value| patch(json!({ "url": "p", "operations": { "replace": value } }));
    let table = [
        (with("/version", json!(1)), "version"),
        (with("/version", json!(null)), "'version' is missing"),
        (with("/schema", json!(2)), "schema"),
        (with("/schema", json!("1")), "schema"),
        (with("/release_notes", json!(["x"])), "release_notes"),
        (with("/packages", json!([])), "packages"),
        (with("/packages/full", json!("x")), "packages.full"),
        (with("/packages/full", json!({ "hash": HELLO })), "'url' is missing"),
        (with("/packages/full", json!({ "url": "x" })), "'hash' is missing"),
        (with("/packages/full", json!(null)), "offers no package"),
        (with("/packages/full/url", json!("../../x")), "packages.full.url"),
        (with("/packages/full/url", json!("%2e%2e/x")), "packages.full.url"),
        (with("/packages/full/url", json!("/etc/shadow")), "packages.full.url"),
        (with("/packages/full/url", json!("ftp://h/x")), "packages.full.url"),
        (with("/packages/full/hash", json!("md5:00")), "packages.full.hash"),
        (with("/packages/full/hash", json!(&HELLO[1..])), "packages.full.hash"),
        (with("/packages/full/hash", json!(7)), "packages.full.hash"),
        (with("/packages/full/size", json!(-1)), "packages.full.size"),
        (with("/packages/full/size", json!(1.5)), "packages.full.size"),
        (with("/packages/full/size", json!("1")), "packages.full.size"),
        (with("/packages/full/mirrors", json!(["x", "gopher://x"])), "packages.full.mirrors[1]"),
        (with("/packages/full/index", json!({ "url": "i" })), "packages.full.index"),
        (with("/packages/patch", json!({ "url": "p" })), "packages.patch"),
        (with("/platforms", json!({ "x86_64": [] })), "platforms.x86_64"),
        (patch(json!({})), "patch.x86_64"),
        (replace(json!({ "files": "x" })), "patch.x86_64.operations.replace.files"),
        (replace(json!({ "files": ["ok", "../../etc/passwd"] })), "operations.replace.files[1]"),
        (replace(json!({ "files": ["a/"] })), "operations.replace.files[0]"),
        (replace(json!({ "directories": ["/"] })), "operations.replace.directories[0]"),
        (replace(json!({ "directories": ["."] })), "operations.replace.directories[0]"),
        (with("/requires", json!({ "from": "newest" })), "requires.from"),
        (with("/requires", json!({ "floor": 1 })), "requires.floor"),
        (with("/requires", json!({ "disk_bytes": "1G" })), "requires.disk_bytes"),
        (with("/releases", json!("1.0.0")), "releases"),
    ];
    for (document, place) in table {
        let fault = refuse(&document);
        assert_eq!(fault.code(), Code::ManifestInvalid, "{document}");
        assert!(fault.to_string().contains(place), "{document}\nis refused with: {fault}");
        assert!(fault.to_string().contains("manifest.json"), "{fault}");
    }
}

#[test]
fn versions_that_do_not_parse_have_their_own_code_and_place() {
    for (document, place) in [
        (with("/version", json!("one")), "version"),
        (with("/version", json!("")), "version"),
        (with("/releases", json!(["1.0.0", "1"])), "releases[1]"),
        (with("/patch", json!({ "x86_64": { "url": "p", "from": "x" } })), "patch.x86_64.from"),
    ] {
        let fault = refuse(&document);
        assert_eq!(fault.code(), Code::VersionInvalid, "{document}");
        assert!(fault.detail().contains(place) && fault.detail().contains("manifest.json"), "{fault}");
    }
}

proptest! {
    /// Whatever happens to a manifest on its way, it is read or refused; and what is read can be written.
    #[test]
    fn a_manifest_with_damage_is_read_or_refused(
        which in 0usize..3,
        damage in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = [SIMPLE, ENHANCED, SCHEMA_1][which].to_vec();
        for (place, byte) in damage {
            let place = place.index(bytes.len());
            bytes[place] = byte;
        }
        if let Ok(manifest) = Manifest::from_json(&bytes, "manifest.json") {
            prop_assert_eq!(Manifest::from_json(&manifest.to_json(), "again").unwrap(), manifest);
        }
    }
}
