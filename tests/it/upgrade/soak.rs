//! Probation: a version that fails after its commit goes back at the next command.

use crate::support::stack::{Device, IDLE, Stack, docker};

const SOAK: &str = "[health]\ntimeout_ms = 10000\nstability_ms = 300\n";

/// 1.1.0, committed and on probation, whose `app` is as `service` says.
fn on_probation(service: &str, toml: &str) -> (Stack, Device) {
    let mut stack = Stack::new();
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).service("db", &format!("{IDLE}\nvolumes: ['rows:/rows']"));
        r.sections("volumes: {rows: {}}");
    });
    let device = Device::init(&stack);
    assert_eq!(device.status()["state"], "idle", "a first installation has nothing to go back to");
    stack.release("1.1.0", |r| {
        r.rebuild("app").service("app", service).toml(toml);
    });
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 0, "{ended:#?}");
    assert_eq!(device.status()["state"], "soaking");
    device.sh("db", "echo 1 > /rows/row");
    (stack, device)
}

/// The next `client upgrade` goes back to 1.0.0 because of `code`.
fn goes_back(device: &Device, code: &str) -> serde_json::Value {
    let ended = device.upgrade(&[]);
    assert_eq!(ended.code, 20, "{ended:#?}");
    let outcome = &ended.outcome;
    assert_eq!((&outcome["ok"], &outcome["rolled_back_to"]), (&false.into(), &"1.0.0".into()), "{outcome:#}");
    assert_eq!((&outcome["from"], &outcome["to"]), (&"1.0.0".into(), &"1.1.0".into()));
    assert_eq!(
        (&outcome["reason"], &outcome["error"]["code"]),
        (&"soak".into(), &code.into()),
        "{outcome:#}"
    );
    let status = device.status();
    assert_eq!((&status["state"], &status["current"]), (&"idle".into(), &"1.0.0".into()), "{status:#}");
    assert_eq!(status["quarantined"], serde_json::json!(["1.1.0"]));
    assert_eq!(status["previous"], serde_json::Value::Null, "as before the upgrade: {status:#}");
    assert_eq!(device.sh("db", "cat /rows/row"), "1", "what was written on probation is kept");
    let before = device.containers();
    device.compose(&["up", "-d"]);
    assert_eq!(device.containers(), before);
    assert_eq!(device.upgrade(&[]).code, 11, "it is not tried again by itself");
    outcome["error"].clone()
}

fn wait_for(name: &str, format: &str, wanted: &str) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while docker(&["inspect", "-f", format, name]) != wanted {
        assert!(std::time::Instant::now() < deadline, "{name} never was {wanted}");
        std::thread::yield_now();
    }
}

#[test]
fn a_healthcheck_gone_bad() {
    let check = "healthcheck: {test: [CMD, sh, -c, 'test ! -e /ill'], interval: 200ms, retries: 1}";
    let (_stack, device) = on_probation(&format!("{IDLE}\n{check}"), SOAK);
    let well = device.upgrade(&[]);
    assert_eq!((well.code, &well.outcome["reason"]), (0, &"up_to_date".into()), "{well:#?}");
    assert_eq!(device.status()["state"], "soaking", "a look does not end it");
    let app = device.container("app").name;
    docker(&["exec", &app, "touch", "/ill"]);
    wait_for(&app, "{{.State.Health.Status}}", "unhealthy");
    goes_back(&device, "UNHEALTHY");
}

#[test]
fn a_crash_loop_after_the_window() {
    let service = "command: [sh, -c, 'sleep 2; exit 3']\nrestart: always";
    let (_stack, device) = on_probation(service, SOAK);
    let app = device.container("app").name;
    wait_for(&app, "{{ge .RestartCount 4}}", "true");
    goes_back(&device, "EXITED");
}

#[test]
fn an_exit_after_the_window() {
    let (_stack, device) = on_probation("command: [sh, -c, 'sleep 2; echo no ink left; exit 3']", SOAK);
    wait_for(&device.container("app").name, "{{.State.Status}}", "exited");
    let error = goes_back(&device, "EXITED");
    assert!(error["message"].as_str().unwrap().contains("no ink left"), "its container is gone: {error}");
    assert!(!error["help"].to_string().contains("docker logs"), "its container is gone: {error}");
}

#[test]
fn a_kill_for_want_of_memory() {
    let greedy = "command: [sh, -c, 'until test -e /go; do sleep 0.1; done; exec busybox tail /dev/zero']";
    let (_stack, device) = on_probation(&format!("{greedy}\nmem_limit: 16m\nmemswap_limit: 16m"), SOAK);
    let app = device.container("app").name;
    docker(&["exec", &app, "touch", "/go"]);
    wait_for(&app, "{{.State.Status}}", "exited");
    assert_eq!(docker(&["inspect", "-f", "{{.State.ExitCode}}", &app]), "137", "as after a 'docker kill'");
    goes_back(&device, "EXITED");
}

#[test]
fn a_kill_that_nobody_asked_the_engine_for_is_one_and_a_person_s_is_none() {
    let (_stack, device) = on_probation(IDLE, SOAK);
    let app = device.container("app").name;
    for stop in [&["kill", &app][..], &["stop", "-t", "0", &app]] {
        docker(stop);
        wait_for(&app, "{{.State.ExitCode}}", "137");
        let ended = device.upgrade(&[]);
        assert_eq!(ended.code, 0, "{stop:?}: {ended:#?}");
        docker(&["start", &app]);
    }
    // As the kernel of a machine without memory does.
    let pid = docker(&["inspect", "-f", "{{.State.Pid}}", &app]);
    assert!(std::process::Command::new("kill").args(["-KILL", &pid]).status().unwrap().success());
    wait_for(&app, "{{.State.Status}}", "exited");
    goes_back(&device, "EXITED");
}

#[test]
fn a_probe_that_fails() {
    let toml = format!(
        "{SOAK}[[health.probes]]\nname = 'answers'\ncommand = ['sh', '-c', 'test ! -e /ill']\nservice = 'app'\ntimeout_ms = 1000\n"
    );
    let (_stack, device) = on_probation(IDLE, &toml);
    docker(&["exec", &device.container("app").name, "touch", "/ill"]);
    goes_back(&device, "PROBE_FAILED");
}

#[test]
fn one_that_lasts_is_over_after_its_time_and_one_stopped_by_a_person_is_no_failure() {
    let (mut stack, device) =
        on_probation(IDLE, &format!("{SOAK}soak_ms = 1\n").replace("soak_ms = 1", "soak_ms = 600000"));
    docker(&["stop", "-t", "0", &device.container("app").name]);
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!(device.status()["state"], "soaking");
    stack.release("1.2.0", |r| {
        r.rebuild("app").toml(&format!("{SOAK}soak_ms = 1\n"));
    });
    let next = device.upgrade(&[]);
    assert_eq!(next.code, 0, "a new release ends the probation of the former: {next:#?}");
    assert_eq!((device.version("current"), device.version("previous")), ("1.2.0".into(), "1.1.0".into()));
    assert_eq!(device.status()["state"], "idle", "a millisecond is over");
    let passed = device.upgrade(&[]);
    assert!(passed.events.iter().any(|event| event["message"].as_str().unwrap().contains("probation")));
}

/// Waits until the probation's time is over.
fn wait_until_over(device: &Device) {
    let deadline = std::time::Instant::now() + std::time::Duration::from_secs(60);
    while device.status()["state"] == "soaking" {
        assert!(std::time::Instant::now() < deadline, "it is never over");
    }
}

const MIGRATES: &str = "migrates_data = true\n";

#[test]
fn data_is_put_back_while_it_lasts_and_what_was_written_is_kept() {
    let (_stack, device) = on_probation("command: [sh, -c, 'sleep 2; exit 3']", &format!("{MIGRATES}{SOAK}"));
    wait_for(&device.container("app").name, "{{.State.Status}}", "exited");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (20, "1.0.0".into()), "{ended:#?}");
    assert_eq!(device.sh("db", "cat /rows/row || echo none"), "none", "the data of before");
    let (_, backups) = device.ask(&["backup", "list"]);
    let kept = backups["backups"]
        .as_array()
        .unwrap()
        .iter()
        .find(|backup| backup["kind"] == "safety")
        .expect("a backup for safety");
    let id = kept["id"].as_str().unwrap();
    let warned = ended.outcome["warnings"].to_string();
    assert!(warned.contains(id), "{id} is not named in {warned}");
    assert_eq!(device.run(&["backup", "restore", id, "--yes", "--force"]).code, 0);
    assert_eq!(device.sh("db", "cat /rows/row"), "1");
}

#[test]
fn when_its_time_is_over_nothing_is_put_back_by_itself() {
    let toml = format!("{MIGRATES}{SOAK}soak_ms = 4000\n");
    let (_stack, device) = on_probation("command: [sh, -c, 'sleep 2; exit 3']", &toml);
    wait_for(&device.container("app").name, "{{.State.Status}}", "exited");
    wait_until_over(&device);
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (0, "1.1.0".into()), "{ended:#?}");
    assert_eq!(device.sh("db", "cat /rows/row"), "1");
    let told = |event: &serde_json::Value| {
        event["kind"] == "warning"
            && event["message"].as_str().unwrap().contains("client rollback --to 1.0.0")
    };
    assert!(ended.events.iter().any(told), "{ended:#?}");
    assert_eq!(device.status()["state"], "idle");
}

#[test]
fn what_goes_wrong_after_its_time_is_no_failure() {
    let check = "healthcheck: {test: [CMD, sh, -c, 'test ! -e /ill'], interval: 200ms, retries: 1}";
    let toml = format!(
        "{SOAK}soak_ms = 3000\n[[health.probes]]\nname = 'answers'\ncommand = ['sh', '-c', 'test ! -e /ill']\nservice = 'app'\ntimeout_ms = 1000\n"
    );
    let (_stack, device) = on_probation(&format!("{IDLE}\n{check}"), &toml);
    wait_until_over(&device);
    let app = device.container("app").name;
    docker(&["exec", &app, "touch", "/ill"]);
    wait_for(&app, "{{.State.Health.Status}}", "unhealthy");
    let ended = device.upgrade(&[]);
    assert_eq!((ended.code, device.version("current")), (0, "1.1.0".into()), "{ended:#?}");
}

#[test]
fn a_probe_of_a_service_that_a_person_stopped_is_not_asked() {
    let probe = "[[health.probes]]\nname = 'answers'\ncommand = ['sh', '-c', 'true']\nservice = 'app'\ntimeout_ms = 1000\n";
    let (_stack, device) = on_probation(IDLE, &format!("{SOAK}{probe}"));
    docker(&["stop", "-t", "0", &device.container("app").name]);
    assert_eq!(device.upgrade(&[]).code, 0);
    device.compose(&["down"]);
    assert_eq!(device.upgrade(&[]).code, 0);
    assert_eq!((device.version("current"), &device.status()["state"]), ("1.1.0".into(), &"soaking".into()));
}

#[test]
fn the_release_that_previous_names_again_is_still_there() {
    let mut stack = Stack::new();
    let quick = format!("{SOAK}soak_ms = 1\n");
    stack.release("1.0.0", |r| {
        r.service("app", IDLE).toml(&quick);
    });
    let device = Device::init(&stack);
    for version in ["1.1.0", "1.2.0"] {
        stack.release(version, |r| {
            r.rebuild("app").toml(&quick);
        });
        assert_eq!(device.upgrade(&[]).code, 0);
    }
    stack.release("1.3.0", |r| {
        r.rebuild("app").service("app", "command: [sh, -c, 'sleep 2; exit 3']").toml(SOAK);
    });
    assert_eq!(device.upgrade(&[]).code, 0);
    wait_for(&device.container("app").name, "{{.State.Status}}", "exited");
    assert_eq!(device.upgrade(&[]).code, 20);
    assert_eq!((device.version("current"), device.version("previous")), ("1.2.0".into(), "1.1.0".into()));
    assert_eq!(device.rollback(&[]).code, 0);
    assert_eq!(device.version("current"), "1.1.0");
}
