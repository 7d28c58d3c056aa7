//! `current` pointed elsewhere by hand: what runs is brought to agree with it.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn what_runs_follows_a_pointer_that_was_moved_by_hand() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("same", IDLE);
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.rollback(&["--keep-data"]).code, 0);
    assert_eq!(device.version("current"), "1.0.0");
    let (app, same) = (device.container("app"), device.container("same"));

    std::fs::remove_file(device.path("current")).unwrap();
    std::os::unix::fs::symlink("releases/1.1.0", device.path("current")).unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["reason"]), (0, &"corrupted".into()), "{ended:#?}");
    let told =
        ended.events.iter().any(|event| event["message"].as_str().unwrap().contains("pointed to 1.0.0"));
    assert!(told, "{ended:#?}");
    assert_ne!(device.container("app").image, app.image);
    assert_eq!(device.container("same"), same, "what agrees is not touched");
    let again = device.upgrade(&[]);
    assert_eq!((again.code, &again.outcome["strategy"]), (0, &"none".into()), "{again:#?}");
}
