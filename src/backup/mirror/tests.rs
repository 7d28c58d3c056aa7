use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

use proptest::prelude::*;

use super::*;

type Tree = BTreeMap<PathBuf, (Entry, Vec<u8>, u64)>;

/// Everything about every name below `root`, with content and number of names.
fn tree(root: &Path) -> Tree {
    let mut found = Tree::new();
    for item in walkdir::WalkDir::new(root).sort_by_file_name() {
        let item = item.unwrap();
        let path = item.path().strip_prefix(root).unwrap().to_owned();
        let folder = fs::File::open(item.path().parent().unwrap()).unwrap();
        let name = item.path().file_name().unwrap();
        let stat = rustix::fs::statat(&folder, name, AtFlags::SYMLINK_NOFOLLOW).unwrap();
        let kind = match FileType::from_raw_mode(stat.st_mode) {
            FileType::Directory => EntryKind::Folder,
            FileType::Symlink => EntryKind::Symlink,
            FileType::Fifo => EntryKind::Fifo,
            _ => EntryKind::File,
        };
        let xattrs = Node::Named(folder.as_fd(), name).xattrs().unwrap();
        let mut entry = meta::describe(path.clone(), kind, &stat, xattrs);
        let mut content = Vec::new();
        match kind {
            EntryKind::File => content = fs::read(item.path()).unwrap(),
            EntryKind::Symlink => entry.link = fs::read_link(item.path()).unwrap(),
            _ => {}
        }
        found.insert(path, (entry, content, if kind == EntryKind::File { stat.st_nlink } else { 0 }));
    }
    found
}

/// A mirror that believes the clock to be as fine as it can be, and one that does not move on until the clock has.
struct Field {
    folder: tempfile::TempDir,
    mirror: Mirror,
}

impl Field {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("from")).unwrap();
        Self { folder, mirror: Mirror { coarsest: 0, ..Mirror::new() } }
    }

    fn from(&self) -> PathBuf {
        self.folder.path().join("from")
    }

    fn to(&self) -> PathBuf {
        self.folder.path().join("to")
    }

    /// The bytes that were copied.
    fn pass(&mut self) -> u64 {
        self.let_the_clock_tick();
        let (mut copied, cancel) = (0, AtomicBool::new(false));
        let (from, to) = (self.from(), self.to());
        let mut control = Control { cancel: &cancel, copied: &mut |bytes| copied += bytes };
        self.mirror.pass(&from, &to, &Filter::default(), &mut control).unwrap();
        self.let_the_clock_tick();
        copied
    }

    /// The times of files move in ticks; within one, two changes look like one.
    fn let_the_clock_tick(&self) {
        let path = self.folder.path().join("tick");
        let time = || {
            fs::write(&path, "").unwrap();
            let stat = fs::metadata(&path).unwrap();
            (stat.ctime(), stat.ctime_nsec())
        };
        let first = time();
        while time() == first {
            std::hint::spin_loop();
        }
    }
}

#[derive(Debug, Clone)]
enum Act {
    Write(u8, Vec<u8>),
    Overwrite(u8, usize, Vec<u8>),
    Truncate(u8, u64),
    Rename(u8, u8),
    Link(u8, u8),
    Symlink(u8, u8),
    Fifo(u8),
    Folder(u8),
    Remove(u8),
    Mode(u8, u32),
    Owner(u8, u32),
    Attribute(u8, Vec<u8>),
}

fn act() -> impl Strategy<Value = Act> {
    let name = 0..8_u8;
    let bytes = prop::collection::vec(any::<u8>(), 0..40);
    prop_oneof![
        4 => (name.clone(), bytes.clone()).prop_map(|(n, b)| Act::Write(n, b)),
        2 => (name.clone(), 0..60_usize, bytes.clone()).prop_map(|(n, at, b)| Act::Overwrite(n, at, b)),
        1 => (name.clone(), 0..3_000_000_u64).prop_map(|(n, l)| Act::Truncate(n, l)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Act::Rename(a, b)),
        2 => (name.clone(), name.clone()).prop_map(|(a, b)| Act::Link(a, b)),
        1 => (name.clone(), name.clone()).prop_map(|(a, b)| Act::Symlink(a, b)),
        1 => name.clone().prop_map(Act::Fifo),
        2 => name.clone().prop_map(Act::Folder),
        2 => name.clone().prop_map(Act::Remove),
        1 => (name.clone(), 0..0o7777_u32).prop_map(|(n, m)| Act::Mode(n, m)),
        1 => (name.clone(), 0..4_u32).prop_map(|(n, o)| Act::Owner(n, o)),
        1 => (name, bytes).prop_map(|(n, b)| Act::Attribute(n, b)),
    ]
}

/// Some names lie in folders, one is not UTF-8.
fn place(root: &Path, number: u8) -> PathBuf {
    match number {
        0..3 => root.join(format!("file{number}")),
        3 => root.join(OsString::from_vec(b"na\xffme".to_vec())),
        4 | 5 => root.join("folder"),
        6 => root.join("folder/inner"),
        _ => root.join("folder/deep/file"),
    }
}

/// Does it as far as it can be done; a refusal (a file in the way of a folder) is no concern here.
fn perform(root: &Path, act: &Act) {
    let at = |number: &u8| place(root, *number);
    let is_file = |path: &Path| path.symlink_metadata().is_ok_and(|found| found.is_file());
    let _refused: Result<(), io::Error> = (|| match act {
        Act::Write(n, bytes) if !at(n).exists() || is_file(&at(n)) => fs::write(at(n), bytes),
        Act::Overwrite(n, offset, bytes) if is_file(&at(n)) => {
            use std::os::unix::fs::FileExt;
            fs::File::options().write(true).open(at(n))?.write_all_at(bytes, *offset as u64)
        }
        Act::Truncate(n, length) if is_file(&at(n)) => {
            fs::File::options().write(true).open(at(n))?.set_len(*length)
        }
        Act::Rename(a, b) => fs::rename(at(a), at(b)),
        Act::Link(a, b) if is_file(&at(a)) => fs::hard_link(at(a), at(b)),
        Act::Symlink(a, b) => symlink(at(a), at(b)),
        Act::Fifo(n) => {
            let folder = rustix::fs::open(at(n).parent().unwrap(), FOLDER, Mode::empty())?;
            let mode = Mode::from_raw_mode(0o640);
            Ok(rustix::fs::mknodat(&folder, at(n).file_name().unwrap(), FileType::Fifo, mode, 0)?)
        }
        Act::Folder(n) => fs::create_dir(at(n)),
        Act::Remove(n) if at(n).is_dir() && !at(n).is_symlink() => fs::remove_dir_all(at(n)),
        Act::Remove(n) => fs::remove_file(at(n)),
        Act::Mode(n, mode) if !at(n).is_symlink() => {
            fs::set_permissions(at(n), fs::Permissions::from_mode(*mode))
        }
        Act::Owner(n, owner) => std::os::unix::fs::lchown(at(n), Some(*owner), Some(*owner)),
        Act::Attribute(n, bytes) if is_file(&at(n)) => xattr::set(at(n), "user.mark", bytes),
        _ => Ok(()),
    })();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn after_every_pass_the_copy_is_what_is_there(
        rounds in prop::collection::vec(prop::collection::vec(act(), 0..12), 1..5)
    ) {
        // Only root may give files away.
        if rustix::process::geteuid().is_root() {
            let mut field = Field::new();
            for acts in rounds {
                acts.iter().for_each(|act| perform(&field.from(), act));
                field.pass();
                prop_assert_eq!(tree(&field.from()), tree(&field.to()));
            }
        }
    }
}

#[test]
fn what_did_not_change_is_not_copied_again() {
    let mut field = Field::new();
    let big = field.from().join("big");
    fs::write(&big, vec![7; 5 << 20]).unwrap();
    fs::write(field.from().join("small"), "x").unwrap();
    assert_eq!(field.pass(), (5 << 20) + 1);
    assert_eq!(field.pass(), 0);

    use std::os::unix::fs::FileExt;
    fs::File::options().write(true).open(&big).unwrap().write_all_at(b"y", 3 << 20).unwrap();
    assert_eq!(field.pass(), 1 << 20, "one piece of a megabyte differs");
    assert_eq!(tree(&field.from()), tree(&field.to()));
}

#[test]
fn what_was_changed_just_now_is_looked_at_again() {
    let mut field = Field::new();
    field.mirror.coarsest = COARSEST;
    let path = field.from().join("file");
    fs::write(&path, "one").unwrap();
    field.pass();
    let before = fs::metadata(&path).unwrap();
    fs::write(&path, "two").unwrap();
    // As if both had happened in one tick of the clock.
    fs::File::options().write(true).open(&path).unwrap().set_modified(before.modified().unwrap()).unwrap();
    field.pass();
    assert_eq!(fs::read_to_string(field.to().join("file")).unwrap(), "two");
}

#[test]
fn holes_stay_holes() {
    let mut field = Field::new();
    let path = field.from().join("sparse");
    let file = fs::File::create(&path).unwrap();
    file.set_len(1 << 30).unwrap();
    std::os::unix::fs::FileExt::write_all_at(&file, b"end", (1 << 30) - 3).unwrap();
    field.pass();
    let copy = fs::metadata(field.to().join("sparse")).unwrap();
    assert_eq!(copy.len(), 1 << 30);
    assert!(copy.blocks() * 512 < 1 << 20, "{} blocks", copy.blocks());
}

#[test]
fn a_single_file_and_a_cancelled_pass() {
    let mut field = Field::new();
    fs::remove_dir(field.from()).unwrap();
    fs::write(field.from(), "alone").unwrap();
    field.pass();
    assert_eq!(fs::read_to_string(field.to()).unwrap(), "alone");

    let mut field = Field::new();
    fs::write(field.from().join("file"), "x").unwrap();
    let cancel = AtomicBool::new(true);
    let (from, to) = (field.from(), field.to());
    let mut control = Control { cancel: &cancel, copied: &mut |_| {} };
    let fault = field.mirror.pass(&from, &to, &Filter::default(), &mut control).unwrap_err();
    assert_eq!(fault.code(), Code::Interrupted);
}
