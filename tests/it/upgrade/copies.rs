//! Copies of backups elsewhere, and a new machine that has nothing but these.

use std::fs;
use std::path::Path;
use std::process::Command;

use age::secrecy::ExposeSecret;

use super::data::{fill, installed, spoil, state};
use crate::support::stack::Device;

/// Has whole backups copied to `to`, for `recipients`.
fn copies_to(device: &Device, to: &Path, recipients: &str) {
    let settings = device.read("client.toml");
    let settings = settings.split("\n[backup.copy]").next().unwrap().to_owned();
    let section = format!("\n[backup.copy]\nto = '{}'\nrecipients = [{recipients}]\n", to.display());
    // What `client init` wrote has the section, too.
    let mut table: toml::Table = settings.parse().unwrap();
    let copy: toml::Table = section.parse().unwrap();
    let backup = table.entry("backup").or_insert(toml::Table::new().into()).as_table_mut().unwrap();
    backup.insert("copy".into(), copy["backup"]["copy"].clone());
    device.write("client.toml", &table.to_string());
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        fs::read_dir(folder).unwrap().map(|item| item.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

fn create(device: &Device) -> serde_json::Value {
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!(code, 0, "{made}");
    made
}

#[test]
fn an_encrypted_copy_brings_the_data_back_where_the_backup_is_lost() {
    let (_stack, device) = installed();
    fill(&device);
    let before = state(&device);
    let elsewhere = tempfile::tempdir().unwrap();
    let identity = age::x25519::Identity::generate();
    let keys = elsewhere.path().join("keys.txt");
    fs::write(&keys, format!("# made for a test\n{}\n", identity.to_string().expose_secret())).unwrap();
    let to = elsewhere.path().join("copies");
    fs::create_dir(&to).unwrap();
    copies_to(&device, &to, &format!("'{}'", identity.to_public()));

    let made = create(&device);
    let (id, file) = (made["id"].as_str().unwrap(), made["file"].as_str().unwrap());
    let copy = format!("{file}.age");
    assert_eq!(names(&to), std::slice::from_ref(&copy));
    let bytes = fs::read(to.join(&copy)).unwrap();
    assert!(bytes.starts_with(b"age-encryption.org/v1"), "it is not what age makes");
    let (code, again) = device.ask(&["backup", "copy"]);
    assert_eq!((code, &again["copies"]), (0, &serde_json::json!([])), "there is a copy of each");

    // The disk with the backups is lost.
    assert_eq!(device.ask(&["backup", "delete", id, "--yes"]).0, 0);
    spoil(&device);
    let copy = to.join(copy);
    let (code, told) = device.ask(&["backup", "import", copy.to_str().unwrap()]);
    assert_eq!(code, 2, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("--identity"), "{told}");
    let import = ["backup", "import", copy.to_str().unwrap(), "--identity", keys.to_str().unwrap()];
    let (code, taken) = device.ask(&import);
    assert_eq!((code, &taken["id"], &taken["hash"]), (0, &made["id"], &made["hash"]), "{taken}");
    assert_eq!(device.ask(&import).0, 2, "it is there already");
    assert_eq!(device.run(&["backup", "restore", id, "--yes"]).code, 0);
    assert_eq!(state(&device), before);
}

#[test]
fn damage_and_strangers_are_refused_and_leave_nothing() {
    let (_stack, device) = installed();
    fill(&device);
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("copies");
    fs::create_dir(&to).unwrap();
    copies_to(&device, &to, "");
    let made = create(&device);
    let file = made["file"].as_str().unwrap();
    let copy = to.join(file);
    assert_eq!(fs::read(&copy).unwrap(), fs::read(device.path("backups").join(file)).unwrap());
    let mine = || {
        let mut mine = names(&device.path("backups"));
        mine.retain(|name| name != ".lock" && name != ".copy.lock");
        mine
    };
    assert_eq!(device.ask(&["backup", "delete", made["id"].as_str().unwrap(), "--yes"]).0, 0);
    let mut bytes = fs::read(&copy).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    let bad = elsewhere.path().join(file);
    fs::write(&bad, &bytes).unwrap();
    let (code, told) = device.ask(&["backup", "import", bad.to_str().unwrap()]);
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_CORRUPT".into()), "{told}");
    assert_eq!(mine(), [""; 0]);

    // Of another product.
    let (_other, stranger) = installed();
    let (code, told) = stranger.ask(&["backup", "import", copy.to_str().unwrap()]);
    assert_eq!(code, 2, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("project"), "{told}");
    assert_eq!(device.ask(&["backup", "import", copy.to_str().unwrap()]).0, 0);
    assert_eq!(mine(), [file]);
}

#[test]
fn a_place_that_is_away_or_full_is_told_and_the_backup_stays() {
    let (_stack, device) = installed();
    fill(&device);
    let elsewhere = tempfile::tempdir().unwrap();
    let to = elsewhere.path().join("copies");
    copies_to(&device, &to, "");
    let (code, told) = device.ask(&["backup", "create"]);
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_COPY_FAILED".into()), "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("mounted"), "{told}");
    let (_, list) = device.ask(&["backup", "list"]);
    assert_eq!(list["backups"][0]["status"], "complete", "{list}");
    assert!(!to.exists(), "it would have been made on this very disk");

    fs::create_dir(&to).unwrap();
    let mount = ["-t", "tmpfs", "-o", "size=4k", "tmpfs", to.to_str().unwrap()];
    assert!(Command::new("mount").args(mount).status().unwrap().success());
    device.sh("db", "head -c 100000 /dev/urandom > /rows/noise");
    let (code, told) = device.ask(&["backup", "create"]);
    let left = names(&to);
    assert!(Command::new("umount").arg(&to).status().unwrap().success());
    assert_eq!((code, &told["error"]["code"]), (1, &"BACKUP_COPY_FAILED".into()), "{told}");
    assert_eq!(left.len(), 1, "the first, which is small, and nothing half: {left:?}");
    assert!(left[0].ends_with(".tar.gz"), "{left:?}");
    // That disk is gone, and the copy with it.
    let (code, copied) = device.ask(&["backup", "copy"]);
    assert_eq!((code, copied["copies"].as_array().unwrap().len()), (0, 2), "{copied}");
}
