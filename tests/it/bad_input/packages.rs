//! Bundles that arrive as promised and are bad all the same.

use super::{Bad, entries, pack};

#[test]
fn a_bundle_that_is_cut_or_dangerous_is_not_installed() {
    let bad = Bad::new();
    let good = std::fs::read(bad.bundle()).unwrap();
    bad.refused_bundle(&good[..good.len() / 2], 1, "BUNDLE_TRUNCATED");
    bad.refused_bundle(&"<html>404</html>".repeat(500).into_bytes(), 1, "BUNDLE_INVALID");

    let members = entries(&bad.bundle());
    let hostile = |path: &str, kind: u8, link: &str| {
        let mut header = tar::Header::new_gnu();
        let bytes = header.as_mut_bytes();
        bytes[..path.len()].copy_from_slice(path.as_bytes());
        bytes[156] = kind;
        bytes[157..157 + link.len()].copy_from_slice(link.as_bytes());
        header.set_mode(0o644);
        header.set_size(0);
        header.set_cksum();
        let mut tar = pack(&members);
        tar.append(&header, std::io::empty()).unwrap();
        tar.into_inner().unwrap()
    };
    for (path, kind, link) in [
        ("stack/../../../escaped", b'0', ""),
        ("/tmp/escaped", b'0', ""),
        ("stack/link", b'2', "../../escaped"),
        ("stack/link", b'2', "/etc/passwd"),
        ("stack/device", b'3', ""),
        ("stack/hard", b'1', "stack/compose.yaml"),
    ] {
        let done = bad.refused_bundle(&hostile(path, kind, link), 40, "BUNDLE_UNSAFE");
        assert!(done.message().contains(path), "{done:?}");
    }

    let mut changed = members.clone();
    changed.iter_mut().find(|(path, _)| path == "stack/compose.yaml").unwrap().1.push(b'#');
    let changed = pack(&changed).into_inner().unwrap();
    bad.refused_bundle(&changed, 40, "HASH_MISMATCH");
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

#[test]
fn a_bomb_is_stopped_at_the_declared_size() {
    let bad = Bad::new();
    let mut members = entries(&bad.bundle());
    let bomb = zstd::encode_all(&vec![0; 64 << 20][..], 3).unwrap();
    // A layer that the engine has is not even looked at.
    let present = entries(&bad.tiny.source.join(bad.tiny.bundle("1.0.0")));
    let is_new = |path: &str| !present.iter().any(|(other, _)| other == path);
    let mut layers = members.iter_mut().filter(|(path, _)| path.ends_with(".zst") && is_new(path));
    layers.next().expect("a layer that is new").1 = bomb;
    bad.refused_bundle(&pack(&members).into_inner().unwrap(), 40, "BUNDLE_TOO_LARGE");
    // The hash that was promised is the wrong one, and so is what the load got: the good one still can be had.
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

#[test]
fn an_index_that_lies_is_found_out() {
    let bad = Bad::new();
    let bundle = bad.bundle();
    let index =
        bundle.with_file_name(format!("{}.index.json", bundle.file_name().unwrap().to_str().unwrap()));
    let mut document: serde_json::Value = serde_json::from_slice(&std::fs::read(&index).unwrap()).unwrap();
    document["members"][0]["offset"] = u64::MAX.into();
    std::fs::write(&index, document.to_string()).unwrap();
    let told = bad.tiny.client(&["release", "inspect", bundle.to_str().unwrap()]).json();
    assert_eq!(told["valid"], false, "{told:#}");
    assert!(told["problems"][0].as_str().unwrap().contains("outside the bundle"), "{told:#}");
}
