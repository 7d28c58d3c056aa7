//! Data that is copied while it is in use, and archived from the copy.

use std::fs;
use std::sync::atomic::AtomicBool;

use compose_upgrade::Code;
use compose_upgrade::backup::{BackupManager, Packing, Problem, Record, Rules, Status};
use compose_upgrade::progress::Progress;
use compose_upgrade::settings::RetentionSettings;
use proptest::prelude::*;

use super::life::{SmallDisk, noise};
use super::tree::{Item, build, describe, file, folder, is_root, item};
use super::{Bench, disk, request};

fn bench_with(data: &Item) -> Bench {
    let bench = Bench::new();
    build(&bench.path("data"), data);
    bench
}

fn some_data() -> Item {
    folder(vec![(b"kept", file(b"one")), (b"changed", file(&[7; 3_000_000])), (b"gone", file(b"x"))])
}

/// Copied, then changed, then cut; what is changed later is none of the backup's business.
fn staged(bench: &Bench) -> Record {
    let never = AtomicBool::new(false);
    let mut stage = bench.manager.stage(request(vec![disk("data", bench.path("data"))])).unwrap();
    stage.copy(&Progress::silent(), &never).unwrap();
    fs::write(bench.path("data/changed"), "two").unwrap();
    fs::remove_file(bench.path("data/gone")).unwrap();
    fs::write(bench.path("data/added"), "three").unwrap();
    stage.cut(&never).unwrap();
    stage.seal().unwrap()
}

fn archive(manager: &BackupManager, id: &str) -> compose_upgrade::Result<Record> {
    manager.archive(id, &Packing::default(), &Progress::silent(), &AtomicBool::new(false))
}

#[test]
fn the_copy_is_restored_as_it_was_at_the_cut_and_so_is_its_archive() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let record = staged(&bench);
    let at_the_cut = describe(&bench.path("data"));
    assert_eq!((record.status, record.hash), (Status::Staged, None));
    assert_eq!(bench.manager.staged().unwrap(), std::slice::from_ref(&record));
    fs::write(bench.path("data/kept"), "later").unwrap();

    // In place of what is there, of which nothing stays.
    fs::create_dir(bench.path("from_copy")).unwrap();
    build(&bench.path("from_copy/data"), &folder(vec![(b"stale", file(b"stale"))]));
    bench.restore(&record.id, &bench.path("from_copy")).unwrap();
    assert_eq!(describe(&bench.path("from_copy/data")), at_the_cut);

    let complete = archive(&bench.manager, &record.id).unwrap();
    assert_eq!((complete.status, complete.files), (Status::Complete, 3));
    assert_eq!(bench.files(), std::slice::from_ref(&complete.file), "the copy is gone");
    bench.verify(&record.id).unwrap();
    bench.restore(&record.id, &bench.path("from_archive")).unwrap();
    assert_eq!(describe(&bench.path("from_archive/data")), at_the_cut);
    assert_eq!(archive(&bench.manager, &record.id).unwrap(), complete, "once more does nothing");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn every_tree_comes_back_from_the_copy(before in item(), after in item()) {
        if is_root() {
            let bench = bench_with(&folder(vec![(b"x", before)]));
            let never = AtomicBool::new(false);
            let mut stage = bench.manager.stage(request(vec![disk("data", bench.path("data"))])).unwrap();
            stage.copy(&Progress::silent(), &never).unwrap();
            let old = bench.path("data/x");
            if old.is_dir() && !old.is_symlink() {
                fs::remove_dir_all(&old).unwrap();
            } else {
                fs::remove_file(&old).unwrap();
            }
            build(&old, &after);
            stage.cut(&never).unwrap();
            let record = stage.seal().unwrap();
            bench.restore(&record.id, &bench.path("to")).unwrap();
            prop_assert_eq!(describe(&bench.path("to/data")), describe(&bench.path("data")));
            archive(&bench.manager, &record.id).unwrap();
            bench.restore(&record.id, &bench.path("again")).unwrap();
            prop_assert_eq!(describe(&bench.path("again/data")), describe(&bench.path("data")));
        }
    }
}

#[test]
fn a_copy_that_is_given_up_leaves_nothing_and_one_whose_maker_died_is_found() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let never = AtomicBool::new(false);
    let begin = || {
        let mut stage = bench.manager.stage(request(vec![disk("data", bench.path("data"))])).unwrap();
        stage.copy(&Progress::silent(), &never).unwrap();
        stage
    };
    drop(begin());
    assert_eq!(bench.files(), [""; 0]);
    assert_eq!(bench.manager.list().unwrap()[0].status, Status::Failed);

    // As SIGKILL leaves it: the lock is gone with the process, everything else stays.
    let killed = begin();
    let id = killed.id().to_owned();
    let copy = bench.path("backups").join(&bench.files()[0]);
    let kept = bench.path("kept");
    fs::rename(&copy, &kept).unwrap();
    drop(killed);
    fs::rename(&kept, &copy).unwrap();
    bench
        .store
        .with(|db| db.execute("UPDATE backups SET status = 'running' WHERE id = ?1", [&id]).map(drop))
        .unwrap();
    let found = bench.manager.reconcile().unwrap();
    assert!(matches!(&found[..], [Problem::Abandoned(record)] if record.id == id), "{found:?}");
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn an_archive_that_fails_is_written_by_the_next_try() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let record = staged(&bench);
    let cancelled = AtomicBool::new(true);
    let manager = &bench.manager;
    let fault =
        manager.archive(&record.id, &Packing::default(), &Progress::silent(), &cancelled).unwrap_err();
    assert_eq!(fault.code(), Code::Interrupted);
    assert_eq!(manager.get(&record.id).unwrap().status, Status::Staged);
    assert_eq!(bench.files(), [format!("{}.stage", record.file)], "no half an archive");
    assert_eq!(manager.reconcile().unwrap(), [], "nothing is wrong with it");
    let retention = RetentionSettings::default();
    let rules = Rules { keep: 0, retention: &retention, versions: &[], protected: &[] };
    assert_eq!(manager.prune(&rules).unwrap(), [], "it may be the only copy");

    // Another process.
    let next = BackupManager::new(bench.store.clone(), bench.path("backups"));
    assert_eq!(archive(&next, &record.id).unwrap().status, Status::Complete);
    bench.verify(&record.id).unwrap();
}

#[test]
fn a_copy_whose_archive_is_whole_is_not_left_behind() {
    if !is_root() {
        return;
    }
    let retention = RetentionSettings::default();
    let rules = Rules { keep: 1, retention: &retention, versions: &[], protected: &[] };
    type Mend = fn(&Bench, &Record, &Rules<'_>);
    let mends: [Mend; 4] = [
        |bench, record, _| drop(archive(&bench.manager, &record.id).unwrap()),
        |bench, _, _| assert_eq!(bench.manager.reconcile().unwrap(), []),
        |bench, _, rules| assert_eq!(bench.manager.prune(rules).unwrap(), []),
        |bench, _, _| bench.manager.abandon().unwrap(),
    ];
    for mend in mends {
        let bench = bench_with(&some_data());
        let record = staged(&bench);
        archive(&bench.manager, &record.id).unwrap();
        // As SIGKILL leaves it right after the row said that the archive is whole.
        fs::create_dir_all(bench.path(&format!("backups/{}.stage/data", record.file))).unwrap();
        mend(&bench, &record, &rules);
        assert_eq!(bench.files(), [&record.file[..]]);
        bench.verify(&record.id).unwrap();
    }
}

/// As SIGKILL leaves it while the copy of `record` is being removed.
fn half_removed(bench: &Bench, record: &Record) {
    let copy = bench.path(&format!("backups/{}.stage", record.file));
    let gone = copy.with_extension("stage.gone");
    fs::rename(&copy, &gone).unwrap();
    fs::remove_file(gone.join("persist/data/kept")).unwrap();
}

#[test]
fn one_that_is_only_half_deleted_is_no_backup_any_more() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let record = staged(&bench);
    half_removed(&bench, &record);
    assert_eq!(bench.manager.staged().unwrap(), []);
    assert!(!bench.manager.can_restore(&record));
    // What a person put there is not ours.
    fs::create_dir(bench.path("backups/old.gone")).unwrap();
    fs::write(bench.path("backups/old.stage.gone"), "").unwrap();
    let found = bench.manager.reconcile().unwrap();
    let [Problem::FileMissing(lost), Problem::UnknownFile(_), Problem::UnknownFile(_)] = &found[..] else {
        panic!("{found:?}")
    };
    assert_eq!(lost.id, record.id);
    let mut files = bench.files();
    files.sort();
    assert_eq!(files, ["old.gone", "old.stage.gone"], "what was left of it is gone");
    bench.manager.delete(&record.id).unwrap();
    assert_eq!(bench.manager.list().unwrap(), []);
}

#[test]
fn without_rows_an_archive_counts_for_more_than_its_copy_and_half_a_copy_for_nothing() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let whole = staged(&bench);
    let copy = bench.path(&format!("backups/{}.stage", whole.file));
    let kept = bench.path("kept");
    assert!(std::process::Command::new("cp").arg("-a").args([&copy, &kept]).status().unwrap().success());
    let archived = archive(&bench.manager, &whole.id).unwrap();
    // Both are there, as SIGKILL leaves it before the copy goes.
    fs::rename(&kept, &copy).unwrap();
    fs::remove_file(copy.join("persist/data/kept")).unwrap();
    fs::create_dir_all(bench.path("backups/half.tar.gz.stage/data")).unwrap();
    // One of a later version of this program, and one that is nothing of the kind.
    let later = "later.tar.gz.stage";
    fs::create_dir_all(bench.path(&format!("backups/{later}"))).unwrap();
    fs::write(bench.path(&format!("backups/{later}/.record.json")), "{\"schema\":2}").unwrap();
    fs::create_dir_all(bench.path("backups/theatre.stage")).unwrap();
    bench.store.with(|db| db.execute("DELETE FROM backups", []).map(drop)).unwrap();

    let recovered = bench.manager.recover(&AtomicBool::new(false)).unwrap();
    let [found] = &recovered.added[..] else { panic!("{recovered:?}") };
    assert_eq!(
        (found.status, found.hash, &found.target),
        (Status::Complete, archived.hash, &archived.target)
    );
    assert_eq!(recovered.unreadable, [bench.path(&format!("backups/{later}"))]);
    bench.manager.reconcile().unwrap();
    let mut files = bench.files();
    files.sort();
    assert_eq!(files, [&archived.file[..], later, "theatre.stage"], "neither copy is left");
    bench.verify(&archived.id).unwrap();
}

#[test]
fn one_that_is_deleted_takes_its_copy_along() {
    if !is_root() {
        return;
    }
    let bench = bench_with(&some_data());
    let record = staged(&bench);
    bench.manager.delete(&record.id).unwrap();
    assert_eq!(bench.files(), [""; 0]);
    assert!(bench.manager.list().unwrap().is_empty());
}

#[test]
fn where_there_is_no_room_for_a_copy_none_is_begun() {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"noise", file(&noise(2 << 20)))]));
    let Some(small) = SmallDisk::mount(bench.path("small")) else { return };
    let near = BackupManager::new(bench.store.clone(), small.0.join("backups"));
    let parts = vec![disk("data", bench.path("data"))];
    assert!(!near.can_stage(&parts).unwrap());
    assert_eq!(bench.manager.can_stage(&parts).unwrap(), is_root());
}
