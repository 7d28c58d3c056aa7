//! Labelled values under one another: `took        4.2 s`.

use unicode_width::UnicodeWidthStr;

use crate::messages::cli::Words;

use super::{Look, Paint, clean};

/// Labels and values, aligned.
pub struct Facts {
    look: Look,
    lines: Vec<(String, String)>,
}

impl Facts {
    /// None yet.
    pub fn new(look: Look) -> Self {
        Self { look, lines: Vec::new() }
    }

    /// Adds a value under its label.
    pub fn add(&mut self, label: Words<'_>, value: impl Into<String>) -> &mut Self {
        self.lines.push((self.look.say(label), clean(&value.into())));
        self
    }

    /// Adds a value where there is one.
    pub fn add_some(&mut self, label: Words<'_>, value: Option<impl Into<String>>) -> &mut Self {
        if let Some(value) = value {
            self.add(label, value);
        }
        self
    }

    /// The lines, each behind `indent` spaces; further lines of a value stand under its first.
    pub fn render(&self, indent: usize) -> String {
        let width = self.lines.iter().map(|(label, _)| label.width()).max().unwrap_or(0);
        let mut out = String::new();
        for (label, value) in &self.lines {
            let fill = " ".repeat(width - label.width());
            let mut parts = value.lines();
            let first = parts.next().unwrap_or_default();
            let label = self.look.paint(Paint::Dim, label);
            out.push_str(format!("{}{label}{fill}  {first}", " ".repeat(indent)).trim_end());
            out.push('\n');
            for part in parts {
                out.push_str(format!("{}{part}", " ".repeat(indent + width + 2)).trim_end());
                out.push('\n');
            }
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    #[test]
    fn values_stand_under_one_another() {
        let mut facts = Facts::new(Look { lang: Lang::Zh, colour: false });
        facts.add(Words::Took, "4.2 s").add(Words::Downtime, "a\nb").add_some(Words::Backup, None::<String>);
        assert_eq!(facts.render(2), "  耗时      4.2 s\n  停机时间  a\n            b\n");
    }
}
