//! `state.db`: one SQLite database (WAL, `synchronous=FULL`) with embedded migrations, and the lock that
//! lets one writer at a time into an install root.

mod lock;
pub mod meta;
pub mod reserve;

pub use lock::StateLock;

use std::os::unix::fs::MetadataExt;
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
    M::up(include_str!("../migrations/0003_backup_copies.sql")),
    M::up(include_str!("../migrations/0004_download_extents.sql")),
    M::up(include_str!("../migrations/0005_network.sql")),
];
const MIGRATIONS: Migrations<'static> = Migrations::from_slice(STEPS);

/// The open state database. Statements run on the calling thread; they are short.
pub struct Store {
    path: PathBuf,
    /// The device and number of the file that was opened; none in memory.
    file: Option<(u64, u64)>,
    connection: Mutex<Connection>,
}

/// The files of the database at `path`: itself, its journal and the journal's index.
pub fn files_of(path: &Path) -> [PathBuf; 3] {
    let beside = |ending: &str| PathBuf::from(format!("{}{ending}", path.display()));
    [path.to_owned(), beside("-wal"), beside("-shm")]
}

/// What a database is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expect {
    /// It may be new.
    Anything,
    /// It was here before; one without content has lost it.
    Content,
}

impl Store {
    /// Opens or creates the database at `path` and brings its schema up to date.
    pub fn open(path: &Path) -> Result<Self> {
        // It holds addresses with credentials and texts of .env; its journal files take its mode over.
        use std::os::unix::fs::OpenOptionsExt;
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(false).mode(0o600);
        options.open(path).map_err(|error| Fault::io(path, error))?;
        Self::open_file(path, Expect::Anything)
    }

    /// Opens the database at `path` that must have been there before: one that is gone or empty is
    /// [`Code::StateDamaged`], as is one that is no database or whose pages do not fit together.
    pub fn open_known(path: &Path) -> Result<Self> {
        if !path.try_exists().map_err(|error| Fault::io(path, error))? {
            return Err(Fault::new(Code::StateDamaged, path.display(), "the file is gone"));
        }
        Self::open_file(path, Expect::Content)
    }

    /// A database in memory, for tests.
    pub fn in_memory() -> Result<Self> {
        let path = Path::new(":memory:");
        let connection = Connection::open_in_memory().map_err(|error| fault(path, error))?;
        Self::prepare(path, connection, Expect::Anything)
    }

    fn open_file(path: &Path, expect: Expect) -> Result<Self> {
        let attempt = || {
            let connection = Connection::open(path).map_err(|error| fault(path, error))?;
            Self::prepare(path, connection, expect)
        };
        // The files beside it need room too.
        with_reserve(path, attempt)
    }

    fn prepare(path: &Path, mut connection: Connection, expect: Expect) -> Result<Self> {
        let set_up = |connection: &Connection| -> rusqlite::Result<(i64, String)> {
            connection.busy_timeout(Duration::from_secs(10))?;
            connection.pragma_update(None, "journal_mode", "wal")?;
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "foreign_keys", "on")?;
            let schema = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
            // Indexes too: the quick check would pass one that fails every statement that uses it.
            let health = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
            Ok((schema, health))
        };
        let (schema, health) = set_up(&connection).map_err(|error| fault(path, error))?;
        if health != "ok" {
            return Err(Fault::new(Code::StateDamaged, path.display(), health));
        }
        if schema == 0 && expect == Expect::Content {
            return Err(Fault::new(Code::StateDamaged, path.display(), "it is empty"));
        }
        MIGRATIONS.to_latest(&mut connection).map_err(|error| match error {
            rusqlite_migration::Error::RusqliteError { err, .. } => fault(path, err),
            other => Fault::from_error(Code::StateInvalid, path.display(), other),
        })?;
        let file = std::fs::metadata(path).ok().map(|file| (file.dev(), file.ino()));
        Ok(Self { path: path.to_owned(), file, connection: Mutex::new(connection) })
    }

    /// Runs `work` on the connection; once more where the disk was full and the reserve made room.
    pub fn with<T>(&self, work: impl Fn(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        let connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        with_reserve(&self.path, || work(&connection).map_err(|error| fault(&self.path, error)))
    }

    /// Runs `work` in a transaction that is durable when this returns `Ok`, and undone otherwise; once more where
    /// the disk was full and the reserve made room.
    pub fn transaction<T>(&self, work: impl Fn(&Transaction) -> Result<T>) -> Result<T> {
        let mut connection = self.connection.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        with_reserve(&self.path, || {
            let transaction = connection.transaction().map_err(|error| fault(&self.path, error))?;
            let value = work(&transaction)?;
            transaction.commit().map_err(|error| fault(&self.path, error))?;
            Ok(value)
        })
    }

    /// Whether the file at the database's path is still the one that is open here; a writer whose database was
    /// taken away would write for nobody.
    pub fn is_in_place(&self) -> Result<bool> {
        match std::fs::metadata(&self.path) {
            Ok(present) => Ok(self.file.is_none_or(|opened| opened == (present.dev(), present.ino()))),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(self.file.is_none()),
            Err(error) => Err(Fault::io(&self.path, error)),
        }
    }

    /// The path of the database, for error messages.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// Does `work`; where it fails for want of room, gives the reserve beside `path` up and does it once more.
fn with_reserve<T>(path: &Path, mut work: impl FnMut() -> Result<T>) -> Result<T> {
    match work() {
        Err(full) if full.code() == Code::DiskFull && reserve::give_up(&reserve::beside(path)) => work(),
        result => result,
    }
}

/// A SQLite error on the database at `path`: a full or read-only disk is told apart from a damaged file.
pub fn fault(path: &Path, error: rusqlite::Error) -> Fault {
    use rusqlite::ErrorCode;
    let code = match error.sqlite_error_code() {
        Some(ErrorCode::DiskFull) => Code::DiskFull,
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => Code::StateDamaged,
        // Room for the shared index of the journal.
        Some(ErrorCode::SystemIoFailure) if extended(&error) == Some(rusqlite::ffi::SQLITE_IOERR_SHMSIZE) => {
            Code::DiskFull
        }
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

fn extended(error: &rusqlite::Error) -> Option<i32> {
    error.sqlite_error().map(|error| error.extended_code)
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
        assert_eq!(error.code(), Code::StateDamaged);
        assert!(error.to_string().contains("state.db"));
    }

    #[test]
    fn content_that_is_gone_is_told_from_a_new_database() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let damaged = |path| Store::open_known(path).err().map(|fault| fault.code());
        assert_eq!(damaged(&path), Some(Code::StateDamaged), "gone");
        std::fs::write(&path, "").unwrap();
        assert_eq!(damaged(&path), Some(Code::StateDamaged), "empty");
        drop(Store::open(&path).unwrap());
        assert_eq!(damaged(&path), None);
        let whole = std::fs::read(&path).unwrap();
        std::fs::write(&path, &whole[..whole.len() / 2]).unwrap();
        assert_eq!(damaged(&path), Some(Code::StateDamaged), "cut off");
        let mut scratched = whole;
        let at = scratched.len() - 4096;
        scratched[at..].fill(0xA5);
        std::fs::write(&path, &scratched).unwrap();
        assert_eq!(damaged(&path), Some(Code::StateDamaged), "scratched");
    }

    #[test]
    fn a_database_that_was_taken_away_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.db");
        let store = Store::open(&path).unwrap();
        assert!(store.is_in_place().unwrap());
        std::fs::remove_file(&path).unwrap();
        assert!(!store.is_in_place().unwrap());
        let _other = Store::open(&path).unwrap();
        assert!(!store.is_in_place().unwrap());
    }
}
