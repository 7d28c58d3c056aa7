//! Asking a person before something is replaced or lost.

use std::io::{BufRead, Write};

use tokio::sync::oneshot;

use crate::fault::{Code, Fault, IoContext, Result};

use super::context::Context;

/// Asks `question` on the terminal, after `summary`; anything but yes is a [`Code::ConsentMissing`] on `what`.
pub async fn ask(context: &Context, what: &str, summary: &str, question: &str) -> Result<()> {
    must_be_possible(context, what)?;
    context.clear_progress();
    let mut stderr = std::io::stderr();
    write!(stderr, "{summary}{question} [y/N] ").and_then(|()| stderr.flush()).at("stderr")?;
    // A thread of its own and not the runtime's: the runtime would wait for it when Ctrl-C is the answer.
    let (answers, answer) = oneshot::channel();
    std::thread::spawn(move || {
        let mut line = String::new();
        let read = std::io::stdin().lock().read_line(&mut line);
        // Nobody waits for the answer after Ctrl-C.
        let _ = answers.send(read.map(|_| line));
    });
    let line = answer.await.map_err(|error| Fault::from_error(Code::Io, "stdin", error))?.at("stdin")?;
    match is_yes(&line) {
        true => Ok(()),
        false => Err(Fault::new(Code::ConsentMissing, what, "")),
    }
}

/// Refuses `what` where there is nobody to ask, before anything is looked up for the question.
pub fn must_be_possible(context: &Context, what: &str) -> Result<()> {
    match context.interactive {
        true => Ok(()),
        false => Err(Fault::new(Code::ConsentMissing, what, "")),
    }
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_lowercase().as_str(), "y" | "yes" | "是" | "好")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_clear_yes_is_consent() {
        for yes in ["y\n", "Y", " yes \n", "YES", "是\n"] {
            assert!(is_yes(yes), "{yes:?}");
        }
        for no in ["", "\n", "n\n", "no", "yep", "不是"] {
            assert!(!is_yes(no), "{no:?}");
        }
    }
}
