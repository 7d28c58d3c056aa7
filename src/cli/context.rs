//! What every command is given: where, in which language, and how to tell.

use std::io::IsTerminal;
use std::path::PathBuf;
use std::sync::Arc;

use crate::fault::Result;
use crate::messages::Lang;
use crate::progress::{Progress, Silent};
use crate::upgrade::Installation;

use super::args::{Global, ProgressMode};
use super::sink::{JsonLines, Once, Plain, Sink, Terminal};
use super::view::Look;

/// The form of documents on stdout.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// For people.
    Text,
    /// One indented JSON document.
    Json,
    /// A JSON document a line, after the lines of progress.
    Lines,
}

/// What every command is given.
pub struct Context {
    /// The install root as it was named.
    pub root: PathBuf,
    /// The form of stdout.
    pub form: Form,
    /// The look of stdout.
    pub out: Look,
    /// The look of stderr.
    pub talk: Look,
    /// Only errors and what was asked for.
    pub quiet: bool,
    /// Whether a person can be asked.
    pub interactive: bool,
    /// Progress of the command.
    pub progress: Progress,
    /// Where that progress goes.
    pub sink: Arc<Once>,
}

impl Context {
    /// From the global options and the environment.
    pub fn new(global: &Global) -> Self {
        let lang = global
            .lang
            .map_or_else(|| Lang::from_locale(&locale(|name| std::env::var(name).ok())), Lang::from);
        let (stdout, stderr) = (std::io::stdout(), std::io::stderr());
        let dumb = std::env::var_os("TERM").is_some_and(|term| term == "dumb");
        let colours = !dumb && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let out = Look { lang, colour: colours && stdout.is_terminal() };
        let talk = Look { lang, colour: colours && stderr.is_terminal() };
        let sink = Arc::new(match global.progress {
            ProgressMode::Json => Once::new(JsonLines::new(stdout)),
            ProgressMode::None => Once::new(Silent),
            ProgressMode::Auto if global.quiet => Once::new(Silent),
            // Log lines and bars on one terminal would disturb each other.
            ProgressMode::Auto if stderr.is_terminal() && !dumb && global.verbose == 0 => {
                Once::new(Terminal::new(talk))
            }
            ProgressMode::Auto | ProgressMode::Plain => Once::new(Plain::new(stderr, talk)),
        });
        let form = match (global.progress, global.json) {
            (ProgressMode::Json, _) => Form::Lines,
            (_, true) => Form::Json,
            (_, false) => Form::Text,
        };
        Self {
            root: global.root.clone(),
            form,
            out,
            talk,
            quiet: global.quiet,
            interactive: std::io::stdin().is_terminal() && std::io::stderr().is_terminal(),
            progress: Progress::new(sink.clone(), "", lang),
            sink,
        }
    }

    /// Opens the installation the command is about.
    pub fn installation(&self) -> Result<Installation> {
        Installation::open(&self.root)
    }

    /// Removes bars from the terminal, so that a question or an answer stands alone.
    pub fn clear_progress(&self) {
        self.sink.close();
    }
}

/// The locale for messages: the first of the POSIX variables that is set and not empty.
fn locale(variable: impl Fn(&str) -> Option<String>) -> String {
    let names = ["LC_ALL", "LC_MESSAGES", "LANG"];
    names.iter().filter_map(|name| variable(name)).find(|value| !value.is_empty()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_locale_variable_that_says_something_counts() {
        let pick = |set: &[(&str, &str)]| {
            locale(|name| set.iter().find(|(key, _)| *key == name).map(|(_, value)| (*value).to_owned()))
        };
        assert_eq!(pick(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "C")]), "C");
        assert_eq!(pick(&[("LANG", "zh_CN.UTF-8"), ("LC_ALL", "")]), "zh_CN.UTF-8");
        assert_eq!(pick(&[("LANG", "en_GB"), ("LC_MESSAGES", "zh_TW")]), "zh_TW");
        assert_eq!(pick(&[]), "");
    }
}
