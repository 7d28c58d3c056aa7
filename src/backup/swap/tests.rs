//! A crash after every phase, and during the way back, ends in the old or the new state.

use std::collections::BTreeMap;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use super::*;

fn content(folder: &Path) -> BTreeMap<String, String> {
    let items = fs::read_dir(folder).unwrap().map(|item| item.unwrap());
    items
        .map(|item| {
            (item.file_name().into_string().unwrap(), fs::read_to_string(item.path()).unwrap_or_default())
        })
        .collect()
}

struct Case {
    _folder: tempfile::TempDir,
    target: PathBuf,
    former: BTreeMap<String, String>,
    mtime: (i64, i64),
}

impl Case {
    fn new() -> (Self, FolderSwap) {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("data");
        fs::create_dir(&target).unwrap();
        for name in ["a", "b", "c"] {
            fs::write(target.join(name), format!("old {name}")).unwrap();
        }
        fs::set_permissions(&target, fs::Permissions::from_mode(0o2751)).unwrap();
        let open = open_folder(&target).unwrap();
        Node::Open(open.as_fd()).set_mtime(meta_time(12, 345)).unwrap();
        let former = content(&target);
        let swap = FolderSwap::begin(&target, "x").unwrap();
        for name in ["b", "d"] {
            fs::write(target.join(".compose-upgrade-restore-x/new").join(name), format!("new {name}"))
                .unwrap();
        }
        (Self { _folder: folder, target, former, mtime: (12, 345) }, swap)
    }

    /// As the next process finds it.
    fn again(&self) -> FolderSwap {
        let names = FolderSwap::left_overs(&self.target).unwrap();
        FolderSwap::left_over(&self.target, &names[0]).unwrap().unwrap()
    }

    fn assert_former(&self) {
        assert_eq!(content(&self.target), self.former);
        let meta = fs::metadata(&self.target).unwrap();
        assert_eq!(meta.mode() & 0o7777, 0o2751);
        assert_eq!((meta.mtime(), meta.mtime_nsec()), self.mtime);
    }
}

fn meta_time(seconds: i64, nanos: u32) -> super::super::entry::Mtime {
    super::super::entry::Mtime { seconds, nanos }
}

fn root() -> Entry {
    Entry {
        path: "data".into(),
        kind: EntryKind::Folder,
        mode: 0o700,
        uid: rustix::process::getuid().as_raw(),
        gid: rustix::process::getgid().as_raw(),
        mtime: meta_time(99, 1),
        size: 0,
        link: PathBuf::new(),
        xattrs: BTreeMap::new(),
    }
}

fn move_one(swap: &FolderSwap, from: &str, to: &str) {
    let staging = swap.target.join(&swap.name);
    let name = if from.is_empty() { "a" } else { "d" };
    fs::rename(
        if from.is_empty() { swap.target.join(name) } else { staging.join(from).join(name) },
        if to.is_empty() { swap.target.join(name) } else { staging.join(to).join(name) },
    )
    .unwrap();
}

#[test]
fn an_exchange_replaces_everything_and_the_folder_stays_the_same() {
    let (case, swap) = Case::new();
    let inode = fs::metadata(&case.target).unwrap().ino();
    assert!(swap.exchange(&root()).unwrap().is_empty());
    swap.clean_up().unwrap();
    let expected = [("b", "new b"), ("d", "new d")].map(|(k, v)| (k.to_owned(), v.to_owned()));
    assert_eq!(content(&case.target), BTreeMap::from(expected));
    let meta = fs::metadata(&case.target).unwrap();
    assert_eq!(meta.ino(), inode);
    assert_eq!((meta.mode() & 0o7777, meta.mtime(), meta.mtime_nsec()), (0o700, 99, 1));
}

#[test]
fn a_crash_in_any_phase_leads_back() {
    let phases: [fn(&FolderSwap); 7] = [
        |_| {},
        |swap| swap.mark("moving").unwrap(),
        |swap| {
            swap.mark("moving").unwrap();
            move_one(swap, "", "old");
        },
        |swap| swap.move_out().unwrap(),
        |swap| {
            swap.move_out().unwrap();
            move_one(swap, "new", "");
        },
        |swap| {
            swap.move_out().unwrap();
            swap.move_in().unwrap();
        },
        |swap| drop(swap.exchange(&root()).unwrap()),
    ];
    for phase in phases {
        let (case, swap) = Case::new();
        phase(&swap);
        drop(swap);
        case.again().revert().unwrap();
        case.assert_former();
    }
}

#[test]
fn a_way_back_that_is_cut_short_is_finished() {
    let steps: [fn(&FolderSwap); 2] = [
        |swap| {
            swap.move_all(&swap.open, &swap.part("new").unwrap()).unwrap();
            swap.unmark("emptied").unwrap();
        },
        |swap| {
            swap.move_all(&swap.open, &swap.part("new").unwrap()).unwrap();
            swap.unmark("emptied").unwrap();
            let old = swap.target.join(&swap.name).join("old/a");
            fs::rename(old, swap.target.join("a")).unwrap();
        },
    ];
    for step in steps {
        let (case, swap) = Case::new();
        let _ = swap.exchange(&root()).unwrap();
        step(&swap);
        drop(swap);
        case.again().revert().unwrap();
        case.assert_former();
    }
}

#[test]
fn once_done_the_former_data_does_not_come_back() {
    let (case, swap) = Case::new();
    let _ = swap.exchange(&root()).unwrap();
    swap.mark("done").unwrap();
    fs::remove_file(case.target.join(&swap.name).join("old/a")).unwrap();
    drop(swap);
    case.again().revert().unwrap();
    assert_eq!(content(&case.target).keys().collect::<Vec<_>>(), ["b", "d"]);
}

#[test]
fn a_file_comes_back_from_every_state() {
    for existed in [true, false] {
        for exchanged in [true, false] {
            let folder = tempfile::tempdir().unwrap();
            let target = folder.path().join(".env");
            if existed {
                fs::write(&target, "old").unwrap();
            }
            let swap = FileSwap::begin(&target, "x").unwrap();
            fs::write(swap.staged(), "new").unwrap();
            if exchanged {
                swap.exchange().unwrap();
                assert_eq!(fs::read_to_string(&target).unwrap(), "new");
            }
            for _ in 0..2 {
                FileSwap::left_over(swap.target.clone(), existed, "x").revert().unwrap();
            }
            let left = content(folder.path());
            let expected = existed.then(|| (".env".to_owned(), "old".to_owned()));
            assert_eq!(left, expected.into_iter().collect());
        }
    }
}
