//! A full disk and the room that is kept aside for it.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;

use compose_upgrade::Code;
use compose_upgrade::state::{Store, reserve};

/// A small disk of its own; only root can have one.
struct Disk(tempfile::TempDir);

impl Disk {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=24m", "tmpfs"]).arg(folder.path());
        let mounted = mount.output().unwrap().status.success();
        if !mounted {
            eprintln!("skipped: only root can have a small disk of its own to fill");
        }
        mounted.then(|| Self(folder))
    }

    fn path(&self) -> &Path {
        self.0.path()
    }

    /// Writes until nothing more fits.
    fn fill(&self) {
        let mut file =
            fs::File::options().append(true).create(true).open(self.path().join("filler")).unwrap();
        for size in [1 << 16, 1 << 12, 1] {
            while file.write_all(&vec![1; size]).is_ok() {}
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _output = Command::new("umount").arg("-l").arg(self.path()).output();
    }
}

#[test]
fn what_must_be_recorded_is_recorded_on_a_full_disk_and_the_reserve_comes_back() {
    let Some(disk) = Disk::mount() else { return };
    let path = disk.path().join("state.db");
    let reserved = reserve::beside(&path);
    let store = Store::open(&path).unwrap();
    let write = |key: usize, size: usize| {
        store.transaction(|db| {
            let value = "x".repeat(size);
            let written =
                db.execute("INSERT INTO meta (key, value) VALUES (?1, ?2)", (key.to_string(), value));
            written.map(drop).map_err(|error| compose_upgrade::state::fault(store.path(), error))
        })
    };
    assert!(reserve::ensure(&reserved).unwrap());
    write(1, 100).unwrap();
    disk.fill();
    write(2, 500_000).unwrap();
    assert!(!reserve::is_there(&reserved), "it was not needed?");
    disk.fill();
    let fault = (3..).find_map(|key| write(key, 500_000).err()).unwrap();
    assert_eq!(fault.code(), Code::DiskFull, "{fault}");
    assert!(!reserve::ensure(&reserved).unwrap(), "there is no room for it");
    fs::remove_file(disk.path().join("filler")).unwrap();
    assert!(reserve::ensure(&reserved).unwrap());
    // Nothing of what was told to be written is missing, and the database is whole.
    drop(store);
    let store = Store::open_known(&path).unwrap();
    let count: i64 =
        store.with(|db| db.query_row("SELECT count(*) FROM meta", [], |row| row.get(0))).unwrap();
    assert!(count >= 2);
}

#[test]
fn a_database_is_opened_on_a_full_disk() {
    let Some(disk) = Disk::mount() else { return };
    let path = disk.path().join("state.db");
    drop(Store::open(&path).unwrap());
    assert!(reserve::ensure(&reserve::beside(&path)).unwrap());
    disk.fill();
    let store = Store::open_known(&path).unwrap();
    store.with(|db| db.execute("INSERT INTO meta (key, value) VALUES ('a', 'b')", []).map(drop)).unwrap();
}
