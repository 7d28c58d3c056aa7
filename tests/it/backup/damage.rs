//! Damage and malice are noticed before anything is touched.

use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::atomic::AtomicBool;

use compose_upgrade::Code;
use compose_upgrade::backup::Record;
use compose_upgrade::release::Digest;
use compose_upgrade::settings::ArchiveFormat;

use super::tree::{build, describe, file, folder};
use super::{Bench, disk};

fn bench_with_backup() -> (Bench, Record) {
    bench_with(ArchiveFormat::TarGz)
}

fn bench_with(format: ArchiveFormat) -> (Bench, Record) {
    let bench = Bench::new();
    let noise: Vec<u8> = (0..40_000u32).flat_map(|n| n.wrapping_mul(2_654_435_761).to_le_bytes()).collect();
    build(&bench.path("data"), &folder(vec![(b"noise", file(&noise)), (b"text", file(&[b'a'; 5000]))]));
    let record = bench.create_as(format, vec![disk("data", bench.path("data"))]);
    (bench, record)
}

fn assert_refused(bench: &Bench, record: &Record, what: &str) {
    let target = bench.path("target");
    if !target.exists() {
        build(&target, &folder(vec![(b"data", folder(vec![(b"precious", file(b"mine"))]))]));
    }
    let before = describe(&target);
    let verified = bench.verify(&record.id).unwrap_err();
    assert_eq!(verified.code(), Code::BackupCorrupt, "{what}: {verified}");
    assert!(verified.object().contains(&record.file), "{what}: {verified}");
    let restored = bench.restore(&record.id, &target).unwrap_err();
    assert_eq!(restored.code(), Code::BackupCorrupt, "{what}: {restored}");
    assert_eq!(describe(&target), before, "{what}: the target was touched");
}

#[test]
fn a_flipped_bit_anywhere_is_noticed() {
    ArchiveFormat::ALL.into_iter().for_each(flip_bits);
}

fn flip_bits(format: ArchiveFormat) {
    let (bench, record) = bench_with(format);
    let path = bench.manager.path_of(&record);
    let good = fs::read(&path).unwrap();
    let step = good.len() / 40;
    let edges = [0, 1, 3, 4, 8, 9, good.len() - 1, good.len() - 4, good.len() - 5, good.len() - 8];
    for at in (0..good.len()).step_by(step).chain(edges) {
        let mut bad = good.clone();
        bad[at] ^= 1 << (at % 8);
        fs::write(&path, bad).unwrap();
        assert_refused(&bench, &record, &format!("byte {at} of {}", good.len()));
    }
    fs::write(&path, good).unwrap();
    bench.verify(&record.id).unwrap();
}

#[test]
fn a_cut_or_longer_or_missing_file_is_noticed() {
    ArchiveFormat::ALL.into_iter().for_each(cut);
}

fn cut(format: ArchiveFormat) {
    let (bench, record) = bench_with(format);
    let path = bench.manager.path_of(&record);
    let good = fs::read(&path).unwrap();
    for length in [0, 5, 20, good.len() / 2, good.len() - 1] {
        fs::write(&path, &good[..length]).unwrap();
        assert_refused(&bench, &record, &format!("cut to {length}"));
    }
    fs::write(&path, [&good[..], b"x"].concat()).unwrap();
    assert_refused(&bench, &record, "a byte more");
    fs::remove_file(&path).unwrap();
    assert_refused(&bench, &record, "missing");
}

/// Replaces the archive by `entries` (with the good one's last entry) and makes the row agree with it.
fn forge(bench: &Bench, record: &Record, entries: &[(&str, tar::EntryType, &str)]) {
    let path = bench.manager.path_of(record);
    let document = serde_json::json!({"schema": 1, "id": record.id, "project": record.project,
        "version": "1.0.0", "kind": "pre-upgrade", "created": "2026-01-01T00:00:00Z", "parts": record.parts});
    let gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    let mut builder = tar::Builder::new(gzip);
    let document = document.to_string();
    let last = ("backup.json", tar::EntryType::Regular, &document[..]);
    for (name, kind, content) in entries.iter().chain([&last]) {
        let mut header = tar::Header::new_ustar();
        header.as_ustar_mut().unwrap().name[..name.len()].copy_from_slice(name.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(0o755);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        let is_file = *kind == tar::EntryType::Regular;
        if !is_file {
            header.as_ustar_mut().unwrap().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_size(if is_file { content.len() as u64 } else { 0 });
        header.set_cksum();
        builder.append(&header, if is_file { content.as_bytes() } else { b"" }).unwrap();
    }
    let bytes = builder.into_inner().unwrap().finish().unwrap();
    let hash = Digest::of(&bytes).to_string();
    fs::write(&path, bytes).unwrap();
    let sql = "UPDATE backups SET hash = ?1 WHERE id = ?2";
    bench.store.with(|connection| connection.execute(sql, [&hash, &record.id])).unwrap();
}

#[test]
fn an_archive_cannot_write_outside_its_target() {
    use tar::EntryType::{Char, Directory, Link, Regular, Symlink};
    let (bench, record) = bench_with_backup();
    let outside = bench.path("outside");
    fs::create_dir(&outside).unwrap();
    let out = outside.to_str().unwrap();
    let root = ("persist/data/", Directory, "");
    let absolute = format!("{out}/evil");
    let cases: Vec<Vec<(&str, tar::EntryType, &str)>> = vec![
        vec![root, (&absolute, Regular, "evil")],
        vec![root, ("persist/data/../../../outside/evil", Regular, "evil")],
        vec![root, ("persist/data/./evil", Regular, "evil")],
        vec![root, ("persist/other/evil", Regular, "evil")],
        vec![root, ("persist/data/link", Symlink, out), ("persist/data/link/evil", Regular, "evil")],
        vec![root, ("persist/data/link", Symlink, &absolute), ("persist/data/link", Regular, "evil")],
        vec![root, ("persist/data/passwd", Link, "/etc/passwd")],
        vec![root, ("persist/data/passwd", Link, "persist/data/../../../outside")],
        vec![root, ("persist/data/link", Symlink, out), ("persist/data/hard", Link, "persist/data/link/x")],
        vec![root, ("persist/data/dev", Char, "")],
        vec![("persist/data", Symlink, out), ("persist/data/evil", Regular, "evil")],
        vec![root, ("backup.json", Regular, "{}")],
    ];
    for case in cases {
        forge(&bench, &record, &case);
        assert_refused(&bench, &record, &format!("{:?}", case.last()));
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "{case:?}");
    }
}

#[test]
fn a_link_in_the_present_data_is_replaced_and_not_followed() {
    let (bench, record) = bench_with_backup();
    build(&bench.path("outside"), &folder(vec![(b"keep", file(b"keep"))]));
    fs::create_dir_all(bench.path("to/data")).unwrap();
    symlink(bench.path("outside"), bench.path("to/data/noise")).unwrap();
    bench.restore(&record.id, &bench.path("to")).unwrap();
    assert_eq!(describe(&bench.path("to/data")), describe(&bench.path("data")));
    assert!(bench.path("outside/keep").exists());
}

#[test]
fn a_bomb_s_worth_of_zeros_after_the_end_is_noticed() {
    let (bench, record) = bench_with_backup();
    let mut member = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    member.write_all(&[0; 4096]).unwrap();
    append(&bench.manager.path_of(&record), &member.finish().unwrap());
    assert_refused(&bench, &record, "a second gzip member");

    let (bench, record) = bench_with(ArchiveFormat::TarZst);
    append(&bench.manager.path_of(&record), &zstd::encode_all(&[0; 4096][..], 1).unwrap());
    assert_refused(&bench, &record, "a second zstd frame");
}

#[test]
fn an_archive_without_a_row_is_not_taken_in_when_something_follows_its_end() {
    for (format, tail) in [(ArchiveFormat::TarGz, &b"x"[..]), (ArchiveFormat::TarZst, b"x")] {
        let (bench, record) = bench_with(format);
        append(&bench.manager.path_of(&record), tail);
        bench.store.with(|connection| connection.execute("DELETE FROM backups", [])).unwrap();
        let recovered = bench.manager.recover(&AtomicBool::new(false)).unwrap();
        assert!(recovered.added.is_empty());
        assert_eq!(recovered.unreadable, [bench.manager.path_of(&record)]);
    }
}

fn append(path: &Path, bytes: &[u8]) {
    fs::OpenOptions::new().append(true).open(path).unwrap().write_all(bytes).unwrap();
}
