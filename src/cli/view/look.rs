//! How text is to look: its language and whether it has colours.

use crate::messages::Lang;
use crate::messages::cli::{Words, term};

/// The language and colours of one stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Look {
    /// The language.
    pub lang: Lang,
    /// Whether the stream shows colours.
    pub colour: bool,
}

/// What a colour means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Paint {
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Of less importance.
    Dim,
    /// A heading.
    Strong,
}

impl Look {
    /// The words of the catalogue.
    pub fn say(self, words: Words<'_>) -> String {
        words.text(self.lang)
    }

    /// The word for a token of a document.
    pub fn term(self, token: &str) -> String {
        clean(&term(token, self.lang))
    }

    /// `text` in the colour of its meaning.
    pub fn paint(self, paint: Paint, text: &str) -> String {
        if !self.colour || text.is_empty() {
            return text.to_owned();
        }
        let code = match paint {
            Paint::Good => "32",
            Paint::Warn => "33",
            Paint::Bad => "31",
            Paint::Dim => "2",
            Paint::Strong => "1",
        };
        format!("\x1b[{code}m{text}\x1b[0m")
    }

    /// A line that begins with the sign of its meaning.
    pub fn line(self, paint: Paint, text: &str) -> String {
        let sign = match paint {
            Paint::Good => "✓",
            Paint::Warn => "!",
            Paint::Bad => "✗",
            Paint::Dim | Paint::Strong => "·",
        };
        format!("{} {}", self.paint(paint, sign), clean(text))
    }
}

/// Text from elsewhere (release notes, names, an engine's messages) without the control characters that
/// could move the cursor or change what a person sees; line ends stay.
pub fn clean(text: &str) -> String {
    text.chars().filter(|c| *c == '\n' || !c.is_control()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_elsewhere_cannot_drive_the_terminal() {
        assert_eq!(clean("a\x1b[2Jb\r\nc\u{7}"), "a[2Jb\nc");
    }

    #[test]
    fn without_colours_there_is_no_escape() {
        let look = Look { lang: Lang::En, colour: false };
        assert_eq!(look.line(Paint::Good, "done"), "✓ done");
        let look = Look { colour: true, ..look };
        assert_eq!(look.line(Paint::Good, "done"), "\x1b[32m✓\x1b[0m done");
    }
}
