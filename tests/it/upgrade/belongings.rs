//! What an upgrade that is undone leaves behind, and what it has to leave alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::stack::{Device, IDLE, Stack, docker};

const SICK: &str = "healthcheck: {test: [CMD, 'false'], interval: 200ms, retries: 2}";

fn is_there(kind: &str, name: &str) -> bool {
    Command::new("docker").args([kind, "inspect", name]).output().unwrap().status.success()
}

#[test]
fn what_somebody_else_made_meanwhile_keeps_its_data() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.service("app", &format!("{IDLE}\n{SICK}\nvolumes: ['fresh:/fresh']\nnetworks: [inner]"))
            .sections("volumes: {fresh: {}}\nnetworks: {inner: {}}");
    });
    let named = |name: &str| format!("{}_{name}", stack.project());
    device.killed("applied:create_containers", &["upgrade", "--yes"]);
    assert!(is_there("volume", &named("fresh")) && is_there("network", &named("inner")));
    let label = format!("com.docker.compose.project={}", stack.project());
    let (volume, network) = (named("theirs"), named("theirnet"));
    docker(&["volume", "create", "--label", &label, &volume]);
    docker(&["network", "create", "--label", &label, &network]);
    let file =
        PathBuf::from(docker(&["volume", "inspect", "-f", "{{.Mountpoint}}", &volume])).join("precious");
    fs::write(&file, "data").unwrap();

    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert!(
        !is_there("volume", &named("fresh")) && !is_there("network", &named("inner")),
        "the version's own"
    );
    assert_eq!(fs::read_to_string(&file).unwrap(), "data");
    assert!(is_there("network", &network));
    let warned = ended.outcome["warnings"].to_string();
    assert!(warned.contains(&volume) && warned.contains(&network), "{warned}");
}

#[test]
fn volumes_without_a_name_go_with_what_was_added_and_stay_with_what_was_there() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("old", &format!("{IDLE}\nvolumes: [/kept]"));
    });
    let device = Device::init(&stack);
    device.sh("old", "echo precious > /kept/file");
    stack.release("1.1.0", |r| {
        r.rebuild("old").service("added", &format!("{IDLE}\nvolumes: [/scratch]"));
        r.service("app", &format!("{IDLE}\n{SICK}\ndepends_on: [old, added]"));
    });
    device.killed("applied:swap:old", &["upgrade", "--yes"]);
    let volume_of = |service: &str| {
        let name = device.container(service).name;
        docker(&["inspect", "-f", "{{range .Mounts}}{{.Name}}{{end}}", &name])
    };
    let (added, kept) = (volume_of("added"), volume_of("old"));
    assert!(is_there("volume", &added) && is_there("volume", &kept));
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert!(!is_there("volume", &added), "nobody knows of it any more");
    assert_eq!(device.sh("old", "cat /kept/file"), "precious");
    assert_eq!(volume_of("old"), kept);
}
