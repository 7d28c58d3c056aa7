//! The command line: the clap tree, one file per command, sinks for progress, and words for people.
//!
//! stdout is data, stderr is talk. Exit codes come from [`crate::exit`] alone.

pub mod sink;
pub mod view;

mod args;
mod backend;
mod command;
mod consent;
mod context;
mod edge;
mod log;
mod report;
mod stop;

use std::process::ExitCode;

use clap::Parser;

/// Runs `client` with the arguments of this process.
pub fn run() -> ExitCode {
    if let Some(code) = edge::inside() {
        return ExitCode::from(code);
    }
    let code = match args::Cli::try_parse() {
        Ok(cli) => edge::run(cli),
        Err(error) => edge::tell_usage(&error, std::env::args_os().any(|argument| argument == "--json")),
    };
    ExitCode::from(code)
}
