//! The result of an install, upgrade or rollback.

use crate::exit;
use crate::messages::cli::Words;
use crate::progress::Outcome;

use super::{Facts, Look, Paint, bytes, clean, duration};

/// The summary: what came of it, the measures, the warnings. The error itself is reported on stderr.
pub fn render(outcome: &Outcome, look: Look) -> String {
    let paint = match (outcome.ok, outcome.exit_code) {
        (true, _) => Paint::Good,
        (false, exit::INTERRUPTED) => Paint::Warn,
        (false, _) => Paint::Bad,
    };
    let mut text = look.line(paint, &headline(outcome, look));
    text.push('\n');
    text.push_str(&measures(outcome, look).render(2));
    for warning in &outcome.warnings {
        text.push_str(&format!("  {} {}\n", look.paint(Paint::Warn, "!"), clean(warning)));
    }
    text
}

/// What came of it, in one sentence.
pub fn headline(outcome: &Outcome, look: Look) -> String {
    let from = outcome.from.as_deref();
    let to = outcome.to.as_deref().or(from);
    let words = match (outcome.ok, from, to) {
        (true, Some(version), _) if outcome.reason == "installed_newer" => Words::InstalledNewer { version },
        (true, Some(version), _) if outcome.reason == "up_to_date" => Words::UpToDate { version },
        (true, _, Some(version)) if outcome.fetched_ahead => Words::FetchedAhead { version },
        (true, Some(from), Some(to)) if from == to => match is_restore(outcome) {
            true => Words::DataRestored { version: to },
            false => Words::InPlace { version: to },
        },
        (true, Some(from), Some(to)) => Words::Changed { from, to },
        (true, None, Some(version)) => Words::InstalledVersion { version },
        (true, _, None) => Words::NothingToDo,
        (false, _, to) => failure(outcome, to.unwrap_or("?")),
    };
    look.say(words)
}

/// A change that brings nothing but data.
fn is_restore(outcome: &Outcome) -> bool {
    outcome.strategy == "none" && outcome.from == outcome.to
}

fn failure<'a>(outcome: &'a Outcome, to: &'a str) -> Words<'a> {
    match (outcome.exit_code, outcome.rolled_back_to.as_deref()) {
        (exit::NEEDS_PERSON, _) => Words::FailedStuck { to },
        (exit::INTERRUPTED, _) => Words::FailedInterrupted,
        (exit::FACTORY, Some(back)) => Words::FailedFactory { to, back },
        (_, Some(version)) if is_restore(outcome) => Words::RestoreUndone { version },
        (_, Some(back)) => Words::FailedBack { to, back },
        (_, None) if outcome.to.is_some() => Words::FailedTo { to },
        (_, None) => Words::FailedUnchanged,
    }
}

fn measures(outcome: &Outcome, look: Look) -> Facts {
    let mut facts = Facts::new(look);
    if outcome.strategy != "none" {
        let (strategy, reason) = (look.term(&outcome.strategy), look.term(&outcome.reason));
        let text = match reason.is_empty() {
            true => strategy,
            false => look.say(Words::StrategyWhy { strategy: &strategy, reason: &reason }),
        };
        facts.add(Words::Strategy, text);
    }
    if outcome.bytes_downloaded > 0 {
        let part = bytes(outcome.bytes_downloaded);
        let text = match outcome.bytes_bundle {
            whole if whole > outcome.bytes_downloaded => {
                look.say(Words::DownloadedOf { part: &part, whole: &bytes(whole) })
            }
            _ => part,
        };
        facts.add(Words::Downloaded, text);
    }
    facts.add_some(Words::Backup, outcome.backup_id.as_deref());
    if !outcome.downtime_ms.is_empty() {
        let one = |(service, ms): (&String, &u64)| format!("{service} {}", duration(*ms));
        facts.add(Words::Downtime, outcome.downtime_ms.iter().map(one).collect::<Vec<_>>().join(", "));
    }
    if !outcome.frozen_ms.is_empty() {
        let one = |(service, ms): (&String, &u64)| format!("{service} {}", duration(*ms));
        facts.add(Words::Frozen, outcome.frozen_ms.iter().map(one).collect::<Vec<_>>().join(", "));
    }
    if outcome.duration_ms > 0 {
        facts.add(Words::Took, duration(outcome.duration_ms));
    }
    facts
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;
    use crate::progress::{ErrorBody, Kind};

    const EN: Look = Look { lang: Lang::En, colour: false };
    const ZH: Look = Look { lang: Lang::Zh, colour: false };

    fn upgraded() -> Outcome {
        Outcome {
            schema: 1,
            kind: Kind::Result,
            ok: true,
            from: Some("1.0.0".into()),
            to: Some("1.1.0".into()),
            strategy: "full".into(),
            reason: "base_version_changed".into(),
            exit_code: 0,
            rolled_back_to: None,
            bytes_downloaded: 1234,
            bytes_bundle: 73_400_320,
            backup_id: Some("b-1".into()),
            downtime_ms: [("api".into(), 1410), ("web".into(), 352)].into(),
            frozen_ms: Default::default(),
            duration_ms: 4210,
            error: None,
            warnings: vec!["a setting was added".into()],
            upgrade_id: "u-1".into(),
            fetched_ahead: false,
        }
    }

    #[test]
    fn an_upgrade_in_both_languages() {
        assert_eq!(
            render(&upgraded(), EN),
            "\
✓ the stack went from 1.0.0 to 1.1.0
  strategy    full (base version changed)
  downloaded  1.2 KiB of 70.0 MiB
  backup      b-1
  downtime    api 1.4 s, web 352 ms
  took        4.2 s
  ! a setting was added
"
        );
        assert_eq!(
            render(&upgraded(), ZH),
            "\
✓ 应用已从 1.0.0 变更为 1.1.0
  策略      全量升级（基础版本已改变）
  已下载    1.2 KiB（共 70.0 MiB）
  备份      b-1
  停机时间  api 1.4 s, web 352 ms
  耗时      4.2 s
  ! a setting was added
"
        );
    }

    #[test]
    fn the_headline_says_where_the_stack_is() {
        let failed = |exit_code, back: Option<&str>| Outcome {
            ok: false,
            exit_code,
            rolled_back_to: back.map(Into::into),
            error: Some(ErrorBody { code: "X".into(), message: "m".into(), help: "h".into() }),
            ..upgraded()
        };
        let up_to_date = Outcome { reason: "up_to_date".into(), strategy: "none".into(), ..upgraded() };
        let newer = Outcome { reason: "installed_newer".into(), strategy: "none".into(), ..upgraded() };
        let cases = [
            (up_to_date, "1.0.0 is installed and up to date"),
            (newer, "nothing to do: the installed 1.0.0 is newer than the source's"),
            (Outcome { from: None, ..upgraded() }, "1.1.0 is installed"),
            (
                Outcome { fetched_ahead: true, ..upgraded() },
                "1.1.0 is here and verified; 'client upgrade' installs it",
            ),
            (failed(1, None), "the change to 1.1.0 failed; nothing was changed"),
            (Outcome { from: None, to: None, ..failed(1, None) }, "it failed; nothing was changed"),
            (failed(20, Some("1.0.0")), "the change to 1.1.0 failed; the stack is back on 1.0.0"),
            (
                failed(21, Some("1.0.0")),
                "the change to 1.1.0 failed; the stack is on the factory release 1.0.0",
            ),
            (failed(22, None), "the change to 1.1.0 failed and could not be undone; a person is needed"),
            (failed(130, None), "interrupted; the state is safe and the next run continues"),
        ];
        for (outcome, words) in cases {
            assert_eq!(headline(&outcome, EN), words);
            assert!(!headline(&outcome, ZH).is_ascii());
        }
    }

    #[test]
    fn who_stays_where_one_was_did_not_go_there() {
        let stayed = |strategy: &str, ok| Outcome {
            ok,
            from: Some("2.0.0".into()),
            to: Some("2.0.0".into()),
            strategy: strategy.into(),
            reason: "forced".into(),
            rolled_back_to: (!ok).then(|| "2.0.0".into()),
            ..upgraded()
        };
        assert_eq!(headline(&stayed("none", true), EN), "the data is restored, and 2.0.0 runs");
        assert_eq!(headline(&stayed("full", true), EN), "2.0.0 is in place");
        let undone = headline(&stayed("none", false), EN);
        assert_eq!(undone, "the data could not be restored; that of before is back, and 2.0.0 runs");
    }
}
