//! The edge of the program: runs a command, prints its answer, and chooses the exit code.

use std::io::{ErrorKind, Write};
use std::sync::Arc;
use std::time::Duration;

use serde::Serialize;

use crate::agent;
use crate::exit;
use crate::fault::{Code, Fault, Result};
use crate::messages::Lang;
use crate::progress::{ErrorBody, Outcome, Reporter};

use super::args::{Cli, Command};
use super::command::{self, Answer};
use super::context::{Context, Form};
use super::sink::to_stderr;
use super::stop::Stop;
use super::{backend, report, view};

/// How long work that cannot be cancelled (a file being written) may take to end after the command ended.
const GRACE: Duration = Duration::from_secs(10);
/// How long a command that has told its result may still deliver reports.
const REPORTING: Duration = Duration::from_secs(3);

/// Runs the command; the exit code.
pub fn run(cli: Cli) -> u8 {
    super::log::start(&cli.global);
    let context = Context::new(&cli.global);
    let is_change = is_change(&cli.command);
    let reports = is_change || matches!(cli.command, Command::Backup(_));
    let answer = answer(cli.command, &context);
    context.clear_progress();
    let exit_code = match answer {
        Ok(Answer::Change(outcome)) => tell_change(&outcome, &context),
        Ok(Answer::Report { document, text, exit_code }) => {
            tell_report(&document, &text, exit_code, &context)
        }
        Ok(Answer::Raw(bytes)) => or_fault(print(&bytes), exit::OK, &context),
        Err(fault) if is_change => tell_change(&refused(&fault, context.out.lang), &context),
        Err(fault) => tell_fault(&fault, &context),
    };
    if reports {
        report_changes(&context);
    }
    exit_code
}

/// Delivers what waits to be reported. The result is told already, and nothing here changes it.
fn report_changes(context: &Context) {
    let Ok(installation) = context.installation() else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let delivered = match runtime {
        Ok(runtime) => {
            let delivered = runtime.block_on(agent::report::deliver(&installation, REPORTING));
            // A name that is still being looked up holds nobody up.
            runtime.shutdown_background();
            delivered
        }
        Err(error) => Err(Fault::from_error(Code::Io, "the runtime", error)),
    };
    if let Err(fault) = delivered {
        tracing::warn!(%fault, "reports wait for the next command");
    }
}

/// This program in a container beside a service, where it reads or exchanges the content of a volume (see
/// [`crate::upgrade::SEND`] and [`crate::upgrade::INSIDE`]); none where it was started for anything else. No command of
/// the command line: nobody types it.
pub fn inside() -> Option<u8> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [backend::SEND, folder, scope] => {
            let Ok(scope) = serde_json::from_str(scope) else { return Some(exit::USAGE) };
            backend::send_inside(folder.as_ref(), &scope, &mut std::io::stdout().lock())
        }
        [backend::INSIDE, folder, name, scope] => {
            let Ok(scope) = serde_json::from_str(scope) else { return Some(exit::USAGE) };
            let lost = backend::exchange_inside(folder.as_ref(), name, &scope, &mut std::io::stdin().lock());
            lost.map(|lost| lost.iter().for_each(|text| to_stderr(text)))
        }
        [backend::SEND | backend::INSIDE, ..] => return Some(exit::USAGE),
        _ => return None,
    };
    Some(match done {
        Ok(()) => exit::OK,
        Err(fault) => {
            to_stderr(&fault.to_string());
            exit::of_fault(&fault)
        }
    })
}

/// A usage error (or help, or the version) as clap words it; the exit code.
pub fn tell_usage(error: &clap::Error, wants_json: bool) -> u8 {
    if error.use_stderr() && wants_json {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first).to_owned();
        let help = Code::Usage.help(Lang::En).to_owned();
        let error = ErrorBody { code: Code::Usage.name().to_owned(), message, help };
        // The error goes to stderr as well, so a stdout nobody reads loses nothing.
        let _ = print_document(&ErrorDocument { schema: 1, error: &error }, Form::Json);
    }
    // A closed stream: nobody reads the help.
    let _ = error.print();
    u8::try_from(error.exit_code()).unwrap_or(exit::USAGE)
}

/// The result of a change that was refused before it began.
pub fn refused(fault: &Fault, lang: Lang) -> Outcome {
    Outcome { exit_code: exit::of_fault(fault), error: Some(ErrorBody::new(fault, lang)), ..Outcome::blank() }
}

#[derive(Serialize)]
struct ErrorDocument<'a> {
    schema: u32,
    error: &'a ErrorBody,
}

/// Whether the command's answer is the result of a change of version.
fn is_change(command: &Command) -> bool {
    match command {
        Command::Init(_) => true,
        Command::Rollback(args) => !args.dry_run,
        Command::Upgrade(args) => !args.check && !args.dry_run,
        _ => false,
    }
}

/// Runs the command until it ends or a person wishes it to stop. Dropping it at a point where it waits is
/// safe by design: it is what a power cut would do, and the next run continues.
fn answer(command: Command, context: &Context) -> Result<Answer> {
    let name = format!("client {}", command::name(&command));
    let stop = Stop::listen(context.sink.clone() as Arc<dyn super::sink::Sink>, context.talk)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::from_error(Code::Io, "the runtime", error))?;
    let wished = async {
        let signal = stop.wished().await;
        // Before the command is dropped: what it had begun on other threads may go on until the process ends.
        backend::keep_locks();
        signal
    };
    let answer = runtime.block_on(async {
        tokio::select! {
            biased;
            answer = command::run(command, context) => answer,
            signal = wished => {
                // The next run would do it too, but nobody should stay frozen until then.
                match context.installation() {
                    Ok(installation) => backend::thaw(&installation).await.and(Err(Fault::new(Code::Interrupted, name, signal))),
                    Err(_) => Err(Fault::new(Code::Interrupted, name, signal)),
                }
            }
        }
    });
    runtime.shutdown_timeout(GRACE);
    answer
}

fn tell_change(outcome: &Outcome, context: &Context) -> u8 {
    context.sink.outcome(outcome);
    let summary = || view::outcome::render(outcome, context.out);
    // What was refused before it began has nothing to sum up: the error says it all.
    let says_nothing = context.quiet || (!outcome.ok && outcome.to.is_none());
    let printed = match context.form {
        Form::Lines => Ok(()),
        Form::Json => print_document(outcome, context.form),
        Form::Text if says_nothing => Ok(()),
        Form::Text => print(summary().as_bytes()),
    };
    if let Some(error) = &outcome.error {
        to_stderr(&report::render(error, context.talk));
    }
    or_fault(printed, outcome.exit_code, context)
}

fn tell_report(document: &serde_json::Value, text: &str, exit_code: u8, context: &Context) -> u8 {
    let printed = match context.form {
        Form::Text => print(text.as_bytes()),
        form => print_document(document, form),
    };
    or_fault(printed, exit_code, context)
}

fn tell_fault(fault: &Fault, context: &Context) -> u8 {
    let error = ErrorBody::new(fault, context.talk.lang);
    let printed = match context.form {
        Form::Text => Ok(()),
        form => print_document(&ErrorDocument { schema: 1, error: &error }, form),
    };
    to_stderr(&report::render(&error, context.talk));
    or_fault(printed, exit::of_fault(fault), context)
}

/// The exit code; an answer that could not be printed is a failure of its own where there was none.
fn or_fault(printed: Result<()>, exit_code: u8, context: &Context) -> u8 {
    match printed {
        Ok(()) => exit_code,
        Err(fault) => {
            to_stderr(&report::render(&ErrorBody::new(&fault, context.talk.lang), context.talk));
            if exit_code == exit::OK { exit::of_fault(&fault) } else { exit_code }
        }
    }
}

fn print_document(document: &impl Serialize, form: Form) -> Result<()> {
    let text = match form {
        Form::Lines => serde_json::to_string(document),
        Form::Text | Form::Json => serde_json::to_string_pretty(document),
    };
    let text = text.map_err(|error| Fault::from_error(Code::Io, "stdout", error))?;
    print(format!("{text}\n").as_bytes())
}

/// Writes to stdout; a reader that has seen enough (`| head`) is no error.
fn print(bytes: &[u8]) -> Result<()> {
    let mut stdout = std::io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Fault::io("stdout", error)),
        _ => Ok(()),
    }
}
