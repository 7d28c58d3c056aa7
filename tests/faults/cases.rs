//! All cases.

mod bad;
mod disk;
pub mod engine;
mod hand;
mod hook;
mod images;
mod kill;
mod lost;

use std::time::{Duration, Instant};

use crate::case::{Case, Ground, Outcome};
use crate::shop::{NEW, OLD};
use crate::tiny::Done;
use crate::whole;

/// The section of the cases in which data goes back to a backup.
pub const RESTORE: &str = "SIGKILL in a restore";

/// In the order of the table.
pub fn all() -> Vec<Case> {
    [
        kill::cases(),
        lost::cases(),
        hand::cases(),
        engine::cases(),
        disk::cases(),
        bad::cases(),
        images::cases(),
        hook::cases(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

const UPGRADE: [&str; 5] = ["upgrade", "--yes", "--force", "--target", NEW];

/// The stack is on the new version with 0, or as it was with 1 or 20 or 40; what that is called.
fn either(ground: &Ground<'_, '_>, done: &Done) -> &'static str {
    let (version, name) = match done.code {
        Some(0) => (NEW, "new"),
        Some(1 | 20 | 40) => (OLD, "old"),
        _ => panic!("it ended badly: {done:#?}"),
    };
    whole::stack_is(ground.site, version);
    name
}

/// An upgrade that was meddled with has ended as it may; then the next one works.
fn then_upgrade(ground: &mut Ground<'_, '_>, done: &Done, began: Instant) -> Outcome {
    let name = either(ground, done);
    let mut recovery = began.elapsed();
    let code = done.code.unwrap_or_default();
    let mut text = format!("{name} ({code})");
    if name == "old" {
        let again = Instant::now();
        let next = ground.site.upgrade_to(NEW);
        assert_eq!(
            next.code,
            Some(0),
            "after {code}, the next upgrade does not work: {next:#?}\nfirst: {done:#?}"
        );
        recovery += again.elapsed();
        text.push_str(", then new");
    }
    Outcome { text, recovery }
}

fn outcome(text: &str, recovery: Duration) -> Outcome {
    Outcome { text: text.to_owned(), recovery }
}
