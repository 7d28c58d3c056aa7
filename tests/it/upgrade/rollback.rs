//! Going back on request.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn going_back_toggles_and_the_factory_is_always_there() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("db", IDLE);
    });
    let device = Device::init(&stack);
    let none = device.rollback(&["--to", "previous"]);
    assert_eq!((none.code, &none.outcome["error"]["code"]), (1, &"NO_PREVIOUS".into()), "{none:#?}");
    let db = device.container("db");
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    assert_eq!(device.upgrade(&[]).code, 0);

    for (to, build) in [("1.0.0", "build 1"), ("1.1.0", "build 2")] {
        let ended = device.rollback(&["--to", "previous"]);
        assert_eq!(ended.code, 0, "{ended:#?}");
        assert_eq!(ended.outcome["to"], to);
        assert_eq!((device.version("current").as_str(), device.sh("app", "cat /own").as_str()), (to, build));
        let containers = device.containers();
        assert_eq!(containers.keys().filter(|name| name.ends_with("-app-1")).count(), 1, "{containers:?}");
        device.compose(&["up", "-d"]);
        assert_eq!(device.containers(), containers);
    }

    stack.release("1.2.0", |r| {
        r.rebuild("app");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.version("previous"), "1.1.0");
    let unknown = device.rollback(&["--to", "0.9.0"]);
    assert_eq!((unknown.code, &unknown.outcome["error"]["code"]), (1, &"RELEASE_UNKNOWN".into()));
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!((device.version("current").as_str(), device.version("previous").as_str()), ("1.0.0", "1.2.0"));
    assert_eq!(device.sh("app", "cat /own"), "build 1");
    assert_eq!(device.container("db"), db, "what no version changed was never touched");
    let here = device.rollback(&["--to", "1.0.0"]);
    assert_eq!((here.code, &here.outcome["strategy"]), (0, &"none".into()));

    let ended = device.upgrade(&["--target", "1.2.0", "--force"]);
    assert_eq!((ended.code, device.version("current").as_str()), (0, "1.2.0"), "{ended:#?}");
    let asked = device.client(&["rollback"]);
    assert_eq!(asked.status.code(), Some(11), "without --yes somebody must be asked");
}

#[test]
fn an_older_version_is_installed_only_when_it_is_named() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let older = stack.bundle("1.0.0");
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let device = Device::init(&stack);
    assert_eq!(device.version("factory"), "1.1.0");
    let ended = device.upgrade(&["--target", "1.0.0"]);
    assert_eq!((ended.code, device.version("current").as_str()), (0, "1.0.0"), "{ended:#?}");
    assert_eq!(device.sh("app", "cat /own"), "build 1");
    let ended = device.upgrade(&["--target", "3.0.0"]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    let ended = device.upgrade(&["--bundle", stack.bundle("1.1.0").to_str().unwrap()]);
    assert_eq!((ended.code, device.version("current").as_str()), (0, "1.1.0"), "{ended:#?}");
    drop(older);
}
