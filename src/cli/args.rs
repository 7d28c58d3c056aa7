//! The command line as clap sees it: the texts here are the manual.

mod backup;
mod release;

use std::path::PathBuf;

use clap::{ArgAction, Args, Parser, Subcommand, ValueEnum};

use crate::fault::Fault;
use crate::messages::Lang;
use crate::release::Version;
use crate::settings::Size;
use crate::upgrade::RollbackTarget;

pub use backup::BackupCommand;
pub use release::{BuildArgs, ReleaseCommand};

/// Takes a Docker Compose stack from release to release, and back when a release is bad.
///
/// Every change of version is planned before anything is touched, written to a journal while it runs, and
/// undone when the new release does not become healthy. It can be interrupted at any moment: the next run
/// finishes or undoes it.
#[derive(Debug, Parser)]
#[command(name = "client", version, max_term_width = 100, arg_required_else_help = true, after_long_help = EXAMPLES)]
pub struct Cli {
    /// What holds for every command.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  client init --project guestbook --source https://example.com/guestbook
  client check                    is there a newer one? (exit code 10: yes)
  client plan                     what would an upgrade do?
  client upgrade --yes            upgrade without a question
  client rollback --to previous   go back
  client status --json | jq .current

Exit codes:
  0    done, or nothing to do
  1    failed before anything was changed
  2    the command line or the settings are wrong
  10   check: an upgrade is available
  11   refused by policy: quarantine, downgrade, skipped version, no consent
  20   the upgrade failed and the stack is back on the old version
  21   the upgrade failed and the stack is on the factory version
  22   rollback could not finish: a person is needed
  30   another process is at work in this installation
  40   what was received cannot be trusted
  130  interrupted; the next run continues";

/// Options of every command.
#[derive(Debug, Clone, Args)]
pub struct Global {
    /// The folder the installation lives in.
    #[arg(
        long,
        value_name = "DIR",
        env = "CLIENT_ROOT",
        default_value = ".",
        global = true,
        help_heading = "Global options"
    )]
    pub root: PathBuf,

    /// The language of messages; taken from the locale (LC_ALL, LC_MESSAGES, LANG) unless given.
    #[arg(long, value_name = "LANG", global = true, help_heading = "Global options")]
    pub lang: Option<LangArg>,

    /// Say more about what is done on stderr; repeat it for still more. RUST_LOG, where set, wins.
    #[arg(short, long, action = ArgAction::Count, global = true, help_heading = "Global options")]
    pub verbose: u8,

    /// Say nothing but errors and what was asked for.
    #[arg(short, long, global = true, conflicts_with = "verbose", help_heading = "Global options")]
    pub quiet: bool,

    /// Print the answer as JSON on stdout (also errors: {"schema":1,"error":{…}}).
    #[arg(long, global = true, help_heading = "Global options")]
    pub json: bool,

    /// How progress is shown: bars on a terminal and plain lines elsewhere (auto), plain lines on stderr,
    /// JSON lines on stdout, of which the last is the result (json), or not at all (none).
    #[arg(
        long,
        value_name = "HOW",
        default_value = "auto",
        global = true,
        hide_possible_values = false,
        help_heading = "Global options"
    )]
    pub progress: ProgressMode,
}

/// `--lang`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LangArg {
    /// English.
    #[value(name = "en")]
    En,
    /// Simplified Chinese.
    #[value(name = "zh-CN", alias = "zh")]
    Zh,
}

impl From<LangArg> for Lang {
    fn from(arg: LangArg) -> Self {
        match arg {
            LangArg::En => Self::En,
            LangArg::Zh => Self::Zh,
        }
    }
}

/// `--progress`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
#[allow(missing_docs)] // explained at the option
pub enum ProgressMode {
    Auto,
    Plain,
    Json,
    None,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Install a stack here, or take over one that runs.
    Init(InitArgs),
    /// Ask the source whether there is a newer release.
    ///
    /// Compares the newest permitted release of the source with the installed one and changes nothing. Exits
    /// with 10 when an upgrade is available and with 0 when there is none.
    Check,
    /// Show what an upgrade would do, and change nothing.
    ///
    /// Prints the strategy and its reason, the steps in their order, what happens to each service, the bytes
    /// to fetch and the disk space needed.
    Plan(Wanted),
    /// Upgrade the stack to the newest release.
    Upgrade(UpgradeArgs),
    /// Go back to an earlier release.
    Rollback(RollbackArgs),
    /// Show versions and the state of every service.
    Status,
    /// Show the changes made here so far, or the journal of one.
    History {
        /// The change whose journal is to be shown; the beginning of its ID is enough.
        id: Option<String>,
    },
    /// Make, inspect, restore and remove backups of the stack's data.
    #[command(subcommand)]
    Backup(BackupCommand),
    /// Check the engine, Compose, disk, clock, source and installation, and say how to mend what is wrong.
    ///
    /// Works without an installation too. Exits with 1 when something has to be mended.
    Doctor {
        /// Bring back what is missing: images, bundles and release folders of the ways back, records of backups.
        #[arg(long)]
        fix: bool,
    },
    /// Pack, publish and inspect releases (for publishers).
    #[command(subcommand)]
    Release(ReleaseCommand),
    /// Print the completion script for a shell.
    #[command(after_long_help = "Example:\n  client completions bash > /etc/bash_completion.d/client")]
    Completions {
        /// The shell.
        shell: clap_complete::Shell,
    },
    /// Print the manual pages of all commands.
    #[command(
        after_long_help = "Examples:\n  client man | man -l -\n  client man --out /usr/local/share/man/man1"
    )]
    Man {
        /// Write one page per command into this folder instead.
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// `client init`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
Without --adopt the newest release of the source (or that of --bundle) is installed and started; it becomes \
the current and the factory version. With --adopt the stack that runs from the Compose files in DIR is taken \
over as it is: nothing is restarted and no data is moved.

Examples:
  client init --project guestbook --source https://example.com/guestbook
  client init --project guestbook --source /mnt/usb --bundle g-1.0.0.bundle
  client init --project guestbook --source https://example.com/guestbook \\
      --adopt /opt/guestbook --version 1.0.0")]
pub struct InitArgs {
    /// The name of the Compose project.
    #[arg(long, value_name = "NAME")]
    pub project: String,

    /// Where releases come from: an http(s) address or a folder.
    #[arg(long, value_name = "URL|DIR")]
    pub source: String,

    /// The root of trust for signed metadata (this client cannot check signatures yet and says so).
    #[arg(long, value_name = "FILE", conflicts_with = "insecure")]
    pub trust: Option<PathBuf>,

    /// Accept a source whose metadata gives no hash for its packages.
    #[arg(long)]
    pub insecure: bool,

    /// Install this bundle instead of downloading one.
    #[arg(long, value_name = "FILE", conflicts_with = "adopt")]
    pub bundle: Option<PathBuf>,

    /// Take over the running stack whose Compose files are in this folder.
    #[arg(long, value_name = "DIR", requires = "version")]
    pub adopt: Option<PathBuf>,

    /// The version the adopted stack has.
    #[arg(long, value_name = "V", requires = "adopt")]
    pub version: Option<Version>,
}

/// Which release, and how: `plan` and `upgrade`.
#[derive(Debug, Clone, Args)]
pub struct Wanted {
    /// This version instead of the newest one; an older version is a downgrade and is allowed only so.
    #[arg(long, value_name = "V")]
    pub target: Option<Version>,

    /// Install the full package even where a patch, or nothing, would do.
    #[arg(long)]
    pub force_full: bool,

    /// Offline: use this bundle instead of the source.
    #[arg(long, value_name = "FILE")]
    pub bundle: Option<PathBuf>,

    /// Try a version in quarantine all the same.
    #[arg(long)]
    pub force: bool,
}

/// `client upgrade`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
An upgrade that was interrupted is finished first. On a terminal the plan is shown and consent is asked for; \
in a script the command is consent enough. When the new release does not become healthy the stack goes back \
to the old one by itself (exit code 20).

Examples:
  client upgrade                   show the plan, ask, upgrade
  client upgrade --yes             do not ask
  client upgrade --check           only ask the source
  client upgrade --dry-run         only show the plan
  client upgrade --download-only --limit-rate 500k   ahead of the maintenance window
  client upgrade --bundle /mnt/usb/guestbook-1.1.0.bundle
  client upgrade --progress json   a JSON line for every event, the result last")]
pub struct UpgradeArgs {
    /// Only ask the source, like 'client check'.
    #[arg(long, conflicts_with_all = ["dry_run", "target", "force_full", "bundle", "force"])]
    pub check: bool,

    /// Only show what would be done, like 'client plan'.
    #[arg(long)]
    pub dry_run: bool,

    /// Only fetch and verify what the upgrade will need, and change nothing else; a later upgrade fetches nothing.
    #[arg(long, conflicts_with_all = ["check", "dry_run", "bundle"])]
    pub download_only: bool,

    /// Fetch at most so many bytes a second (500k, 2M; 0: no limit), whatever client.toml says.
    #[arg(long, value_name = "RATE")]
    pub limit_rate: Option<Size>,

    /// Which release, and how.
    #[command(flatten)]
    pub wanted: Wanted,

    /// Do not ask for consent.
    #[arg(short, long)]
    pub yes: bool,
}

/// `client rollback`.
#[derive(Debug, Args)]
#[command(after_long_help = "\
The data is restored only where the release that is left declares that it changed the data's format, unless \
one of --restore-data and --keep-data is given. The plan is shown first, and consent is asked for; without a \
terminal --yes is required. A rollback can itself be undone: 'previous' is then the version that was left, and \
--restore-data brings its data back.

Examples:
  client rollback                      to the previous version
  client rollback --dry-run            only show the plan
  client rollback --to factory --yes   to the last line of defence, without a question
  client rollback --to 1.0.0 --keep-data")]
pub struct RollbackArgs {
    /// Where to: 'previous', 'factory', or a version that is kept here.
    #[arg(long, value_name = "previous|factory|VERSION", default_value = "previous", value_parser = rollback_target)]
    pub to: RollbackTarget,

    /// Restore the data from the backup made before the upgrade; what was written since is lost.
    #[arg(long, conflicts_with = "keep_data")]
    pub restore_data: bool,

    /// Leave the data as it is.
    #[arg(long)]
    pub keep_data: bool,

    /// Only show what would be done.
    #[arg(long)]
    pub dry_run: bool,

    /// Do not ask for consent.
    #[arg(short, long)]
    pub yes: bool,
}

fn rollback_target(to: &str) -> Result<RollbackTarget, Fault> {
    Ok(match to {
        "previous" => RollbackTarget::Previous,
        "factory" => RollbackTarget::Factory,
        version => RollbackTarget::Version(version.parse()?),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_tree_is_sound() {
        Cli::command().debug_assert();
    }

    #[test]
    fn every_command_and_option_is_explained() {
        fn look_into(command: &clap::Command) {
            assert!(command.get_about().is_some(), "{} has no description", command.get_name());
            for argument in command.get_arguments() {
                assert!(argument.get_help().is_some(), "{} {}", command.get_name(), argument.get_id());
            }
            command.get_subcommands().for_each(look_into);
        }
        look_into(&Cli::command());
    }

    #[test]
    fn what_excludes_each_other_is_refused() {
        for line in [
            "client upgrade --check --dry-run",
            "client upgrade --check --target 1.0.0",
            "client upgrade --download-only --check",
            "client upgrade --download-only --bundle x",
            "client upgrade --limit-rate fast",
            "client rollback --restore-data --keep-data",
            "client init --project x --source y --trust z --insecure",
            "client init --project x --source y --adopt z",
            "client init --project x --source y --version 1.0.0",
            "client plan --target one",
            "client rollback --to last",
            "client -v -q status",
        ] {
            let error = Cli::try_parse_from(line.split(' ')).expect_err(line);
            assert_eq!(error.exit_code(), 2, "{line}");
        }
    }

    #[test]
    fn a_rollback_goes_to_a_pointer_or_a_version() {
        assert_eq!(rollback_target("previous").unwrap(), RollbackTarget::Previous);
        assert_eq!(rollback_target("factory").unwrap(), RollbackTarget::Factory);
        assert_eq!(rollback_target("v1.0.0").unwrap(), RollbackTarget::Version("1.0.0".parse().unwrap()));
    }

    #[test]
    fn global_options_may_follow_the_command() {
        let cli =
            Cli::try_parse_from(["client", "status", "--root", "/x", "--lang", "zh-CN", "--json"]).unwrap();
        assert_eq!(cli.global.root, PathBuf::from("/x"));
        assert_eq!(cli.global.lang, Some(LangArg::Zh));
        assert!(cli.global.json);
    }
}
