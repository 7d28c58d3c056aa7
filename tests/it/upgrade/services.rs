//! Services of every kind: several containers, new, gone, in an order, behind a profile.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn services_come_and_go_with_the_release_and_start_in_order() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", IDLE)
            .service("api", &format!("{IDLE}\ndepends_on: [db]"))
            .service("old", IDLE)
            .service("debug", &format!("{IDLE}\nprofiles: [debug]"));
    });
    let device = Device::init(&stack);
    let project = stack.project().to_owned();
    stack.release("1.1.0", |r| {
        r.without("old").rebuild("api").rebuild("db").service("web", &format!("{IDLE}\ndepends_on: [api]"));
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let after = device.containers();
    let names: Vec<_> = after.keys().map(|name| name.trim_start_matches(&format!("{project}-"))).collect();
    assert_eq!(names, ["api-1", "db-1", "web-1"]);
    let started = |service: &str| device.container(service).started_at;
    assert!(started("db") < started("api") && started("api") < started("web"), "{after:?}");
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after);

    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let services: Vec<_> = device.containers().into_values().map(|container| container.service).collect();
    assert_eq!(services, ["api", "db", "old"]);
    assert!(device.containers().values().all(|container| container.running));
}

#[test]
fn a_new_service_that_fails_leaves_nothing_and_a_removed_one_is_back() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("old", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.without("old").service("extra", "command: [sh, -c, exit 1]\nvolumes: ['more:/more']");
        r.sections("volumes: {more: {}}");
    });
    let (belongings, app) = (device.belongings(), device.container("app"));
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(device.belongings(), belongings);
    assert_eq!(device.container("app"), app);
}

#[test]
fn several_containers_of_a_service_are_swapped_one_by_one() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("web", &format!("{IDLE}\ndeploy: {{replicas: 2}}")).service("db", IDLE);
    });
    let device = Device::init(&stack);
    let before = device.containers();
    assert_eq!(before.len(), 3);
    stack.release("1.1.0", |r| {
        r.rebuild("web");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let after = device.containers();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>());
    for (name, container) in &after {
        assert_eq!(*container == before[name], container.service == "db", "{name}");
    }
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after);

    stack.release("1.2.0", |r| {
        r.service("web", &format!("{IDLE}\ndeploy: {{replicas: 3}}"));
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let scaled = device.containers();
    let numbers: Vec<_> =
        scaled.keys().filter_map(|name| name.split_once("-web-")).map(|pair| pair.1).collect();
    assert_eq!(numbers, ["1", "2", "3"]);
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), scaled);

    stack.release("1.3.0", |r| {
        r.rebuild("web").service("web", "command: [sh, -c, exit 1]\ndeploy: {replicas: 2}");
    });
    let belongings = device.belongings();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    assert_eq!(device.belongings(), belongings);
}

#[test]
fn a_container_that_was_removed_is_back_after_the_next_upgrade() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("db", IDLE);
    });
    let device = Device::init(&stack);
    device.compose(&["rm", "-sf", "db"]);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(device.container("db").running && device.container("app").running);
}
