//! What is recorded about a backup: the row in `state.db` and `backup.json` inside the archive.

use std::fmt;
use std::str::FromStr;

use rusqlite::{Row, params};
use serde::{Deserialize, Serialize};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::selection::Selection;
use crate::fault::{Code, Fault, Result};
use crate::release::{Digest, Version};
use crate::state::Store;

macro_rules! named {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
        pub enum $name { $($(#[$variant_doc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// The name in the database and in JSON.
            pub fn name(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.name())
            }
        }

        impl FromStr for $name {
            type Err = Fault;

            fn from_str(text: &str) -> Result<Self> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err(Fault::new(Code::Usage, other, concat!("expected one of:", $(" ", $text),*))),
                }
            }
        }
    };
}

named! {
    /// Why a backup was made.
    Kind {
        /// Before an upgrade.
        PreUpgrade "pre-upgrade",
        /// Of data that was about to be replaced by that of another backup.
        Safety "safety",
        /// By a person.
        Manual "manual",
        /// By the timer.
        Scheduled "scheduled",
    }
}

named! {
    /// What became of a backup.
    Status {
        /// It is being written, or its writer died.
        Running "running",
        /// Its data is copied as it was in one moment; the archive is not written yet.
        Staged "staged",
        /// It was written and read back.
        Complete "complete",
        /// It is of no use; `error` says why.
        Failed "failed",
    }
}

/// Where a part's data belongs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub enum PartKind {
    /// A named volume.
    Volume {
        /// Its Compose key.
        volume: String,
    },
    /// A file or folder below `shared/`.
    Path {
        /// Relative to `shared/`.
        path: String,
    },
    /// A folder or file of the host, outside of the installation, that a service mounts.
    Host {
        /// Absolute.
        path: String,
    },
    /// Nowhere by itself: a file of the release that the operator edited.
    Edit {
        /// Relative to the release folder.
        file: String,
    },
    /// Nowhere: what was installed when the backup was made, as JSON.
    Installation,
    /// Nowhere by itself: what a command in a service wrote in place of the files of a part.
    Dump {
        /// The part it stands for (`volumes/pgdata`).
        of: String,
        /// The service.
        service: String,
        /// The command in it that takes the content on its standard input.
        restore: Vec<String>,
    },
}

/// One part of a complete backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PartRecord {
    /// The name of its folder (or file) in the archive.
    pub name: String,
    /// Where the data belongs.
    #[serde(flatten)]
    pub kind: PartKind,
    /// Entries of every kind.
    pub entries: u64,
    /// Regular files among them.
    pub files: u64,
    /// Bytes in those files.
    pub bytes: u64,
    /// Over every name, all metadata and all content, as they were read from the stack.
    pub digest: Digest,
    /// Which paths of the part are in it; a restore leaves the others alone.
    #[serde(default, skip_serializing_if = "Selection::is_all")]
    pub selection: Selection,
    /// What could not be kept, or changed while it was read.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<String>,
}

/// `backup.json`, the last entry of an archive (the digests are known only then).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Document {
    /// Always 1.
    pub schema: u32,
    /// The backup.
    pub id: String,
    /// The Compose project.
    pub project: String,
    /// The version whose data it is.
    pub version: Option<Version>,
    /// Why it was made.
    pub kind: Kind,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339")]
    pub created: OffsetDateTime,
    /// What is in it, in the order of the archive.
    pub parts: Vec<PartRecord>,
}

/// A row of the table `backups`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Its name; sorts by time.
    pub id: String,
    /// The file's name in `backups/`.
    pub file: String,
    /// Why it was made.
    pub kind: Kind,
    /// What became of it.
    pub status: Status,
    /// The Compose project.
    pub project: String,
    /// The version whose data it is.
    pub version: Option<Version>,
    /// The version a pre-upgrade backup was made before.
    pub target: Option<Version>,
    /// Bytes of the file.
    pub size: u64,
    /// Regular files in it.
    pub files: u64,
    /// Of the whole file.
    pub hash: Option<Digest>,
    /// What is in it.
    pub parts: Vec<PartRecord>,
    /// When it was begun.
    #[serde(with = "time::serde::rfc3339")]
    pub started_at: OffsetDateTime,
    /// When it was complete or failed.
    #[serde(with = "time::serde::rfc3339::option")]
    pub ended_at: Option<OffsetDateTime>,
    /// Why it is of no use.
    pub error: Option<String>,
}

impl PartRecord {
    /// Whether it is a folder with entries, not one file.
    pub fn is_folder(&self) -> bool {
        self.entries > self.files || self.entries > 1
    }
}

impl Record {
    /// Makes it a complete one.
    pub(super) fn complete(&mut self, size: u64, hash: Digest) {
        self.status = Status::Complete;
        self.ended_at = Some(OffsetDateTime::now_utc());
        self.size = size;
        self.files = self.parts.iter().map(|part| part.files).sum();
        self.hash = Some(hash);
        self.error = None;
    }

    /// The part called `name`.
    pub fn part(&self, name: &str) -> Option<&PartRecord> {
        self.parts.iter().find(|part| part.name == name)
    }

    /// The warnings of all parts, each with the part's name.
    pub fn warnings(&self) -> Vec<String> {
        let of = |part: &PartRecord| -> Vec<String> {
            part.warnings.iter().map(|text| format!("{}: {text}", part.name)).collect()
        };
        self.parts.iter().flat_map(of).collect()
    }
}

const COLUMNS: &str = "id, file, kind, status, project, version, target, size, files, hash, parts, \
    started_at, ended_at, error";

/// The rows, over the one database.
pub struct Records<'a>(pub &'a Store);

impl Records<'_> {
    /// Adds a row, or replaces the one of the same id; durable on return.
    pub fn put(&self, record: &Record) -> Result<()> {
        let parts = serde_json::to_string(&record.parts)
            .map_err(|error| Fault::from_error(Code::StateInvalid, &record.id, error))?;
        let text = |version: &Option<Version>| version.as_ref().map(ToString::to_string);
        self.0.with(|connection| {
            connection.execute(
                &format!(
                    "INSERT INTO backups ({COLUMNS})
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)
                     ON CONFLICT (id) DO UPDATE SET status = excluded.status, size = excluded.size,
                     files = excluded.files, hash = excluded.hash, parts = excluded.parts,
                     ended_at = excluded.ended_at, error = excluded.error"
                ),
                params![
                    record.id,
                    record.file,
                    record.kind.name(),
                    record.status.name(),
                    record.project,
                    text(&record.version),
                    text(&record.target),
                    record.size as i64,
                    record.files as i64,
                    record.hash.map(|hash| hash.to_string()),
                    parts,
                    time_text(record.started_at),
                    record.ended_at.map(time_text),
                    record.error,
                ],
            )
        })?;
        Ok(())
    }

    /// All rows, oldest first.
    pub fn all(&self) -> Result<Vec<Record>> {
        self.select("1 = 1 OR ?1 = ''", "")
    }

    /// The rows whose id begins with `prefix`.
    pub fn starting_with(&self, prefix: &str) -> Result<Vec<Record>> {
        self.select("substr(id, 1, length(?1)) = ?1", prefix)
    }

    /// Takes the row away.
    pub fn remove(&self, id: &str) -> Result<()> {
        self.0.with(|connection| connection.execute("DELETE FROM backups WHERE id = ?1", [id]))?;
        Ok(())
    }

    fn select(&self, condition: &str, value: &str) -> Result<Vec<Record>> {
        let rows = self.0.with(|connection| {
            let sql = format!("SELECT {COLUMNS} FROM backups WHERE {condition} ORDER BY started_at, id");
            let mut statement = connection.prepare(&sql)?;
            let rows = statement.query_map([value], raw_row)?;
            rows.collect::<rusqlite::Result<Vec<_>>>()
        })?;
        rows.into_iter().map(|row| self.read(row)).collect()
    }

    fn read(&self, row: RawRow) -> Result<Record> {
        let RawRow { text: [id, file, kind, status, project, parts, started], optional, numbers } = row;
        let [version, target, hash, ended, error] = optional;
        let object = format!("{} (backup {id})", self.0.path().display());
        let invalid = |error: &dyn fmt::Display| Fault::new(Code::StateInvalid, &object, error);
        let version_of = |text: Option<String>| -> Result<Option<Version>> {
            text.map(|text| text.parse::<Version>()).transpose().map_err(|error| invalid(&error))
        };
        Ok(Record {
            kind: kind.parse().map_err(|error: Fault| invalid(&error))?,
            status: status.parse().map_err(|error: Fault| invalid(&error))?,
            version: version_of(version)?,
            target: version_of(target)?,
            size: numbers[0] as u64,
            files: numbers[1] as u64,
            hash: hash.map(|text| text.parse::<Digest>()).transpose().map_err(|error| invalid(&error))?,
            parts: serde_json::from_str(&parts).map_err(|error| invalid(&error))?,
            started_at: parse_time(&started).map_err(|error| invalid(&error))?,
            ended_at: ended.map(|text| parse_time(&text)).transpose().map_err(|error| invalid(&error))?,
            id,
            file,
            project,
            error,
        })
    }
}

struct RawRow {
    text: [String; 7],
    optional: [Option<String>; 5],
    numbers: [i64; 2],
}

fn raw_row(row: &Row<'_>) -> rusqlite::Result<RawRow> {
    Ok(RawRow {
        text: [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, row.get(4)?, row.get(10)?, row.get(11)?],
        optional: [row.get(5)?, row.get(6)?, row.get(9)?, row.get(12)?, row.get(13)?],
        numbers: [row.get(7)?, row.get(8)?],
    })
}

/// As the database has times.
pub(super) fn time_text(at: OffsetDateTime) -> String {
    // Formatting fails only for years that RFC 3339 cannot write.
    at.format(&Rfc3339).unwrap_or_else(|_| at.unix_timestamp().to_string())
}

fn parse_time(text: &str) -> Result<OffsetDateTime, time::error::Parse> {
    OffsetDateTime::parse(text, &Rfc3339)
}
