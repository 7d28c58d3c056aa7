//! Small facts that outlive the process: the table `meta`, one text a key.

use rusqlite::{Connection, OptionalExtension, params};

/// The fact under `key`.
pub fn get(db: &Connection, key: &str) -> rusqlite::Result<Option<String>> {
    db.query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0)).optional()
}

/// Puts `value` under `key`, in place of what was there.
pub fn set(db: &Connection, key: &str, value: &str) -> rusqlite::Result<()> {
    db.execute("INSERT OR REPLACE INTO meta (key, value) VALUES (?1, ?2)", params![key, value]).map(drop)
}

/// Removes what is under `key`; nothing there is fine.
pub fn forget(db: &Connection, key: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM meta WHERE key = ?1", [key]).map(drop)
}
