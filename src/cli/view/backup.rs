//! Backups: their records and what is in them.

use serde::Serialize;

use crate::messages::cli::Words;

use super::{Align, Facts, Look, Paint, Table, bytes, instant};

/// The record of a backup as the command line shows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupView {
    /// The backup.
    pub id: String,
    /// Its file, relative to `backups/`.
    pub file: String,
    /// `pre-upgrade`, `manual`, `scheduled`.
    pub kind: String,
    /// `running`, `complete`, `failed`.
    pub status: String,
    /// The Compose project.
    pub project: String,
    /// The version that ran when it was made.
    pub version: Option<String>,
    /// The version a pre-upgrade backup was made before.
    pub target: Option<String>,
    /// Bytes of the file.
    pub size: u64,
    /// Files in it.
    pub files: u64,
    /// Of the file.
    pub hash: Option<String>,
    /// RFC 3339 UTC.
    pub started_at: String,
    /// RFC 3339 UTC.
    pub ended_at: Option<String>,
    /// Why it failed.
    pub error: Option<String>,
}

/// A copy of a backup elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct CopyView {
    /// The backup.
    pub id: String,
    /// The file.
    pub path: String,
    /// Bytes of it.
    pub size: u64,
    /// Of the file as it is there.
    pub hash: String,
}

/// An entry of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupEntry {
    /// The volume or folder and the path in it.
    pub path: String,
    /// Bytes.
    pub size: u64,
}

/// A backup with what is in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BackupDetail {
    /// The record.
    #[serde(flatten)]
    pub record: BackupView,
    /// Its entries.
    pub contents: Vec<BackupEntry>,
}

/// One line per backup.
pub fn list(backups: &[BackupView], look: Look) -> String {
    if backups.is_empty() {
        return look.say(Words::NoBackups) + "\n";
    }
    let left = |words| (look.say(words), Align::Left);
    let right = |words| (look.say(words), Align::Right);
    let headings = [
        left(Words::When),
        left(Words::What),
        left(Words::Release),
        left(Words::ServiceState),
        right(Words::SizeHeading),
        right(Words::FilesHeading),
        left(Words::Id),
    ];
    let mut table = Table::new(look, &headings);
    for backup in backups {
        table.row([
            (instant(&backup.started_at), None),
            (look.term(&backup.kind), None),
            (backup.version.clone().unwrap_or_else(|| "-".into()), None),
            (look.term(&backup.status), Some(paint(&backup.status))),
            (bytes(backup.size), None),
            (backup.files.to_string(), None),
            (backup.id.clone(), Some(Paint::Dim)),
        ]);
    }
    table.render(0)
}

/// The record of one backup.
pub fn record(backup: &BackupView, look: Look) -> String {
    let mut facts = Facts::new(look);
    facts
        .add(Words::Backup, &backup.id)
        .add(Words::File, &backup.file)
        .add(Words::Kind, look.term(&backup.kind))
        .add(Words::State, look.term(&backup.status))
        .add_some(Words::MadeOf, backup.version.as_deref())
        .add_some(Words::MadeBefore, backup.target.as_deref())
        .add(Words::Size, bytes(backup.size))
        .add(Words::Files, backup.files.to_string())
        .add_some(Words::Hash, backup.hash.as_deref())
        .add(Words::StartedAt, instant(&backup.started_at))
        .add_some(Words::EndedAt, backup.ended_at.as_deref().map(instant))
        .add_some(Words::ErrorHead, backup.error.as_deref());
    facts.render(0)
}

/// The record and the entries of one backup.
pub fn detail(backup: &BackupDetail, look: Look) -> String {
    let mut text = record(&backup.record, look);
    if !backup.contents.is_empty() {
        text.push_str(&format!("\n{}\n", look.paint(Paint::Strong, &look.say(Words::Contents))));
        let headings = [(look.say(Words::SizeHeading), Align::Right), (look.say(Words::Path), Align::Left)];
        let mut table = Table::new(look, &headings);
        for entry in &backup.contents {
            table.row([(bytes(entry.size), None), (entry.path.clone(), None)]);
        }
        text.push_str(&table.render(2));
    }
    text
}

fn paint(status: &str) -> Paint {
    match status {
        "complete" => Paint::Good,
        "failed" => Paint::Bad,
        _ => Paint::Warn,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Lang;

    const EN: Look = Look { lang: Lang::En, colour: false };

    fn backup() -> BackupView {
        BackupView {
            id: "b-1".into(),
            file: "b-1.tar.gz".into(),
            kind: "pre-upgrade".into(),
            status: "complete".into(),
            project: "guestbook".into(),
            version: Some("1.0.0".into()),
            target: Some("1.1.0".into()),
            size: 2048,
            files: 12,
            hash: Some("sha256:aa".into()),
            started_at: "2026-11-20T08:00:00Z".into(),
            ended_at: None,
            error: None,
        }
    }

    #[test]
    fn the_list_in_both_languages() {
        assert_eq!(
            list(&[backup()], EN),
            "\
WHEN                  WHAT         RELEASE  STATE        SIZE  FILES  ID
2026-11-20 08:00:00Z  pre-upgrade  1.0.0    complete  2.0 KiB     12  b-1
"
        );
        assert_eq!(
            list(&[backup()], Look { lang: Lang::Zh, ..EN }),
            "\
时间                  类型    版本   状态     大小  文件数  编号
2026-11-20 08:00:00Z  升级前  1.0.0  完整  2.0 KiB      12  b-1
"
        );
        assert_eq!(list(&[], EN), "there are no backups\n");
    }

    #[test]
    fn one_backup_with_its_contents() {
        let contents = vec![BackupEntry { path: "data/a.txt".into(), size: 5 }];
        let detail = detail(&BackupDetail { record: backup(), contents }, EN);
        assert_eq!(
            detail,
            "\
backup       b-1
file         b-1.tar.gz
kind         pre-upgrade
state        complete
made of      1.0.0
made before  1.1.0
size         2.0 KiB
files        12
hash         sha256:aa
started      2026-11-20 08:00:00Z

contents
  SIZE  PATH
   5 B  data/a.txt
"
        );
    }
}
