//! Rows in one SQLite file on a local disk, for one server.
//!
//! One thread owns the connection; requests come to it over a bounded channel, so that nothing here
//! blocks an async runtime. Commits that wait together become durable together, with one sync. The
//! file is locked while it is open: a second server on it is refused. A commit is durable when it
//! is answered (WAL with `synchronous=FULL`), and after a failed sync the store never answers
//! again: it does not guess what the disk kept.

mod connect;
mod engine;
mod failure;
mod file;
mod schema;
mod statements;
mod worker;

use std::path::Path;
use std::sync::Arc;
use std::thread;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot, watch};

use self::engine::Engine;
use self::worker::{Request, Worker};
use super::Store;
use super::error::StoreError;
use super::head::Head;
use super::options::{Options, StoreClock};
use super::rows::{
    Changes, Commit, DueAfter, Row, RowKey, Scan, StoreStatus, check_due, check_keys, check_limit,
};

/// A store in one SQLite file. Share it behind an `Arc`.
///
/// When the last of it is dropped, the thread finishes what it was sent and lets the file go;
/// [`close`](SqliteStore::close) waits for that.
#[derive(Debug)]
pub struct SqliteStore {
    requests: mpsc::Sender<Request>,
    signals: Arc<Signals>,
    clock: StoreClockHandle,
}

/// What the thread tells those who wait.
#[derive(Debug)]
struct Signals {
    head: Head,
    failed: watch::Sender<Option<StoreError>>,
}

struct StoreClockHandle(StoreClock);

// === impl SqliteStore ===

impl SqliteStore {
    /// Makes a database at `path`, whose directory must exist, and opens it. Its files have mode
    /// 0600 from the first moment. This blocks: call it at start.
    ///
    /// # Errors
    /// [`Exists`](StoreError::Exists) when there is a file at `path` (or one that SQLite would take
    /// for a part of it), [`ReadOnly`](StoreError::ReadOnly), [`Full`](StoreError::Full),
    /// [`OutdatedEngine`](StoreError::OutdatedEngine), or
    /// [`Unavailable`](StoreError::Unavailable). Then no file is left behind.
    pub fn create(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::create_with(path, Options::default())
    }

    /// [`create`](SqliteStore::create) with a clock or bounds of one's own.
    ///
    /// # Errors
    /// The same.
    pub fn create_with(
        path: impl AsRef<Path>,
        options: Options,
    ) -> Result<SqliteStore, StoreError> {
        SqliteStore::start(Engine::create(path.as_ref(), &options)?, options)
    }

    /// Opens the database at `path` and brings it up to this program's migration. It never makes
    /// one. This blocks: call it at start.
    ///
    /// # Errors
    /// * [`Missing`](StoreError::Missing): there is no file.
    /// * [`Locked`](StoreError::Locked): another process has it open.
    /// * [`Exposed`](StoreError::Exposed): its mode lets other users in.
    /// * [`NotAStore`](StoreError::NotAStore), [`Corrupt`](StoreError::Corrupt): it is something
    ///   else, or damaged.
    /// * [`NewerMigration`](StoreError::NewerMigration): a newer program has been here.
    /// * [`ReadOnly`](StoreError::ReadOnly): it or its directory cannot be written.
    /// * [`Full`](StoreError::Full), [`OutdatedEngine`](StoreError::OutdatedEngine),
    ///   [`Unavailable`](StoreError::Unavailable).
    pub fn open(path: impl AsRef<Path>) -> Result<SqliteStore, StoreError> {
        SqliteStore::open_with(path, Options::default())
    }

    /// [`open`](SqliteStore::open) with a clock or bounds of one's own.
    ///
    /// # Errors
    /// The same.
    pub fn open_with(path: impl AsRef<Path>, options: Options) -> Result<SqliteStore, StoreError> {
        SqliteStore::start(Engine::open(path.as_ref(), &options)?, options)
    }

    /// Finishes what was sent before, moves everything into the one file, and lets it go. Whoever
    /// asks the store afterwards gets [`Unavailable`](StoreError::Unavailable).
    ///
    /// # Errors
    /// [`Failed`](StoreError::Failed) when the disk failed. Every commit that was answered is in
    /// the files nevertheless.
    pub async fn close(&self) -> Result<(), StoreError> {
        let (reply, answer) = oneshot::channel();
        if self.requests.send(Request::Close { reply }).await.is_err() {
            return Ok(());
        }
        answer.await.unwrap_or(Ok(()))
    }

    /// Waits until the disk has failed and the store will never answer again. The server stops
    /// then. It waits for ever when the store is closed.
    pub async fn failed(&self) -> StoreError {
        let mut failed = self.signals.failed.subscribe();
        loop {
            if let Some(error) = failed.borrow_and_update().clone() {
                return error;
            }
            if failed.changed().await.is_err() {
                std::future::pending::<()>().await;
            }
        }
    }

    fn start(engine: Engine, options: Options) -> Result<SqliteStore, StoreError> {
        let signals =
            Arc::new(Signals { head: Head::new(engine.head()), failed: watch::Sender::new(None) });
        let (requests, inbox) = mpsc::channel(REQUESTS_WAITING_MAX);
        let worker = Worker::new(engine, inbox, Arc::clone(&signals))?;
        thread::Builder::new()
            .name("bulla-store".to_owned())
            .spawn(move || worker.run())
            .map_err(|error| StoreError::Unavailable(format!("cannot start a thread: {error}")))?;
        Ok(SqliteStore { requests, signals, clock: StoreClockHandle(options.clock) })
    }

    /// Why there is no answer.
    fn stopped(&self) -> StoreError {
        self.signals.failed.borrow().clone().unwrap_or_else(closed)
    }

    async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Engine) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (reply, answer) = oneshot::channel();
        let work = Box::new(move |engine: &Engine| {
            // A caller that has gone needs no answer.
            let _ = reply.send(work(engine));
        });
        self.requests.send(Request::Read { work }).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?
    }
}

#[async_trait]
impl Store for SqliteStore {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        check_keys(keys)?;
        let keys = keys.to_vec();
        self.read(move |engine| engine.load(&keys)).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        scan.check()?;
        let scan = scan.clone();
        self.read(move |engine| engine.scan(&scan)).await
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        check_due(after, limit)?;
        let after = after.cloned();
        self.read(move |engine| engine.due(now, after.as_ref(), limit)).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        check_limit(limit)?;
        self.read(move |engine| engine.changes(after, limit)).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        commit.check()?;
        let (reply, answer) = oneshot::channel();
        self.requests.send(Request::Commit { commit, reply }).await.map_err(|_| self.stopped())?;
        answer.await.map_err(|_| self.stopped())?
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        Ok((self.clock.0)())
    }

    async fn wait_hint(&self, after: u64) {
        self.signals.head.wait_beyond(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read(Engine::status).await
    }
}

// === impl StoreClockHandle ===

impl std::fmt::Debug for StoreClockHandle {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("StoreClock")
    }
}

fn closed() -> StoreError {
    StoreError::Unavailable("it has been closed".to_owned())
}

/// How many requests may wait for the thread; whoever comes then waits for room.
const REQUESTS_WAITING_MAX: usize = 1024;
