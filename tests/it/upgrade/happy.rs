//! What goes well.

use crate::support::stack::{Device, IDLE, Stack};

#[test]
fn only_the_changed_one_of_four_services_is_touched() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"))
            .service("cache", IDLE)
            .service("worker", &format!("{IDLE}\ndepends_on: [db]"))
            .service("web", &format!("{IDLE}\nvolumes: ['./data:/data']\ndepends_on: [worker]"))
            .sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    let project = stack.project().to_owned();
    let before = device.containers();
    let names: Vec<_> = before.keys().cloned().collect();
    assert_eq!(names, ["cache", "db", "web", "worker"].map(|name| format!("{project}-{name}-1")));

    stack.release("1.1.0", |r| {
        r.rebuild("web");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let outcome = &ended.outcome;
    assert_eq!(outcome["ok"], true);
    assert_eq!((&outcome["from"], &outcome["to"]), (&"1.0.0".into(), &"1.1.0".into()));
    assert_eq!((&outcome["strategy"], &outcome["reason"]), (&"full".into(), &"base_version_changed".into()));
    assert_eq!(outcome["exit_code"], 0);
    assert!(outcome["rolled_back_to"].is_null() && outcome["error"].is_null());
    assert!(outcome["backup_id"].is_string());
    let downtime = outcome["downtime_ms"].as_object().unwrap();
    assert_eq!(downtime.keys().collect::<Vec<_>>(), ["web"]);
    assert!(
        outcome["bytes_bundle"].as_u64().unwrap() > 0 && outcome["bytes_downloaded"].as_u64().unwrap() > 0
    );

    let after = device.containers();
    assert_eq!(after.keys().collect::<Vec<_>>(), before.keys().collect::<Vec<_>>(), "names as before");
    for (name, container) in &after {
        let same = *container == before[name];
        assert_eq!(same, container.service != "web", "{name}");
        assert!(container.running, "{name}");
    }
    assert_eq!(device.sh("web", "cat /own"), "build 2");

    let said = device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), after, "an administrator's 'up -d' recreates nothing: {said}");

    let status = device.status();
    assert_eq!((status["schema"].as_u64(), &status["state"]), (Some(1), &"idle".into()));
    assert_eq!(status["project"], project.as_str());
    let pointers = ["current", "previous", "factory"].map(|pointer| status[pointer].as_str().unwrap());
    assert_eq!(pointers, ["1.1.0", "1.0.0", "1.0.0"]);
    assert_eq!(status["quarantined"].as_array().unwrap().len(), 0);
    assert_eq!(status["last_upgrade"], *outcome);
    let web = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "web").unwrap();
    assert_eq!(web["container"], format!("{project}-web-1"));
    assert_eq!(web["image"], stack.image("web"));
    assert_eq!(web["image_id"], device.container("web").image);
    assert_eq!(web["image_expected"], web["image_id"]);
    assert_eq!((&web["state"], &web["health"]), (&"running".into(), &"none".into()));
    assert_eq!(web["release"], "1.1.0");
    let db = status["services"].as_array().unwrap().iter().find(|service| service["name"] == "db").unwrap();
    assert_eq!(db["release"], "1.0.0", "its container was started with the files of the version before");
}

#[test]
fn up_to_date_means_that_nothing_is_touched() {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE);
    });
    let device = Device::init(&stack);
    let before = device.containers();
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(
        (&ended.outcome["strategy"], &ended.outcome["reason"]),
        (&"none".into(), &"up_to_date".into())
    );
    assert_eq!(device.containers(), before);
    for question in [&["check"][..], &["upgrade", "--check"]] {
        let (code, answer) = device.ask(question);
        assert_eq!((code, &answer["upgrade_available"]), (0, &false.into()), "{answer}");
    }
    stack.release("1.1.0", |r| {
        r.rebuild("app");
    });
    for question in [&["check"][..], &["upgrade", "--check"]] {
        let (code, answer) = device.ask(question);
        assert_eq!((code, &answer["upgrade_available"]), (10, &true.into()), "{answer}");
        assert_eq!((&answer["installed"], &answer["available"]), (&"1.0.0".into(), &"1.1.0".into()));
    }
    for question in [&["plan"][..], &["upgrade", "--dry-run"]] {
        let (code, answer) = device.ask(question);
        assert_eq!(code, 0, "{answer}");
        assert_eq!((&answer["strategy"], &answer["to"]), (&"full".into(), &"1.1.0".into()));
    }
    assert_eq!(device.containers(), before, "asking touches nothing");
    assert_eq!(device.version("current"), "1.0.0");
}
