//! What stands in the way of data that has to come back, and what does not.

use std::fs::{self, File};
use std::io::BufRead;
use std::path::PathBuf;

use super::data::{fill, installed, spoil, state};
use crate::support::stack::Device;

fn archives(device: &Device) -> Vec<PathBuf> {
    let files = fs::read_dir(device.path("backups")).unwrap().map(|item| item.unwrap().path());
    files.filter(|path| path.to_string_lossy().ends_with(".tar.gz")).collect()
}

#[test]
fn unpacking_beside_takes_no_lock() {
    let (_stack, device) = installed();
    fill(&device);
    let before = state(&device);
    let (_, made) = device.ask(&["backup", "create"]);
    let id = made["id"].as_str().unwrap();
    spoil(&device);

    let lock = File::options().read(true).write(true).open(device.path("backups/.lock")).unwrap();
    lock.lock().unwrap();
    let beside = device.path("beside");
    let (code, told) = device.ask(&["backup", "restore", id, "--to", beside.to_str().unwrap()]);
    assert_eq!(code, 0, "{told}");
    assert_eq!(fs::read_to_string(beside.join("persist/data/file")).unwrap(), "one");
    drop(lock);
    assert_eq!(device.run(&["backup", "restore", id, "--yes"]).code, 0);
    assert_eq!(state(&device), before);
}

#[test]
fn a_restore_without_room_is_refused_before_anything_stops() {
    let (_stack, device) = installed();
    let data = device.path("shared/data");
    let mount = ["-t", "tmpfs", "-o", "size=3m", "tmpfs", data.to_str().unwrap()];
    assert!(std::process::Command::new("mount").args(mount).status().unwrap().success());
    device.compose(&["restart", "app"]);
    fs::write(data.join("large"), vec![7; 2_000_000]).unwrap();
    let (_, made) = device.ask(&["backup", "create"]);
    let before = device.containers();
    let ended = device.run(&["backup", "restore", made["id"].as_str().unwrap(), "--yes"]);
    let (after, left) = (device.containers(), fs::read(data.join("large")).unwrap().len());
    device.compose(&["stop", "app"]);
    assert!(std::process::Command::new("umount").arg("-l").arg(&data).status().unwrap().success());
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (1, &"DISK_FULL".into()), "{ended:#?}");
    assert_eq!((after, left), (before, 2_000_000), "nothing was touched");
}

#[test]
fn data_that_could_not_come_back_is_not_forgotten() {
    let (mut stack, device) = installed();
    fill(&device);
    stack.release("1.1.0", |r| {
        let sick = "healthcheck: {test: [CMD, 'false'], interval: 1s, retries: 4}";
        r.service("app", &format!("command: [sh, -c, 'echo two > /data/file; exec sleep 100000']\n{sick}\nvolumes: ['./data:/data']\ndepends_on: [db]"))
            .toml("migrates_data = true\n[health]\ntimeout_ms = 20000\nstability_ms = 300\n");
    });
    let mut upgrade = device.spawn(&["upgrade", "--yes"]);
    let lines = std::io::BufReader::new(upgrade.stdout.take().unwrap()).lines();
    let mut damaged = false;
    for line in lines.map(Result::unwrap) {
        // Its data is at risk by then, and the archive is written beside.
        if line.contains("StartingServices") && !damaged {
            while archives(&device).is_empty() {
                std::thread::yield_now();
            }
            let archive = archives(&device).remove(0);
            let mut bytes = fs::read(&archive).unwrap();
            let middle = bytes.len() / 2;
            bytes[middle] ^= 1;
            fs::write(&archive, bytes).unwrap();
            damaged = true;
        }
    }
    assert_eq!(upgrade.wait().unwrap().code(), Some(22));
    assert!(damaged);
    let (_, all) = device.ask(&["backup", "list"]);
    let ids: Vec<&str> =
        all["backups"].as_array().unwrap().iter().map(|one| one["id"].as_str().unwrap()).collect();
    let settings = device.read("client.toml");
    assert!(settings.contains("last = 0"), "{settings}");
    device.write("client.toml", &settings.replace("last = 0", "last = 1\nmax_bytes = 1"));
    let (code, gone) = device.ask(&["backup", "prune"]);
    assert_eq!((code, &gone["backups"]), (0, &serde_json::json!([])), "they may have to come back");
    for id in &ids {
        let (code, told) = device.ask(&["backup", "delete", id, "--yes"]);
        assert_eq!((code, &told["error"]["code"]), (11, &"BACKUP_NEEDED".into()), "{told}");
    }
    device.write("client.toml", &settings);
    for _ in 0..2 {
        let ended = device.rollback(&["--to", "factory"]);
        assert_eq!(ended.code, 22, "the data is still not there: {ended:#?}");
        assert_eq!(device.status()["state"], "needs_attention");
    }
    let ended = device.rollback(&["--to", "factory", "--keep-data"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.status()["state"], "idle");
    assert!(device.containers().values().all(|container| container.running), "{:#?}", device.containers());
    assert_eq!(device.version("current"), "1.0.0");
    assert_eq!(fs::read_to_string(device.path("shared/data/file")).unwrap(), "two\n", "as it was asked for");
    assert_eq!(device.ask(&["backup", "delete", ids[0], "--yes"]).0, 0, "nothing waits for it any more");
}
