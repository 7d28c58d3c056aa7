//! Merging a release's `.env` template into the operator's `.env`.
//!
//! New keys are added, the operator's values kept, keys the release no longer has reported. Comments, order
//! and quoting of the operator's file are left alone.

use std::collections::BTreeSet;

/// What a merge came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Merged {
    /// The operator's file with new keys appended.
    pub text: String,
    /// Keys that were added.
    pub added: Vec<String>,
    /// Keys that the former template had, the new one has not, and the operator's file still has.
    pub removed: Vec<String>,
}

/// Merges `template` (the new release's) into `own` (the operator's). `former` is the template of the release
/// before, where there was one.
pub fn merge(own: &str, former: Option<&str>, template: &str) -> Merged {
    let own_keys = keys(own);
    let template_keys = keys(template);
    let mut text = own.to_owned();
    let mut added = Vec::new();
    for (key, line) in assignments(template) {
        if own_keys.contains(key) || added.iter().any(|have| have == key) {
            continue;
        }
        if !text.is_empty() && !text.ends_with('\n') {
            text.push('\n');
        }
        text.push_str(line);
        text.push('\n');
        added.push(key.to_owned());
    }
    let removed = former
        .map(keys)
        .unwrap_or_default()
        .into_iter()
        .filter(|key| !template_keys.contains(key) && own_keys.contains(key))
        .map(str::to_owned)
        .collect();
    Merged { text, added, removed }
}

/// `text` with `key=value` in it, unless the key is set already.
pub fn with_default(text: &str, key: &str, value: &str) -> String {
    merge(text, None, &format!("{key}={value}")).text
}

/// The value a key is set to, as written.
pub fn value<'a>(text: &'a str, key: &str) -> Option<&'a str> {
    let (_, whole) = assignments(text).find(|(name, _)| *name == key)?;
    whole.split_once('=').map(|(_, value)| value.trim())
}

/// `text` with `key` set to `value`, in the place where it is set already.
pub fn with_value(text: &str, key: &str, value: &str) -> String {
    match assignments(text).find(|(name, _)| *name == key) {
        Some((_, whole)) => text.replacen(whole, &format!("{key}={value}"), 1),
        None => with_default(text, key, value),
    }
}

fn keys(text: &str) -> BTreeSet<&str> {
    assignments(text).map(|(key, _)| key).collect()
}

/// The `KEY=value` assignments with their text, which spans lines where a quoted value does.
fn assignments(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            if rest.is_empty() {
                return None;
            }
            let line_end = rest.find('\n').unwrap_or(rest.len());
            let line = &rest[..line_end];
            let bare = line.trim_start();
            let bare = bare.strip_prefix("export ").unwrap_or(bare).trim_start();
            let key_end = bare.find('=').filter(|_| !bare.starts_with('#'));
            let Some(key_end) = key_end else {
                rest = rest[line_end..].trim_start_matches(['\n']);
                continue;
            };
            let key = bare[..key_end].trim();
            let value_start = rest.len() - rest[line.len() - bare.len() + key_end + 1..].len();
            let end = value_end(rest, value_start).max(line_end);
            let whole = &rest[..end];
            rest = rest[end..].trim_start_matches(['\n']);
            if !key.is_empty() && !key.contains(char::is_whitespace) {
                return Some((key, whole));
            }
        }
    })
}

/// Where the value that begins at `start` ends: at the line's end, or at the end of the line in which its
/// opening quote is closed.
fn value_end(text: &str, start: usize) -> usize {
    let to_line_end = |from: usize| text[from..].find('\n').map_or(text.len(), |offset| from + offset);
    let value = &text[start..];
    let skipped = value.len() - value.trim_start_matches([' ', '\t']).len();
    let Some(quote) = value[skipped..].chars().next().filter(|first| matches!(first, '"' | '\'')) else {
        return to_line_end(start);
    };
    let body = start + skipped + 1;
    let mut escaped = false;
    for (offset, character) in text[body..].char_indices() {
        match character {
            '\\' if quote == '"' && !escaped => escaped = true,
            _ if character == quote && !escaped => return to_line_end(body + offset),
            _ => escaped = false,
        }
    }
    to_line_end(start)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn new_keys_are_added_values_kept_and_removed_keys_reported() {
        let own = "# my settings\nPORT=9090\nOLD=1\nMINE=x";
        let merged =
            merge(own, Some("PORT=80\nOLD=0\n"), "PORT=80\n# comment\nNEW=\"a b\"\nexport OTHER=2\n");
        assert_eq!(merged.text, "# my settings\nPORT=9090\nOLD=1\nMINE=x\nNEW=\"a b\"\nexport OTHER=2\n");
        assert_eq!(merged.added, ["NEW", "OTHER"]);
        assert_eq!(merged.removed, ["OLD"]);
    }

    #[test]
    fn nothing_to_add_leaves_the_bytes_alone() {
        for own in ["A=1", "A=1\n", "\n\nA = 1\r\n#B=2\n", "export A=1"] {
            let merged = merge(own, None, "A=2\n");
            assert_eq!(merged.text, own);
            assert!(merged.added.is_empty() && merged.removed.is_empty());
        }
    }

    #[test]
    fn a_quoted_value_over_several_lines_is_one_assignment() {
        let template = "KEY=\"line one\nNOT_A_KEY=x\nlast\"\nNEXT='a\nb'\n";
        let merged = merge("", None, template);
        assert_eq!(merged.added, ["KEY", "NEXT"]);
        assert_eq!(merged.text, template);
    }

    #[test]
    fn an_unclosed_quote_ends_with_its_line() {
        assert_eq!(merge("", None, "A=\"x\nB=2\n").added, ["A", "B"]);
    }

    #[test]
    fn a_value_is_read_and_replaced_in_its_place() {
        let text = "A=1\nCOMPOSE_FILE = x.yaml\nB=2\n";
        assert_eq!(value(text, "COMPOSE_FILE"), Some("x.yaml"));
        assert_eq!(value(text, "C"), None);
        assert_eq!(with_value(text, "COMPOSE_FILE", "y"), "A=1\nCOMPOSE_FILE=y\nB=2\n");
        assert_eq!(with_value("A=1", "C", "y"), "A=1\nC=y\n");
    }

    #[test]
    fn a_default_is_set_once() {
        assert_eq!(with_default("X=1\n", "COMPOSE_PROJECT_NAME", "shop"), "X=1\nCOMPOSE_PROJECT_NAME=shop\n");
        assert_eq!(
            with_default("COMPOSE_PROJECT_NAME=a\n", "COMPOSE_PROJECT_NAME", "b"),
            "COMPOSE_PROJECT_NAME=a\n"
        );
    }
}
