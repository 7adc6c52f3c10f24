//! A table in PostgreSQL (12 or newer). Reads along the primary key, writes back a thousand rows a
//! statement where the old bytes still stand, and scans one snapshot of the primary. A connection that
//! broke is made anew by the next call; the call that broke it says so and tries nothing again.
//!
//! Never alters a table, takes a lock that outlives a statement, or runs a word of the connector file
//! that was not found in the catalog first.

mod catalog;
mod connect;
mod rows;
mod statements;
mod tls;

use std::io::{self, ErrorKind};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio_postgres::error::SqlState;
use tokio_postgres::types::ToSql;
use tokio_postgres::{Client, Error, Statement};

use super::connector::PostgresTable;
use super::store::{Entry, Held, Move, Outcome, Place, Rows, Store, StoreError};
use catalog::Layout;
use connect::Server;
use rows::Snapshot;
use statements::Texts;

/// A table that is open.
pub(super) struct Postgres {
    identity: String,
    server: Server,
    layout: Layout,
    texts: Texts,
    reader: Mutex<Option<Arc<Reader>>>,
    writer: Mutex<Option<Arc<Writer>>>,
}

/// The connection that reads, with its statements.
struct Reader {
    client: Client,
    first: Statement,
    next: Statement,
    one: Statement,
}

/// The connection that writes, so that a row which somebody holds locked does not stop the reading.
struct Writer {
    client: Client,
    replace: Statement,
}

// === impl Postgres ===

impl Postgres {
    /// Connects, and makes sure that the table, its key and its columns are there.
    pub(super) async fn open(table: PostgresTable) -> Result<Self, StoreError> {
        let identity = format!(
            "postgresql {}/{}.{}.{}",
            table.database, table.schema, table.table, table.column
        );
        let server = Server::new(&table)?;
        let client = server.connect().await?;
        let layout = Layout::find(&client, &table).await?;
        let texts = Texts::of(&layout);
        let reader = Mutex::new(Some(Arc::new(Reader::new(client, &layout, &texts).await?)));
        let opened = Self { identity, server, layout, texts, reader, writer: Mutex::new(None) };
        // So that a right that is missing is told before anything begins.
        opened.writer().await?;
        Ok(opened)
    }

    /// The connection that reads; a new one if it broke.
    async fn reader(&self) -> Result<Arc<Reader>, StoreError> {
        let mut held = self.reader.lock().await;
        if let Some(reader) = held.as_ref().filter(|reader| !reader.client.is_closed()) {
            return Ok(Arc::clone(reader));
        }
        let client = self.server.connect().await?;
        let reader = Arc::new(Reader::new(client, &self.layout, &self.texts).await?);
        *held = Some(Arc::clone(&reader));
        Ok(reader)
    }

    /// The connection that writes; a new one if it broke.
    async fn writer(&self) -> Result<Arc<Writer>, StoreError> {
        let mut held = self.writer.lock().await;
        if let Some(writer) = held.as_ref().filter(|writer| !writer.client.is_closed()) {
            return Ok(Arc::clone(writer));
        }
        let client = self.server.connect().await?;
        let writer = Arc::new(Writer::new(client, &self.layout, &self.texts).await?);
        *held = Some(Arc::clone(&writer));
        Ok(writer)
    }

    /// The rows of these moves that took their new blob, by index from 1.
    async fn write(&self, writer: &Writer, moves: &[Move]) -> Result<Vec<i64>, Error> {
        let keys = self.layout.key_arrays(moves);
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            Vec::with_capacity(keys.len().saturating_add(2));
        parameters.extend(keys.iter().map(|column| column as &(dyn ToSql + Sync)));
        let rows = if self.layout.is_text {
            let text = |held: fn(&Move) -> &Held| -> Vec<&str> {
                moves.iter().map(|moved| as_text(held(moved))).collect()
            };
            let (old, new) = (text(|moved| &moved.entry.held), text(|moved| &moved.new));
            parameters.extend([&old as &(dyn ToSql + Sync), &new]);
            writer.client.query(&writer.replace, &parameters).await?
        } else {
            let bytes = |held: fn(&Move) -> &Held| -> Vec<&[u8]> {
                moves.iter().map(|moved| as_bytes(held(moved))).collect()
            };
            let (old, new) = (bytes(|moved| &moved.entry.held), bytes(|moved| &moved.new));
            parameters.extend([&old as &(dyn ToSql + Sync), &new]);
            writer.client.query(&writer.replace, &parameters).await?
        };
        rows.iter().map(|row| row.try_get(0)).collect()
    }
}

#[async_trait]
impl Store for Postgres {
    fn identity(&self) -> &str {
        &self.identity
    }

    async fn total(&self) -> Result<u64, StoreError> {
        let estimate = "SELECT greatest(reltuples, 0)::bigint FROM pg_class WHERE oid = $1";
        let row = self.reader().await?.client.query_one(estimate, &[&self.layout.oid]).await;
        let rows: i64 = row
            .and_then(|row| row.try_get(0))
            .map_err(|error| failed("estimate the rows", &error))?;
        Ok(u64::try_from(rows).unwrap_or(0))
    }

    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let key = self.layout.key_of(after)?;
        let mut parameters: Vec<&(dyn ToSql + Sync)> =
            key.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        parameters.push(&limit);
        let reader = self.reader().await?;
        let statement = if after.is_start() { &reader.first } else { &reader.next };
        let rows = reader.client.query(statement, &parameters).await;
        let rows = rows.map_err(|error| failed("read rows", &error))?;
        rows.iter().map(|row| self.layout.entry(row)).collect()
    }

    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let key = self.layout.key_of(place)?;
        let parameters: Vec<&(dyn ToSql + Sync)> =
            key.iter().map(|text| text as &(dyn ToSql + Sync)).collect();
        let reader = self.reader().await?;
        let row = reader.client.query_opt(&reader.one, &parameters).await;
        let row = row.map_err(|error| failed("read a row again", &error))?;
        row.map(|row| self.layout.entry(&row)).transpose()
    }

    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError> {
        let mut tries: u32 = 0;
        let writer = self.writer().await?;
        let written = loop {
            match self.write(&writer, moves).await {
                Ok(written) => break written,
                // An application that locks rows in another order; PostgreSQL chose us to step back.
                Err(error) if tries < TRIES_MAX && steps_back(&error) => {
                    tries = tries.saturating_add(1);
                    tokio::time::sleep(STEP_BACK.saturating_mul(tries)).await;
                }
                Err(error) => return Err(failed("write rows", &error)),
            }
        };
        let mut outcomes = vec![Outcome::Changed; moves.len()];
        for number in written {
            let index = usize::try_from(number).ok().and_then(|number| number.checked_sub(1));
            if let Some(outcome) = index.and_then(|index| outcomes.get_mut(index)) {
                *outcome = Outcome::Replaced;
            }
        }
        Ok(outcomes)
    }

    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError> {
        let client = self.server.connect().await?;
        prepare_session(&client, &self.layout).await?;
        Ok(Box::new(Snapshot::open(client, self.layout.clone(), &self.texts.scan).await?))
    }
}

// === impl Reader ===

impl Reader {
    async fn new(client: Client, layout: &Layout, texts: &Texts) -> Result<Self, StoreError> {
        prepare_session(&client, layout).await?;
        let prepare = async |text: &str| {
            client.prepare(text).await.map_err(|error| failed("prepare to read", &error))
        };
        let (first, next, one) =
            (prepare(&texts.first).await?, prepare(&texts.next).await?, prepare(&texts.one).await?);
        Ok(Self { first, next, one, client })
    }
}

// === impl Writer ===

impl Writer {
    async fn new(client: Client, layout: &Layout, texts: &Texts) -> Result<Self, StoreError> {
        prepare_session(&client, layout).await?;
        let limit = format!("SET statement_timeout = {}", WRITE_MAX.as_millis());
        let limited = client.batch_execute(&limit).await;
        limited.map_err(|error| failed("set up the connection", &error))?;
        let replace = client.prepare(&texts.replace).await;
        let replace = replace.map_err(|error| failed("prepare to write", &error))?;
        Ok(Self { client, replace })
    }
}

/// How values are written as text must not depend on the role or the database, and how rows are found
/// not on statistics that nobody has made yet.
async fn prepare_session(client: &Client, layout: &Layout) -> Result<(), StoreError> {
    let setting = format!("{SETTINGS}SET search_path = {}, pg_temp;", layout.search_path());
    client.batch_execute(&setting).await.map_err(|error| failed("set up the connection", &error))
}

fn steps_back(error: &Error) -> bool {
    [SqlState::T_R_DEADLOCK_DETECTED, SqlState::T_R_SERIALIZATION_FAILURE]
        .iter()
        .any(|state| error.code() == Some(state))
}

/// A column holds either; `Layout::entry` made it.
fn as_text(held: &Held) -> &str {
    match held {
        Held::Text(text) => text,
        Held::Bytes(_) => "",
    }
}

fn as_bytes(held: &Held) -> &[u8] {
    match held {
        Held::Bytes(bytes) => bytes,
        Held::Text(_) => &[],
    }
}

/// What PostgreSQL said, in one line.
fn failed(doing: &str, error: &Error) -> StoreError {
    let said = match error.as_db_error() {
        Some(error) => {
            let hint = error.hint().map(|hint| format!("; {hint}")).unwrap_or_default();
            format!("{}{hint} ({})", error.message(), error.code().code())
        }
        None => match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        },
    };
    let text = format!("postgresql: cannot {doing}: {said}");
    if is_away(error) { StoreError::Away(text) } else { StoreError::Failed(text) }
}

/// Whether the same may succeed on a new connection, or a little later.
fn is_away(error: &Error) -> bool {
    if let Some(state) = error.code() {
        // Connections that broke, shutdowns and starts, no connection free, and a row that somebody
        // kept locked for as long as a write may take.
        return state.code().starts_with("08")
            || state.code().starts_with("57P")
            || [SqlState::TOO_MANY_CONNECTIONS, SqlState::QUERY_CANCELED].contains(state);
    }
    let source = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    // A certificate that is refused is no accident of the network.
    error.is_closed() || source.is_some_and(|io: &io::Error| io.kind() != ErrorKind::InvalidData)
}

const SETTINGS: &str = "\
    SET datestyle = 'ISO, YMD'; SET intervalstyle = 'postgres'; SET timezone = 'UTC';\
    SET extra_float_digits = 1; SET bytea_output = 'hex'; SET lc_monetary = 'C';\
    SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off;\
    SET statement_timeout = 0; SET idle_in_transaction_session_timeout = 0;";

/// How long a write may wait for rows that somebody holds locked. Also when the agent is gone by then, so
/// that what it was writing never comes later than the server counts on (`HELD_MAX` of a pass).
const WRITE_MAX: Duration = Duration::from_secs(25);

const TRIES_MAX: u32 = 10;
const STEP_BACK: Duration = Duration::from_millis(50);
