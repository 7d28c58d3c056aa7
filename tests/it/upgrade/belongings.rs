//! What an upgrade that is undone leaves behind, and what it has to leave alone.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use crate::support::stack::{Device, IDLE, Stack, docker};

/// 1.1.0, whose `app` never gets well and whose other services do.
fn to_be_undone(before: impl FnOnce(&mut Stack), after: &str, sections: &str) -> (Stack, Device) {
    let mut stack = Stack::new();
    before(&mut stack);
    let device = Device::init(&stack);
    let sick = "healthcheck: {test: [CMD, 'false'], interval: 200ms, retries: 2}";
    stack.release("1.1.0", |r| {
        r.service("app", &format!("{IDLE}\n{sick}\n{after}")).sections(sections);
    });
    (stack, device)
}

fn is_there(kind: &str, name: &str) -> bool {
    Command::new("docker").args([kind, "inspect", name]).output().unwrap().status.success()
}

#[test]
fn what_somebody_else_made_meanwhile_keeps_its_data() {
    let first = |stack: &mut Stack| {
        stack.release("1.0.0", |r| {
            r.service("app", IDLE);
        });
    };
    let (stack, device) = to_be_undone(
        first,
        "volumes: ['fresh:/fresh']\nnetworks: [inner]",
        "volumes: {fresh: {}}\nnetworks: {inner: {}}",
    );
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
