//! Ready is what the engine says, and a time-out is never success.

use std::time::Duration;

use compose_upgrade::Code;
use compose_upgrade::docker::{Container, ReadyPolicy, Watched};

use crate::support::engine::{Stack, docker, watched};

/// One service for each way to be or not to be ready.
const SERVICES: &str = r#"
x-base: &base
  image: IMAGE
  init: true
x-check: &check
  interval: 200ms
  timeout: 2s
services:
  healthy:
    <<: *base
    healthcheck: {<<: *check, test: ["CMD", "/bin/true"], retries: 3}
  never:
    <<: *base
    healthcheck: {<<: *check, test: ["CMD-SHELL", "echo no database; exit 1"], retries: 2}
  undecided:
    <<: *base
    healthcheck: {<<: *check, test: ["CMD", "/bin/false"], retries: 1000}
  steady:
    <<: *base
  dies:
    <<: *base
    command: ["/bin/sh", "-c", "echo cannot start; exit 3"]
  dies-later:
    <<: *base
    command: ["/bin/sh", "-c", "sleep 1; echo went away; exit 4"]
  restarts:
    <<: *base
    restart: always
    command: ["/bin/sh", "-c", "sleep 1; exit 5"]
  flips:
    <<: *base
    healthcheck: {<<: *check, test: ["CMD-SHELL", "! ls /broken"], retries: 2}
  flips-late:
    <<: *base
    healthcheck: {test: ["CMD-SHELL", "! ls /broken"], interval: 700ms, retries: 6}
  once:
    <<: *base
    command: ["/bin/sh", "-c", "sleep 0.5; exit 0"]
  once-bad:
    <<: *base
    command: ["/bin/sh", "-c", "echo migration failed; exit 6"]
  once-hangs:
    <<: *base
"#;

async fn created() -> Stack {
    let stack = Stack::new().await;
    let image = stack.image("x", "1");
    stack.file("1.0.0", "compose.yaml", &SERVICES.replace("IMAGE", &image));
    stack.switch_to("1.0.0");
    stack.administrator(&["create"]);
    stack
}

async fn started(stack: &Stack, service: &str) -> Container {
    let container = stack.of(service).await.remove(0);
    stack.engine.start(&container.id).await.unwrap();
    container
}

#[tokio::test]
async fn the_first_answer() {
    let stack = created().await;
    for (service, timeout, expected) in [
        ("healthy", 10_000, None),
        ("steady", 10_000, None),
        ("dies-later", 10_000, None),
        ("never", 10_000, Some((Code::Unhealthy, "no database"))),
        ("undecided", 1_500, Some((Code::HealthTimeout, "exit 1"))),
        ("dies", 10_000, Some((Code::Exited, "cannot start"))),
    ] {
        let container = started(&stack, service).await;
        // A container without healthcheck may be seen alive for a moment; what matters is that it has ended.
        if service == "dies" {
            docker(&["wait", &container.id]);
        }
        let result = stack.engine.wait_ready(&watched(&container, timeout, 0)).await;
        match (result, expected) {
            (Ok(took), None) => assert!(took < Duration::from_millis(timeout), "{service}"),
            (Err(fault), Some((code, words))) => {
                assert_eq!((fault.code(), fault.object()), (code, service), "{fault}");
                assert!(fault.detail().contains(words), "{fault}");
            }
            (result, _) => panic!("{service}: {result:?}"),
        }
    }
}

#[tokio::test]
async fn what_runs_once_must_end_well() {
    let stack = created().await;
    for (service, timeout, code) in [
        ("once", 10_000, None),
        ("once-bad", 10_000, Some(Code::Exited)),
        ("once-hangs", 1_000, Some(Code::HealthTimeout)),
    ] {
        let container = started(&stack, service).await;
        let mut watched = watched(&container, timeout, 1_000);
        watched.policy.one_shot = true;
        let result = stack.engine.verify_stable(&[watched]).await;
        assert_eq!(result.err().map(|fault| fault.code()), code, "{service}");
    }
}

#[tokio::test]
async fn stable_services_pass_together() {
    let stack = created().await;
    let mut all: Vec<Watched> = Vec::new();
    for service in ["healthy", "steady"] {
        all.push(watched(&started(&stack, service).await, 10_000, 1_500));
    }
    let began = std::time::Instant::now();
    stack.engine.verify_stable(&all).await.unwrap();
    let took = began.elapsed();
    assert!(took >= Duration::from_millis(1_500), "the window was cut short: {took:?}");
    assert!(took < Duration::from_millis(2_900), "the windows did not run at once: {took:?}");
}

#[tokio::test]
async fn what_fails_within_the_window_is_caught() {
    let stack = created().await;
    let cases = [
        ("dies-later", 5_000, Code::Exited),
        ("restarts", 5_000, Code::Exited),
        ("flips", 8_000, Code::Unhealthy),
        // Still `healthy` when the window ends, with failing checks: the engine has not decided yet.
        ("flips-late", 2_500, Code::Unhealthy),
    ];
    let verify = cases.map(|(service, window, code)| {
        let stack = &stack;
        async move {
            let container = started(stack, service).await;
            let watched = watched(&container, 10_000, window);
            stack.engine.wait_ready(&watched).await.unwrap();
            if service.starts_with("flips") {
                docker(&["exec", &container.id, "/bin/touch", "/broken"]);
            }
            let fault = stack.engine.verify_stable(&[watched]).await.unwrap_err();
            assert_eq!((fault.code(), fault.object()), (code, service), "{fault}");
        }
    });
    futures_util::future::join_all(verify).await;
}

#[tokio::test]
async fn another_image_than_planned_is_not_ready() {
    let stack = created().await;
    let container = started(&stack, "steady").await;
    let mut watched = watched(&container, 5_000, 500);
    let policy = ReadyPolicy { image_ids: vec!["sha256:0".into()], ..watched.policy };
    watched.policy = policy;
    assert_eq!(stack.engine.wait_ready(&watched).await.unwrap_err().code(), Code::ImageWrong);
    stack.engine.remove(&container.id, true).await.unwrap();
    assert_eq!(stack.engine.wait_ready(&watched).await.unwrap_err().code(), Code::Exited);
}
