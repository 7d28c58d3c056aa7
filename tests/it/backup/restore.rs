//! A restore that is stopped anywhere ends in the former or the restored data.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use compose_upgrade::backup::{PartKind, Problem, Record, RestoreTarget, Settled};
use compose_upgrade::messages::Lang;
use compose_upgrade::progress::{Event, Progress, Reporter, Step};
use compose_upgrade::{Code, Fault};

use super::tree::{build, describe, file, folder};
use super::{Bench, disk};

/// A backup of `one/`, `two/` and `.env`, and other data under the same names in `to/`.
fn bench_with_backup() -> (Bench, Record) {
    let bench = Bench::new();
    build(&bench.path("one"), &folder(vec![(b"a", file(b"backed up")), (b"sub", folder(vec![]))]));
    build(&bench.path("two"), &folder(vec![(b"b", file(b"backed up"))]));
    fs::write(bench.path(".env"), "KEY=backup\n").unwrap();
    let parts =
        ["one", "two", ".env"].map(|name| disk(name, bench.path(name))).into_iter().collect::<Vec<_>>();
    let record = bench.create(parts).unwrap();
    build(
        &bench.path("to"),
        &folder(vec![
            (b"one", folder(vec![(b"present", file(b"now"))])),
            (b"two", folder(vec![(b"present", file(b"now"))])),
            (b".env", file(b"KEY=now\n")),
        ]),
    );
    (bench, record)
}

/// Without the times of `to/` itself, in which files are exchanged.
fn below(path: &Path) -> BTreeMap<Vec<u8>, String> {
    let mut found = describe(path);
    found.remove(&b""[..]);
    found
}

#[test]
fn parts_are_restored_and_folders_keep_their_identity() {
    let (bench, record) = bench_with_backup();
    let inode = fs::metadata(bench.path("to/one")).unwrap().ino();
    let restored = bench.restore(&record.id, &bench.path("to")).unwrap();
    assert_eq!(restored.parts, ["persist/one", "persist/two", "persist/.env"]);
    for name in ["one", "two", ".env"] {
        assert_eq!(describe(&bench.path("to").join(name)), describe(&bench.path(name)), "{name}");
    }
    assert_eq!(fs::metadata(bench.path("to/one")).unwrap().ino(), inode);
    assert_eq!(fs::read_dir(bench.path("to")).unwrap().count(), 3);
    assert_eq!(bench.manager.settle_restore().unwrap(), None);
}

#[test]
fn a_part_without_a_target_is_left_alone() {
    let (bench, record) = bench_with_backup();
    let to = bench.path("to");
    let targets = |kind: &PartKind| match kind {
        PartKind::Path { path } if path == "two" => Some(RestoreTarget::Disk(to.join(path))),
        _ => None,
    };
    let never = AtomicBool::new(false);
    let done = bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never);
    assert_eq!(done.unwrap().parts, ["persist/two"]);
    assert!(bench.path("to/one/present").exists());
    assert!(bench.path("to/two/b").exists());
}

#[test]
fn a_stream_that_fails_puts_everything_back() {
    let (bench, record) = bench_with_backup();
    let to = bench.path("to");
    let before = below(&to);
    let targets = |kind: &PartKind| match kind {
        PartKind::Path { path } if path == "two" => Some(RestoreTarget::Tar {
            top: "".into(),
            only: Vec::new(),
            take: Box::new(|_, _| {
                assert!(bench.path("to/one/a").exists(), "streams come after the disk");
                Err(Fault::new(Code::EngineFailed, "two", "the engine went away"))
            }),
        }),
        PartKind::Path { path } => Some(RestoreTarget::Disk(to.join(path))),
        _ => None,
    };
    let never = AtomicBool::new(false);
    let done = bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never);
    assert_eq!(done.unwrap_err().code(), Code::EngineFailed);
    assert_eq!(below(&to), before);
    assert_eq!(bench.manager.pending_restore().unwrap(), None);
}

#[test]
fn a_mismatch_of_file_and_folder_touches_nothing() {
    let (bench, record) = bench_with_backup();
    fs::remove_file(bench.path("to/.env")).unwrap();
    build(&bench.path("to/.env"), &folder(vec![(b"x", file(b"x"))]));
    let before = below(&bench.path("to"));
    let error = bench.restore(&record.id, &bench.path("to")).unwrap_err();
    assert_eq!(error.code(), Code::RestoreFailed);
    assert_eq!(below(&bench.path("to")), before);
}

/// Runs a restore that dies (panics) inside the engine's part, after the disk parts were exchanged; the next
/// process finds what it left.
fn die_in_the_middle(bench: &Bench, record: &Record) {
    let to = bench.path("to");
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let targets = |kind: &PartKind| match kind {
            PartKind::Path { path } if path == "two" => Some(RestoreTarget::Tar {
                top: "".into(),
                only: Vec::new(),
                take: Box::new(|_, _| {
                    std::panic::resume_unwind(Box::new("killed"));
                }),
            }),
            PartKind::Path { path } => Some(RestoreTarget::Disk(to.join(path))),
            _ => None,
        };
        let never = AtomicBool::new(false);
        bench.manager.restore(&record.id, &targets, Step::RollingBack, &Progress::silent(), &never).map(drop)
    }));
    assert!(died.is_err());
    assert!(bench.path("to/one/a").exists(), "it died after the exchange");
}

#[test]
fn a_restore_that_died_is_settled_to_the_former_data() {
    let (bench, record) = bench_with_backup();
    let before = below(&bench.path("to"));
    die_in_the_middle(&bench, &record);
    assert_eq!(bench.manager.pending_restore().unwrap(), Some(record.id.clone()));
    assert_eq!(bench.manager.reconcile().unwrap(), [Problem::RestoreUnfinished(record.id.clone())]);
    // A backup of half exchanged data would be worse than none.
    let error = bench.create(vec![disk("one", bench.path("to/one"))]).unwrap_err();
    assert_eq!(error.code(), Code::BackupFailed);
    assert_eq!(bench.manager.settle_restore().unwrap(), Some(Settled::Former(record.id.clone())));
    assert_eq!(below(&bench.path("to")), before);
    assert_eq!(bench.manager.settle_restore().unwrap(), None);
}

#[test]
fn a_restore_that_died_is_completed_by_the_next() {
    let (bench, record) = bench_with_backup();
    die_in_the_middle(&bench, &record);
    bench.restore(&record.id, &bench.path("to")).unwrap();
    for name in ["one", "two", ".env"] {
        assert_eq!(describe(&bench.path("to").join(name)), describe(&bench.path(name)), "{name}");
    }
    assert_eq!(fs::read_dir(bench.path("to")).unwrap().count(), 3);
    assert_eq!(bench.manager.pending_restore().unwrap(), None);
}

#[test]
fn a_restore_that_died_after_the_last_exchange_stays_restored() {
    let (bench, record) = bench_with_backup();
    die_in_the_middle(&bench, &record);
    let sql = "UPDATE meta SET value = replace(value, 'exchanging', 'committed')";
    bench.store.with(|connection| connection.execute(sql, [])).unwrap();
    assert_eq!(bench.manager.settle_restore().unwrap(), Some(Settled::Restored(record.id.clone())));
    for name in ["one", ".env"] {
        assert_eq!(describe(&bench.path("to").join(name)), describe(&bench.path(name)), "{name}");
    }
    assert_eq!(fs::read_dir(bench.path("to")).unwrap().count(), 3);
}

/// A process that is killed at the first byte that is unpacked.
struct Die;

impl Reporter for Die {
    fn report(&self, event: &Event) {
        if event.step == Step::RollingBack && event.amount.is_some() {
            std::panic::resume_unwind(Box::new("killed"));
        }
    }
}

#[test]
fn a_restore_that_died_while_it_unpacked_touched_nothing() {
    let (bench, record) = bench_with_backup();
    let to = bench.path("to");
    let before = below(&to);
    let died = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let targets = |kind: &PartKind| match kind {
            PartKind::Path { path } => Some(RestoreTarget::Disk(to.join(path))),
            _ => None,
        };
        let progress = Progress::new(Arc::new(Die), "u", Lang::En);
        let never = AtomicBool::new(false);
        bench.manager.restore(&record.id, &targets, Step::RollingBack, &progress, &never).map(drop)
    }));
    assert!(died.is_err());
    assert_ne!(below(&to), before, "something is left beside the data");
    assert_eq!(bench.manager.settle_restore().unwrap(), Some(Settled::Former(record.id.clone())));
    assert_eq!(below(&to), before);
}

#[test]
fn a_person_can_stop_a_restore_before_anything_is_exchanged() {
    struct Stop(Arc<AtomicBool>);
    impl Reporter for Stop {
        fn report(&self, event: &Event) {
            self.0.store(event.amount.is_some(), std::sync::atomic::Ordering::Relaxed);
        }
    }
    let (bench, record) = bench_with_backup();
    let to = bench.path("to");
    let before = below(&to);
    let targets = |kind: &PartKind| match kind {
        PartKind::Path { path } => Some(RestoreTarget::Disk(to.join(path))),
        _ => None,
    };
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Progress::new(Arc::new(Stop(stop.clone())), "u", Lang::En);
    let error = bench.manager.restore(&record.id, &targets, Step::RollingBack, &progress, &stop).unwrap_err();
    assert_eq!(error.code(), Code::Interrupted);
    assert_eq!(below(&to), before);
    assert_eq!(bench.manager.pending_restore().unwrap(), None);
}

/// The archive and row that version 1 of the format wrote. Never edited, only added to.
#[test]
fn a_backup_of_format_1_is_still_restored() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/backup");
    let row: serde_json::Value =
        serde_json::from_slice(&fs::read(fixtures.join("v1.json")).unwrap()).unwrap();
    let bench = Bench::new();
    fs::create_dir(bench.path("backups")).unwrap();
    let text = |key: &str| row[key].as_str().unwrap().to_owned();
    fs::copy(fixtures.join("v1.tar.gz"), bench.path("backups").join(text("file"))).unwrap();
    let sql = "INSERT INTO backups (id, file, kind, status, project, hash, parts, started_at)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let parts = row["parts"].to_string();
    let values = ["id", "file", "kind", "status", "project", "hash"].map(text);
    let [id, file, kind, status, project, hash] = &values;
    let all = [id, file, kind, status, project, hash, &parts, &text("started_at")];
    bench.store.with(|connection| connection.execute(sql, all)).unwrap();

    bench.restore(id, &bench.path("to")).unwrap();
    assert_eq!(fs::read_to_string(bench.path("to/.env")).unwrap(), "KEY=value\n");
    let meta = fs::metadata(bench.path("to/data/notes.txt")).unwrap();
    assert_eq!((meta.mode() & 0o7777, meta.nlink()), (0o640, 2));
    assert_eq!((meta.mtime(), meta.mtime_nsec()), (1_700_000_000, 123_456_789));
    assert_eq!(fs::read_to_string(bench.path("to/data/again.txt")).unwrap(), "kept since format 1\n");
    assert_eq!(fs::read_link(bench.path("to/data/link")).unwrap(), Path::new("notes.txt"));
    assert_eq!(xattr::get(bench.path("to/data/notes.txt"), "user.note").unwrap().unwrap(), b"a\nb\0c");
}
