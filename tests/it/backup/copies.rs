//! Copies elsewhere: nothing that is good there is lost, and nothing that is bad keeps the others from it.

use std::fs;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use age::secrecy::ExposeSecret;
use compose_upgrade::backup::{Copied, ImportRequest, Record};
use compose_upgrade::progress::Progress;
use compose_upgrade::settings::CopySettings;
use compose_upgrade::state::StateLock;
use compose_upgrade::{Code, Result};

use super::tree::{build, file, folder};
use super::{Bench, disk};
use crate::support::s3::{KEY, Mishap, S3Server, SECRET};

const BUCKET: &str = "cutest-copies";

/// A bench with a backup.
fn bench() -> (Bench, Record) {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"a", file(&[7; 100_000]))]));
    fs::create_dir(bench.path("elsewhere")).unwrap();
    let record = backup(&bench);
    (bench, record)
}

fn backup(bench: &Bench) -> Record {
    bench.create(vec![disk("data", bench.path("data"))]).unwrap()
}

fn to_folder(bench: &Bench) -> CopySettings {
    CopySettings { to: bench.path("elsewhere").display().to_string(), ..CopySettings::default() }
}

fn to_bucket(bench: &Bench, server: &S3Server) -> CopySettings {
    let secret = format!("access_key_id = '{KEY}'\nsecret_access_key = '{SECRET}'\n");
    fs::write(bench.path("s3.toml"), secret).unwrap();
    CopySettings {
        to: format!("s3://{BUCKET}"),
        endpoint: Some(server.endpoint.clone()),
        credentials_file: Some("s3.toml".into()),
        ..CopySettings::default()
    }
}

fn sealed(settings: CopySettings) -> CopySettings {
    let key = age::x25519::Identity::generate().to_public();
    CopySettings { recipients: vec![key.to_string()], ..settings }
}

fn copy(bench: &Bench, to: &CopySettings) -> Result<Vec<Copied>> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _here = runtime.enter();
    bench.manager.copy(to, bench.folder.path(), &Progress::silent(), &AtomicBool::new(false))
}

/// As after the loss of `state.db`.
fn forget_copies(bench: &Bench) {
    bench.store.with(|db| db.execute("DELETE FROM backup_copies", [])).unwrap();
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn an_upload_that_fails_leaves_nothing_and_what_was_there_before_stays() {
    let (bench, record) = bench();
    let server = S3Server::with_bucket(BUCKET);
    let to = sealed(to_bucket(&bench, &server));
    let first = format!("{}.age", record.file);
    copy(&bench, &to).unwrap();
    let good = fs::read(server.file_of(BUCKET, &first)).unwrap();
    forget_copies(&bench);
    for mishap in [Mishap::PartRefused, Mishap::EndRefused, Mishap::Rot] {
        server.suffer(mishap);
        let fault = copy(&bench, &to).unwrap_err();
        assert_eq!(fault.code(), Code::BackupCopyFailed, "{fault}");
        assert!(server.suffered_all(), "{mishap:?}");
        assert_eq!(server.leftovers(), [""; 0], "{mishap:?}");
        assert_eq!(server.objects(BUCKET), [&first[..]], "{mishap:?}");
    }
    // Nobody here can tell whether the first is good.
    assert_eq!(copy(&bench, &to).unwrap().len(), 1);
    let second = format!("{}.1.age", record.file);
    assert_eq!(server.objects(BUCKET), [second, first.clone()]);
    assert_eq!(fs::read(server.file_of(BUCKET, &first)).unwrap(), good);
    assert_eq!(copy(&bench, &to).unwrap(), []);
}

#[test]
fn a_copy_that_is_there_already_is_compared_and_not_made_again() {
    let (bench, record) = bench();
    let server = S3Server::with_bucket(BUCKET);
    for to in [to_folder(&bench), to_bucket(&bench, &server)] {
        let file = match to.endpoint {
            None => bench.path("elsewhere").join(&record.file),
            Some(_) => server.file_of(BUCKET, &record.file),
        };
        assert_eq!(copy(&bench, &to).unwrap().len(), 1);
        forget_copies(&bench);
        let before = file.metadata().unwrap().modified().unwrap();
        assert_eq!(copy(&bench, &to).unwrap(), []);
        assert_eq!(file.metadata().unwrap().modified().unwrap(), before);
        // It is known of now: nothing is read.
        let mut bytes = fs::read(&file).unwrap();
        bytes[50] ^= 1;
        fs::write(&file, &bytes).unwrap();
        assert_eq!(copy(&bench, &to).unwrap(), []);

        // Of its size, but another: it stays.
        forget_copies(&bench);
        let copied = copy(&bench, &to).unwrap();
        assert!(copied[0].path.ends_with(&format!("{}.1", record.file)), "{copied:?}");
        assert_eq!((copied.len(), Some(copied[0].hash)), (1, record.hash));
        assert_eq!(fs::read(&file).unwrap(), bytes);
    }
}

#[test]
fn what_cannot_be_copied_keeps_no_other_from_it() {
    let (bench, missing) = bench();
    let (damaged, good) = (backup(&bench), backup(&bench));
    fs::remove_file(bench.manager.path_of(&missing)).unwrap();
    fs::write(bench.manager.path_of(&damaged), "not it").unwrap();
    let fault = copy(&bench, &to_folder(&bench)).unwrap_err();
    assert!(fault.detail().contains("2 of 3"), "{fault}");
    assert!(fault.object().contains(&missing.file), "{fault}");
    assert_eq!(names(&bench.path("elsewhere")), [&good.file[..]]);
    let fault = copy(&bench, &to_folder(&bench)).unwrap_err();
    assert!(fault.detail().contains("2 of 2"), "the third is known of: {fault}");

    let server = S3Server::with_bucket(BUCKET);
    let to = to_bucket(&bench, &server);
    let more = backup(&bench);
    for record in [missing, damaged] {
        bench.manager.delete(&record.id).unwrap();
    }
    server.suffer(Mishap::Unseen);
    let fault = copy(&bench, &to).unwrap_err();
    assert_eq!(fault.code(), Code::BackupCopyFailed, "{fault}");
    assert!(fault.detail().contains("1 of 2") && fault.detail().contains("403"), "{fault}");
    assert_eq!(server.objects(BUCKET), [more.file]);
    assert_eq!(copy(&bench, &to).unwrap().len(), 1);
}

#[test]
fn one_copies_at_a_time_while_backups_are_made() {
    let (bench, _) = bench();
    let lock = StateLock::acquire(&bench.path("backups/.copy.lock"), "backup copy").unwrap();
    assert_eq!(copy(&bench, &to_folder(&bench)).unwrap_err().code(), Code::Locked);
    backup(&bench);
    assert_eq!(bench.manager.reconcile().unwrap(), []);
    drop(lock);
    assert_eq!(copy(&bench, &to_folder(&bench)).unwrap().len(), 2);
}

#[test]
fn a_copy_that_was_taken_in_is_not_made_again() {
    let (bench, record) = bench();
    let server = S3Server::with_bucket(BUCKET);
    let mine = age::x25519::Identity::generate();
    let keys = bench.path("keys.txt");
    fs::write(&keys, mine.to_string().expose_secret()).unwrap();
    let recipients = vec![mine.to_public().to_string()];
    for to in [to_folder(&bench), to_bucket(&bench, &server)] {
        let settings = CopySettings { recipients: recipients.clone(), ..to };
        let made = copy(&bench, &settings).unwrap();
        bench.manager.delete(&record.id).unwrap();
        forget_copies(&bench);
        // Of an import that was killed.
        fs::write(bench.path("backups/other.tar.gz.import.part"), "half").unwrap();
        import(&bench, &settings, &made[0], &keys).unwrap();
        assert_eq!(bench.files(), [&record.file[..]]);
        assert_eq!(copy(&bench, &settings).unwrap(), []);
    }
}

#[test]
fn a_key_that_opens_nothing_and_leftovers_are_told_apart_from_damage() {
    let (bench, record) = bench();
    let to = sealed(to_folder(&bench));
    let made = copy(&bench, &to).unwrap();
    bench.manager.delete(&record.id).unwrap();
    let keys = bench.path("keys.txt");
    fs::write(&keys, age::x25519::Identity::generate().to_string().expose_secret()).unwrap();
    let fault = import(&bench, &to, &made[0], &keys).unwrap_err();
    assert_eq!(fault.code(), Code::Usage, "{fault}");
    assert!(fault.detail().contains("none of the identities in") && fault.detail().contains("keys.txt"));
    fs::write(bench.path("backups/other.tar.gz.import.part"), "half").unwrap();
    assert_eq!(bench.manager.reconcile().unwrap(), []);
    assert_eq!(bench.files(), [""; 0]);
}

#[test]
fn copies_do_not_go_among_the_backups() {
    let (bench, _) = bench();
    let link = bench.path("link");
    std::os::unix::fs::symlink(bench.path("backups"), &link).unwrap();
    for folder in [bench.path("backups"), bench.path("backups/copies"), link] {
        let to = CopySettings { to: folder.display().to_string(), ..CopySettings::default() };
        let fault = copy(&bench, &to).unwrap_err();
        assert_eq!(fault.code(), Code::ConfigInvalid, "{fault}");
        assert!(fault.detail().contains("backup.copy.to"), "{fault}");
    }
    assert_eq!(bench.files().len(), 1);
}

#[test]
fn an_archive_without_a_record_is_taken_in_where_it_lies() {
    let (bench, record) = bench();
    let path = bench.manager.path_of(&record);
    let own = Copied {
        backup: record.id.clone(),
        path: path.display().to_string(),
        size: 0,
        hash: record.hash.unwrap(),
    };
    let keys = bench.path("keys.txt");
    let to = to_folder(&bench);
    let fault = import(&bench, &to, &own, &keys).unwrap_err();
    assert!(fault.detail().contains("there already"), "{fault}");

    let good = fs::read(&path).unwrap();
    bench.manager.delete(&record.id).unwrap();
    let mut bad = good.clone();
    bad[good.len() / 2] ^= 1;
    fs::write(&path, bad).unwrap();
    assert!(import(&bench, &to, &own, &keys).is_err());
    assert_eq!(
        (bench.manager.list().unwrap(), bench.files()),
        (vec![], vec![record.file.clone()]),
        "it is left alone"
    );

    fs::write(&path, &good).unwrap();
    let taken = import(&bench, &to, &own, &keys).unwrap();
    assert_eq!((&taken.id, taken.hash, &taken.parts), (&record.id, record.hash, &record.parts));
    assert_eq!(fs::read(&path).unwrap(), good);
    assert_eq!(bench.manager.reconcile().unwrap(), []);

    // From elsewhere nothing replaces a file of that name, whatever it is.
    let copies = copy(&bench, &to).unwrap();
    bench.manager.delete(&record.id).unwrap();
    fs::write(&path, "somebody's").unwrap();
    let fault = import(&bench, &to, &copies[0], &keys).unwrap_err();
    assert!(
        fault.detail().contains("without a record") && fault.detail().contains("backup import"),
        "{fault}"
    );
    assert_eq!(fs::read(&path).unwrap(), b"somebody's");
}

#[test]
fn a_record_whose_archive_is_gone_has_it_again_from_a_copy() {
    let (bench, record) = bench();
    let to = to_folder(&bench);
    let made = copy(&bench, &to).unwrap();
    fs::remove_file(bench.manager.path_of(&record)).unwrap();
    assert_eq!(bench.manager.reconcile().unwrap().len(), 1, "it is found");
    let taken = import(&bench, &to, &made[0], &bench.path("keys.txt")).unwrap();
    assert_eq!(taken.id, record.id);
    bench.manager.verify(&record.id, &AtomicBool::new(false)).unwrap();
    assert_eq!(bench.manager.reconcile().unwrap(), []);
    assert_eq!(bench.manager.list().unwrap().len(), 1);
}

fn import(bench: &Bench, settings: &CopySettings, copy: &Copied, keys: &Path) -> Result<Record> {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let _here = runtime.enter();
    let request = ImportRequest {
        from: Path::new(&copy.path),
        settings,
        root: bench.folder.path(),
        identities: Some(keys),
        project: "guestbook",
    };
    bench.manager.import(&request, &AtomicBool::new(false))
}
