//! The end of a change, recorded together with the report of it.
//!
//! A report waits in `state.db` until `agent::report` has delivered it, so the change itself never waits for a server.
//! There are at most [`MOST`]; of those dropped undelivered, later ones carry the number.

use rusqlite::{OptionalExtension, Transaction, params};
use serde::{Deserialize, Serialize};

use super::installation::Installation;
use super::journal::{self, ChangeState, Journal};
use crate::exit;
use crate::fault::{Code, Fault, Result};
use crate::progress::Outcome;
use crate::state::meta;

/// Reports that are kept, delivered or not.
pub const MOST: usize = 1000;
/// The key in `meta` that counts the undelivered ones which were dropped.
const DROPPED: &str = "reports_dropped";

/// What the configured address is told of one outcome.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Always 1.
    pub schema: u32,
    /// Unique; also sent as `Idempotency-Key`.
    pub id: String,
    /// RFC 3339 UTC.
    pub at: String,
    /// The Compose project.
    pub project: String,
    /// `install`, `adopt`, `upgrade`, `rollback`, `restore`, `factory`.
    pub kind: String,
    /// `completed`, `rolled_back`, `failed`, `needs_attention`.
    pub state: String,
    /// 0: none; 1: back on the version before; 2: on the factory version; 3: a person is needed.
    pub rollback_level: u8,
    /// The code of the failure in small letters, or why the change was made.
    pub reason: String,
    /// Of this program.
    pub client_version: String,
    /// Undelivered reports that were dropped before this one, since the installation was made.
    pub dropped: u64,
    /// The result as it was told.
    pub outcome: Outcome,
}

impl Report {
    fn new(project: &str, kind: String, state: ChangeState, outcome: &Outcome, dropped: u64) -> Self {
        let failure = outcome.error.as_ref().map(|error| error.code.to_ascii_lowercase());
        Self {
            schema: 1,
            id: uuid::Uuid::now_v7().to_string(),
            at: journal::now(),
            project: project.to_owned(),
            kind,
            state: state.name().into(),
            rollback_level: level(outcome),
            reason: failure.unwrap_or_else(|| outcome.reason.clone()),
            client_version: env!("CARGO_PKG_VERSION").into(),
            dropped,
            outcome: outcome.clone(),
        }
    }
}

fn level(outcome: &Outcome) -> u8 {
    match outcome.exit_code {
        exit::ROLLED_BACK => 1,
        exit::FACTORY => 2,
        exit::NEEDS_PERSON => 3,
        _ => 0,
    }
}

/// Records the outcome of a change and the state it leaves it in, and the report where one is wanted, in one
/// transaction.
pub fn conclude(
    journal: &Journal,
    installation: &Installation,
    id: &str,
    outcome: &Outcome,
    state: ChangeState,
) -> Result<()> {
    let text = serde_json::to_string(outcome).expect("an outcome is always valid JSON");
    journal.conclude(id, &text, state, |db| match is_told(installation, state) {
        true => spool(db, installation, id, outcome, state),
        false => Ok(()),
    })
}

/// What is still open is told when it ends, and what another change took over is told by that one.
fn is_told(installation: &Installation, state: ChangeState) -> bool {
    let passing = matches!(state, ChangeState::Running | ChangeState::Undoing | ChangeState::Escalated);
    !passing && !installation.settings.report.url.is_empty()
}

fn spool(
    db: &Transaction,
    installation: &Installation,
    id: &str,
    outcome: &Outcome,
    state: ChangeState,
) -> rusqlite::Result<()> {
    let kind = db.query_row("SELECT kind FROM upgrades WHERE id = ?1", [id], |row| row.get(0)).optional()?;
    let report =
        Report::new(&installation.settings.project, kind.unwrap_or_default(), state, outcome, make_room(db)?);
    let body = serde_json::to_string(&report).expect("a report is always valid JSON");
    db.execute(
        "INSERT INTO reports (id, created_at, body) VALUES (?1, ?2, ?3)",
        params![report.id, report.at, body],
    )
    .map(drop)
}

fn dropped(db: &Transaction) -> rusqlite::Result<u64> {
    Ok(meta::get(db, DROPPED)?.and_then(|text| text.parse().ok()).unwrap_or(0))
}

/// Makes room for one more; how many undelivered ones had to go so far.
fn make_room(db: &Transaction) -> rusqlite::Result<u64> {
    let oldest_kept: Option<i64> = db
        .query_row("SELECT seq FROM reports ORDER BY seq DESC LIMIT 1 OFFSET ?1", [MOST as i64 - 2], |row| {
            row.get(0)
        })
        .optional()?;
    let Some(oldest_kept) = oldest_kept else { return dropped(db) };
    let sql = "SELECT count(*) FROM reports WHERE seq < ?1 AND delivered_at IS NULL";
    let lost: u64 = db.query_row(sql, [oldest_kept], |row| row.get(0))?;
    db.execute("DELETE FROM reports WHERE seq < ?1", [oldest_kept])?;
    let sum = dropped(db)? + lost;
    if lost > 0 {
        meta::set(db, DROPPED, &sum.to_string())?;
    }
    Ok(sum)
}

/// A report that waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Its place in the order.
    pub seq: i64,
    /// Its ID.
    pub id: String,
    /// The JSON text, the same at every attempt.
    pub body: String,
    /// Not to be tried before (RFC 3339), where the server said so.
    pub next_at: Option<String>,
}

/// The oldest report that waits.
pub fn next(installation: &Installation) -> Result<Option<Waiting>> {
    installation.store.with(|db| {
        let sql =
            "SELECT seq, id, body, next_at FROM reports WHERE delivered_at IS NULL ORDER BY seq LIMIT 1";
        let read = |row: &rusqlite::Row<'_>| {
            Ok(Waiting { seq: row.get(0)?, id: row.get(1)?, body: row.get(2)?, next_at: row.get(3)? })
        };
        db.query_row(sql, [], read).optional()
    })
}

/// How many wait.
pub fn waiting(installation: &Installation) -> Result<u64> {
    let sql = "SELECT count(*) FROM reports WHERE delivered_at IS NULL";
    installation.store.with(|db| db.query_row(sql, [], |row| row.get(0)))
}

/// Records that a report needs no further attempt: it was delivered, or, where there is a `cause`, refused for good.
pub fn done(installation: &Installation, seq: i64, cause: Option<&str>) -> Result<()> {
    installation.store.with(|db| {
        let sql =
            "UPDATE reports SET attempts = attempts + 1, delivered_at = ?2, last_error = ?3 WHERE seq = ?1";
        db.execute(sql, params![seq, journal::now(), cause]).map(drop)
    })
}

/// Records an attempt that failed; the next may be made from `next_at` on, where the server named a time.
pub fn failed(installation: &Installation, seq: i64, cause: &Fault, next_at: Option<&str>) -> Result<()> {
    let cause = cause.to_string();
    installation.store.with(|db| {
        let sql = "UPDATE reports SET attempts = attempts + 1, last_error = ?2, next_at = ?3 WHERE seq = ?1";
        db.execute(sql, params![seq, cause, next_at]).map(drop)
    })
}

/// The text that is sent with every report to say who sends it; none where none is set.
pub fn token(installation: &Installation) -> Result<Option<String>> {
    let Some(file) = &installation.settings.report.token_file else { return Ok(None) };
    let path = installation.layout.root().join(file);
    let text = std::fs::read_to_string(&path).map_err(|error| Fault::io(&path, error))?;
    let token = text.trim();
    if token.is_empty() || !token.chars().all(|c| c.is_ascii_graphic()) {
        return Err(Fault::new(Code::ConfigInvalid, path.display(), "it holds no token"));
    }
    Ok(Some(token.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use crate::layout::Layout;
    use crate::settings::{ReportSettings, Settings};
    use crate::state::Store;

    fn installation(url: &str) -> (Installation, Journal) {
        let report = ReportSettings { url: url.into(), ..ReportSettings::default() };
        let store = Arc::new(Store::in_memory().unwrap());
        let journal = Journal::new(store.clone());
        journal.open("u1", "upgrade", Some("1.0.0"), "1.1.0", "{}").unwrap();
        let settings = Settings { project: "shop".into(), report, ..Settings::default() };
        (Installation::of(Layout::new("/nowhere"), settings, store), journal)
    }

    fn outcome(exit_code: u8) -> Outcome {
        Outcome { exit_code, reason: "patch_available".into(), ..Outcome::blank() }
    }

    #[test]
    fn an_end_is_reported_once_with_its_level_and_what_is_open_is_not() {
        let place = installation("https://example.invalid/");
        for state in [ChangeState::Running, ChangeState::Undoing, ChangeState::Escalated] {
            conclude(&place.1, &place.0, "u1", &outcome(0), state).unwrap();
        }
        assert_eq!(next(&place.0).unwrap(), None);
        for (code, level, state) in [
            (exit::OK, 0, ChangeState::Completed),
            (exit::ROLLED_BACK, 1, ChangeState::RolledBack),
            (exit::FACTORY, 2, ChangeState::Completed),
            (exit::NEEDS_PERSON, 3, ChangeState::NeedsAttention),
        ] {
            conclude(&place.1, &place.0, "u1", &outcome(code), state).unwrap();
            let waiting = next(&place.0).unwrap().unwrap();
            let report: Report = serde_json::from_str(&waiting.body).unwrap();
            assert_eq!((report.rollback_level, report.state.as_str()), (level, state.name()));
            assert_eq!((report.kind.as_str(), report.project.as_str()), ("upgrade", "shop"));
            assert_eq!(report.id, waiting.id);
            done(&place.0, waiting.seq, None).unwrap();
        }
    }

    #[test]
    fn without_an_address_nothing_is_kept() {
        let place = installation("");
        conclude(&place.1, &place.0, "u1", &outcome(0), ChangeState::Completed).unwrap();
        assert_eq!(waiting(&place.0).unwrap(), 0);
    }

    #[test]
    fn the_oldest_go_and_are_counted() {
        let place = installation("https://example.invalid/");
        for _ in 0..MOST + 3 {
            conclude(&place.1, &place.0, "u1", &outcome(0), ChangeState::Completed).unwrap();
        }
        assert_eq!(waiting(&place.0).unwrap(), MOST as u64);
        let newest: String = place
            .0
            .store
            .with(|db| {
                db.query_row("SELECT body FROM reports ORDER BY seq DESC LIMIT 1", [], |row| row.get(0))
            })
            .unwrap();
        assert_eq!(serde_json::from_str::<Report>(&newest).unwrap().dropped, 3);
    }
}
