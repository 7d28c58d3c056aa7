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

#[test]
fn a_migration_that_is_skipped_is_one_of_the_release_that_takes_its_place() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['./data:/data']"));
    });
    let device = Device::init(&stack);
    let file = device.path("shared/data/file");
    std::fs::write(&file, "one").unwrap();
    let health = "[health]\ntimeout_ms = 5000\nstability_ms = 300\n";
    stack.release("1.1.0", |r| {
        r.rebuild("app").toml(&format!("migrates_data = true\n{health}"));
    });
    stack.release("1.2.0", |r| {
        let yaml = "command: [sh, -c, 'echo three > /data/file; exit 1']\nvolumes: ['./data:/data']";
        r.rebuild("app").service("app", yaml).toml(health);
    });
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["to"]), (20, &"1.2.0".into()), "{ended:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one", "1.0.0 cannot read anything else");

    stack.release("1.3.0", |r| {
        let yaml =
            "command: [sh, -c, 'echo three > /data/file; exec sleep 100000']\nvolumes: ['./data:/data']";
        r.rebuild("app").service("app", yaml);
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "three\n");
    let ended = device.rollback(&["--to", "factory"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "one");
}
