//! Parts of a backup, in place and beside the stack.

use std::fs;
use std::process::Command;

use super::data::{fill, installed, spoil, state};
use crate::support::stack::{Device, snapshot};

fn backup(device: &Device) -> String {
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!(code, 0, "{made}");
    made["id"].as_str().unwrap().to_owned()
}

#[test]
fn only_one_volume_comes_back_and_only_what_holds_it_is_stopped() {
    let (_stack, device) = installed();
    fill(&device);
    let (volume, _, _) = state(&device);
    let id = backup(&device);
    spoil(&device);
    let (_, data, _) = state(&device);
    let before = device.containers();

    let ended = device.run(&["backup", "restore", &id, "--only", "rows", "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let (now, others, _) = state(&device);
    assert_eq!(now, volume, "the volume is as it was backed up");
    assert_eq!(others, data, "the folder is as it was spoilt");
    let after = device.containers();
    for (name, container) in &before {
        let touched = after[name] != *container;
        assert_eq!(touched, name.contains("-db-"), "{name}: only db mounts it");
    }

    // And that can be taken back, for that part alone.
    fs::write(device.path("shared/data/file"), "three").unwrap();
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", undo, "--only", "volumes/rows", "--yes"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/a"), "two");
    assert_eq!(device.read("shared/data/file"), "three");
}

#[test]
fn a_part_that_the_backup_does_not_have_is_told() {
    let (_stack, device) = installed();
    fill(&device);
    let id = backup(&device);
    let before = device.containers();
    for more in [&["--yes"][..], &["--to", "/tmp/never"]] {
        let output = device.client(&[&["backup", "restore", &id, "--only", "row"], more].concat());
        assert_eq!(output.status.code(), Some(2));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.contains("volumes/rows") && said.contains("persist/data"), "{said}");
    }
    assert_eq!(device.containers(), before);
}

#[test]
fn it_is_unpacked_beside_the_stack_as_tar_would() {
    let (_stack, device) = installed();
    fill(&device);
    let id = backup(&device);
    let (_, data, _) = state(&device);
    spoil(&device);
    let (before, spoilt) = (device.containers(), state(&device));
    let folder = tempfile::tempdir().unwrap();
    let to = folder.path().join("deep/to");
    let restore = ["backup", "restore", &id, "--to", to.to_str().unwrap()];
    let output = device.client(&restore);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    assert_eq!((device.containers(), state(&device)), (before, spoilt), "the stack is not touched");
    assert_eq!(snapshot(&to.join("persist/data")), data);

    let by_hand = folder.path().join("by_hand");
    fs::create_dir(&by_hand).unwrap();
    let (_, shown) = device.ask(&["backup", "show", &id]);
    let file = device.path("backups").join(shown["file"].as_str().unwrap());
    let mut tar = Command::new("tar");
    tar.args(["--xattrs", "-xf"]).arg(file).arg("-C").arg(&by_hand);
    assert!(tar.status().unwrap().success());
    for part in ["persist", "volumes"] {
        assert_eq!(snapshot(&to.join(part)), snapshot(&by_hand.join(part)), "{part}");
    }

    let again = device.client(&restore);
    assert_eq!(again.status.code(), Some(2), "what is there is not replaced");
    let only = folder.path().join("only");
    let some = ["backup", "restore", &id, "--only", "data", "--to", only.to_str().unwrap()];
    assert!(device.client(&some).status.success());
    assert!(only.join("persist/data").is_dir() && !only.join("volumes").exists());
}

#[test]
fn data_that_a_newer_release_migrated_is_not_put_under_an_older_one_unasked() {
    let (mut stack, device) = installed();
    fill(&device);
    stack.release("1.1.0", |r| {
        r.rebuild("db").toml("migrates_data = true\n");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let kept = ended.outcome["backup_id"].as_str().unwrap().to_owned();
    let warned = ended.outcome["warnings"].to_string();
    assert!(warned.contains(&kept) && warned.contains("client upgrade --target 1.1.0"), "{warned}");
    assert!(!warned.contains("backup restore"), "it is not the next command: {warned}");

    let before = (device.containers(), state(&device));
    let refused = device.run(&["backup", "restore", &kept, "--yes"]);
    assert_eq!((refused.code, &refused.outcome["error"]["code"]), (11, &"DATA_NEWER".into()), "{refused:#?}");
    assert_eq!((device.containers(), state(&device)), before, "nothing was touched");
    let forced = device.run(&["backup", "restore", &kept, "--yes", "--force"]);
    assert_eq!(forced.code, 0, "{forced:#?}");
    assert!(forced.outcome["warnings"].to_string().contains("1.1.0 wrote it"), "{forced:#?}");
}
