//! Releases that cannot run here: found out before anything stops.

use std::net::TcpListener;

use super::{Bad, RELEASE, compose};
use crate::support::tiny::{Release, Tiny};

/// The publisher's machine can pack it, this one cannot run it: the Compose file is replaced afterwards.
fn publish(tiny: &Tiny, version: &str, compose: &str) {
    let compose = tiny.named(compose);
    tiny.publish(&Release { version, compose, release_toml: RELEASE, files: &[] });
}

#[test]
fn a_variable_without_a_value_is_named() {
    let needs = "    environment: { KEY: \"${CUTEST_KEY:?set the key}\" }\n";
    let bad = Bad::with(&compose("", ""), |tiny| {
        tiny.image("web", "1.1.0");
        let (stack, text) = (tiny.scratch.path().join("stack-1.1.0"), tiny.named(&compose(needs, "")));
        std::fs::create_dir_all(&stack).unwrap();
        std::fs::write(stack.join("compose.yaml"), text).unwrap();
        std::fs::write(stack.join("release.toml"), RELEASE).unwrap();
        tiny.pack_with(&stack, "1.1.0", &[("CUTEST_KEY", "here")]);
    });
    let done = bad.refused(&["upgrade", "--yes"], 1, "VARIABLE_UNSET");
    assert!(done.message().contains("CUTEST_KEY"), "{done:?}");
    // The remedy that is told works.
    let env = bad.tiny.root.join("shared/.env");
    let text = std::fs::read_to_string(&env).unwrap_or_default();
    std::fs::write(&env, format!("{text}CUTEST_KEY=1\n")).unwrap();
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

#[test]
fn a_compose_file_that_does_not_resolve_is_named() {
    let broken = "    env_file: [\"${CUTEST_FILE:-missing.env}\"]\n";
    let bad = Bad::with(&compose("", ""), |tiny| {
        tiny.image("web", "1.1.0");
        let (stack, text) = (tiny.scratch.path().join("stack-1.1.0"), tiny.named(&compose(broken, "")));
        std::fs::create_dir_all(&stack).unwrap();
        std::fs::write(stack.join("compose.yaml"), text).unwrap();
        std::fs::write(stack.join("release.toml"), RELEASE).unwrap();
        tiny.pack_with(&stack, "1.1.0", &[("CUTEST_FILE", "/dev/null")]);
    });
    let done = bad.refused(&["upgrade", "--yes"], 1, "COMPOSE_INVALID");
    assert!(done.message().contains("missing.env"), "{done:?}");
}

#[test]
fn a_port_that_somebody_else_holds_is_found_before_anything_stops() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let front = |tail: &str| {
        compose(
            "",
            &format!(
                "  front:\n    image: @-web:stable\n    command: [sleep, '3600']\n    stop_signal: SIGKILL\n{tail}"
            ),
        )
    };
    let bad = Bad::with(&front(""), |tiny| {
        publish(tiny, "1.1.0", &front(&format!("    ports: [\"127.0.0.1:{port}:80\"]\n")));
    });
    let done = bad.refused(&["upgrade", "--yes"], 1, "PORT_TAKEN");
    assert!(done.message().contains(&port.to_string()) && done.message().contains("front"), "{done:?}");
    drop(holder);
    bad.tiny.client(&["upgrade", "--yes"]).expect(0);
}

#[test]
fn the_definition_of_a_volume_or_network_that_is_there_may_not_change() {
    let with = |volume: &str, network: &str| {
        let tail = format!(
            "  data:\n    image: @-web:stable\n    command: [sleep, '3600']\n    stop_signal: SIGKILL\n    volumes: [\"rows:/rows\"]\n\
             volumes:\n  rows: {volume}\nnetworks:\n  default: {network}\n"
        );
        compose("", &tail)
    };
    let bad = Bad::with(&with("{}", "{}"), |tiny| {
        publish(tiny, "1.1.0", &with("{}", "{ labels: { a: b } }"));
        publish(tiny, "1.2.0", &with("{ driver_opts: { type: tmpfs, device: tmpfs } }", "{}"));
    });
    let done = bad.refused(&["upgrade", "--yes"], 11, "VOLUME_CHANGED");
    assert!(done.message().contains(&format!("{}_rows", bad.tiny.project)), "{done:?}");
    let done = bad.refused(&["upgrade", "--yes", "--target", "1.1.0"], 11, "NETWORK_CHANGED");
    assert!(done.message().contains(&format!("{}_default", bad.tiny.project)), "{done:?}");
}
