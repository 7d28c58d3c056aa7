//! Kills and faults at random requests to the engine: upgrade, restore and rollback of a tiny stack in turn, each hit
//! once, then repeated without harm.

mod proxy;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{Rng, SeedableRng};
use serde_json::Value;

use self::proxy::{Harm, Proxy};
use crate::case::{attempt, keep_panics};
use crate::stack::{NEW, OLD, Stack};
use crate::tiny::Done;

const ENGINE: &str = "/var/run/docker.sock";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Turn {
    Upgrade,
    Restore,
    Rollback,
}

impl Turn {
    const ALL: [Turn; 3] = [Self::Upgrade, Self::Restore, Self::Rollback];

    /// Where it begins and where it leads.
    fn way(self) -> (&'static str, &'static str) {
        match self {
            Self::Upgrade => (OLD, NEW),
            Self::Restore => (NEW, NEW),
            Self::Rollback => (NEW, OLD),
        }
    }
}

#[derive(Default)]
struct Summary {
    /// Step that was under way, and how often it was hit.
    steps: BTreeMap<String, usize>,
    outcomes: BTreeMap<String, usize>,
    harms: BTreeMap<String, usize>,
    missed: usize,
    worst: Duration,
    bad: Vec<(usize, String)>,
}

/// Iterations `skip` to `count`; whether all ended well.
pub fn run(count: usize, seed: u64, skip: usize) -> bool {
    keep_panics();
    let began = Instant::now();
    let mut summary = Summary::default();
    let mut field = None;
    for number in skip..count {
        // Of its own for every iteration, so that one can be replayed alone.
        let mut random = StdRng::seed_from_u64(seed.wrapping_mul(1_000_003).wrapping_add(number as u64));
        let turn = Turn::ALL[number % 3];
        let result = attempt(|| field.get_or_insert_with(Field::new).once(turn, &mut random, &mut summary));
        if let Err(text) = result {
            eprintln!("BAD at --seed {seed} --skip {number} --count {}: {turn:?}: {text}", number + 1);
            summary.bad.push((number, format!("{turn:?}: {text}")));
            if std::env::var_os("FAULTS_KEEP").is_some() {
                std::process::exit(1);
            }
            field = None;
        }
        if (number + 1) % 10 == 0 {
            eprintln!(
                "{} of {count}, {} bad, {:.0} s",
                number + 1,
                summary.bad.len(),
                began.elapsed().as_secs_f64()
            );
        }
    }
    drop(field);
    let list = |map: &BTreeMap<String, usize>| {
        map.iter().map(|(name, count)| format!("| {name} | {count} |\n")).collect::<String>()
    };
    println!("| under way when hit | times |\n|---|---|\n{}", list(&summary.steps));
    println!("| harm | times |\n|---|---|\n{}", list(&summary.harms));
    println!("| outcome | times |\n|---|---|\n{}", list(&summary.outcomes));
    println!(
        "seed {seed}: {} iterations in {:.0} s, {} without a hit, worst recovery {:.1} s, {} bad",
        count - skip,
        began.elapsed().as_secs_f64(),
        summary.missed,
        summary.worst.as_secs_f64(),
        summary.bad.len()
    );
    for (number, text) in &summary.bad {
        println!("\n### --seed {seed} --skip {number} --count {}\n\n{text}", number + 1);
    }
    summary.bad.is_empty()
}

/// The stack and the proxy its client goes through.
struct Field {
    stack: Stack,
    proxy: Proxy,
    /// Requests that an unharmed run of each kind makes.
    requests: BTreeMap<Turn, usize>,
}

impl Field {
    fn new() -> Self {
        let stack = Stack::install();
        let proxy = Proxy::start(&stack.tiny.scratch.path().join("engine.sock"), Path::new(ENGINE));
        let mut field = Self { stack, proxy, requests: BTreeMap::new() };
        for turn in Turn::ALL {
            let backup = field.prepare(turn);
            field.proxy.set(0, Harm::Error);
            let (done, _) = field.spawn(turn, backup.as_deref());
            assert_eq!(done.code, Some(0), "even without harm: {done:#?}");
            field.requests.insert(turn, field.proxy.seen());
        }
        field
    }

    fn words(turn: Turn, backup: Option<&str>) -> Vec<&str> {
        match turn {
            Turn::Upgrade => vec!["upgrade", "--yes", "--force", "--target", NEW],
            Turn::Restore => vec!["backup", "restore", backup.unwrap_or_default(), "--yes"],
            Turn::Rollback => vec!["rollback", "--to", OLD, "--keep-data", "--yes"],
        }
    }

    /// Brings the stack to where the turn begins; the backup a restore goes back to.
    fn prepare(&mut self, turn: Turn) -> Option<String> {
        let (from, _) = turn.way();
        let target = std::fs::read_link(self.stack.tiny.root.join("current")).unwrap();
        match (target.ends_with(from), from) {
            (true, _) => {}
            (false, OLD) => drop(self.stack.tiny.client(&Self::words(Turn::Rollback, None)).expect(0)),
            (false, _) => drop(self.stack.upgrade(from).expect(0)),
        }
        self.stack.write();
        (turn == Turn::Restore).then(|| {
            let made = self.stack.tiny.client(&["backup", "create"]).expect(0).json();
            made["id"].as_str().unwrap().to_owned()
        })
    }

    /// Runs the client through the proxy; the public step it was at in the end.
    fn spawn(&self, turn: Turn, backup: Option<&str>) -> (Done, String) {
        let mut command = self.stack.tiny.command(&Self::words(turn, backup));
        command.args(["--progress", "json"]).env("DOCKER_HOST", &self.proxy.endpoint);
        let child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        self.proxy.aim(child.id());
        let done = Done::of_output(child.wait_with_output().unwrap());
        let last = done.stdout.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let step = last.filter_map(|event| event["step"].as_str().map(str::to_owned)).next();
        (done, step.unwrap_or_else(|| "before the first step".into()))
    }

    fn once(&mut self, turn: Turn, random: &mut StdRng, summary: &mut Summary) {
        let backup = self.prepare(turn);
        let rows = self.stack.rows.clone();
        let harm = *Harm::DICE.choose(random).unwrap();
        let at = random.random_range(1..=self.requests[&turn]);
        if turn == Turn::Restore {
            self.stack.write();
        }
        self.proxy.set(at, harm);
        let (done, step) = self.spawn(turn, backup.as_deref());
        let Some(met) = self.proxy.met() else {
            assert_eq!(done.code, Some(0), "nothing harmed it: {done:#?}");
            if turn == Turn::Restore {
                self.stack.rows = rows;
            }
            summary.missed += 1;
            return;
        };
        let say = format!("{harm:?} at request {at} ({met}) in {step}");
        *summary.harms.entry(format!("{harm:?}")).or_default() += 1;
        *summary.steps.entry(format!("{turn:?}: {step}")).or_default() += 1;
        // Nobody is aimed at any more.
        self.proxy.set(0, harm);
        let (from, to) = turn.way();
        let began = Instant::now();
        let first = match (done.signal, done.code) {
            (Some(9), _) if harm.kills() => "killed".to_owned(),
            (_, Some(code @ (0 | 1 | 20))) => code.to_string(),
            _ => panic!("{say}: it ended badly: {done:#?}"),
        };
        if let (Some(code), false) = (done.code, turn == Turn::Restore)
            && let Err(text) = attempt(|| self.stack.whole_but_work(if code == 0 { to } else { from }))
        {
            panic!("{say}: after {code}: {text}\n{done:#?}");
        }
        let mut second = String::new();
        if done.code != Some(0) {
            let mut next = self.stack.tiny.client(&Self::words(turn, backup.as_deref()));
            second = format!(", then {}", next.code.unwrap_or(-1));
            // It was being undone when it was killed: that is told first.
            if next.code == Some(20) {
                next = self.stack.tiny.client(&Self::words(turn, backup.as_deref()));
            }
            assert_eq!(next.code, Some(0), "{say}: the next run does not work: {next:#?}\nfirst: {done:#?}");
        }
        summary.worst = summary.worst.max(began.elapsed());
        *summary.outcomes.entry(format!("{turn:?}: {first}{second}")).or_default() += 1;
        if turn == Turn::Restore {
            self.stack.rows = rows;
        }
        let whole = attempt(|| {
            self.stack.whole(to);
            if random.random_range(0..10) == 0 {
                self.stack.compose_agrees();
            }
        });
        if let Err(text) = whole {
            panic!("{say}, {first}{second}: {text}\nfirst: {done:#?}");
        }
        if let Some(backup) = backup {
            self.stack.tiny.client(&["backup", "delete", &backup, "--yes"]);
        }
    }
}
