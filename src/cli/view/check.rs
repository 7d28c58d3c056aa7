//! What the source has.

use crate::messages::cli::Words;
use crate::upgrade::CheckReport;

use super::{Facts, Look, Paint, bytes, status};

/// Whether there is an upgrade, and which.
pub fn render(report: &CheckReport, look: Look) -> String {
    let available = report.available.to_string();
    let installed = report.installed.as_ref().map(ToString::to_string);
    let words = match (&installed, report.upgrade_available) {
        (Some(from), true) => Words::UpgradeAvailable { from, to: &available },
        (None, true) => Words::UpgradeAvailable { from: &look.say(Words::None), to: &available },
        (Some(version), false) if report.reason == "installed_newer" => Words::InstalledNewer { version },
        (Some(version), false) => Words::UpToDate { version },
        (None, false) => Words::NothingToDo,
    };
    let mut text =
        look.line(if report.upgrade_available { Paint::Strong } else { Paint::Good }, &look.say(words));
    text.push('\n');
    if report.upgrade_available {
        let (strategy, reason) = (look.term(&report.strategy), look.term(&report.reason));
        let mut facts = Facts::new(look);
        facts
            .add(Words::Strategy, look.say(Words::StrategyWhy { strategy: &strategy, reason: &reason }))
            .add_some(Words::ToFetch, report.bytes.map(bytes))
            .add_some(Words::Released, report.release_date.as_deref())
            .add_some(Words::Notes, report.release_notes.as_deref());
        text.push_str(&facts.render(2));
    }
    if !report.passed_over.is_empty() {
        let mut facts = Facts::new(look);
        facts.add(Words::Quarantined, status::quarantine(&report.passed_over, look));
        text.push_str(&facts.render(2));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    #[test]
    fn an_upgrade_and_none() {
        let report = CheckReport {
            schema: 1,
            installed: Some("1.0.0".parse().unwrap()),
            available: "1.0.0.1".parse().unwrap(),
            upgrade_available: true,
            strategy: "patch".into(),
            reason: "patch_available".into(),
            release_date: Some("2026-11-20T08:00:00Z".into()),
            release_notes: Some("one\ntwo".into()),
            bytes: Some(4096),
            passed_over: Vec::new(),
        };
        let en = Look { lang: Lang::En, colour: false };
        assert_eq!(
            render(&report, en),
            "\
· an upgrade is available: 1.0.0 → 1.0.0.1
  strategy  patch (patch available)
  to fetch  4.0 KiB
  released  2026-11-20T08:00:00Z
  notes     one
            two
"
        );
        let none = CheckReport { upgrade_available: false, reason: "up_to_date".into(), ..report };
        assert_eq!(render(&none, en), "✓ 1.0.0 is installed and up to date\n");
        assert_eq!(render(&none, Look { lang: Lang::Zh, ..en }), "✓ 当前版本 1.0.0 已是最新\n");
    }
}
