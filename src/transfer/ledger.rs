//! What is remembered of a part file: where it came from and what proves the source unchanged.

use rusqlite::{OptionalExtension, params};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::answer::Validator;
use super::extents::Extents;
use crate::fault::{Code, Fault, Result};
use crate::state::Store;

/// A row of `downloads`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Row {
    /// The part file.
    pub(super) path: String,
    /// The address as it is shown: secrets in it may change between runs and are not to be stored.
    pub(super) address: String,
    /// Proves the file the same.
    pub(super) validator: Validator,
    /// The whole length, if the server told.
    pub(super) length: Option<u64>,
    /// What of the part is on the disk for good, where its ranges are fetched; none where it is a prefix.
    pub(super) extents: Option<Extents>,
}

/// The row for `key`, if there is one that can prove anything.
pub(super) fn load(store: &Store, key: &str) -> Result<Option<Row>> {
    let row = store.with(|connection| {
        let sql = "SELECT path, url, etag, last_modified, length, extents FROM downloads WHERE key = ?1";
        let read = |row: &rusqlite::Row<'_>| {
            let etag: Option<String> = row.get(2)?;
            let modified: Option<String> = row.get(3)?;
            let validator = etag.map(Validator::ETag).or(modified.map(Validator::LastModified));
            let length: Option<i64> = row.get(4)?;
            let extents: Option<String> = row.get(5)?;
            // What cannot be read vouches for no byte.
            let extents = extents.map(|text| serde_json::from_str(&text).unwrap_or_default());
            Ok(validator.map(|validator| {
                Ok::<_, rusqlite::Error>(Row {
                    path: row.get(0)?,
                    address: row.get(1)?,
                    validator,
                    length: length.and_then(|length| u64::try_from(length).ok()),
                    extents,
                })
            }))
        };
        connection.query_row(sql, [key], read).optional()?.flatten().transpose()
    })?;
    Ok(row)
}

/// Remembers `row` under `key`.
pub(super) fn save(store: &Store, key: &str, row: &Row) -> Result<()> {
    let (etag, modified) = match &row.validator {
        Validator::ETag(tag) => (Some(tag), None),
        Validator::LastModified(date) => (None, Some(date)),
    };
    let length = row.length.and_then(|length| i64::try_from(length).ok());
    let now = OffsetDateTime::now_utc()
        .format(&Rfc3339)
        .map_err(|error| Fault::from_error(Code::StateInvalid, store.path().display(), error))?;
    let extents = row.extents.as_ref().map(|extents| text(store, extents)).transpose()?;
    let sql = "INSERT OR REPLACE INTO downloads
               (key, path, url, etag, last_modified, length, updated_at, extents)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
    let values = params![key, row.path, row.address, etag, modified, length, now, extents];
    store.with(|connection| connection.execute(sql, values)).map(drop)
}

/// Remembers that `extents` of the part under `key` are on the disk for good.
pub(super) fn save_extents(store: &Store, key: &str, extents: &Extents) -> Result<()> {
    let text = text(store, extents)?;
    let sql = "UPDATE downloads SET extents = ?2 WHERE key = ?1";
    store.with(|connection| connection.execute(sql, params![key, text])).map(drop)
}

fn text(store: &Store, extents: &Extents) -> Result<String> {
    serde_json::to_string(extents)
        .map_err(|error| Fault::from_error(Code::StateInvalid, store.path().display(), error))
}

/// Forgets `key`.
pub(super) fn forget(store: &Store, key: &str) -> Result<()> {
    store.with(|connection| connection.execute("DELETE FROM downloads WHERE key = ?1", [key])).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_kept_replaced_and_forgotten() {
        let store = Store::in_memory().unwrap();
        let row = |validator| Row {
            path: "/b/x.part".into(),
            address: "http://h/x".into(),
            validator,
            length: Some(7),
            extents: None,
        };
        let first = row(Validator::ETag("\"a\"".into()));
        let second = Row { length: None, ..row(Validator::LastModified("Mon".into())) };
        assert_eq!(load(&store, "k").unwrap(), None);
        for row in [first, second] {
            save(&store, "k", &row).unwrap();
            assert_eq!(load(&store, "k").unwrap(), Some(row));
        }
        forget(&store, "k").unwrap();
        assert_eq!(load(&store, "k").unwrap(), None);
    }

    #[test]
    fn extents_are_kept_and_what_cannot_be_read_is_none_of_them() {
        let store = Store::in_memory().unwrap();
        let row = Row {
            path: "/b/x.part".into(),
            address: "http://h/x".into(),
            validator: Validator::ETag("\"a\"".into()),
            length: Some(7),
            extents: Some(Extents::prefix(3)),
        };
        save(&store, "k", &row).unwrap();
        assert_eq!(load(&store, "k").unwrap(), Some(row));
        let found = || load(&store, "k").unwrap().unwrap().extents;
        save_extents(&store, "k", &Extents::prefix(5)).unwrap();
        assert_eq!(found(), Some(Extents::prefix(5)));
        store.with(|db| db.execute("UPDATE downloads SET extents = 'x'", [])).unwrap();
        assert_eq!(found(), Some(Extents::default()));
    }
}
