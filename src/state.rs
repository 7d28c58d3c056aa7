//! `state.db`: one SQLite database (WAL, `synchronous=FULL`) with embedded migrations, and the lock that
//! lets one writer at a time into an install root.

mod lock;

pub use lock::StateLock;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;

use rusqlite::{Connection, Transaction};
use rusqlite_migration::{M, Migrations};

use crate::fault::{Code, Fault, Result};

/// Embedded, in order; a migration that was released is never edited, only followed by another.
const STEPS: &[M<'static>] = &[
    M::up(include_str!("../migrations/0001_initial.sql")),
    M::up(include_str!("../migrations/0002_repair_and_reports.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// The open state database. Statements run on the calling thread; they are short.
pub struct Store {
    path: PathBuf,
    connection: Mutex<Connection>,
}

impl Store {
    /// Opens or creates the database at `path` and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self> {
        // It holds addresses with credentials and texts of .env; its journal files take its mode over.
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).map_err(|error| Fault::io(path, error))?;
        let connection = Connection::open(path).map_err(|error| fault(path, error))?;
        Self::prepare(path, connection)
    }

    /// A database in memory, for tests.
    pub fn in_memory() -> Result<Self> {
        let path = Path::new(":memory:");
        Self::prepare(path, Connection::open_in_memory().map_err(|error| fault(path, error))?)
    }

    fn prepare(path: &Path, mut connection: Connection) -> Result<Self> {
        let set_up = |connection: &Connection| -> rusqlite::Result<()> {
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", "on")
        };
        set_up(&connection).map_err(|error| fault(path, error))?;
        MIGRATIONS
            .to_latest(&mut connection)
            .map_err(|error| Fault::from_error(Code::StateInvalid, path.display(), error))?;
        Ok(Self { path: path.to_owned(), connection: Mutex::new(connection) })
    }

    /// Runs `work` on the connection.
    pub fn with<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        work(&connection).map_err(|error| fault(&self.path, error))
    }

    /// Runs `work` in a transaction that is durable when this returns `Ok`, and undone otherwise.
    pub fn transaction<T>(&self, work: impl FnOnce(&Transaction) -> Result<T>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        let transaction = connection.transaction().map_err(|error| fault(&self.path, error))?;
        let value = work(&transaction)?;
        transaction.commit().map_err(|error| fault(&self.path, error))?;
        Ok(value)
    }

    /// The path of the database, for error messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A SQLite error on the database at `path`: a full or read-only disk is told apart from a damaged file.
pub fn fault(path: &Path, error: rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode;
    let code = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Code::DiskFull,
        Some(ErrorCode::ReadOnly) => Code::DiskReadOnly,
        Some(ErrorCode::PermissionDenied) => Code::PermissionDenied,
        // SQLite does not say why; the system does.
        Some(ErrorCode::CannotOpen) => {
            return match std::fs::OpenOptions::new().append(true).open(path) {
                Err(refused) => Fault::io(path, refused),
                Ok(_) => Fault::from_error(Code::StateInvalid, path.display(), error),
            };
        }
        _ => Code::StateInvalid,
    };
    Fault::from_error(code, path.display(), error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_migrations_are_valid() {
        MIGRATIONS.validate().unwrap();
    }

    #[test]
    fn a_file_that_is_no_database_is_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        std::fs::write(&path, vec![b'x'; 4096]).unwrap();
        let error = Store::open(&path).err().unwrap();
        assert_eq!(error.code(), Code::StateInvalid);
        assert!(error.to_string().contains("state.db"));
    }
}
