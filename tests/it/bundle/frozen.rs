//! Bundles that were written once stay readable: `fixtures/` is added to, never edited.

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use compose_upgrade::publisher::inspect;
use compose_upgrade::release::bundle::{Encoding, Index};
use compose_upgrade::release::unpack::unpack_stack;
use compose_upgrade::release::{Bundle, Digest, ReleaseInfo};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(name)
}

#[test]
fn the_first_bundle_is_read() {
    let path = fixture("bundle/v1.bundle");
    let bytes = fs::read(&path).unwrap();
    assert_eq!(
        Digest::of(&bytes).to_string(),
        fs::read_to_string(fixture("bundle/v1.sha256")).unwrap().trim()
    );
    let found = inspect(&path).unwrap();
    assert!(found.valid && found.complete, "{:?}", found.problems);

    let index = fs::read(fixture("bundle/v1.bundle.index.json")).unwrap();
    let index = Index::from_json(&index, bytes.len() as u64, "v1").unwrap();
    assert!(index.members.iter().any(|member| member.encoding == Encoding::Zstd));
    for member in &index.members {
        let stored = &bytes[member.offset as usize..][..member.length as usize];
        assert_eq!(Digest::of(stored), member.encoded_hash, "{}", member.path);
        let decoded = match member.encoding {
            Encoding::None => stored.to_vec(),
            Encoding::Zstd => zstd::decode_all(stored).unwrap(),
        };
        assert_eq!(
            (Digest::of(&decoded), decoded.len() as u64),
            (member.hash, member.size),
            "{}",
            member.path
        );
    }

    let bundle = Bundle::open(&path).unwrap();
    let frozen = ReleaseInfo::from_json(&fs::read(fixture("release/v1.json")).unwrap(), "v1").unwrap();
    assert_eq!(*bundle.info(), frozen);
    let out = tempfile::tempdir().unwrap();
    unpack_stack(&bundle, out.path()).unwrap();
    assert_eq!(fs::read_link(out.path().join("web/latest")).unwrap(), Path::new("index.html"));
    let image = bundle.info().images[0].clone();
    let mut archive = bundle.image_archive(&[(image, vec!["frozen:1".into()])]).unwrap();
    let mut tar = Vec::new();
    archive.read_to_end(&mut tar).unwrap();
    assert_eq!(tar.len() as u64, archive.length());
}

#[test]
fn a_release_with_every_field_is_read() {
    let bytes = fs::read(fixture("release/v1.json")).unwrap();
    let info = ReleaseInfo::from_json(&bytes, "v1").unwrap();
    assert_eq!(info.version.to_string(), "1.2.0.1");
    assert_eq!((info.health.probes.len(), info.services.len(), info.images.len()), (3, 2, 1));
    assert!(info.migrates_data && info.requires.floor);
}
