//! Trees of files: a generator of every kind there is, and a description that two equal trees share.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::Path;

use proptest::prelude::*;
use rustix::fs::{AtFlags, CWD, FileType, Gid, Mode, Timespec, Timestamps, UTIME_OMIT, Uid};

pub fn is_root() -> bool {
    rustix::process::getuid().is_root()
}

#[derive(Debug, Clone)]
pub enum Node {
    File { content: Vec<u8>, zeros: u64, links: u8 },
    Folder(BTreeMap<Vec<u8>, Item>),
    Symlink(Vec<u8>),
    Fifo,
}

#[derive(Debug, Clone)]
pub struct Item {
    pub node: Node,
    pub mode: u32,
    pub owner: (u32, u32),
    pub mtime: (i64, u32),
    pub xattrs: BTreeMap<String, Vec<u8>>,
}

fn name() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        4 => "[a-z]{1,8}".prop_map(String::into_bytes),
        2 => prop::collection::vec(any::<u8>(), 1..40),
        1 => "[a-z]{120,250}".prop_map(String::into_bytes),
        1 => Just(b"line\nfeed = 10 x=y".to_vec()),
        1 => Just("备份 ünï".as_bytes().to_vec()),
    ]
    .prop_map(|mut name| {
        name.retain(|byte| *byte != b'/' && *byte != 0);
        if name.iter().all(|byte| *byte == b'.') { b"dot".to_vec() } else { name }
    })
}

pub fn item() -> impl Strategy<Value = Item> {
    let leaf = prop_oneof![
        5 => (prop::collection::vec(any::<u8>(), 0..3000), prop_oneof![Just(0u64), 1u64..600_000], 0u8..3)
            .prop_map(|(content, zeros, links)| Node::File { content, zeros, links }),
        1 => prop::collection::vec(1u8..=255, 1..200).prop_map(Node::Symlink),
        1 => Just(Node::Fifo),
    ];
    with_meta(leaf.boxed()).prop_recursive(6, 40, 6, |inner| {
        with_meta(prop::collection::btree_map(name(), inner, 0..6).prop_map(Node::Folder).boxed())
    })
}

fn with_meta(node: BoxedStrategy<Node>) -> BoxedStrategy<Item> {
    let owner = prop_oneof![Just((0, 0)), (0u32..70_000, 0u32..70_000), Just((4_000_000_000, 3_000_000))];
    let mtime = (-2_000_000_000i64..9_000_000_000, 0u32..1_000_000_000);
    let xattrs =
        prop::collection::btree_map("user\\.[a-z%=]{1,8}", prop::collection::vec(any::<u8>(), 0..60), 0..3);
    (node, 0u32..0o10000, owner, mtime, xattrs)
        .prop_map(|(node, mode, owner, mtime, xattrs)| Item { node, mode, owner, mtime, xattrs })
        .boxed()
}

pub fn folder(of: Vec<(&[u8], Item)>) -> Item {
    let items = of.into_iter().map(|(name, item)| (name.to_vec(), item)).collect();
    plain(Node::Folder(items), 0o755)
}

pub fn file(content: &[u8]) -> Item {
    plain(Node::File { content: content.to_vec(), zeros: 0, links: 0 }, 0o640)
}

pub fn plain(node: Node, mode: u32) -> Item {
    Item { node, mode, owner: (0, 0), mtime: (1_700_000_000, 123_456_789), xattrs: BTreeMap::new() }
}

/// Puts `item` on the disk at `path`. Without root, owners stay as they are and modes keep access.
pub fn build(path: &Path, item: &Item) {
    match &item.node {
        Node::File { content, zeros, links } => {
            let mut out = fs::File::create_new(path).unwrap();
            out.write_all(content).unwrap();
            if *zeros > 0 {
                out.seek(SeekFrom::Current(*zeros as i64)).unwrap();
                out.write_all(&content[..content.len().min(3)]).unwrap();
                let length = out.stream_position().unwrap();
                out.set_len(length).unwrap();
            }
            for index in 0..*links {
                let mut other = path.file_name().unwrap().as_bytes().to_vec();
                other.truncate(200);
                other.extend(format!(".link{index}").bytes());
                let other = path.with_file_name(OsString::from_vec(other));
                if fs::symlink_metadata(&other).is_err() {
                    fs::hard_link(path, other).unwrap();
                }
            }
        }
        Node::Folder(items) => {
            fs::create_dir(path).unwrap();
            for (name, item) in items {
                let child = path.join(OsStr::from_bytes(name));
                if child.as_os_str().len() < 3500 && fs::symlink_metadata(&child).is_err() {
                    build(&child, item);
                }
            }
        }
        Node::Symlink(target) => symlink(OsStr::from_bytes(target), path).unwrap(),
        Node::Fifo => rustix::fs::mknodat(CWD, path, FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap(),
    }
    let nofollow = AtFlags::SYMLINK_NOFOLLOW;
    if is_root() {
        let (uid, gid) = (Uid::from_raw(item.owner.0), Gid::from_raw(item.owner.1));
        rustix::fs::chownat(CWD, path, Some(uid), Some(gid), nofollow).unwrap();
    }
    if matches!(item.node, Node::File { .. } | Node::Folder(_)) {
        for (name, value) in &item.xattrs {
            xattr::set(path, name, value).unwrap();
        }
    }
    if !matches!(item.node, Node::Symlink(_)) {
        let mode = if is_root() { item.mode } else { item.mode | 0o700 };
        rustix::fs::chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty()).unwrap();
    }
    let times = Timestamps {
        last_access: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT },
        last_modification: Timespec { tv_sec: item.mtime.0, tv_nsec: item.mtime.1.into() },
    };
    rustix::fs::utimensat(CWD, path, &times, nofollow).unwrap();
}

/// Everything a restore must bring back, by path.
pub type Description = BTreeMap<Vec<u8>, String>;

pub fn describe(root: &Path) -> Description {
    let mut found = Description::new();
    let mut first_names = BTreeMap::new();
    visit(root, root, &mut found, &mut first_names);
    found
}

fn visit(root: &Path, path: &Path, found: &mut Description, first: &mut BTreeMap<u64, Vec<u8>>) {
    let meta = fs::symlink_metadata(path).unwrap();
    let name = path.strip_prefix(root).unwrap().as_os_str().as_bytes().to_vec();
    let content = if meta.is_file() {
        hex::encode(compose_upgrade::release::Digest::of(fs::read(path).unwrap()).hex())
    } else if meta.is_symlink() {
        format!("-> {:?}", fs::read_link(path).unwrap())
    } else {
        String::new()
    };
    let mut xattrs: Vec<_> =
        xattr::list(path).unwrap().map(|name| (name.clone(), xattr::get(path, name).unwrap())).collect();
    xattrs.sort();
    let same =
        if meta.is_dir() { None } else { Some(first.entry(meta.ino()).or_insert(name.clone()).clone()) };
    let text = format!(
        "{:?} mode {:o} owner {}:{} mtime {}.{:09} size {} same as {same:?} xattrs {xattrs:?} {content}",
        meta.file_type(),
        meta.mode(),
        meta.uid(),
        meta.gid(),
        meta.mtime(),
        meta.mtime_nsec(),
        if meta.is_file() { meta.len() } else { 0 },
    );
    found.insert(name, text);
    if meta.is_dir() {
        let mut names: Vec<_> = fs::read_dir(path).unwrap().map(|item| item.unwrap().file_name()).collect();
        names.sort();
        for name in names {
            visit(root, &path.join(name), found, first);
        }
    }
}
