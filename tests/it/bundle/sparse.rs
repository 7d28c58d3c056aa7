//! A bundle of which only some members are here.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use compose_upgrade::Code;
use compose_upgrade::release::bundle::{Index, RELEASE_JSON, Selection, Sparse, fault_of, sparse};
use compose_upgrade::release::unpack::unpack_stack;
use compose_upgrade::release::{Bundle, Digest};

use super::snapshot;

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/bundle").join(name)
}

fn whole() -> (Vec<u8>, Index) {
    let bytes = fs::read(fixture("v1.bundle")).unwrap();
    let index = fs::read(fixture("v1.bundle.index.json")).unwrap();
    let index = Index::from_json(&index, bytes.len() as u64, "v1").unwrap();
    (bytes, index)
}

/// What a download of the first bundle without its only layer leaves behind in `folder`.
fn without_its_layer(folder: &Path) -> (PathBuf, Sparse) {
    let (bytes, index) = whole();
    let info = Bundle::open(fixture("v1.bundle")).unwrap().info().clone();
    let selection = Selection::new(&index, &info, &BTreeSet::new(), Vec::new());
    let hash = Digest::of(fs::read(fixture("v1.bundle.index.json")).unwrap());
    let described = Sparse::new(Digest::of(&bytes), bytes.len() as u64, hash, &selection);
    let path = folder.join("v1.sparse");
    let file = File::create(&path).unwrap();
    file.set_len(bytes.len() as u64).unwrap();
    for range in &selection.ranges {
        file.write_all_at(&bytes[range.start as usize..range.end as usize], range.start).unwrap();
    }
    described.write(&path).unwrap();
    (path, described)
}

#[test]
fn what_is_there_is_as_in_the_whole_one() {
    let folder = tempfile::tempdir().unwrap();
    let (path, described) = without_its_layer(folder.path());
    assert!(described.wrong(&path).unwrap().is_empty());
    let (part, all) = (Bundle::open(&path).unwrap(), Bundle::open(fixture("v1.bundle")).unwrap());
    assert!(part.is_sparse() && !all.is_sparse());
    assert_eq!(part.info(), all.info());
    let unpacked = ["part", "all"].map(|name| folder.path().join(name));
    unpack_stack(&part, &unpacked[0]).unwrap();
    unpack_stack(&all, &unpacked[1]).unwrap();
    assert_eq!(snapshot(&unpacked[0]), snapshot(&unpacked[1]), "links and modes, too");

    let image = part.info().images[0].clone();
    let layers: BTreeSet<Digest> = image.layers.iter().map(|layer| layer.digest).collect();
    assert!(!part.has_image(&image) && part.has_image_without(&image, &layers));
    let named = [(image.clone(), vec!["frozen:1".to_owned()])];
    let tar = |bundle: &Bundle| {
        let mut tar = Vec::new();
        bundle.image_archive_without(&named, &layers).unwrap().read_to_end(&mut tar).unwrap();
        tar
    };
    assert!(tar(&part) == tar(&all));
    let fault = part.image_archive(&named).err().expect("a layer is not here");
    assert_eq!(fault.code(), Code::MemberNotFetched, "{fault}");
    let fault = part.blob(&image.layers[0].digest, image.layers[0].size).err().expect("it is not here");
    assert_eq!(fault.code(), Code::MemberNotFetched, "{fault}");
    let fault = part.blob(&Digest::of("nothing"), 1).err().expect("it never was");
    assert_eq!(fault.code(), Code::BundleInvalid, "{fault}");
}

#[test]
fn damage_is_found_and_never_handed_out() {
    let folder = tempfile::tempdir().unwrap();
    let (path, described) = without_its_layer(folder.path());
    let (bytes, index) = whole();
    for member in index.members.iter().filter(|member| member.length > 0) {
        if Bundle::open(&path).unwrap().entry(&member.path).is_none() {
            continue;
        }
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[bytes[member.offset as usize] ^ 1], member.offset).unwrap();
        let span = member.offset..member.offset + member.length;
        assert_eq!(described.wrong(&path).unwrap(), [span], "{}", member.path);
        match Bundle::open(&path) {
            Err(fault) => {
                assert_eq!(member.path, RELEASE_JSON);
                assert_eq!(fault.code(), Code::HashMismatch, "{fault}");
            }
            Ok(bundle) => {
                let mut read = Vec::new();
                let mut reader = bundle.read(&member.path, member.size, member.hash).unwrap();
                let fault = fault_of(reader.read_to_end(&mut read).unwrap_err(), "x");
                assert_eq!(fault.code(), Code::HashMismatch, "{fault}");
            }
        }
        file.write_all_at(&[bytes[member.offset as usize]], member.offset).unwrap();
    }
    // What the sidecar says must be possible.
    let sidecar = sparse::sidecar_path(&path);
    let good = fs::read_to_string(&sidecar).unwrap();
    for (name, text, code) in [
        ("another form", good.replace("\"schema\":1", "\"schema\":2"), Code::IndexInvalid),
        ("outside", good.replace("\"size\":15872", "\"size\":9000"), Code::IndexInvalid),
        ("longer", good.replace("\"size\":15872", "\"size\":15873"), Code::BundleTruncated),
        ("elsewhere", good.replace("stack/.env", "../.env"), Code::IndexInvalid),
        ("no release", good.replace("release.json", "other.json"), Code::BundleInvalid),
        ("torn", good[..good.len() / 2].to_owned(), Code::IndexInvalid),
    ] {
        assert_ne!(text, good, "{name}");
        fs::write(&sidecar, text).unwrap();
        let fault = Bundle::open(&path).unwrap_err();
        assert_eq!(fault.code(), code, "{name}: {fault}");
    }
    fs::remove_file(&sidecar).unwrap();
    assert_eq!(Bundle::open(&path).unwrap_err().code(), Code::Io);
}

#[test]
fn the_first_sidecar_with_a_layer_that_was_made_here_is_read_and_would_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x.sparse");
    let frozen = fs::read(fixture("v1-made.sparse.json")).unwrap();
    fs::write(sparse::sidecar_path(&path), &frozen).unwrap();
    let found = Sparse::read(&path).unwrap();
    let layer = "images/blobs/sha256/0e235fba732ba717f6161901474a1615dc89df5f0c5bab02f0f010732dbfbdbf";
    assert!(found.has(layer) && !found.members().iter().any(|member| member.path == layer));
    found.write(&path).unwrap();
    assert_eq!(fs::read(sparse::sidecar_path(&path)).unwrap(), frozen);
}

#[test]
fn the_first_sidecar_is_read_and_would_be_written_again() {
    let folder = tempfile::tempdir().unwrap();
    let (path, described) = without_its_layer(folder.path());
    let frozen = fs::read(fixture("v1.sparse.json")).unwrap();
    assert_eq!(fs::read(sparse::sidecar_path(&path)).unwrap(), frozen);
    fs::write(sparse::sidecar_path(&path), &frozen).unwrap();
    assert_eq!(Sparse::read(&path).unwrap(), described);
    assert_eq!(described.bundle(), Digest::of(whole().0));
    Sparse::remove(&path).unwrap();
    Sparse::remove(&path).unwrap();
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 0);
}
