//! The fault matrix: every way an upgrade, a rollback and a restore can be hit, on a real engine, with the guestbook
//! under a writing client. `make faults` runs it; `--help` says how to run parts of it.
//!
//! A case says by panicking that it is bad; the table names it with what was wrong, and the run ends with 1.

mod case;
mod cases;
mod hold;
mod inner;
mod kills;
mod options;
mod shop;
mod site;
mod stack;
mod table;
mod whole;
mod writer;

#[path = "../it/support/http.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use more of it")]
mod http;
#[path = "../it/support/own.rs"]
mod own;
#[path = "../it/support/tiny.rs"]
#[allow(dead_code, reason = "shared with the integration tests, which use more of it")]
mod tiny;

use std::process::ExitCode;

use self::options::{Mode, Options};

fn main() -> ExitCode {
    let options = match Options::parse(std::env::args().skip(1)) {
        Ok(options) => options,
        Err(text) => {
            eprintln!("{text}");
            return ExitCode::from(2);
        }
    };
    let good = match &options.mode {
        Mode::Inner(name) => inner::run(name),
        Mode::Kills(count) => kills::run(*count, options.seed, options.skip),
        Mode::Matrix => case::run_all(&options),
    };
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
