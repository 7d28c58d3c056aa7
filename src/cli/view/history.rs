//! The changes made so far, and the journal of one.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use crate::messages::cli::Words;
use crate::upgrade::HistoryEntry;

use super::{Align, Facts, Look, Paint, Table, duration, instant, outcome};

/// One line per change.
pub fn list(entries: &[HistoryEntry], look: Look) -> String {
    if entries.is_empty() {
        return look.say(Words::NoHistory) + "\n";
    }
    let left = |words| (look.say(words), Align::Left);
    let mut table = Table::new(
        look,
        &[
            left(Words::When),
            left(Words::What),
            left(Words::From),
            left(Words::To),
            left(Words::Result),
            (look.say(Words::Duration), Align::Right),
            left(Words::Id),
        ],
    );
    for entry in entries {
        table.row([
            (instant(&entry.started_at), None),
            (look.term(&entry.kind), None),
            (entry.from.clone().unwrap_or_else(|| "-".into()), None),
            (entry.to.clone(), None),
            (look.term(&entry.state), Some(paint(&entry.state))),
            (took(entry).map_or_else(|| "-".into(), duration), None),
            (entry.id.clone(), Some(Paint::Dim)),
        ]);
    }
    table.render(0)
}

/// Everything about one change.
pub fn entry(entry: &HistoryEntry, look: Look) -> String {
    let from = entry.from.clone().unwrap_or_else(|| look.say(Words::None));
    let mut facts = Facts::new(look);
    facts
        .add(Words::Change, &entry.id)
        .add(Words::Kind, look.term(&entry.kind))
        .add(Words::Versions, format!("{from} → {}", entry.to))
        .add(Words::State, look.term(&entry.state))
        .add(Words::StartedAt, instant(&entry.started_at))
        .add_some(Words::EndedAt, entry.ended_at.as_deref().map(instant));
    let mut text = facts.render(0);
    if let Some(result) = &entry.outcome {
        text.push('\n');
        text.push_str(&outcome::render(result, look));
        if let Some(error) = &result.error {
            let mut facts = Facts::new(look);
            facts
                .add(Words::ErrorHead, format!("{} ({})", error.message, error.code))
                .add(Words::Help, &error.help);
            text.push_str(&facts.render(2));
        }
    }
    if !entry.journal.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::Journal))));
        text.push_str(&journal(entry, look));
    }
    text
}

fn journal(entry: &HistoryEntry, look: Look) -> String {
    let columns = [Words::When, Words::StepHeading, Words::Mark, Words::Detail];
    let mut table = Table::new(look, &columns.map(|words| (look.say(words), Align::Left)));
    for line in &entry.journal {
        table.row([
            (instant(&line.at), None),
            (line.step.clone(), None),
            (look.term(&line.mark), Some(paint(&line.mark))),
            (line.detail.clone(), None),
        ]);
    }
    table.render(2)
}

fn paint(state: &str) -> Paint {
    match state {
        "completed" | "done" => Paint::Good,
        "failed" | "needs_attention" | "undo_failed" => Paint::Bad,
        "started" => Paint::Dim,
        _ => Paint::Warn,
    }
}

fn took(entry: &HistoryEntry) -> Option<u64> {
    let parse = |text: &str| OffsetDateTime::parse(text, &Rfc3339).ok();
    let span = parse(entry.ended_at.as_deref()?)? - parse(&entry.started_at)?;
    u64::try_from(span.whole_milliseconds()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;
    use crate::upgrade::JournalLine;

    const EN: Look = Look { lang: Lang::En, colour: false };
    const ZH: Look = Look { lang: Lang::Zh, colour: false };

    fn entries() -> Vec<HistoryEntry> {
        let install = HistoryEntry {
            id: "0193-a".into(),
            kind: "install".into(),
            from: None,
            to: "1.0.0".into(),
            state: "completed".into(),
            started_at: "2026-11-20T08:00:00.5Z".into(),
            ended_at: Some("2026-11-20T08:00:04.7Z".into()),
            outcome: None,
            journal: vec![],
        };
        let line = |mark: &str, detail: &str| JournalLine {
            at: "2026-11-21T08:00:00Z".into(),
            step: "swap web".into(),
            mark: mark.into(),
            detail: detail.into(),
        };
        let broken = HistoryEntry {
            id: "0193-b".into(),
            kind: "upgrade".into(),
            from: Some("1.0.0".into()),
            to: "1.2.0".into(),
            state: "running".into(),
            started_at: "2026-11-21T08:00:00Z".into(),
            ended_at: None,
            journal: vec![line("started", ""), line("failed", "not\nhealthy")],
            ..install.clone()
        };
        vec![install, broken]
    }

    #[test]
    fn the_list() {
        assert_eq!(
            list(&entries(), EN),
            "\
WHEN                  WHAT     FROM   TO     RESULT     DURATION  ID
2026-11-20 08:00:00Z  install  -      1.0.0  completed     4.2 s  0193-a
2026-11-21 08:00:00Z  upgrade  1.0.0  1.2.0  running           -  0193-b
"
        );
        assert_eq!(
            list(&entries(), ZH),
            "\
时间                  类型  自     至     结果     耗时  编号
2026-11-20 08:00:00Z  安装  -      1.0.0  已完成  4.2 s  0193-a
2026-11-21 08:00:00Z  升级  1.0.0  1.2.0  运行中      -  0193-b
"
        );
        assert_eq!(list(&[], EN), "nothing was installed here yet\n");
    }

    #[test]
    fn one_change_with_its_journal() {
        assert_eq!(
            entry(&entries()[1], EN),
            "\
change    0193-b
kind      upgrade
versions  1.0.0 → 1.2.0
state     running
started   2026-11-21 08:00:00Z

journal
  WHEN                  STEP      MARK     DETAIL
  2026-11-21 08:00:00Z  swap web  started
  2026-11-21 08:00:00Z  swap web  failed   not healthy
"
        );
    }
}
