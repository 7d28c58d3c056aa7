//! Which release a container was started from: the table `containers`. A container outlives upgrades that leave its
//! service alone, and with it the release folder whose files it mounts.

use std::collections::{BTreeMap, BTreeSet};

use rusqlite::{Connection, params};

/// Container IDs and the versions they were started from.
pub fn all(db: &Connection) -> rusqlite::Result<BTreeMap<String, String>> {
    db.prepare("SELECT container_id, release FROM containers")?
        .query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?
        .collect()
}

/// The services whose containers are put down.
pub fn services(db: &Connection) -> rusqlite::Result<BTreeSet<String>> {
    db.prepare("SELECT DISTINCT service FROM containers")?.query_map([], |row| row.get(0))?.collect()
}

/// Puts it down, in place of what was known of that container.
pub fn record(db: &Connection, id: &str, service: &str, release: &str) -> rusqlite::Result<()> {
    let sql = "INSERT OR REPLACE INTO containers (container_id, service, release) VALUES (?1, ?2, ?3)";
    db.execute(sql, params![id, service, release]).map(drop)
}

/// Drops the record of a container that is gone; none there is fine.
pub fn forget(db: &Connection, id: &str) -> rusqlite::Result<()> {
    db.execute("DELETE FROM containers WHERE container_id = ?1", [id]).map(drop)
}
