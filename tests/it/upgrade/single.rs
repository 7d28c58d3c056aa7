//! Services that cannot exist twice are swapped by a recreate.

use crate::support::stack::{Device, IDLE, Stack, docker};

#[test]
fn a_container_with_a_name_of_its_own_is_recreated_and_comes_back() {
    let mut stack = Stack::new();
    let name = format!("{}-own", stack.project());
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\ncontainer_name: {name}")).service("db", IDLE);
    });
    let device = Device::init(&stack);
    let before = device.containers();
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let (_, plan) = device.ask(&["plan"]);
    assert!(plan["steps"].is_array(), "{plan}");
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let after = device.containers();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    assert_ne!(after[&name].id, before[&name].id);
    assert_eq!(device.sh("app", "cat /own"), "build 2");
    assert_eq!(device.container("db").started_at, before[&format!("{}-db-1", stack.project())].started_at);
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after, "an administrator's 'up -d' recreates nothing");

    stack.release("1.2.0", |r| {
        r.rebuild("app").service("app", &format!("command: [sh, -c, exit 1]\ncontainer_name: {name}"));
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let back = device.container("app");
    assert_eq!((back.name.as_str(), back.running, &back.image), (name.as_str(), true, &after[&name].image));
    assert_eq!(device.containers().len(), 2);
    device.compose(&["up", "-d"]);
    assert_eq!(device.container("app"), back);
}

#[test]
fn a_service_in_the_network_of_another_follows_it_there_and_back() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("vpn", IDLE).service("app", &format!("{IDLE}\nnetwork_mode: service:vpn"));
    });
    let device = Device::init(&stack);
    let attached = |device: &Device| {
        let app = device.container("app");
        assert!(app.running && device.container("vpn").running);
        let mode = docker(&["inspect", "-f", "{{.HostConfig.NetworkMode}}", &app.id]);
        assert_eq!(mode, format!("container:{}", device.container("vpn").id));
    };
    attached(&device);
    stack.release("1.1.0", |r| {
        r.rebuild("vpn");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    attached(&device);
    assert_eq!(device.sh("vpn", "cat /own"), "build 2");
    let after = device.containers();
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after, "an administrator's 'up -d' recreates nothing");

    stack.release("1.2.0", |r| {
        r.rebuild("vpn").service("app", "command: [sh, -c, exit 1]\nnetwork_mode: service:vpn");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    attached(&device);
    assert_eq!(device.sh("vpn", "cat /own"), "build 2");
    assert_eq!(device.containers().len(), 2);
}

#[test]
fn a_volume_without_a_name_is_carried_over_and_back() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['/scratch']"));
    });
    let device = Device::init(&stack);
    device.sh("app", "echo one > /scratch/row");
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own /scratch/row"), "build 2one");
    stack.release("1.2.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, exit 1]\nvolumes: ['/scratch']");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own /scratch/row"), "build 2one");
    let after = device.containers();
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after, "an administrator's 'up -d' recreates nothing");
}
