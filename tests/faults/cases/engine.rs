//! The engine goes away in the middle of an upgrade, or comes back as another.

use crate::case::{Case, Place};

const SECTION: &str = "the engine (tiny stack)";

/// What happens to the engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// dockerd is stopped and started; that stops the containers, and starts those that are to run.
    Restart,
    /// dockerd is killed and comes back after two seconds; the containers go on (`live-restore`).
    Outage,
    /// dockerd comes back with the containerd image store: containers and images are gone.
    Switch,
}

impl Act {
    fn row(self) -> &'static str {
        match self {
            Self::Restart => "dockerd restarted",
            Self::Outage => "dockerd killed, back after 2 s",
            Self::Switch => "dockerd switched to the containerd store",
        }
    }
}

const POINTS: [&str; 10] = [
    "started:load_images",
    "started:create_containers",
    "started:backup",
    "started:flip_current",
    "started:swap:db",
    "started:swap:web",
    "applied:swap:fixed",
    "started:verify",
    "started:commit",
    "started:finalize",
];

/// Every case.
pub fn all() -> Vec<(Act, &'static str)> {
    let acts = [Act::Restart, Act::Outage, Act::Switch];
    POINTS.into_iter().flat_map(|point| acts.map(|act| (act, point))).collect()
}

/// The name of a case, for the process it runs in.
pub fn name(act: Act, point: &str) -> String {
    format!("{SECTION}/{point}/{}", act.row()).replace(' ', "-")
}

pub fn cases() -> Vec<Case> {
    let case = |(act, point): (Act, &str)| Case {
        section: SECTION,
        row: point.to_owned(),
        column: act.row().to_owned(),
        place: Place::Own,
        begin: None,
        act: Box::new(|_| unreachable!("it runs in a process of its own")),
    };
    all().into_iter().map(case).collect()
}
