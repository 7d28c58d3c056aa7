//! Both formats: read back by this program and by every other that claims to know them, stopped in the middle, full.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use compose_upgrade::Code;
use compose_upgrade::backup::{BackupRequest, Packing, Record, Status};
use compose_upgrade::messages::Lang;
use compose_upgrade::progress::{Event, Progress, Reporter};
use compose_upgrade::settings::ArchiveFormat;

use super::round_trip::sample;
use super::tree::{build, describe, file, folder};
use super::{Bench, disk, request};

/// Text of some megabytes: several blocks of the compressor, with others in between.
fn long(length: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(length + 40);
    let mut line = 0u32;
    while bytes.len() < length {
        writeln!(bytes, "{line} {:x} a line of a log", line.wrapping_mul(2_654_435_761)).unwrap();
        line += 1;
    }
    bytes.truncate(length);
    bytes
}

fn bench_with_sample() -> Bench {
    let bench = Bench::new();
    build(&bench.path("data"), &sample());
    fs::write(bench.path("data/log"), long(3 << 20)).unwrap();
    bench
}

#[test]
fn both_formats_restore_the_same() {
    let bench = bench_with_sample();
    for format in ArchiveFormat::ALL {
        for threads in [1, 3, 16] {
            let packing = Packing { threads, ..Packing::of(format) };
            let request = BackupRequest { packing, ..request(vec![disk("data", bench.path("data"))]) };
            let never = AtomicBool::new(false);
            let record = bench.manager.create(request, &Progress::silent(), &never).unwrap();
            assert!(record.file.ends_with(format.ending()), "{}", record.file);
            bench.restore(&record.id, &bench.path("to")).unwrap();
            assert_eq!(
                describe(&bench.path("to/data")),
                describe(&bench.path("data")),
                "{format:?} {threads}"
            );
        }
    }
    assert_eq!(bench.manager.reconcile().unwrap(), []);
}

/// What a file is, its content says: a person may have renamed it.
#[test]
fn a_wrong_ending_misleads_nobody() {
    let bench = bench_with_sample();
    for (format, ending) in [(ArchiveFormat::TarGz, ".tar.zst"), (ArchiveFormat::TarZst, ".tar.gz")] {
        let record = bench.create_as(format, vec![disk("data", bench.path("data"))]);
        let path = bench.manager.path_of(&record);
        fs::rename(&path, bench.path("backups").join(format!("renamed{ending}"))).unwrap();
        bench.store.with(|connection| connection.execute("DELETE FROM backups", [])).unwrap();
        let recovered = bench.manager.recover(&AtomicBool::new(false)).unwrap();
        assert_eq!(recovered.unreadable, [""; 0].map(std::path::PathBuf::from));
        let ids: Vec<&str> = recovered.added.iter().map(|record| record.id.as_str()).collect();
        assert!(ids.contains(&record.id.as_str()), "{ids:?}");
        bench.restore(&record.id, &bench.path(ending)).unwrap();
        assert_eq!(describe(&bench.path(ending).join("data")), describe(&bench.path("data")));
    }
}

#[test]
fn a_gzip_of_one_member_as_older_releases_wrote_it_is_restored() {
    let bench = bench_with_sample();
    let record = bench.create(vec![disk("data", bench.path("data"))]).unwrap();
    let path = bench.manager.path_of(&record);
    let mut tar = Vec::new();
    let mut members = flate2::read::MultiGzDecoder::new(fs::File::open(&path).unwrap());
    std::io::copy(&mut members, &mut tar).unwrap();
    let mut one =
        flate2::write::GzEncoder::new(fs::File::create(&path).unwrap(), flate2::Compression::new(6));
    one.write_all(&tar).unwrap();
    one.finish().unwrap();
    bench.store.with(|connection| connection.execute("DELETE FROM backups", [])).unwrap();
    assert_eq!(bench.manager.recover(&AtomicBool::new(false)).unwrap().added.len(), 1);
    bench.restore(&record.id, &bench.path("to")).unwrap();
    assert_eq!(describe(&bench.path("to/data")), describe(&bench.path("data")));
}

/// Whether a command is there; a machine without it tests the others.
fn has(command: &str) -> bool {
    let found =
        Command::new("sh").args(["-c", &format!("command -v {command}")]).stdout(Stdio::null()).status();
    found.is_ok_and(|status| status.success())
}

fn works(command: &mut Command) {
    let out = command.output().unwrap();
    assert!(out.status.success(), "{command:?}: {}", String::from_utf8_lossy(&out.stderr));
}

/// Names that every tar of the world agrees about, in more than a block of the compressor.
fn plain_backup(format: ArchiveFormat) -> (Bench, Record) {
    let bench = Bench::new();
    let few =
        folder(vec![(b"a", file(b"one")), (b"log", file(&long(2_000_000))), (b"z", file(&long(700_000)))]);
    build(&bench.path("data"), &few);
    let record = bench.create_as(format, vec![disk("data", bench.path("data"))]);
    (bench, record)
}

fn assert_same(bench: &Bench, out: &Path) {
    for name in ["a", "log", "z"] {
        let unpacked = fs::read(out.join("persist/data").join(name)).unwrap();
        assert!(unpacked == fs::read(bench.path("data").join(name)).unwrap(), "{name} in {}", out.display());
    }
}

const PYTHON: &str = "import sys, tarfile; tarfile.open(sys.argv[1]).extractall(sys.argv[2])";

#[test]
fn every_program_for_gzip_reads_it() {
    let (bench, record) = plain_backup(ArchiveFormat::TarGz);
    let archive = bench.manager.path_of(&record);
    let out = |name: &str| {
        let out = bench.path(name);
        fs::create_dir(&out).unwrap();
        out
    };
    works(Command::new("gzip").arg("-t").arg(&archive));
    let tar = out("tar");
    works(Command::new("tar").arg("-xzf").arg(&archive).arg("-C").arg(&tar));
    assert_same(&bench, &tar);
    if has("busybox") {
        let busybox = out("busybox");
        works(Command::new("busybox").args(["tar", "-xzf"]).arg(&archive).arg("-C").arg(&busybox));
        assert_same(&bench, &busybox);
    }
    if has("python3") {
        let python = out("python");
        works(Command::new("python3").args(["-c", PYTHON]).arg(&archive).arg(&python));
        assert_same(&bench, &python);
    }
    if has("pigz") {
        works(Command::new("pigz").arg("-t").arg(&archive));
    }
}

#[test]
fn every_program_for_zstd_reads_it() {
    if !has("zstd") {
        return;
    }
    let (bench, record) = plain_backup(ArchiveFormat::TarZst);
    let archive = bench.manager.path_of(&record);
    works(Command::new("zstd").arg("-t").arg(&archive));
    let tar = bench.path("tar");
    fs::create_dir(&tar).unwrap();
    works(Command::new("tar").args(["--zstd", "-xf"]).arg(&archive).arg("-C").arg(&tar));
    assert_same(&bench, &tar);
}

/// Raises the flag after some bytes, and notes when.
struct StopLater(Arc<AtomicBool>, std::sync::Mutex<Option<Instant>>);

impl Reporter for StopLater {
    fn report(&self, event: &Event) {
        if event.amount.as_ref().is_some_and(|amount| amount.done > 1 << 20) {
            self.1.lock().unwrap().get_or_insert_with(Instant::now);
            self.0.store(true, Ordering::Relaxed);
        }
    }
}

#[test]
fn a_cancel_in_the_middle_ends_at_once_and_leaves_nothing() {
    let bench = Bench::new();
    build(&bench.path("data"), &folder(vec![(b"log", file(&long(64 << 20)))]));
    for format in ArchiveFormat::ALL {
        let stop = Arc::new(AtomicBool::new(false));
        let later = Arc::new(StopLater(stop.clone(), Default::default()));
        let progress = Progress::new(later.clone(), "u", Lang::En);
        let packing = Packing { threads: 4, ..Packing::of(format) };
        let request = BackupRequest { packing, ..request(vec![disk("data", bench.path("data"))]) };
        let error = bench.manager.create(request, &progress, &stop).unwrap_err();
        let took = later.1.lock().unwrap().unwrap().elapsed();
        assert_eq!(error.code(), Code::Interrupted, "{format:?}");
        assert!(took < Duration::from_secs(5), "{format:?}: {took:?}");
        assert_eq!(bench.files(), [""; 0]);
        assert_eq!(bench.manager.list().unwrap().pop().unwrap().status, Status::Failed);
    }
}
