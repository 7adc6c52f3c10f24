//! A table in a file of SQLite. Reads along the rowid or the primary key, writes back in one
//! transaction a batch, and scans within one read transaction.
//!
//! SQLite blocks, so each of its three connections is used on threads for that alone. Never makes a
//! file, and never alters a table.

mod layout;
mod rows;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use parking_lot::Mutex;
use rusqlite::types::Value;
use rusqlite::{Connection, OpenFlags, ToSql, params_from_iter};

use super::connector::SqliteTable;
use super::store::{Entry, Held, Move, Outcome, Place, Rows, Store, StoreError};
use layout::Layout;
use rows::Snapshot;

/// A table that is open.
pub(super) struct Sqlite {
    identity: String,
    file: PathBuf,
    layout: Arc<Layout>,
    reader: Arc<Mutex<Connection>>,
    writer: Arc<Mutex<Connection>>,
}

// === impl Sqlite ===

impl Sqlite {
    /// Opens the file, and makes sure that the table and its columns are there.
    pub(super) async fn open(table: SqliteTable) -> Result<Self, StoreError> {
        let identity = format!("sqlite {}/{}.{}", table.file.display(), table.table, table.column);
        let file = table.file.clone();
        let opened = blocking(move || {
            let reader = connect(&table.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
            let writer = connect(&table.file, OpenFlags::SQLITE_OPEN_READ_WRITE)?;
            Ok((Layout::find(&reader, &table)?, reader, writer))
        });
        let (layout, reader, writer) = opened.await?;
        Ok(Self {
            identity,
            file,
            layout: Arc::new(layout),
            reader: Arc::new(Mutex::new(reader)),
            writer: Arc::new(Mutex::new(writer)),
        })
    }

    /// Reads with the statement `text`.
    async fn query(&self, text: String, values: Vec<Value>) -> Result<Vec<Entry>, StoreError> {
        let (layout, reader) = (Arc::clone(&self.layout), Arc::clone(&self.reader));
        blocking(move || {
            let reader = reader.lock();
            let mut statement =
                reader.prepare_cached(&text).map_err(|error| failed("read rows", &error))?;
            let mut rows = statement
                .query(params_from_iter(values))
                .map_err(|error| failed("read rows", &error))?;
            let mut entries = Vec::new();
            while let Some(row) = rows.next().map_err(|error| failed("read rows", &error))? {
                entries.push(layout.entry(row)?);
            }
            Ok(entries)
        })
        .await
    }
}

#[async_trait]
impl Store for Sqlite {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn total(&self) -> Result<u64, StoreError> {
        let (text, reader) = (self.layout.count(), Arc::clone(&self.reader));
        blocking(move || {
            let count: i64 = reader
                .lock()
                .query_row(&text, [], |row| row.get(0))
                .map_err(|error| failed("count the rows", &error))?;
            Ok(u64::try_from(count).unwrap_or(0))
        })
        .await
    }

    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut values = self.layout.key_of(after)?;
        values.push(Value::Integer(i64::try_from(limit).unwrap_or(i64::MAX)));
        self.query(self.layout.page(after.is_start()), values).await
    }

    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let values = self.layout.key_of(place)?;
        Ok(self.query(self.layout.one(), values).await?.pop())
    }

    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError> {
        let (layout, writer) = (Arc::clone(&self.layout), Arc::clone(&self.writer));
        let moves = moves.to_vec();
        blocking(move || {
            swap(&mut writer.lock(), &layout, moves).map_err(|error| failed("write rows", &error))
        })
        .await
    }

    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError> {
        let connection = connect(&self.file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        Ok(Box::new(Snapshot::open(connection, Arc::clone(&self.layout)).await?))
    }
}

/// All or none of a batch.
fn swap(
    connection: &mut Connection,
    layout: &Layout,
    moves: Vec<Move>,
) -> rusqlite::Result<Vec<Outcome>> {
    let transaction =
        connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let mut outcomes = Vec::with_capacity(moves.len());
    {
        let mut update = transaction.prepare_cached(&layout.replace())?;
        for Move { entry, new } in moves {
            let key = layout.key_of(&entry.place).unwrap_or_default();
            let values = [value(new), value(entry.held)];
            let values = values.iter().chain(&key).map(|value| value as &dyn ToSql);
            outcomes.push(match update.execute(params_from_iter(values))? {
                0 => Outcome::Changed,
                _ => Outcome::Replaced,
            });
        }
    }
    transaction.commit()?;
    Ok(outcomes)
}

fn value(held: Held) -> Value {
    match held {
        Held::Bytes(bytes) => Value::Blob(bytes),
        Held::Text(text) => Value::Text(text),
    }
}

fn connect(file: &std::path::Path, flags: OpenFlags) -> Result<Connection, StoreError> {
    let wrong =
        |error: rusqlite::Error| StoreError::Connector(format!("file {}: {error}", file.display()));
    let connection = Connection::open_with_flags(file, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX)
        .map_err(wrong)?;
    connection.busy_timeout(BUSY_TIMEOUT).map_err(wrong)?;
    Ok(connection)
}

/// Runs what blocks on a thread for that.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, StoreError> + Send + 'static,
) -> Result<T, StoreError> {
    let done = tokio::task::spawn_blocking(work).await;
    done.unwrap_or_else(|error| Err(StoreError::Failed(format!("sqlite: {error}"))))
}

fn failed(doing: &str, error: &rusqlite::Error) -> StoreError {
    StoreError::Failed(format!("sqlite: cannot {doing}: {error}"))
}

/// How long an application may hold the file locked.
const BUSY_TIMEOUT: Duration = Duration::from_secs(30);
