//! Services of a profile that is not active, started by hand: the operator's, and kept.

use std::collections::BTreeMap;

use crate::support::stack::{Container, Device, IDLE, Stack, docker};

#[test]
fn a_service_started_by_hand_out_of_a_profile_follows_the_release() {
    let mut stack = Stack::new();
    let debug = format!("{IDLE}\nprofiles: [debug]");
    let idle = format!("{IDLE}\nprofiles: [idle]");
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("debug", &debug).service("same", &debug).service("idle", &idle);
    });
    let device = Device::init(&stack);
    assert_eq!(device.containers().len(), 1);
    device.compose(&["--profile", "debug", "--profile", "idle", "up", "-d"]);
    docker(&["stop", &device.container("idle").name]);
    let (same, idle) = (device.container("same"), device.container("idle"));
    stack.release("1.1.0", |r| {
        r.rebuild("app").rebuild("debug").rebuild("idle");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("debug", "cat /own"), "build 2");
    assert_eq!(device.container("same"), same, "what did not change is not touched");
    assert_eq!(device.container("idle"), idle, "what does not run is left alone");
    let before = device.containers();
    device.compose(&["--profile", "debug", "up", "-d"]);
    assert_eq!(device.containers(), before, "Compose's own 'up' changes something");

    stack.release("1.2.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, exit 1]").rebuild("debug");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let ids = |all: &BTreeMap<String, Container>| {
        all.values().map(|one| (one.id.clone(), one.running)).collect::<Vec<_>>()
    };
    assert_eq!(ids(&device.containers()), ids(&before), "and is brought back with the rest");

    stack.release("1.3.0", |r| {
        r.rebuild("app").service("app", IDLE).without("debug");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let services: Vec<String> = device.containers().into_values().map(|one| one.service).collect();
    assert_eq!(services, ["app", "idle", "same"], "what the release does not have any more goes");
}
