//! Data that is not where the client looks by itself: on the host, in the release's own folder, in volumes without a name.

use std::fs;

use crate::support::stack::{Device, IDLE, Stack};

const HEALTH: &str = "[health]\ntimeout_ms = 10000\nstability_ms = 500\nsoak_ms = 0\n";

/// `app` writes to `beside`, to a folder of the release and to a volume without a name.
fn installed(beside: &str) -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['{beside}:/srv', './uploads:/uploads', '/cache', './html:/html', './data:/data']"))
            .service("db", &format!("{IDLE}\nvolumes: ['rows:/rows', '{beside}-only-read:/only-read:ro']"))
            .file("html/index.html", "shipped\n")
            .sections("volumes: {rows: {}}")
            .toml(HEALTH);
    });
    fs::create_dir_all(format!("{beside}-only-read")).unwrap();
    let device = Device::init(&stack);
    device.sh("db", "echo one > /rows/table");
    device.sh("app", "echo one > /srv/file; echo one > /uploads/file; echo one > /cache/file");
    (stack, device)
}

/// What `backup create` warns of.
fn warned(device: &Device) -> String {
    let output = device.client(&["backup", "create", "--lang", "en"]);
    assert!(output.status.success(), "{output:?}");
    String::from_utf8_lossy(&output.stderr).into_owned() + &String::from_utf8_lossy(&output.stdout)
}

fn last_backup(device: &Device) -> String {
    let (_, all) = device.ask(&["backup", "list"]);
    all["backups"].as_array().unwrap().last().unwrap()["id"].as_str().unwrap().to_owned()
}

#[test]
fn data_that_no_backup_has_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("beside").display().to_string();
    let (_stack, device) = installed(&beside);
    let said = warned(&device);
    for told in [
        &format!("app writes to {beside} on this machine, which is in no backup") as &str,
        "app writes to uploads in the release's own folder",
        "app keeps /cache in a volume without a name",
    ] {
        assert!(said.contains(told), "{told:?} is missing: {said}");
    }
    for fine in ["html", "rows", "only-read", "/data"] {
        assert!(!said.contains(fine), "{fine:?} is no data that is missed: {said}");
    }
    let settings = device.read("client.toml");
    let exclude = format!("exclude = ['{beside}', 'uploads', 'app:/cache']");
    device.write("client.toml", &settings.replace("exclude = []", &exclude));
    let said = warned(&device);
    assert!(!said.contains("in no backup"), "what is left out on purpose is not told: {said}");
}

#[test]
fn a_path_of_the_host_that_is_named_is_backed_up_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("beside").display().to_string();
    let (_stack, device) = installed(&beside);
    let settings = device.read("client.toml");
    device.write(
        "client.toml",
        &format!("{settings}\n[backup.data.'{beside}']\nway = 'stop'\nexclude = ['*.tmp']\n"),
    );
    device.sh(
        "app",
        "mkdir /srv/sub; ln /srv/file /srv/sub/linked; chown 1234:4321 /srv/sub; echo kept > /srv/x.tmp",
    );
    let (app, db) = (device.container("app").started_at, device.container("db").started_at);
    let said = warned(&device);
    assert!(!said.contains(&beside), "{said}");
    assert_ne!(device.container("app").started_at, app, "the service that writes it was stopped, as is said");
    assert_eq!(device.container("db").started_at, db);

    let id = last_backup(&device);
    let (_, shown) = device.ask(&["backup", "show", &id]);
    let contents = shown["contents"].to_string();
    assert!(contents.contains(&format!("host{beside}/sub/linked")) && !contents.contains("x.tmp"), "{shown}");

    let change = "cd /srv; rm -r sub; echo two > file; echo new > more; echo two > x.tmp";
    device.sh("app", change);
    device.sh("db", "echo two > /rows/table");
    let db = device.container("db").started_at;
    let ended = device.run(&["backup", "restore", &id, "--only", &beside, "--yes"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let look = "cd /srv; cat file sub/linked x.tmp; stat -c %u:%g sub; stat -c %h file; ls";
    assert_eq!(device.sh("app", look), "one\none\ntwo\n1234:4321\n2\nfile\nsub\nx.tmp");
    assert_eq!(device.sh("db", "cat /rows/table"), "two", "only what was wanted came back");
    assert_eq!(device.container("db").started_at, db, "it has nothing of it");

    // What was there is kept: it can be taken back.
    let undo = ended.outcome["backup_id"].as_str().unwrap();
    assert_eq!(device.run(&["backup", "restore", undo, "--only", &beside, "--yes"]).code, 0);
    assert_eq!(device.sh("app", "cat /srv/file /srv/more"), "two\nnew");
}

#[test]
fn a_path_of_the_host_that_cannot_be_meant_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let beside = dir.path().join("beside").display().to_string();
    let (_stack, device) = installed(&beside);
    let settings = device.read("client.toml");
    for (names, cause) in [
        (vec![format!("{beside}/")], "absolute path without"),
        (vec![format!("{beside}/../x")], "absolute path without"),
        (vec![beside.clone(), format!("{beside}/sub")], "it is in"),
    ] {
        let sections: String = names.iter().map(|name| format!("[backup.data.'{name}']\n")).collect();
        device.write("client.toml", &format!("{settings}\n{sections}"));
        let (code, told) = device.ask(&["backup", "create", "--lang", "en"]);
        assert_eq!(code, 2, "{told}");
        assert!(told["error"]["message"].as_str().unwrap().contains(cause), "{told}");
    }
    // One that no service mounts is told; one around the installation would hold every backup.
    device.write("client.toml", &format!("{settings}\n[backup.data.'/srv/nobody']\n"));
    assert!(warned(&device).contains("[backup] names /srv/nobody"));
    let above = std::env::temp_dir().display().to_string();
    device.write("client.toml", &format!("{settings}\n[backup.data.'{above}']\n"));
    let (code, told) = device.ask(&["backup", "create", "--lang", "en"]);
    assert_eq!(code, 2, "{told}");
    assert!(told["error"]["message"].as_str().unwrap().contains("the installation is in it"), "{told}");
}
