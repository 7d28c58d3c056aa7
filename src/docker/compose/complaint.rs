//! What Compose says on stderr, as faults and warnings.

use crate::fault::{Code, Fault};

/// Why files do not resolve.
pub(super) fn of_config(object: &str, stderr: &str) -> Fault {
    let words = cause(stderr);
    let unset = words.contains("is missing a value") && words.contains("required variable");
    Fault::new(if unset { Code::VariableUnset } else { Code::ComposeInvalid }, object, words)
}

/// Why containers were not created.
pub(super) fn of_act(object: &str, stderr: &str) -> Fault {
    let words = cause(stderr);
    let says = |signs: &[&str]| signs.iter().any(|sign| words.contains(sign));
    let code = if says(&["No such image", "pull access denied", "image not found"]) {
        Code::ImageMissing
    } else if says(&[
        "Cannot connect to the Docker daemon",
        "error during connect",
        "connection reset by peer",
    ]) {
        Code::EngineUnreachable
    } else {
        Code::ComposeFailed
    };
    Fault::new(code, object, words)
}

/// The warnings among the lines.
pub(super) fn warnings(stderr: &str) -> Vec<String> {
    stderr.lines().filter_map(warning).collect()
}

fn warning(line: &str) -> Option<String> {
    if let Some((_, message)) = line.split_once("level=warning msg=") {
        return Some(unquote(message.trim()));
    }
    let rest = line.trim().strip_prefix("WARN")?;
    let text = rest.trim_start_matches(|c: char| c == '[' || c == ']' || c == ':' || c.is_ascii_digit());
    Some(text.trim().to_owned())
}

/// logrus quotes a message with spaces as a Go string, which is close enough to JSON.
fn unquote(text: &str) -> String {
    serde_json::from_str(text).unwrap_or_else(|_| text.trim_matches('"').to_owned())
}

/// Compose's own words: without its warnings and progress lines; all of it where that leaves nothing.
fn cause(stderr: &str) -> String {
    let is_progress = |line: &str| {
        let mut words = line.split_whitespace();
        line.starts_with(' ') && matches!(words.next(), Some("Container" | "Network" | "Volume"))
    };
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| warning(line).is_none() && !is_progress(line) && !line.trim().is_empty())
        .map(str::trim)
        .collect();
    let text = if lines.is_empty() { stderr.trim().to_owned() } else { lines.join("; ") };
    text.trim_start_matches("Error response from daemon: ").to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_carry_the_words_of_compose() {
        for (stderr, code, detail) in [
            (
                "error while interpolating services.web.image: required variable TAG is missing a value: set it\n",
                Code::VariableUnset,
                "error while interpolating services.web.image: required variable TAG is missing a value: set it",
            ),
            (
                "time=\"2026-01-01T00:00:00Z\" level=warning msg=\"old\"\nyaml: line 2: mapping values\n",
                Code::ComposeInvalid,
                "yaml: line 2: mapping values",
            ),
        ] {
            let fault = of_config("dir", stderr);
            assert_eq!((fault.code(), fault.detail()), (code, detail));
        }
        let fault =
            of_act("web", " Container x-web-1  Creating\nError response from daemon: No such image: x:1\n");
        assert_eq!((fault.code(), fault.detail()), (Code::ImageMissing, "No such image: x:1"));
    }

    #[test]
    fn warnings_are_found_in_every_spelling() {
        let stderr = "time=\"x\" level=warning msg=\"The \\\"X\\\" variable is not set.\"\n\
             WARN[0000] old `version`\n Container a  Created\nlevel=warning msg=plain\n";
        assert_eq!(warnings(stderr), ["The \"X\" variable is not set.", "old `version`", "plain"]);
    }
}
