//! `client init`, where something is there already and where it fails.

use crate::support::http::HttpServer;
use crate::support::stack::{Device, IDLE, Stack, docker};

#[test]
fn an_installation_that_is_there_is_not_touched() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    let other = tempfile::tempdir().unwrap();
    let before = device.read("client.toml");
    let other = other.path().to_str().unwrap();
    let args = ["init", "--project", stack.project(), "--source", other, "--insecure"];
    let ended = device.run(&args);
    assert_eq!(
        (ended.code, &ended.outcome["error"]["code"]),
        (1, &"ALREADY_INITIALISED".into()),
        "{ended:#?}"
    );
    assert_eq!(device.read("client.toml"), before);

    std::fs::remove_file(device.path("current")).unwrap();
    assert_eq!(device.run(&args).code, 1, "the factory release is enough to tell an installation");
    assert_eq!(device.read("client.toml"), before);
}

#[test]
fn one_that_failed_is_repeated_with_other_settings_and_leaves_only_what_saves_the_download() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", "command: [sh, -c, 'exit 1']");
    });
    let device = Device::empty(&stack);
    let ended = device.try_init(&[]);
    assert_eq!(ended.code, 1, "{ended:#?}");
    let pins = format!("compose-upgrade.pin/{}", stack.project());
    assert_eq!(docker(&["images", "-q", &pins]), "", "what nobody uses can be pruned");
    assert!(!device.path("work").exists());
    assert_eq!(std::fs::read_dir(device.path("bundles")).unwrap().count(), 1, "it is not fetched again");

    stack.release("1.0.1", |r| {
        r.rebuild("app").service("app", IDLE);
    });
    let server = HttpServer::serve_dir(stack.source());
    let ended = device.run(&["init", "--project", stack.project(), "--source", &server.url()]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert!(device.read("client.toml").contains(&server.url()));
    assert!(!device.path("releases/1.0.0").exists());
}
