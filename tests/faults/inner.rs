//! Cases that stop, restart or change an engine: each runs in a process of its own, whose `DOCKER_HOST` is an engine
//! of its own (`scripts/own-engine`).

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::case::{Outcome, attempt, keep_panics};
use crate::cases::engine::{self, Act};
use crate::hold;
use crate::own::own_engine;
use crate::stack::{NEW, OLD, Stack};
use crate::tiny::{Done, wait_for};

/// Where the engine is, for the inner process.
const PLACE: &str = "FAULTS_OWN_ENGINE";

/// Runs a case of that name on a fresh engine.
pub fn spawn(name: &str) -> Result<Outcome, String> {
    attempt(|| {
        let place = tempfile::Builder::new().prefix("own-").tempdir().unwrap();
        own_engine(place.path(), &["start"]);
        let mut inner = Command::new(std::env::current_exe().unwrap());
        inner.args(["--inner", name]).env(PLACE, place.path());
        inner.env("DOCKER_HOST", format!("unix://{}/docker.sock", place.path().display()));
        let done = Done::of(&mut inner);
        own_engine(place.path(), &["stop"]);
        let last = done.stdout.lines().last().unwrap_or_default();
        let told: Value =
            serde_json::from_str(last).unwrap_or_else(|_| panic!("{}{}", done.stdout, done.stderr));
        Outcome {
            text: told["text"].as_str().unwrap().to_owned(),
            recovery: Duration::from_millis(told["ms"].as_u64().unwrap()),
        }
    })
}

/// The inner process: runs the case, and prints what came of it.
pub fn run(name: &str) -> bool {
    keep_panics();
    let (act, point) =
        engine::all().into_iter().find(|case| engine::name(case.0, case.1) == name).expect("a known case");
    match attempt(|| case(act, point)) {
        Ok(outcome) => {
            println!("{}", json!({"text": outcome.text, "ms": outcome.recovery.as_millis() as u64}));
            true
        }
        Err(text) => {
            println!("{text}");
            false
        }
    }
}

fn case(act: Act, point: &str) -> Outcome {
    let place = std::env::var_os(PLACE).expect("the outer process says where the engine is");
    let place = Path::new(&place).to_owned();
    let stack = Stack::install();
    let command = || {
        let mut command = stack.tiny.command(&["upgrade", "--yes", "--force", "--target", NEW]);
        command.arg("--json");
        command
    };
    let mut back = None;
    let began = Instant::now();
    let done = hold::at(stack.tiny.scratch.path(), command(), point, || match act {
        Act::Restart => own_engine(&place, &["restart"]),
        Act::Switch => own_engine(&place, &["restart", "--containerd-store"]),
        Act::Outage => {
            own_engine(&place, &["kill"]);
            let place = place.clone();
            // The client meets an engine that is not there.
            back = Some(std::thread::spawn(move || {
                std::thread::sleep(Duration::from_secs(2));
                own_engine(&place, &["start", "--live-restore"]);
            }));
        }
    });
    if let Some(back) = back {
        back.join().unwrap();
    }
    let (name, version) = match done.code {
        Some(0) => ("new", NEW),
        Some(1 | 20) => ("old", OLD),
        Some(21) => ("factory", OLD),
        _ => panic!("it ended badly: {done:#?}"),
    };
    if act != Act::Switch {
        // An engine that comes back starts its containers one after the other.
        wait_for("the engine to start its containers", || {
            stack.tiny.containers().values().all(|container| container.state == "running")
        });
    }
    let mut recovery = began.elapsed();
    let mut text = format!("{name} ({})", done.code.unwrap_or_default());
    // The containers went with the store; a client that had not stopped anything yet has nothing to put back.
    let lost = act == Act::Switch && done.code == Some(1);
    if let (false, Err(bad)) = (lost, attempt(|| stack.whole_but_work(version))) {
        panic!("after {:?}: {bad}\n{done:#?}", done.code);
    }
    if version == OLD {
        let again = Instant::now();
        let next = stack.upgrade(NEW);
        assert_eq!(next.code, Some(0), "the next upgrade does not work: {next:#?}\nfirst: {done:#?}");
        recovery += again.elapsed();
        text.push_str(", then new");
    }
    stack.whole(NEW);
    stack.compose_agrees();
    Outcome { text, recovery }
}
