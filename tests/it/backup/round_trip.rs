//! What goes in comes out, also by the system's own tar and by a tar stream.

use std::collections::BTreeMap;
use std::fs;
use std::io::Read;
use std::process::Command;
use std::sync::atomic::AtomicBool;

use compose_upgrade::backup::{EntryKind, Origin, Part, PartKind, RestoreTarget};
use compose_upgrade::progress::{Progress, Step};
use proptest::prelude::*;

use super::tree::{self, Item, Node, build, describe, file, folder, is_root, plain};
use super::{Bench, disk};

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_back(items in prop::collection::btree_map("[a-z]{1,5}", tree::item(), 0..5), mode in 0u32..0o10000) {
        let bench = Bench::new();
        let items: BTreeMap<_, _> = items.into_iter().map(|(name, item)| (name.into_bytes(), item)).collect();
        let root = bench.path("data");
        build(&root, &plain(Node::Folder(items), mode));
        let before = describe(&root);

        let record = bench.create(vec![disk("data", &root)]).unwrap();
        prop_assert_eq!(record.warnings(), Vec::<String>::new());
        prop_assert_eq!(describe(&root), before.clone(), "a backup changes nothing");

        // To a new place, over other content, and once more over itself.
        let other = bench.path("to");
        build(&other, &folder(vec![(b"data", folder(vec![(b"stale", file(b"x")), (b"a", folder(vec![]))]))]));
        for _ in 0..2 {
            let restored = bench.restore(&record.id, &other).unwrap();
            prop_assert_eq!(restored.warnings, Vec::<String>::new());
            prop_assert_eq!(&describe(&other.join("data")), &before);
        }
    }
}

/// One of everything that plain tar keeps without options.
pub fn sample() -> Item {
    let mut shared = file(b"shared");
    shared.owner = (999, 70_000);
    shared.node = Node::File { content: b"linked twice".to_vec(), zeros: 0, links: 2 };
    let mut sparse = file(b"");
    sparse.node = Node::File { content: b"abc".to_vec(), zeros: 3_000_000, links: 0 };
    let long = "d".repeat(180);
    folder(vec![
        (b"empty", plain(Node::Folder(BTreeMap::new()), 0o1777)),
        (b"shared", shared),
        (b"sparse", sparse),
        (b"dangling", plain(Node::Symlink(b"../../nowhere".to_vec()), 0o777)),
        (b"pipe", plain(Node::Fifo, 0o720)),
        (b"setuid", plain(Node::File { content: b"#!".to_vec(), zeros: 0, links: 0 }, 0o6755)),
        (b"not \xff\xfe utf-8\n", file(b"bytes")),
        (long.as_bytes(), folder(vec![(long.as_bytes(), folder(vec![(b"deep", file(b"down"))]))])),
    ])
}

#[test]
fn the_system_s_tar_unpacks_the_same() {
    let bench = Bench::new();
    build(&bench.path("data"), &sample());
    fs::write(bench.path(".env"), "KEY=1\n").unwrap();
    let mut env = disk(".env", bench.path(".env"));
    env.name = "files/.env".into();
    let record = bench.create(vec![disk("data", bench.path("data")), env]).unwrap();
    let out = bench.path("out");
    fs::create_dir(&out).unwrap();
    let archive = bench.manager.path_of(&record);
    let tar = Command::new("tar").arg("-xpzf").arg(&archive).arg("-C").arg(&out).output().unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", String::from_utf8_lossy(&tar.stderr));
    assert_eq!(describe(&out.join("persist/data")), describe(&bench.path("data")));
    assert_eq!(fs::read_to_string(out.join("files/.env")).unwrap(), "KEY=1\n");
    let document: serde_json::Value =
        serde_json::from_slice(&fs::read(out.join("backup.json")).unwrap()).unwrap();
    assert_eq!(document["schema"], 1);
    assert_eq!(document["id"], record.id.as_str());
    assert_eq!(document["parts"][1]["kind"], "path");
}

#[test]
fn a_tar_stream_goes_in_and_comes_out() {
    let bench = Bench::new();
    let source = bench.path("top");
    build(&source, &sample());
    let mut tar = Command::new("tar");
    tar.args(["--format=pax", "-cf", "-", "top"]).current_dir(bench.folder.path());
    let stream = tar.output().unwrap().stdout;
    let part = Part::new(
        "volumes/pgdata".into(),
        PartKind::Volume { volume: "pgdata".into() },
        Origin::Tar(Box::new(std::io::Cursor::new(stream))),
    );
    let record = bench.create(vec![part, disk("top", &source)]).unwrap();

    // Onto the disk.
    bench.restore(&record.id, &bench.path("to")).unwrap();
    assert_eq!(describe(&bench.path("to/pgdata")), describe(&source));

    // As a stream, as the engine takes it: names below the place it is unpacked to.
    let out = bench.path("out");
    fs::create_dir(&out).unwrap();
    let targets = |kind: &PartKind| match kind {
        PartKind::Volume { .. } => Some(RestoreTarget::Tar {
            top: "".into(),
            only: Vec::new(),
            take: Box::new(|mut stream, _| {
                let mut bytes = Vec::new();
                stream.read_to_end(&mut bytes).unwrap();
                fs::write(bench.path("part.tar"), bytes).unwrap();
                Ok(())
            }),
        }),
        _ => None,
    };
    let never = AtomicBool::new(false);
    let done =
        bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never).unwrap();
    assert_eq!(done.parts, ["volumes/pgdata"]);
    let tar =
        Command::new("tar").arg("-xpf").arg(bench.path("part.tar")).arg("-C").arg(&out).output().unwrap();
    assert!(tar.status.success() && tar.stderr.is_empty(), "{}", String::from_utf8_lossy(&tar.stderr));
    assert_eq!(describe(&out), describe(&source));
}

#[test]
fn acls_and_devices_and_sockets() {
    if !is_root() {
        return;
    }
    let bench = Bench::new();
    let root = bench.path("data");
    build(&root, &folder(vec![(b"file", file(b"x")), (b"sub", folder(vec![]))]));
    // user::rw-, user:33:r--, group::r--, mask::r--, other::---
    let entries: [(u16, u16, u32); 5] =
        [(1, 6, u32::MAX), (2, 4, 33), (4, 4, u32::MAX), (0x10, 4, u32::MAX), (0x20, 0, u32::MAX)];
    let mut acl = vec![2, 0, 0, 0];
    for (tag, rights, id) in entries {
        acl.extend(tag.to_le_bytes());
        acl.extend(rights.to_le_bytes());
        acl.extend(id.to_le_bytes());
    }
    if xattr::set(root.join("file"), "system.posix_acl_access", &acl).is_ok() {
        xattr::set(root.join("sub"), "system.posix_acl_default", &acl).unwrap();
    }
    let null = rustix::fs::makedev(1, 3);
    let mode = rustix::fs::Mode::from_raw_mode(0o600);
    let kind = rustix::fs::FileType::CharacterDevice;
    rustix::fs::mknodat(rustix::fs::CWD, root.join("null"), kind, mode, null).unwrap();
    let _listener = std::os::unix::net::UnixListener::bind(root.join("socket")).unwrap();

    let record = bench.create(vec![disk("data", &root)]).unwrap();
    assert_eq!(record.warnings().len(), 1, "{:?}", record.warnings());
    assert!(record.warnings()[0].contains("null is a device"), "{:?}", record.warnings());
    // The default ACL of the target must not leak into what is restored.
    let target = bench.path("to/data");
    fs::create_dir_all(&target).unwrap();
    if xattr::get(root.join("sub"), "system.posix_acl_default").unwrap().is_some() {
        xattr::set(&target, "system.posix_acl_default", &acl).unwrap();
    }
    bench.restore(&record.id, &bench.path("to")).unwrap();
    fs::remove_file(root.join("null")).unwrap();
    fs::remove_file(root.join("socket")).unwrap();
    let (mut before, mut after) = (describe(&root), describe(&target));
    // Removing the two changed the folder's time.
    assert!(before.remove(&b""[..]).is_some() && after.remove(&b""[..]).is_some());
    assert_eq!(after, before);
    assert!(xattr::get(&target, "system.posix_acl_default").unwrap().is_none());
}

#[test]
fn holes_are_restored_as_holes() {
    use std::os::unix::fs::MetadataExt;
    let bench = Bench::new();
    let mut sparse = file(b"");
    sparse.node = Node::File { content: b"abc".to_vec(), zeros: 64 << 20, links: 0 };
    build(&bench.path("data"), &folder(vec![(b"sparse", sparse)]));
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    bench.restore(&record.id, &bench.path("to")).unwrap();
    let meta = fs::metadata(bench.path("to/data/sparse")).unwrap();
    assert_eq!(meta.len(), (64 << 20) + 6);
    assert!(meta.blocks() * 512 < 1 << 20, "{} blocks", meta.blocks());
}

#[test]
fn the_contents_are_listed() {
    let bench = Bench::new();
    build(&bench.path("data"), &sample());
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let contents = bench.manager.contents(&record.id).unwrap();
    let pipe = contents.iter().find(|entry| entry.path.ends_with("pipe")).unwrap();
    assert_eq!((pipe.kind, pipe.mode, pipe.mtime.nanos), (EntryKind::Fifo, 0o720, 123_456_789));
    assert_eq!(contents.iter().filter(|entry| entry.kind == EntryKind::HardLink).count(), 2);
    assert_eq!(record.files, contents.iter().filter(|entry| entry.kind == EntryKind::File).count() as u64);
}

#[test]
fn paths_longer_than_the_system_takes_at_once() {
    use rustix::fs::{CWD, Mode, OFlags, mkdirat, openat};
    let bench = Bench::new();
    fs::create_dir(bench.path("data")).unwrap();
    let (name, levels) = ("n".repeat(200), 30);
    let descend = |root: std::path::PathBuf, make: bool| {
        let mut open = openat(CWD, &root, OFlags::DIRECTORY, Mode::empty()).unwrap();
        for _ in 0..levels {
            if make {
                mkdirat(&open, &name, Mode::from_raw_mode(0o755)).unwrap();
            }
            open = openat(&open, &name, OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        open
    };
    let deepest = descend(bench.path("data"), true);
    let flags = OFlags::CREATE | OFlags::WRONLY;
    rustix::io::write(openat(&deepest, "end", flags, Mode::from_raw_mode(0o600)).unwrap(), b"found").unwrap();
    rustix::fs::symlinkat("target", &deepest, "link").unwrap();

    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    for _ in 0..2 {
        bench.restore(&record.id, &bench.path("to")).unwrap();
    }
    let deepest = descend(bench.path("to/data"), false);
    let mut text = [0; 9];
    let length =
        rustix::io::read(openat(&deepest, "end", OFlags::RDONLY, Mode::empty()).unwrap(), &mut text).unwrap();
    assert_eq!(&text[..length], b"found");
    assert_eq!(rustix::fs::readlinkat(&deepest, "link", Vec::new()).unwrap().as_bytes(), b"target");
}
