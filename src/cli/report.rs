//! Errors as a person sees them at the edge: code, sentence, advice, in their language.

use std::fmt;

use miette::{Diagnostic, GraphicalReportHandler, GraphicalTheme};

use crate::messages::Lang;
use crate::messages::cli::Words;
use crate::progress::ErrorBody;

use super::view::{Look, clean};

#[derive(Debug, thiserror::Error)]
#[error("{}", clean(&body.message))]
struct Told<'a> {
    body: &'a ErrorBody,
    /// miette writes "help:" itself, in English; in another language the advice is its footer.
    own_help: bool,
}

impl Diagnostic for Told<'_> {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        Some(Box::new(&self.body.code))
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        (self.own_help && !self.body.help.is_empty()).then(|| Box::new(clean(&self.body.help)) as Box<_>)
    }
}

/// The report of an error, without a final newline. Lines are not wrapped: a path stays in one piece.
pub fn render(body: &ErrorBody, look: Look) -> String {
    let theme = if look.colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
    let mut handler = GraphicalReportHandler::new_themed(theme).with_links(false).with_wrap_lines(false);
    let own_help = look.lang == Lang::En;
    if !own_help && !body.help.is_empty() {
        handler = handler.with_footer(format!("{}: {}", look.say(Words::Help), clean(&body.help)));
    }
    let mut text = String::new();
    match handler.render_report(&mut text, &Told { body, own_help }) {
        Ok(()) => text.trim_end().to_owned(),
        // Writing to a string does not fail; were it to, the plain words are still told.
        Err(fmt::Error) => format!("{}: {} ({})", body.code, body.message, body.help),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::{Code, Fault};

    #[test]
    fn code_sentence_and_advice_in_both_languages() {
        let fault = Fault::new(Code::NotInitialised, "/srv/x", "client.toml is missing");
        let text = |lang| render(&ErrorBody::new(&fault, lang), Look { lang, colour: false });
        assert_eq!(
            text(Lang::En),
            "\
NOT_INITIALISED

  × there is no installation in /srv/x: client.toml is missing
  help: Run 'client init' there first, or name the right folder with --root."
        );
        assert_eq!(
            text(Lang::Zh),
            "\
NOT_INITIALISED

  × /srv/x 中没有安装：client.toml is missing

  帮助: 请先在该目录运行 'client init'，或用 --root 指定正确的目录。"
        );
    }
}
