//! A stack that runs from a plain folder is taken over as it is.

use std::fs;
use std::os::unix::fs::MetadataExt;

use crate::support::stack::{Device, IDLE, Stack, compose_in, containers};

#[test]
fn a_running_stack_is_taken_over_upgraded_and_rolled_back_with_its_data_in_place() {
    let mut stack = Stack::new();
    let project = stack.project().to_owned();
    stack.unpublished(|r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['./pgdata:/pg', 'rows:/rows']"))
            .service("app", &format!("{IDLE}\nvolumes: ['./data:/data']\nenvironment: {{KEY: '${{KEY}}'}}"))
            .service("cache", IDLE)
            .sections("volumes: {rows: {}}");
    });
    let plain = tempfile::tempdir().unwrap();
    let folder = plain.path().canonicalize().unwrap();
    for name in ["data", "pgdata"] {
        fs::create_dir(folder.join(name)).unwrap();
        fs::write(folder.join(name).join("row"), format!("{name} row")).unwrap();
    }
    fs::write(folder.join("compose.yaml"), stack.compose()).unwrap();
    fs::write(folder.join(".env"), "KEY=mine\n").unwrap();
    compose_in(&folder, &["-p", &project, "up", "-d"]);
    fs::create_dir(stack.source()).unwrap();
    let device = Device::empty(&stack);
    device.sh("db", "echo volume row > /rows/row");
    let before = containers(&project);
    let inodes = || ["data", "pgdata", "data/row"].map(|name| fs::metadata(folder.join(name)).unwrap().ino());
    let inodes_before = inodes();

    let adopted = device.try_init(&["--adopt", folder.to_str().unwrap(), "--version", "1.0.0"]);
    assert_eq!(adopted.code, 0, "{adopted:#?}");
    assert_eq!(device.containers(), before, "nothing was restarted");
    assert_eq!(inodes(), inodes_before, "no data was moved");
    let status = device.status();
    assert_eq!((&status["current"], &status["factory"]), (&"1.0.0".into(), &"1.0.0".into()));

    stack.release("1.1.0", |r| {
        r.rebuild("app").file(".env", "KEY=default\nNEW=1\n");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let told = |device: &Device, build: &str| {
        assert_eq!(device.sh("app", "cat /own"), build);
        assert_eq!(device.sh("app", "cat /data/row"), "data row");
        assert_eq!(device.sh("app", "echo $KEY"), "mine");
        assert_eq!(device.sh("db", "cat /pg/row"), "pgdata row");
        assert_eq!(device.sh("db", "cat /rows/row"), "volume row");
        assert_eq!(inodes(), inodes_before, "no data was moved");
        let now = device.containers();
        assert_eq!(now.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
        let cache = format!("{project}-cache-1");
        assert_eq!(now[&cache], before[&cache], "what did not change was never touched");
        device.compose(&["up", "-d"]);
        assert_eq!(device.containers(), now);
    };
    told(&device, "build 2");
    let ended = device.rollback(&["--to", "1.0.0"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    told(&device, "build 1");
}

#[test]
fn a_failing_first_upgrade_leaves_the_adopted_stack_as_it_was() {
    let mut stack = Stack::new();
    let project = stack.project().to_owned();
    stack.unpublished(|r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['./data:/data']"));
    });
    let plain = tempfile::tempdir().unwrap();
    let folder = plain.path().canonicalize().unwrap();
    fs::create_dir(folder.join("data")).unwrap();
    fs::write(folder.join("compose.yaml"), stack.compose()).unwrap();
    compose_in(&folder, &["-p", &project, "up", "-d"]);
    fs::create_dir(stack.source()).unwrap();
    let device = Device::empty(&stack);
    let wrong = device.try_init(&["--adopt", stack.folder().to_str().unwrap(), "--version", "1.0.0"]);
    assert_ne!(wrong.code, 0, "that folder has no Compose file: {wrong:#?}");
    let adopted = device.try_init(&["--adopt", folder.to_str().unwrap(), "--version", "1.0.0"]);
    assert_eq!(adopted.code, 0, "{adopted:#?}");
    let before = device.container("app");
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, exit 1]\nvolumes: ['./data:/data']");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let after = device.container("app");
    assert_eq!((after.id, after.running), (before.id, true));
}
