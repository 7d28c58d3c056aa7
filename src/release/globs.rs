//! Globs over paths inside a folder, as `release.toml` and `client.toml` have them.

use glob::{MatchOptions, Pattern};

/// Globs, any of which may match. One without a slash matches a name in any folder; what lies below something that is
/// matched is matched with it.
#[derive(Debug, Clone, Default)]
pub struct Globs(Vec<Pattern>);

impl Globs {
    /// Reads them; the text that is none, and why.
    pub fn new(texts: &[String]) -> Result<Self, (String, glob::PatternError)> {
        let read =
            |text: &String| Pattern::new(text.trim_end_matches('/')).map_err(|error| (text.clone(), error));
        texts.iter().map(read).collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Whether one matches the relative `path`, a folder above it, or the last name of one of these.
    pub fn matches(&self, path: &str) -> bool {
        let options = MatchOptions { require_literal_separator: true, ..Default::default() };
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        ends.map(|end| &path[..end]).any(|part| {
            let name = part.rsplit('/').next().unwrap_or(part);
            self.0.iter().any(|pattern| {
                pattern.matches_with(part, options)
                    || (!pattern.as_str().contains('/') && pattern.matches_with(name, options))
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_brings_all_below_it_and_a_name_is_found_anywhere() {
        let globs = |texts: &[&str]| {
            let texts: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            Globs::new(&texts).unwrap()
        };
        for (texts, path, matched) in [
            (&["cache"][..], "cache", true),
            (&["cache"], "a/cache/b/c", true),
            (&["cache/"], "cache/b", true),
            (&["a/cache"], "b/cache", false),
            (&["a/*.tmp"], "a/x.tmp", true),
            (&["a/*.tmp"], "a/b/x.tmp", false),
            (&["a/**/x"], "a/b/c/x", true),
            (&["*.tmp"], "a/b/x.tmp", true),
            (&[], "a", false),
        ] {
            assert_eq!(globs(texts).matches(path), matched, "{texts:?} {path}");
        }
        assert_eq!(Globs::new(&["ok".into(), "a[".into()]).unwrap_err().0, "a[");
    }
}
