//! A Compose file that a person edited into something nobody can read.

use crate::support::stack::{Device, IDLE, Stack};

const BROKEN: &str = "services: [ broken: {{{\n";

#[test]
fn it_blocks_nothing_and_is_neither_lost_nor_passed_over() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", &format!("{IDLE}\nvolumes: ['rows:/rows']")).sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    let shipped = device.read("current/compose.yaml");
    device.write("current/compose.yaml", BROKEN);

    let status = device.status();
    assert_eq!((&status["current"], &status["services"][0]["state"]), (&"1.0.0".into(), &"running".into()));
    assert!(status["warnings"].to_string().contains("compose.yaml cannot be compiled"), "{status:#}");
    let (code, doctor) = device.ask(&["doctor"]);
    assert_ne!(code, 0, "{doctor:#}");
    assert!(doctor.to_string().contains("compose.yaml cannot be compiled"), "{doctor:#}");
    let (code, plan) = device.ask(&["plan"]);
    assert_eq!((code, &plan["to"]), (0, &"1.1.0".into()), "{plan:#}");
    let (code, made) = device.ask(&["backup", "create"]);
    assert_eq!((code, &made["version"]), (0, &"1.0.0".into()), "{made:#}");

    let ended = device.upgrade(&["--target", "1.1.0", "--force"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let warnings = ended.outcome["warnings"].to_string();
    assert!(warnings.contains("1.0.0/compose.yaml cannot be compiled"), "{ended:#?}");
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), BROKEN);

    device.write("current/compose.yaml", BROKEN);
    let back = device.rollback(&["--to", "1.0.0", "--keep-data"]);
    assert_eq!((back.code, device.version("current")), (0, "1.0.0".into()), "{back:#?}");
    assert!(device.container("app").running);
    // It is as it was left.
    assert_eq!(device.read("current/compose.yaml"), BROKEN);

    let again = BROKEN.replace("broken", "again");
    device.write("current/compose.yaml", &again);
    let (code, fixed) = device.ask(&["doctor", "--fix"]);
    assert!(fixed.to_string().contains("as it was shipped again"), "{code} {fixed:#}");
    assert_eq!(device.read("current/compose.yaml"), shipped);
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml.2"), again);
    assert!(device.status()["warnings"].is_null());
}
