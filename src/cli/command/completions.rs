//! `client completions`.

use clap::CommandFactory;
use clap_complete::Shell;

use crate::cli::args::Cli;

use super::Answer;

/// The completion script.
pub fn run(shell: Shell) -> Answer {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "client", &mut script);
    Answer::Raw(script)
}
