//! The life of a backup: rows and files, names, failures, retention, reconciliation.

use std::fs;
use std::io::{self, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use compose_upgrade::Code;
use compose_upgrade::backup::{
    BackupRequest, Kind, Origin, Packing, Part, PartKind, Problem, Record, Rules, Status,
};
use compose_upgrade::messages::Lang;
use compose_upgrade::progress::{self, Event, Progress, Reporter};
use compose_upgrade::settings::{ArchiveFormat, RetentionSettings};
use compose_upgrade::state::StateLock;

use super::tree::{build, file, folder};
use super::{Bench, disk, request};

fn bench_with_data() -> Bench {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"a", file(b"one")), (b"b", file(&[7; 300_000]))]));
    bench
}

fn stream(reader: impl Read + Send + 'static) -> Part {
    Part::new("volumes/v".into(), PartKind::Volume { volume: "v".into() }, Origin::Tar(Box::new(reader)))
}

/// Gives an error when it is read.
struct Broken;

impl Read for Broken {
    fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
        Err(io::Error::other("the engine went away"))
    }
}

#[test]
fn a_backup_has_a_telling_name_and_a_complete_row() {
    let bench = bench_with_data();
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    assert!(record.file.starts_with("guestbook-1.0.0-pre-upgrade-2"), "{}", record.file);
    assert!(record.file.ends_with(&format!("{}.tar.gz", record.id)), "{}", record.file);
    assert_eq!(bench.files(), std::slice::from_ref(&record.file));
    let path = bench.manager.path_of(&record);
    let meta = fs::metadata(&path).unwrap();
    assert_eq!(meta.permissions().mode() & 0o777, 0o600);
    assert_eq!((record.size, record.files, record.status), (meta.len(), 2, Status::Complete));
    assert_eq!(bench.manager.list().unwrap(), std::slice::from_ref(&record));
    assert_eq!(bench.manager.get(&record.id[..record.id.len() - 2]).unwrap(), record);
    let verified = bench.manager.verify(&record.id, &AtomicBool::new(false)).unwrap();
    assert_eq!((verified.entries, verified.bytes, verified.size), (3, 300_003, record.size));
    assert_eq!(bench.manager.reconcile().unwrap(), []);
}

#[test]
fn an_unknown_or_ambiguous_id_is_told() {
    let bench = bench_with_data();
    for id in ["", "nope", "%", "_"] {
        assert_eq!(bench.manager.get(id).unwrap_err().code(), Code::BackupUnknown);
    }
    bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let error = bench.manager.get("2").unwrap_err();
    assert_eq!(error.code(), Code::BackupUnknown);
    assert!(error.detail().contains("2 begin with it"), "{error}");
}

#[test]
fn a_failure_leaves_a_failed_row_and_no_file() {
    let bench = bench_with_data();
    let cut = {
        let mut builder = tar::Builder::new(Vec::new());
        builder.append_dir_all("top", bench.path("data")).unwrap();
        let mut bytes = builder.into_inner().unwrap();
        bytes.truncate(100_000);
        bytes
    };
    let cases: Vec<(Part, Code)> = vec![
        (stream(Broken), Code::BackupFailed),
        (stream(io::Cursor::new(cut)), Code::BackupFailed),
        (stream(io::empty()), Code::BackupFailed),
        (disk("gone", bench.path("gone")), Code::Io),
    ];
    let count = cases.len();
    for (part, code) in cases {
        let error = bench.create(vec![disk("data", bench.path("data")), part]).unwrap_err();
        assert_eq!(error.code(), code, "{error}");
        assert_eq!(bench.files(), [""; 0]);
        let row = bench.manager.list().unwrap().pop().unwrap();
        assert_eq!((row.status, row.error.as_deref()), (Status::Failed, Some(&error.to_string()[..])));
        assert_eq!(bench.verify(&row.id).unwrap_err().code(), Code::BackupCorrupt);
    }
    assert_eq!(bench.manager.list().unwrap().len(), count);
}

#[test]
fn names_that_clash_or_escape_are_refused() {
    let bench = bench_with_data();
    for (one, two) in
        [("a", "a"), ("a", "a/b"), ("a/b", "a"), ("../a", "b"), ("/a", "b"), ("backup.json", "b")]
    {
        let mut parts = vec![disk("data", bench.path("data")), disk("data", bench.path("data"))];
        parts[0].name = one.into();
        parts[1].name = two.into();
        assert_eq!(bench.create(parts).unwrap_err().code(), Code::BackupFailed, "{one} {two}");
    }
}

/// Raises the flag at the first sign of progress.
struct StopAtOnce(Arc<AtomicBool>);

impl Reporter for StopAtOnce {
    fn report(&self, event: &Event) {
        if event.kind == progress::Kind::Progress {
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[tokio::test]
async fn a_person_can_stop_it() {
    let bench = bench_with_data();
    let stop = Arc::new(AtomicBool::new(false));
    let progress = Progress::new(Arc::new(StopAtOnce(stop.clone())), "u", Lang::En);
    let parts = vec![disk("data", bench.path("data"))];
    let error = bench.manager.clone().create_in_background(request(parts), progress, stop).await.unwrap_err();
    assert_eq!(error.code(), Code::Interrupted);
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.manager.list().unwrap()[0].status, Status::Failed);
}

/// A file system of one megabyte.
pub struct SmallDisk(pub std::path::PathBuf);

impl SmallDisk {
    pub fn mount(at: std::path::PathBuf) -> Option<Self> {
        fs::create_dir(&at).unwrap();
        let mut mount = Command::new("mount");
        let mounted = mount.args(["-t", "tmpfs", "-o", "size=1m", "none"]).arg(&at).output();
        mounted.is_ok_and(|out| out.status.success()).then(|| Self(at))
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        assert!(Command::new("umount").arg(&self.0).status().unwrap().success());
    }
}

pub fn noise(length: usize) -> Vec<u8> {
    use rand::RngCore;
    let mut bytes = vec![0; length];
    rand::rng().fill_bytes(&mut bytes);
    bytes
}

#[test]
fn a_full_disk_leaves_a_failed_row_and_no_file() {
    let folder_of_bench = tempfile::tempdir().unwrap();
    let at = folder_of_bench.path().join("backups");
    let Some(_disk) = SmallDisk::mount(at.clone()) else { return };
    let bench = Bench::with(folder_of_bench, at);
    // The first is refused before it begins, the second does not compress as hoped.
    for length in [10 << 20, 2 << 20] {
        let data = bench.path(&format!("data{length}"));
        build(&data, &folder(vec![(b"noise", file(&noise(length)))]));
        for format in ArchiveFormat::ALL {
            let parts = vec![disk("data", data.clone())];
            let request = BackupRequest { packing: Packing::of(format), ..request(parts) };
            let never = AtomicBool::new(false);
            let error = bench.manager.create(request, &Progress::silent(), &never).unwrap_err();
            assert_eq!(error.code(), Code::DiskFull, "{error}");
            assert_eq!(bench.files(), [""; 0]);
            assert_eq!(bench.manager.list().unwrap().pop().unwrap().status, Status::Failed);
        }
    }
}

#[test]
fn a_restore_to_a_full_disk_leaves_the_former_data() {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"noise", file(&noise(900 << 10))), (b"x", file(b"x"))]));
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let Some(small) = SmallDisk::mount(bench.path("to")) else { return };
    build(&small.0.join("data"), &folder(vec![(b"precious", file(&noise(200 << 10)))]));
    let before = super::tree::describe(&small.0);
    let error = bench.restore(&record.id, &small.0).unwrap_err();
    assert_eq!(error.code(), Code::DiskFull, "{error}");
    assert_eq!(super::tree::describe(&small.0), before);
    assert_eq!(bench.manager.pending_restore().unwrap(), None);
}

#[test]
fn a_folder_that_cannot_be_written_is_told() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("backups"), "a file").unwrap();
    let backups = folder.path().join("backups");
    let bench = Bench::with(folder, backups);
    let error = bench.create(vec![disk("data", bench.path("."))]).unwrap_err();
    assert!(error.object().ends_with("backups"), "{error}");
    assert!(bench.manager.list().unwrap().is_empty());
}

#[test]
fn a_file_that_changes_while_it_is_read_does_not_break_the_archive() {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"a", file(&noise(4 << 20))), (b"b", file(b"after"))]));
    let file_a = bench.path("data/a");
    /// Cuts the file while it is being read.
    struct Cut(std::path::PathBuf);
    impl Reporter for Cut {
        fn report(&self, event: &Event) {
            if event.amount.as_ref().is_some_and(|amount| amount.done > 0) {
                let open = fs::OpenOptions::new().write(true).open(&self.0).unwrap();
                open.set_len(100_000).unwrap();
            }
        }
    }
    let progress = Progress::new(Arc::new(Cut(file_a.clone())), "u", Lang::En);
    let parts = vec![disk("data", bench.path("data"))];
    let record = bench.manager.create(request(parts), &progress, &AtomicBool::new(false)).unwrap();
    assert_eq!(record.warnings().len(), 1);
    assert!(record.warnings()[0].contains("a changed while it was read"), "{:?}", record.warnings());
    bench.restore(&record.id, &bench.path("to")).unwrap();
    assert_eq!(fs::metadata(bench.path("to/data/a")).unwrap().len(), 4 << 20);
    assert_eq!(fs::read(bench.path("to/data/b")).unwrap(), b"after");
}

#[test]
fn retention_spares_what_is_protected_and_other_kinds() {
    let bench = bench_with_data();
    let parts = || vec![disk("data", bench.path("data"))];
    let ids: Vec<String> = (0..4).map(|_| bench.create(parts()).unwrap().id).collect();
    let manual = BackupRequest { kind: Kind::Manual, ..request(parts()) };
    let never = AtomicBool::new(false);
    let manual = bench.manager.create(manual, &Progress::silent(), &never).unwrap();
    let retention = RetentionSettings::default();
    let rules = Rules { keep: 1, retention: &retention, versions: &[], protected: &ids[..1] };
    let deleted = bench.manager.prune(&rules).unwrap();
    assert_eq!(deleted.len(), 2);
    let left: Vec<String> = bench.manager.list().unwrap().into_iter().map(|record| record.id).collect();
    assert_eq!(left, [ids[0].clone(), ids[3].clone(), manual.id.clone()]);
    assert_eq!(bench.files().len(), 3);
    bench.manager.delete(&manual.id).unwrap();
    assert_eq!(bench.files().len(), 2);
    assert_eq!(bench.manager.get(&manual.id).unwrap_err().code(), Code::BackupUnknown);
}

#[test]
fn a_row_whose_archive_is_gone_does_not_count_as_a_backup_that_is_kept() {
    let bench = bench_with_data();
    let never = AtomicBool::new(false);
    let made = (0..3).map(|_| {
        let parts = vec![disk("data", bench.path("data"))];
        let manual = BackupRequest { kind: Kind::Manual, ..request(parts) };
        bench.manager.create(manual, &Progress::silent(), &never).unwrap()
    });
    let made: Vec<Record> = made.collect();
    fs::remove_file(bench.manager.path_of(&made[2])).unwrap();
    let retention = RetentionSettings { last: 1, ..RetentionSettings::default() };
    let rules = Rules { keep: 1, retention: &retention, versions: &[], protected: &[] };
    let gone: Vec<String> = bench.manager.prune(&rules).unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(gone, [made[0].id.clone()]);
    bench.manager.verify(&made[1].id, &never).unwrap();
    // Nor does one that would go anyway stay for ever.
    fs::remove_file(bench.manager.path_of(&made[1])).unwrap();
    let gone: Vec<String> = bench.manager.prune(&rules).unwrap().into_iter().map(|one| one.id).collect();
    assert_eq!(gone, [made[1].id.clone()]);
}

#[test]
fn a_dead_writer_s_row_and_file_are_settled_and_a_living_one_s_are_not() {
    let bench = bench_with_data();
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let part = format!("{}.part", record.file);
    fs::rename(bench.manager.path_of(&record), bench.path("backups").join(&part)).unwrap();
    let as_running = "UPDATE backups SET status = 'running', hash = NULL, ended_at = NULL";
    bench.store.with(|connection| connection.execute(as_running, [])).unwrap();

    let lock = StateLock::acquire(&bench.path("backups/.lock"), "backup create").unwrap();
    assert_eq!(bench.manager.reconcile().unwrap(), []);
    assert_eq!(bench.files(), [part]);
    drop(lock);

    let problems = bench.manager.reconcile().unwrap();
    assert!(matches!(&problems[..], [Problem::Abandoned(row)] if row.id == record.id), "{problems:?}");
    assert_eq!(bench.files(), [""; 0]);
    let row = bench.manager.get(&record.id).unwrap();
    assert_eq!((row.status, row.ended_at.is_some()), (Status::Failed, true));
    assert_eq!(bench.manager.reconcile().unwrap(), []);
}

#[test]
fn rows_without_files_and_files_without_rows_are_found() {
    let bench = bench_with_data();
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let (file, away) = (bench.manager.path_of(&record), bench.path("away"));
    fs::rename(&file, &away).unwrap();
    let stranger = bench.path("backups/copied-by-hand.tar.gz");
    fs::write(&stranger, "x").unwrap();
    let problems = bench.manager.reconcile().unwrap();
    assert!(
        matches!(&problems[..], [Problem::FileMissing(row), Problem::UnknownFile(path)]
            if row.id == record.id && *path == stranger),
        "{problems:?}"
    );
    assert!(stranger.exists());
    // The disk was only away: with the file back, the backup is as good as before.
    fs::rename(&away, &file).unwrap();
    bench.manager.verify(&record.id, &AtomicBool::new(false)).unwrap();
}

#[test]
fn progress_is_told_in_bytes() {
    struct Keep(std::sync::Mutex<Vec<Event>>);
    impl Reporter for Keep {
        fn report(&self, event: &Event) {
            self.0.lock().unwrap().push(event.clone());
        }
    }
    let bench = bench_with_data();
    let keep = Arc::new(Keep(Default::default()));
    let progress = Progress::new(keep.clone(), "u", Lang::En);
    let parts = vec![disk("data", bench.path("data"))];
    bench.manager.create(request(parts), &progress, &AtomicBool::new(false)).unwrap();
    let events = keep.0.lock().unwrap();
    let amounts = events.iter().filter_map(|event| event.amount.as_ref());
    assert!(amounts.clone().any(|amount| (amount.done, amount.total) == (300_003, Some(300_003))));
    assert_eq!(events.last().unwrap().kind, progress::Kind::Finished);
}
