//! New versions that are no good: the stack must be what it was, and the user must know.

use crate::support::stack::{Device, Ended, IDLE, Release, Stack};

/// Two idle services, of which `app` goes wrong in 1.1.0.
fn installed() -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"))
            .service("app", &format!("{IDLE}\ndepends_on: [db]"))
            .sections("volumes: {rows: {}}")
            .file(".env", "PORT=80\n");
    });
    let device = Device::init(&stack);
    (stack, device)
}

/// Publishes 1.1.0 as `change` says, upgrades, and insists that everything is as it was.
fn goes_back(change: impl FnOnce(&mut Release<'_>)) -> (Stack, Device, Ended) {
    let (mut stack, device) = installed();
    device.write("shared/.env", &format!("PORT=9090\nCOMPOSE_PROJECT_NAME={}\n", stack.project()));
    stack.release("1.1.0", |r| {
        r.rebuild("app").file(".env", "PORT=80\nNEW_KEY=1\n");
        change(r);
    });
    let (belongings, containers, env) =
        (device.belongings(), device.containers(), device.read("shared/.env"));
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let outcome = &ended.outcome;
    assert_eq!((&outcome["ok"], &outcome["exit_code"]), (&false.into(), &20.into()));
    assert_eq!(outcome["rolled_back_to"], "1.0.0");
    assert_eq!((&outcome["from"], &outcome["to"]), (&"1.0.0".into(), &"1.1.0".into()));
    assert!(outcome["error"]["message"].is_string() && outcome["error"]["help"].is_string());
    assert_eq!(device.belongings(), belongings, "nothing stray, everything there");
    for (name, container) in device.containers() {
        assert!(container.running, "{name}");
        assert_eq!(container.id, containers[&name].id, "{name}");
        if container.service == "db" {
            assert_eq!(container, containers[&name], "db was never touched");
        }
    }
    assert_eq!(device.version("current"), "1.0.0");
    assert_eq!(device.read("shared/.env"), env);
    let status = device.status();
    assert_eq!(status["quarantined"], serde_json::json!(["1.1.0"]));
    assert_eq!((&status["state"], &status["current"]), (&"idle".into(), &"1.0.0".into()));
    (stack, device, ended)
}

#[test]
fn a_version_that_never_becomes_healthy_is_undone_and_quarantined() {
    let sick = format!("{IDLE}\nhealthcheck: {{test: [CMD, sh, -c, exit 1], interval: 200ms, retries: 2}}");
    let (_stack, device, ended) = goes_back(|r| {
        r.service("app", &format!("{sick}\nnetworks: [default, extra]\nvolumes: ['more:/more']"))
            .sections("volumes: {rows: {}, more: {}}\nnetworks: {extra: {}}");
    });
    assert_eq!(ended.outcome["error"]["code"], "UNHEALTHY");

    let before = device.containers();
    let refused = device.upgrade(&[]);
    assert_eq!(refused.code, 11, "{refused:#?}");
    assert_eq!(refused.outcome["error"]["code"], "QUARANTINED");
    assert_eq!(device.containers(), before, "a refusal touches nothing");
    let again = device.upgrade(&["--target", "1.1.0", "--force"]);
    assert_eq!(again.code, 20, "it was tried: {again:#?}");
}

#[test]
fn a_version_that_becomes_unhealthy_in_the_window_is_undone() {
    let test = "if [ -e /seen ]; then exit 1; fi; touch /seen";
    let (.., ended) = goes_back(|r| {
        r.service(
            "app",
            &format!(
                "{IDLE}\nhealthcheck: {{test: [CMD, sh, -c, '{test}'], interval: 300ms, retries: 1, timeout: 5s}}"
            ),
        )
        .toml("[health]\ntimeout_ms = 10000\nstability_ms = 3000\n");
    });
    assert_eq!(ended.outcome["error"]["code"], "UNHEALTHY");
}

#[test]
fn a_version_that_exits_at_start_is_undone() {
    let (.., ended) = goes_back(|r| {
        r.service("app", "command: [sh, -c, 'echo no such table; exit 3']");
    });
    assert_eq!(ended.outcome["error"]["code"], "EXITED");
    let message = ended.outcome["error"]["message"].as_str().unwrap();
    assert!(message.contains("no such table"), "the log says why: {message}");
}

#[test]
fn a_version_that_restarts_all_the_time_is_undone() {
    let (.., ended) = goes_back(|r| {
        r.service("app", "command: [sh, -c, 'sleep 0.2; exit 3']\nrestart: always")
            .toml("[health]\ntimeout_ms = 10000\nstability_ms = 2000\n");
    });
    assert_eq!(ended.outcome["error"]["code"], "EXITED");
}

#[test]
fn a_time_out_is_a_failure() {
    let (.., ended) = goes_back(|r| {
        let slow = "healthcheck: {test: [CMD, sh, -c, exit 1], interval: 300ms, timeout: 1s, retries: 100}";
        r.service("app", &format!("{IDLE}\n{slow}"))
            .toml("[health]\ntimeout_ms = 2000\nstability_ms = 300\n");
    });
    assert_eq!(ended.outcome["error"]["code"], "HEALTH_TIMEOUT");
}

#[test]
fn a_job_that_fails_undoes_the_upgrade() {
    let (.., ended) = goes_back(|r| {
        r.service("job", "command: [sh, -c, exit 1]").service(
            "app",
            &format!("{IDLE}\ndepends_on: {{job: {{condition: service_completed_successfully}}}}"),
        );
    });
    assert_eq!(ended.outcome["error"]["code"], "EXITED");
}

#[test]
fn a_job_that_ends_well_is_fine_and_is_not_run_again() {
    let (mut stack, device) = installed();
    stack.release("1.1.0", |r| {
        r.service("job", "command: [sh, -c, exit 0]")
            .toml("[health]\ntimeout_ms = 10000\nstability_ms = 300\n[services.job]\none_shot = true\n");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    let job = device.container("job");
    stack.release("1.2.0", |r| {
        r.rebuild("app");
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.container("job"), job);
}

#[test]
fn what_can_be_known_before_stops_nothing() {
    let (mut stack, device) = installed();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    stack.release("1.1.0", |r| {
        r.service("app", &format!("{IDLE}\nports: ['127.0.0.1:{port}:80']"));
    });
    let (belongings, before) = (device.belongings(), device.containers());
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["error"]["code"]), (1, &"PORT_TAKEN".into()), "{ended:#?}");
    assert_eq!((device.belongings(), device.containers()), (belongings, before));
    assert_eq!(ended.outcome["backup_id"], serde_json::Value::Null, "nothing was held still for it");
    drop(taken);
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "it was no fault of the version: {ended:#?}");

    let lock = std::fs::File::open(device.path("state.lock")).unwrap();
    lock.lock().unwrap();
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, &ended.outcome["ok"]), (30, &false.into()), "{ended:#?}");
}
