use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use hulynet_protocol::Retry;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::failed;
use super::files::{Files, sync_directory};
use crate::StoreError;

/// How long a call waits for the writer of another process.
const BUSY: Duration = Duration::from_secs(5);
/// Read connections that are kept open between calls, for each file.
const IDLE_READERS: usize = 2;
/// Statements that a connection keeps prepared.
const STATEMENTS: usize = 48;

/// What the tables of a file are, and the version of that.
pub(super) struct Schema {
    pub(super) version: i64,
    pub(super) sql: &'static str,
}

/// One file: a connection that writes and some that read.
#[derive(Debug)]
pub(super) struct Database {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
}

impl Database {
    /// Opens a file that exists.
    pub(super) fn open(path: PathBuf, schema: &Schema) -> Result<Self, StoreError> {
        let writer = connect(&path, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
        Self::new(path, writer, schema)
    }

    /// Opens a file, and creates it with its tables and what `first` writes
    /// into them, unless it is there.
    pub(super) fn create(
        files: &Files,
        path: PathBuf,
        schema: &Schema,
        first: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
    ) -> Result<Self, StoreError> {
        // Under the lock nobody else opens the file to create it while it
        // moves from one journal to the other.
        let _lock = files.lock()?;
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE;
        let mut writer = connect(&path, flags)?;
        if version(&writer, &path)? == 0 {
            set_up(&mut writer, schema, first)
                .map_err(|error| engine(&path, "creating", &error))?;
            path.parent()
                .map_or(Ok(()), sync_directory)
                .map_err(|error| failed(&format!("creating {}", path.display()), error))?;
        }
        Self::new(path, writer, schema)
    }

    fn new(path: PathBuf, writer: Connection, schema: &Schema) -> Result<Self, StoreError> {
        let found = version(&writer, &path)?;
        if found > schema.version {
            return Err(StoreError::NewerFormat { file: path, found, supported: schema.version });
        }
        if found < schema.version {
            let (place, expected) = (path.display().to_string(), schema.version);
            let reason = format!("its format is {found}, expected {expected}");
            return Err(StoreError::Damaged { place, reason });
        }
        Ok(Self { path, writer: Mutex::new(writer), readers: Mutex::default() })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Runs `work` in one durable transaction, which an error undoes.
    pub(super) fn write<T>(
        &self,
        work: impl FnOnce(&Transaction<'_>) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let mut writer = held(&self.writer);
        let transaction = writer
            .transaction_with_behavior(TransactionBehavior::Immediate)
            .map_err(|error| self.failed("writing", &error))?;
        let result = work(&transaction)?;
        transaction.commit().map_err(|error| match self.failed("committing", &error) {
            StoreError::Engine { doing, reason, .. } => {
                StoreError::Engine { doing, reason, retry: Retry::MaybeProcessed }
            }
            other => other,
        })?;
        Ok(result)
    }

    /// Runs `work` on one unchanging view of the file.
    pub(super) fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> Result<T, StoreError>,
    ) -> Result<T, StoreError> {
        let idle = held(&self.readers).pop();
        let reader = match idle {
            Some(reader) => reader,
            // Not read-only: a reader too must be able to recover the log
            // that a killed process has left.
            None => connect(&self.path, OpenFlags::SQLITE_OPEN_READ_WRITE)?,
        };
        let view =
            reader.unchecked_transaction().map_err(|error| self.failed("reading", &error))?;
        let result = work(view.deref());
        view.finish().map_err(|error| self.failed("reading", &error))?;
        let mut idle = held(&self.readers);
        if idle.len() < IDLE_READERS {
            idle.push(reader);
        }
        result
    }

    pub(super) fn failed(&self, doing: &str, error: &rusqlite::Error) -> StoreError {
        engine(&self.path, doing, error)
    }

    pub(super) fn damaged(&self, place: &str, reason: impl std::fmt::Display) -> StoreError {
        let place = format!("{place} in {}", self.path.display());
        StoreError::Damaged { place, reason: reason.to_string() }
    }
}

/// A panic elsewhere leaves the connection usable: its transaction was rolled
/// back when it was dropped.
fn held<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn connect(path: &Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    // Each connection is used by one thread at a time.
    let flags = flags | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags);
    let connection = connection.map_err(|error| engine(path, "opening", &error))?;
    let configured = connection.busy_timeout(BUSY).and_then(|()| {
        connection.set_prepared_statement_cache_capacity(STATEMENTS);
        connection.pragma_update(None, "synchronous", "FULL")
    });
    configured.map_err(|error| engine(path, "opening", &error))?;
    Ok(connection)
}

fn version(connection: &Connection, path: &Path) -> Result<i64, StoreError> {
    connection
        .pragma_query_value(None, "user_version", |row| row.get(0))
        .map_err(|error| engine(path, "opening", &error))
}

/// Safe to repeat after a crash in the middle: the version is set last, in
/// the transaction that makes the tables.
fn set_up(
    connection: &mut Connection,
    schema: &Schema,
    first: impl FnOnce(&Transaction<'_>) -> rusqlite::Result<()>,
) -> rusqlite::Result<()> {
    connection
        .pragma_update_and_check(None, "journal_mode", "WAL", |row| row.get::<_, String>(0))?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    transaction.execute_batch(schema.sql)?;
    first(&transaction)?;
    transaction.pragma_update(None, "user_version", schema.version)?;
    transaction.commit()
}

fn engine(path: &Path, doing: &str, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            StoreError::Busy { what: "another process is writing" }
        }
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
            StoreError::Damaged { place: path.display().to_string(), reason: error.to_string() }
        }
        _ => failed(&format!("{doing} {}", path.display()), error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCHEMA: Schema = Schema { version: 1, sql: "CREATE TABLE t (x)" };

    fn files() -> (tempfile::TempDir, Files, PathBuf) {
        let directory = tempfile::tempdir().unwrap();
        let files = Files::prepare(directory.path()).unwrap();
        let path = directory.path().join("test.db");
        (directory, files, path)
    }

    #[test]
    fn a_newer_format_is_refused_by_name() {
        let (_directory, files, path) = files();
        drop(
            Database::create(&files, path.clone(), &Schema { version: 7, ..SCHEMA }, |_| Ok(()))
                .unwrap(),
        );
        let error = Database::open(path.clone(), &SCHEMA).unwrap_err();
        assert_eq!(error, StoreError::NewerFormat { file: path.clone(), found: 7, supported: 1 });
        assert!(Database::create(&files, path, &SCHEMA, |_| Ok(())).is_err());
    }

    #[test]
    fn a_file_that_is_no_database_is_damaged_and_a_lost_one_is_not_made_anew() {
        let (_directory, files, path) = files();
        assert!(matches!(Database::open(path.clone(), &SCHEMA), Err(StoreError::Engine { .. })));
        assert!(!path.exists());
        std::fs::write(&path, vec![7; 8_192]).unwrap();
        assert!(matches!(
            Database::create(&files, path, &SCHEMA, |_| Ok(())),
            Err(StoreError::Damaged { .. })
        ));
    }

    #[test]
    fn commits_are_synchronised_and_readers_do_not_wait_for_the_writer() {
        let (_directory, files, path) = files();
        let database = Database::create(&files, path, &SCHEMA, |_| Ok(())).unwrap();
        let count = |database: &Database| {
            database.read(|view| {
                Ok(view
                    .query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0))
                    .unwrap())
            })
        };
        let written = database.write(|transaction| {
            let mode: String =
                transaction.pragma_query_value(None, "journal_mode", |row| row.get(0)).unwrap();
            let synchronous: i64 =
                transaction.pragma_query_value(None, "synchronous", |row| row.get(0)).unwrap();
            assert_eq!((mode.as_str(), synchronous), ("wal", 2));
            transaction.execute("INSERT INTO t VALUES (1)", []).unwrap();
            count(&database)
        });
        assert_eq!(written, Ok(0));
        assert_eq!(count(&database), Ok(1));
    }

    #[test]
    fn an_error_undoes_the_transaction() {
        let (_directory, files, path) = files();
        let database = Database::create(&files, path, &SCHEMA, |_| Ok(())).unwrap();
        let refused = database.write(|transaction| {
            transaction.execute("INSERT INTO t VALUES (1)", []).unwrap();
            Err::<(), _>(StoreError::Busy { what: "test" })
        });
        assert!(refused.is_err());
        let rows = database.read(|view| {
            Ok(view.query_row("SELECT count(*) FROM t", [], |row| row.get::<_, i64>(0)).unwrap())
        });
        assert_eq!(rows, Ok(0));
    }
}
