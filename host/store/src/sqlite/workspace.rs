use hulynet_protocol::Epoch;
use rusqlite::types::{Null, ToSqlOutput};
use rusqlite::{Connection, OptionalExtension, ToSql, Transaction, params};
use serde_json::Value;

use super::database::{Database, Schema};
use super::files::Files;
use crate::checked::{CheckedCommit, CheckedDocument, CheckedTransaction, Indexed};
use crate::limits::{MAX_FOUND_BYTES, MAX_LOG_BYTES, MAX_LOG_ENTRIES};
use crate::{Committed, LogEntry, StoreError, WorkspaceId};

/// The columns beside `data` are copies of fields, by which `find` narrows:
/// `NULL` where a field is missing, an empty blob where it has another type.
/// The usual question is for the documents of a class, or for those of a
/// class that are attached to one document.
pub(super) const SCHEMA: Schema = Schema {
    version: 1,
    sql: "
        CREATE TABLE workspace (
            name TEXT NOT NULL, writer_term INTEGER NOT NULL, writer_counter INTEGER NOT NULL
        );
        CREATE TABLE log (sequence INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, data TEXT NOT NULL);
        CREATE TABLE documents (
            id TEXT PRIMARY KEY, class TEXT NOT NULL, space TEXT, attached_to TEXT,
            modified_on REAL, data TEXT NOT NULL
        );
        CREATE INDEX documents_class ON documents (class, attached_to);
        CREATE INDEX documents_space ON documents (space);
        CREATE INDEX documents_attached_to ON documents (attached_to);
        CREATE INDEX documents_modified_on ON documents (modified_on);
    ",
};

/// Creates the file of a workspace unless it exists, and opens it.
pub(super) fn create(files: &Files, id: &WorkspaceId) -> Result<Database, StoreError> {
    let name = |transaction: &Transaction<'_>| {
        let insert = "INSERT INTO workspace VALUES (?1, 0, 0)";
        transaction.execute(insert, [id.as_str()]).map(|_| ())
    };
    let database = Database::create(files, files.workspace(id), &SCHEMA, name)?;
    check_name(&database, id)?;
    Ok(database)
}

pub(super) fn open(files: &Files, id: &WorkspaceId) -> Result<Database, StoreError> {
    let database = Database::open(files.workspace(id), &SCHEMA)?;
    check_name(&database, id)?;
    Ok(database)
}

/// A file that was copied over another one must not show a tenant the
/// documents of another.
fn check_name(database: &Database, id: &WorkspaceId) -> Result<(), StoreError> {
    let name: String = database.read(|view| {
        view.query_row("SELECT name FROM workspace", [], |row| row.get(0))
            .map_err(|error| database.failed("opening", &error))
    })?;
    if name == id.as_str() {
        return Ok(());
    }
    let reason = format!("it belongs to the workspace {name:?}, not to {:?}", id.as_str());
    Err(StoreError::Damaged { place: database.path().display().to_string(), reason })
}

/// Writes a commit in one transaction; the order of the checks is that of
/// [`crate::Workspace::commit`].
pub(super) fn commit(
    database: &Database,
    writer: Epoch,
    commit: &CheckedCommit,
) -> Result<Committed, StoreError> {
    database.write(|transaction| {
        let failed = |error| database.failed("writing", &error);
        let current = last_writer(transaction).map_err(failed)?;
        if writer < current {
            return Err(StoreError::StaleEpoch { writer, current });
        }
        for CheckedTransaction { id, .. } in &commit.transactions {
            if let Some(sequence) = sequence_of(transaction, id).map_err(failed)? {
                return Err(StoreError::Duplicate { id: id.clone(), sequence });
            }
        }
        let head = head_in(transaction).map_err(failed)?;
        if commit.first != head.saturating_add(1) {
            return Err(StoreError::Conflict { first: commit.first, head });
        }
        if writer > current {
            remember_writer(transaction, writer).map_err(failed)?;
        }
        let head = append(transaction, head, &commit.transactions).map_err(failed)?;
        change(transaction, &commit.put, &commit.remove).map_err(failed)?;
        Ok(Committed { head })
    })
}

pub(super) fn get(database: &Database, ids: &[String]) -> Result<Vec<Option<Value>>, StoreError> {
    let mut bytes = 0;
    let read = |view: &Connection, id: &String| {
        let data = text_of(view, id).map_err(|error| database.failed("reading", &error))?;
        bytes += data.as_ref().map_or(0, String::len);
        if bytes > MAX_FOUND_BYTES {
            return Err(StoreError::TooLarge {
                what: "the documents together are".to_owned(),
                limit: MAX_FOUND_BYTES,
                unit: "bytes",
                remedy: "ask for them in parts",
            });
        }
        data.map(|data| parse(database, id, &data)).transpose()
    };
    database.read(|view| each(ids, view, read))
}

pub(super) fn log(
    database: &Database,
    after: u64,
    limit: u32,
) -> Result<Vec<LogEntry>, StoreError> {
    let limit = limit.min(MAX_LOG_ENTRIES);
    let texts = database.read(|view| {
        log_texts(view, after, limit).map_err(|error| database.failed("reading", &error))
    })?;
    let entries = texts.into_iter().map(|(sequence, text)| {
        let transaction = parse(database, &format!("transaction {sequence}"), &text)?;
        Ok(LogEntry { sequence, transaction })
    });
    entries.collect()
}

pub(super) fn head(database: &Database) -> Result<u64, StoreError> {
    database.read(|view| head_in(view).map_err(|error| database.failed("reading", &error)))
}

pub(super) fn lookup(database: &Database, ids: &[String]) -> Result<Vec<Option<u64>>, StoreError> {
    let read = |view: &Connection, id: &String| {
        sequence_of(view, id).map_err(|error| database.failed("reading", &error))
    };
    database.read(|view| each(ids, view, read))
}

/// Reads a stored text back.
pub(super) fn parse(database: &Database, place: &str, text: &str) -> Result<Value, StoreError> {
    serde_json::from_str(text).map_err(|error| database.damaged(place, error))
}

fn each<T>(
    ids: &[String],
    view: &Connection,
    mut read: impl FnMut(&Connection, &String) -> Result<T, StoreError>,
) -> Result<Vec<T>, StoreError> {
    ids.iter().map(|id| read(view, id)).collect()
}

fn last_writer(view: &Connection) -> rusqlite::Result<Epoch> {
    let sql = "SELECT writer_term, writer_counter FROM workspace";
    let (term, counter) = view
        .prepare_cached(sql)?
        .query_row([], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)))?;
    // SQLite's integers are signed: the bits are kept, the order is ours.
    Ok(Epoch { term: term.cast_unsigned(), counter: counter.cast_unsigned() })
}

fn remember_writer(transaction: &Transaction<'_>, writer: Epoch) -> rusqlite::Result<()> {
    let (term, counter) = (writer.term.cast_signed(), writer.counter.cast_signed());
    transaction
        .prepare_cached("UPDATE workspace SET writer_term = ?1, writer_counter = ?2")?
        .execute(params![term, counter])
        .map(|_| ())
}

fn append(
    transaction: &Transaction<'_>,
    head: u64,
    transactions: &[CheckedTransaction],
) -> rusqlite::Result<u64> {
    let mut insert = transaction.prepare_cached("INSERT INTO log VALUES (?1, ?2, ?3)")?;
    let mut head = head;
    for CheckedTransaction { id, text } in transactions {
        head += 1;
        insert.execute(params![head.cast_signed(), id, text])?;
    }
    Ok(head)
}

fn change(
    transaction: &Transaction<'_>,
    put: &[CheckedDocument],
    remove: &[String],
) -> rusqlite::Result<()> {
    let mut delete = transaction.prepare_cached("DELETE FROM documents WHERE id = ?1")?;
    for id in remove {
        delete.execute([id])?;
    }
    let mut upsert = transaction.prepare_cached(
        "INSERT INTO documents VALUES (?1, ?2, ?3, ?4, ?5, ?6)
         ON CONFLICT (id) DO UPDATE SET class = ?2, space = ?3, attached_to = ?4, modified_on = ?5, data = ?6",
    )?;
    for CheckedDocument { id, class, space, attached_to, modified_on, text } in put {
        upsert.execute(params![id, class, space, attached_to, modified_on, text])?;
    }
    Ok(())
}

fn text_of(view: &Connection, id: &str) -> rusqlite::Result<Option<String>> {
    view.prepare_cached("SELECT data FROM documents WHERE id = ?1")?
        .query_row([id], |row| row.get(0))
        .optional()
}

fn log_texts(view: &Connection, after: u64, limit: u32) -> rusqlite::Result<Vec<(u64, String)>> {
    let sql = "SELECT sequence, data FROM log WHERE sequence > ?1 ORDER BY sequence LIMIT ?2";
    let mut select = view.prepare_cached(sql)?;
    let mut rows = select.query(params![i64::try_from(after).unwrap_or(i64::MAX), limit])?;
    let (mut texts, mut bytes) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let text: String = row.get(1)?;
        bytes += text.len();
        texts.push((row.get::<_, i64>(0)?.cast_unsigned(), text));
        if bytes >= MAX_LOG_BYTES {
            break;
        }
    }
    Ok(texts)
}

fn head_in(view: &Connection) -> rusqlite::Result<u64> {
    view.prepare_cached("SELECT coalesce(max(sequence), 0) FROM log")?
        .query_row([], |row| row.get::<_, i64>(0))
        .map(i64::cast_unsigned)
}

fn sequence_of(view: &Connection, id: &str) -> rusqlite::Result<Option<u64>> {
    view.prepare_cached("SELECT sequence FROM log WHERE id = ?1")?
        .query_row([id], |row| row.get::<_, i64>(0).map(i64::cast_unsigned))
        .optional()
}

impl<T: ToSql> ToSql for Indexed<T> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        match self {
            Self::Missing => Ok(ToSqlOutput::from(Null)),
            Self::Value(value) => value.to_sql(),
            Self::Other => Ok(ToSqlOutput::from(Vec::new())),
        }
    }
}
