//! What belongs to the operator survives.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn settings_and_edits_are_kept_merged_or_set_aside_and_never_lost() {
    let mut stack = Stack::new();
    let lines = "one\ntwo\nthree\nfour\nfive\n";
    stack.release("1.0.0", |r| {
        r.service(
            "app",
            &format!("{IDLE}\nvolumes: ['./kept.conf:/kept.conf:ro']\nenvironment: {{PORT: '${{PORT}}'}}"),
        )
        .file(".env", "PORT=80\nOLD=1\n")
        .file("kept.conf", lines)
        .file("merged.conf", lines)
        .file("aside.conf", lines)
        .toml("config = ['kept.conf', 'merged.conf', 'aside.conf']\n[health]\nstability_ms = 300\n");
    });
    let device = Device::init(&stack);
    let env = device.read("shared/.env").replace("PORT=80", "# mine\nPORT=9090");
    device.write("shared/.env", &env);
    for name in ["kept.conf", "merged.conf", "aside.conf"] {
        device.write(&format!("current/{name}"), &lines.replace("one", "mine"));
    }
    let compose = device.read("current/compose.yaml") + "# by hand\n";
    device.write("current/compose.yaml", &compose);
    stack.release("1.1.0", |r| {
        r.rebuild("app")
            .file(".env", "PORT=80\nNEW=2\n")
            .file("merged.conf", &lines.replace("five", "theirs"))
            .file("aside.conf", &lines.replace("one", "theirs"));
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.sh("app", "echo $PORT"), "9090");
    assert_eq!(device.read("current/.env"), format!("{env}NEW=2\n"));
    assert_eq!(device.read("current/kept.conf"), lines.replace("one", "mine"));
    assert_eq!(device.sh("app", "cat /kept.conf"), lines.replace("one", "mine").trim_end());
    assert_eq!(device.read("current/merged.conf"), lines.replace("one", "mine").replace("five", "theirs"));
    assert_eq!(device.read("current/aside.conf"), lines.replace("one", "theirs"));
    assert_eq!(device.read("shared/edits/1.0.0/aside.conf"), lines.replace("one", "mine"));
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), compose);
    assert!(!device.read("current/compose.yaml").contains("by hand"));
    let warnings = ended.outcome["warnings"].to_string();
    for told in ["OLD", "aside.conf", "shared/edits/1.0.0/aside.conf", "shared/edits/1.0.0/compose.yaml"] {
        assert!(warnings.contains(told), "{told} is not in {warnings}");
    }
    assert!(!warnings.contains("\"kept.conf:"), "{warnings}");

    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        device.read("current/aside.conf"),
        lines.replace("one", "mine"),
        "the edits of 1.0.0 are there"
    );
    assert_eq!(device.sh("app", "echo $PORT"), "9090");
}

#[test]
fn installing_the_same_version_anew_loses_no_edit() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE)
            .file("app.conf", "shipped\n")
            .toml("config = ['app.conf']\n[health]\nstability_ms = 300\n");
    });
    let device = Device::init(&stack);
    let before = device.containers();
    let compose = device.read("current/compose.yaml") + "# by hand\n";
    device.write("current/compose.yaml", &compose);
    device.write("current/app.conf", "mine\n");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["reason"]), (0, &"corrupted".into()), "{ended:#?}");
    assert_eq!(device.read("current/app.conf"), "mine\n");
    assert!(!device.read("current/compose.yaml").contains("by hand"));
    assert_eq!(device.read("shared/edits/1.0.0/compose.yaml"), compose);
    assert!(ended.outcome["warnings"].to_string().contains("shared/edits/1.0.0/compose.yaml"));
    assert_eq!(device.containers(), before, "a comment changes no service");
    assert_eq!(device.upgrade(&[]).outcome["reason"], "up_to_date");
}
