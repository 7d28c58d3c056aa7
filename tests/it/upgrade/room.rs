//! Backups on a disk that is too small for them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::data::installed;
use crate::support::stack::{Device, Stack};

/// A small disk for the backups alone. It goes before the device whose folder it lies on.
struct Disk(PathBuf);

impl Disk {
    fn under(device: &Device, mib: usize) -> Self {
        let at = device.path("backups");
        fs::create_dir_all(&at).unwrap();
        let size = format!("size={mib}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(&at).status();
        assert!(mount.unwrap().success());
        Self(at)
    }

    fn fill(&self) {
        let path = self.0.join("filler");
        let file = fs::File::options().append(true).create(true).open(path).unwrap();
        let mut piece = vec![1; 1 << 16];
        while !piece.is_empty() {
            if std::io::Write::write_all(&mut &file, &piece).is_err() {
                piece.truncate(piece.len() / 2);
            }
        }
    }

    fn free(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _output = Command::new("umount").arg("-l").arg(&self.0).output();
    }
}

/// Data that no archive makes smaller.
fn noise(device: &Device, bytes: usize) {
    device.sh("db", &format!("head -c {bytes} /dev/urandom > /rows/noise"));
}

fn newer(stack: &mut Stack, toml: &str) {
    stack.release("1.1.0", |r| {
        r.rebuild("db").toml(toml);
    });
}

/// The status of every backup, oldest first.
fn statuses(device: &Device) -> Vec<String> {
    let (_, list) = device.ask(&["backup", "list"]);
    let all = list["backups"].as_array().unwrap().clone();
    all.iter().map(|backup| backup["status"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn a_backup_that_may_not_fit_is_refused_before_anything_stops() {
    let (mut stack, device) = installed();
    let _disk = Disk::under(&device, 3);
    noise(&device, 4 << 20);
    newer(&mut stack, "migrates_data = true\n");
    let before = device.containers();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (1, &"DISK_FULL".into()), "{ended:#?}");
    assert_eq!(device.containers(), before, "nothing was stopped");
}

#[test]
fn an_archive_for_which_there_is_no_room_any_more_does_not_undo_the_upgrade() {
    let (mut stack, device) = installed();
    let disk = Disk::under(&device, 12);
    for _ in 0..3 {
        assert_eq!(device.ask(&["backup", "create"]).0, 0);
    }
    noise(&device, 3 << 20);
    newer(&mut stack, "");
    // What else there is on the disk grows while the services are exchanged.
    device.killed("applied:backup", &["upgrade", "--yes"]);
    disk.fill();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "the new version runs, and the data is copied: {ended:#?}");
    assert_eq!(device.version("current"), "1.1.0");
    let warned = ended.outcome["warnings"].to_string();
    assert!(warned.contains("archive of backup") && warned.contains("next command"), "{warned}");
    assert_eq!(statuses(&device), ["complete", "complete", "complete", "staged"]);

    // What is full is freed without any room.
    let settings = device.read("client.toml");
    assert!(settings.contains("last = 0"), "{settings}");
    device.write("client.toml", &settings.replace("last = 0", "last = 1"));
    let (code, gone) = device.ask(&["backup", "prune"]);
    assert_eq!((code, gone["backups"].as_array().map(Vec::len)), (0, Some(2)), "{gone}");
    assert_eq!(statuses(&device), ["complete", "staged"], "it is the only backup of that data");
    disk.fill();
    let (_, findings) = device.ask(&["doctor", "--fix"]);
    assert!(findings.to_string().contains("archive is not written yet"), "{findings}");

    disk.free();
    assert_eq!(device.upgrade(&[]).code, 0, "there is nothing newer, but the archive is written");
    assert_eq!(statuses(&device).last().map(String::as_str), Some("complete"));
    device.sh("db", "rm /rows/noise");
    let ended = device.rollback(&["--restore-data"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("db", "stat -c %s /rows/noise").trim(), (3 << 20).to_string());
}

#[test]
fn what_a_failed_version_wrote_does_not_take_the_room_of_the_data_that_comes_back() {
    let (mut stack, device) = installed();
    let small = device.path("small");
    let mount = |args: &[&str], to: &Path| {
        assert!(Command::new("mount").args(args).arg(to).status().unwrap().success());
    };
    fs::create_dir(&small).unwrap();
    mount(&["-t", "tmpfs", "-o", "size=11m", "tmpfs"], &small);
    let mut disks = vec![Disk(small.clone())];
    for name in ["backups", "shared/data"] {
        let (from, to) = (small.join(name.replace('/', "-")), device.path(name));
        fs::create_dir_all(&to).unwrap();
        fs::create_dir(&from).unwrap();
        mount(&["--bind", from.to_str().unwrap()], &to);
        disks.insert(0, Disk(to));
    }
    device.compose(&["restart", "app"]);
    let noise: Vec<u8> = (0..3 << 20).map(|_| rand::random()).collect();
    fs::write(device.path("shared/data/noise"), &noise).unwrap();
    stack.release("1.1.0", |r| {
        let sick = "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 2}";
        r.service("app", &format!("command: [sh, -c, 'echo two > /data/file; exec sleep 100000']\n{sick}\nvolumes: ['./data:/data']\ndepends_on: [db]"))
            .toml("migrates_data = true\n[health]\ntimeout_ms = 20000\nstability_ms = 300\n");
    });
    let ended = device.upgrade(&[]);
    let (came_back, there) = (
        fs::read(device.path("shared/data/noise")).unwrap() == noise,
        device.path("shared/data/file").exists(),
    );
    device.compose(&["stop", "app"]);
    drop(disks);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert!(came_back && !there, "the data is not as it was");
    let warned = ended.outcome["warnings"].to_string();
    assert!(warned.contains("could not be kept"), "{warned}");
}
