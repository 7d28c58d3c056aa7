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

#[test]
fn the_plan_is_shown_and_a_way_that_cannot_be_gone_is_refused_before() {
    let (mut stack, device) = with_rows("1.0.0");
    let (code, none) = device.ask(&["rollback", "--dry-run"]);
    assert_eq!((code, &none["error"]["code"]), (1, &"NO_PREVIOUS".into()), "{none}");
    migrating(&mut stack, "1.1.0");
    assert_eq!(device.upgrade(&[]).code, 0);

    let before = (device.containers(), device.status());
    let (code, plan) = device.ask(&["rollback", "--dry-run"]);
    assert_eq!((code, &plan["from"], &plan["to"]), (0, &"1.1.0".into(), &"1.0.0".into()), "{plan}");
    assert_eq!((&plan["safety_backup"], &plan["bundle_present"]), (&true.into(), &true.into()), "{plan}");
    let backups = device.ask(&["backup", "list"]).1;
    assert_eq!(plan["data"]["restore"]["backup_id"], backups["backups"][0]["id"]);
    assert!(plan["data"]["restore"]["at"].is_string());
    let service =
        plan["services"].as_array().unwrap().iter().find(|service| service["name"] == "db").unwrap();
    assert_eq!(service["action"], "swap", "{plan}");
    assert!(plan["steps"].to_string().contains("restore the data"), "{plan}");
    assert_eq!(device.ask(&["rollback", "--dry-run", "--keep-data"]).1["data"], "keep");
    let text = String::from_utf8(device.client(&["rollback", "--dry-run"]).stdout).unwrap();
    assert!(text.contains("roll back: 1.1.0 → 1.0.0") && text.contains("will not be in it"), "{text}");
    assert_eq!((device.containers(), device.status()), before, "it was only shown");

    let backup = device.path("backups").join(backups["backups"][0]["file"].as_str().unwrap());
    std::fs::rename(&backup, device.path("elsewhere")).unwrap();
    let (code, refused) = device.ask(&["rollback", "--dry-run"]);
    assert_eq!((code, &refused["error"]["code"]), (1, &"BACKUP_UNKNOWN".into()), "{refused}");
    assert!(refused["error"]["message"].as_str().unwrap().contains("--keep-data"), "{refused}");
    std::fs::rename(device.path("elsewhere"), &backup).unwrap();
    assert_eq!(device.ask(&["rollback", "--dry-run", "--to", "0.9.0"]).1["error"]["code"], "RELEASE_UNKNOWN");
}

#[test]
fn a_rollback_is_undone_by_another_one_and_the_data_goes_both_ways() {
    let (mut stack, device) = with_rows("1.0.0");
    device.sh("db", "echo first > /rows/a");
    migrating(&mut stack, "1.1.0");
    assert_eq!(device.upgrade(&[]).code, 0);
    device.sh("db", "echo second > /rows/a");

    let ended = device.rollback(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        (device.version("current").as_str(), device.sh("db", "cat /rows/a").as_str()),
        ("1.0.0", "first")
    );
    assert_eq!(device.version("previous"), "1.1.0");
    device.sh("db", "echo third > /rows/a");

    let plan = device.ask(&["rollback", "--restore-data", "--dry-run"]).1;
    assert_eq!(plan["data"]["restore"]["backup_id"], ended.outcome["backup_id"], "the safety backup: {plan}");
    let ended = device.rollback(&["--restore-data"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        (device.version("current").as_str(), device.sh("db", "cat /rows/a").as_str()),
        ("1.1.0", "second")
    );

    let ended = device.rollback(&["--restore-data"]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        (device.version("current").as_str(), device.sh("db", "cat /rows/a").as_str()),
        ("1.0.0", "third")
    );
}

/// A database with a volume.
fn with_rows(version: &'static str) -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release(version, |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']")).sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    (stack, device)
}

/// A release that says that it migrates the data.
fn migrating(stack: &mut Stack, version: &'static str) {
    stack.release(version, |r| {
        r.rebuild("db")
            .toml("migrates_data = true\n[health]\ntimeout_ms = 5000\nstability_ms = 300\nsoak_ms = 0\n");
    });
}
