//! An upgrade from a program of your own, with your own view of its progress.
//!
//! ```text
//! cargo run --example reporter -- /opt/guestbook
//! ```

use std::path::Path;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use compose_upgrade::messages::Lang;
use compose_upgrade::progress::{Event, Kind, Outcome, Progress, Reporter};
use compose_upgrade::upgrade::{self, Installation, UpgradeOptions};

/// A frontend in miniature: one line per step, a percentage while something is measured, and the result.
#[derive(Default)]
struct Frontend {
    // Events come from several threads, one at a time; a reporter that draws keeps what it drew.
    percent: Mutex<Option<u64>>,
}

impl Reporter for Frontend {
    fn report(&self, event: &Event) {
        let step = event.step.name();
        match (event.kind, &event.amount) {
            (Kind::Progress, Some(amount)) => {
                let Some(total) = amount.total.filter(|total| *total > 0) else { return };
                let percent = amount.done.min(total) * 100 / total;
                let mut shown = self.percent.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
                // The stream is not throttled: that is the frontend's to do.
                if shown.is_none_or(|shown| percent >= shown + 10 || percent < shown) {
                    *shown = Some(percent);
                    println!("{step:<20} {percent:>3} %");
                }
            }
            (Kind::Started | Kind::Warning | Kind::Failed, _) => println!("{step:<20} {}", event.message),
            _ => {}
        }
    }

    fn outcome(&self, outcome: &Outcome) {
        match &outcome.error {
            None => println!("done in {} ms; away: {:?}", outcome.duration_ms, outcome.downtime_ms),
            Some(error) => println!("{}: {}\n{}", error.code, error.message, error.help),
        }
    }
}

#[tokio::main]
async fn main() -> ExitCode {
    let Some(root) = std::env::args().nth(1) else {
        eprintln!("usage: reporter INSTALL_ROOT");
        return ExitCode::from(2);
    };
    let installation = match Installation::open(Path::new(&root)) {
        Ok(installation) => installation,
        Err(fault) => {
            eprintln!("{}\n{}", fault.message(Lang::En), fault.help(Lang::En));
            return ExitCode::from(1);
        }
    };
    let progress = Progress::new(Arc::new(Frontend::default()), "", Lang::En);
    let outcome = upgrade::upgrade(&installation, &UpgradeOptions::default(), &progress).await;
    progress.outcome(&outcome);
    ExitCode::from(outcome.exit_code)
}
