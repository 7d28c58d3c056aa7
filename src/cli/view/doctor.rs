//! What is in order, what is not, and how to mend it.

use unicode_width::UnicodeWidthStr;

use crate::messages::cli::Words;
use crate::upgrade::Finding;

use super::{Look, Paint, clean};

/// One line per finding, the remedy under it, and a sentence at the end.
pub fn render(findings: &[Finding], look: Look) -> String {
    let width = findings.iter().map(|finding| look.term(&finding.check).width()).max().unwrap_or(0);
    let mut text = String::new();
    for finding in findings {
        let check = look.term(&finding.check);
        let fill = " ".repeat(width - check.width());
        let (paint, sign) = match finding.status.as_str() {
            "ok" => (Paint::Good, "✓"),
            "warning" => (Paint::Warn, "!"),
            _ => (Paint::Bad, "✗"),
        };
        text.push_str(&format!("{} {check}{fill}  {}\n", look.paint(paint, sign), message(finding, width)));
        for line in clean(&finding.help).lines() {
            text.push_str(&format!("  {}  → {line}\n", " ".repeat(width)));
        }
    }
    let count = |status: &str| findings.iter().filter(|finding| finding.status == status).count();
    let (failed, warnings) = (count("failed").to_string(), count("warning").to_string());
    let words = match is_well(findings) && warnings == "0" {
        true => Words::DoctorWell,
        false => Words::DoctorFound { failed: &failed, warnings: &warnings },
    };
    text + "\n" + &look.say(words) + "\n"
}

/// Further lines of a message, such as a difference, stand under its first.
fn message(finding: &Finding, width: usize) -> String {
    clean(&finding.message).trim_end().replace('\n', &format!("\n    {}", " ".repeat(width)))
}

/// Whether nothing has to be mended.
pub fn is_well(findings: &[Finding]) -> bool {
    findings.iter().all(|finding| finding.status != "failed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    #[test]
    fn every_finding_with_its_remedy() {
        let finding = |check: &str, status: &str, message: &str, help: &str| Finding {
            check: check.into(),
            status: status.into(),
            message: message.into(),
            help: help.into(),
        };
        let findings = [
            finding("engine", "ok", "Engine 26.1", ""),
            finding("compose", "warning", "old", "upgrade it"),
            finding("disk", "failed", "full", "free space"),
        ];
        assert_eq!(
            render(&findings, Look { lang: Lang::En, colour: false }),
            "\
✓ engine   Engine 26.1
! compose  old
           → upgrade it
✗ disk     full
           → free space

1 to mend, 1 to know
"
        );
        assert_eq!(
            render(&findings[..1], Look { lang: Lang::Zh, colour: false }),
            "✓ 引擎  Engine 26.1\n\n一切正常\n"
        );
        assert!(!is_well(&findings));
        assert!(is_well(&findings[..2]));
    }
}
