//! A release that no upgrade may skip.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn it_comes_first_and_a_person_has_to_insist_to_skip_it() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app").toml("[requires]\nfloor = true\n");
    });
    stack.release("1.2.0", |r| {
        r.rebuild("app").toml("");
    });
    let (code, checked) = device.ask(&["check"]);
    assert_eq!((code, &checked["available"]), (10, &"1.1.0".into()), "{checked}");
    let containers = device.containers();
    let ended = device.upgrade(&["--target", "1.2.0"]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (11, &"REQUIRES_FROM".into()), "{ended:#?}");
    assert!(
        ended.outcome["error"]["message"].as_str().unwrap().contains("1.1.0 may not be skipped"),
        "{ended:#?}"
    );
    assert_eq!(device.containers(), containers);

    assert_eq!(device.upgrade(&["--target", "1.1.0"]).code, 0);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["to"]), (0, &"1.2.0".into()), "{ended:#?}");
    assert_eq!(device.rollback(&["--to", "factory"]).code, 0);
    assert_eq!(device.upgrade(&["--target", "1.2.0"]).code, 11);
    assert_eq!(device.upgrade(&["--target", "1.2.0", "--force"]).code, 0);
}
