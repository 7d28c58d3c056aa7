//! The commands: each asks the layers below and turns what they say into an [`Answer`].

mod backup;
mod check;
mod completions;
mod doctor;
mod history;
mod init;
mod man;
mod plan;
mod release;
mod rollback;
mod status;
mod upgrade;

use serde::Serialize;
use serde_json::Value;

use crate::exit;
use crate::fault::{Code, Fault, Result};
use crate::progress::Outcome;

use super::args::Command;
use super::context::Context;

/// What a command has to tell.
pub enum Answer {
    /// A document: as JSON, and as text for people.
    Report {
        /// For `--json`.
        document: Value,
        /// For people.
        text: String,
        /// The exit code.
        exit_code: u8,
    },
    /// The result of a change of version.
    Change(Box<Outcome>),
    /// Bytes for stdout as they are.
    Raw(Vec<u8>),
}

impl Answer {
    /// A report with exit code 0.
    fn report(document: &impl Serialize, text: String) -> Result<Self> {
        Self::report_with(document, text, exit::OK)
    }

    /// A report with an exit code of its own.
    fn report_with(document: &impl Serialize, text: String, exit_code: u8) -> Result<Self> {
        let document =
            serde_json::to_value(document).map_err(|error| Fault::from_error(Code::Io, "stdout", error))?;
        Ok(Self::Report { document, text, exit_code })
    }
}

/// Runs a command.
pub async fn run(command: Command, context: &Context) -> Result<Answer> {
    match command {
        Command::Init(args) => init::run(args, context).await,
        Command::Check => check::run(context).await,
        Command::Plan(wanted) => plan::run(wanted, context).await,
        Command::Upgrade(args) => upgrade::run(args, context).await,
        Command::Rollback(args) => rollback::run(args, context).await,
        Command::Status => status::run(context).await,
        Command::History { id } => history::run(id.as_deref(), context),
        Command::Backup(command) => backup::run(command, context).await,
        Command::Doctor { fix } => doctor::run(fix, context).await,
        Command::Release(command) => release::run(command, context).await,
        Command::Completions { shell } => Ok(completions::run(shell)),
        Command::Man { out } => man::run(out.as_deref()),
    }
}

/// The command's name.
pub fn name(command: &Command) -> &'static str {
    match command {
        Command::Init(_) => "init",
        Command::Check => "check",
        Command::Plan(_) => "plan",
        Command::Upgrade(_) => "upgrade",
        Command::Rollback(_) => "rollback",
        Command::Status => "status",
        Command::History { .. } => "history",
        Command::Backup(_) => "backup",
        Command::Doctor { .. } => "doctor",
        Command::Release(_) => "release",
        Command::Completions { .. } => "completions",
        Command::Man { .. } => "man",
    }
}

/// The one of `known` that begins with `given`, or `given` itself where none or several do: then the layer
/// below says that there is no such thing.
fn whole_id<'a>(given: &'a str, known: impl Iterator<Item = &'a str>) -> &'a str {
    let mut matching = known.filter(|id| id.starts_with(given));
    match (matching.next(), matching.next()) {
        (Some(only), None) if !given.is_empty() => only,
        _ => given,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beginning_of_an_id_is_enough_when_it_is_unique() {
        let known = ["0193-aa", "0193-ab", "0194-x"];
        for (given, whole) in
            [("0194", "0194-x"), ("0193-a", "0193-a"), ("0193-ab", "0193-ab"), ("", ""), ("z", "z")]
        {
            assert_eq!(whole_id(given, known.iter().copied()), whole);
        }
    }
}
