//! Only the layers that the engine lacks are loaded.

use std::process::Command;

use crate::support::stack::{Device, Ended, IDLE, Stack};

/// What the base of every image here takes at least; what is new in one takes far less.
const BASE: u64 = 500_000;

/// Bytes that were streamed into the engine, as the events tell.
fn loaded(ended: &Ended) -> u64 {
    let streamed = |event: &&serde_json::Value| event["step"] == "LoadingImages" && event["total"].is_u64();
    let last = ended.events.iter().rfind(streamed).expect("something was loaded");
    assert_eq!(last["done"], last["total"], "{last}");
    last["total"].as_u64().unwrap()
}

/// Bytes of the image as the engine saves it.
fn saved(image: &str) -> u64 {
    let saved = Command::new("docker").args(["save", image]).output().unwrap();
    assert!(saved.status.success(), "{}", String::from_utf8_lossy(&saved.stderr));
    saved.stdout.len() as u64
}

#[test]
fn a_base_that_is_there_is_not_loaded_again() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    let before = saved(&stack.image("app"));
    assert!(before > BASE);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(loaded(&ended) < BASE / 10, "{} bytes were loaded", loaded(&ended));
    assert_eq!(device.sh("app", "cat /own"), "build 2");
    assert!(saved(&stack.image("app")) > BASE, "the image is whole");
    let warnings = ended.events.iter().filter(|event| event["kind"] == "warning").count();
    assert_eq!(warnings, 0, "{:#?}", ended.events);
}
