//! The connection and every statement that runs on it. All of it blocks.
//!
//! Statements have bound parameters only. Reads need no transaction: the file is ours alone, and
//! this thread writes nothing between the statements of one read.

use std::path::Path;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, Transaction, TransactionBehavior};

use super::connect::{IsNew, connect, refuse_outdated};
use super::failure::{Stop, from_engine, is_disk_failure};
use super::file::OwnedFile;
use super::statements::{
    CHANGES, DUE, DUE_AFTER, LOAD, NEWEST, PRUNE, Present, READ_FEED, SCAN, WRITE, WRITE_FEED,
    as_change, as_limit, as_row, as_stored, present, read_u64,
};
use crate::store::PRUNED_REVISIONS_PER_COMMIT;
use crate::store::error::StoreError;
use crate::store::options::Options;
use crate::store::rows::{
    Changes, Commit, DueAfter, Row, RowKey, Scan, StoreStatus, WholeRevisions, check_cursor,
};

/// An open database.
#[derive(Debug)]
pub(super) struct Engine {
    /// Before the file, so that it is closed before the lock is let go.
    connection: Option<Connection>,
    file: OwnedFile,
    feed: Feed,
    format: u16,
    tombstones_kept: u64,
    migration: u32,
    /// Why it answers nothing more.
    failure: Option<StoreError>,
}

/// How far the feed of changes reaches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Feed {
    /// The newest revision.
    head: u64,
    /// Tombstones up to this revision have been pruned.
    examined: u64,
    /// The newest tombstone that was pruned.
    oldest: u64,
}

// === impl Engine ===

impl Engine {
    pub(super) fn create(path: &Path, options: &Options) -> Result<Engine, StoreError> {
        refuse_outdated(rusqlite::version_number())?;
        let file = OwnedFile::create(path)?;
        match Engine::fill(&file, options) {
            Ok((connection, migration)) => Engine::ready(connection, migration, file, options),
            Err(error) => {
                file.remove();
                Err(error)
            }
        }
    }

    /// Makes a database of an empty file.
    fn fill(file: &OwnedFile, options: &Options) -> Result<(Connection, u32), StoreError> {
        let (connection, migration) = connect(file.path(), options, IsNew::Yes)?;
        // So that the one file says what it is, even without its log.
        empty_log(&connection).map_err(|error| from_engine(file.path(), &error))?;
        file.sync_directory()?;
        Ok((connection, migration))
    }

    pub(super) fn open(path: &Path, options: &Options) -> Result<Engine, StoreError> {
        refuse_outdated(rusqlite::version_number())?;
        let file = OwnedFile::open(path)?;
        let (connection, migration) = connect(file.path(), options, IsNew::No)?;
        Engine::ready(connection, migration, file, options)
    }

    fn ready(
        connection: Connection,
        migration: u32,
        file: OwnedFile,
        options: &Options,
    ) -> Result<Engine, StoreError> {
        let read = Feed::read(&connection).and_then(|feed| {
            let newest = connection.query_row(NEWEST, (), |row| read_u64(row, 0))?;
            Ok((feed, newest))
        });
        let (feed, newest) = read.map_err(|error| from_engine(file.path(), &error))?;
        if newest > feed.head {
            let text = format!("a row has revision {newest}, after the head {}", feed.head);
            return Err(StoreError::Corrupt(text));
        }
        Ok(Engine {
            connection: Some(connection),
            file,
            feed,
            format: options.format,
            tombstones_kept: options.tombstones_kept,
            migration,
            failure: None,
        })
    }

    pub(super) fn head(&self) -> u64 {
        self.feed.head
    }

    pub(super) fn failure(&self) -> Option<StoreError> {
        self.failure.clone()
    }

    pub(super) fn log_bytes(&self) -> u64 {
        self.file.log_bytes()
    }

    pub(super) fn status(&self) -> Result<StoreStatus, StoreError> {
        self.connection()?;
        Ok(StoreStatus {
            kind: "sqlite",
            head: self.feed.head,
            oldest_change: self.feed.oldest,
            migration: self.migration,
        })
    }

    pub(super) fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.read(|connection| {
            let mut statement = connection.prepare_cached(LOAD)?;
            let load = |key: &RowKey| {
                statement.query_row((key.tenant, key.kind, &key.id), as_row).optional()
            };
            keys.iter().map(load).collect()
        })
    }

    pub(super) fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let (low, high) = scan.range();
        self.read(|connection| {
            let mut statement = connection.prepare_cached(SCAN)?;
            let parameters = (scan.tenant, scan.kind, low, high, as_limit(scan.limit));
            statement.query_map(parameters, as_row)?.collect()
        })
    }

    pub(super) fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        let limit = as_limit(limit);
        self.read(|connection| match after {
            None => {
                let mut statement = connection.prepare_cached(DUE)?;
                statement.query_map((now, limit), as_row)?.collect()
            }
            Some(DueAfter { due_at, key: RowKey { tenant, kind, id } }) => {
                let mut statement = connection.prepare_cached(DUE_AFTER)?;
                let parameters = (now, limit, due_at, tenant, kind, id);
                statement.query_map(parameters, as_row)?.collect()
            }
        })
    }

    pub(super) fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        let Feed { head, oldest, .. } = self.feed;
        check_cursor(after, oldest, head)?;
        self.read(|connection| {
            let mut statement = connection.prepare_cached(CHANGES)?;
            let mut page = WholeRevisions::new(limit);
            for change in statement.query_map((as_stored(after),), as_change)? {
                if !page.take(change?) {
                    break;
                }
            }
            Ok(page.into_page(head))
        })
    }

    /// Makes these commits, in their order, durable with one sync; a result for each. A commit that
    /// is refused leaves the others alone. If the engine fails, none of them happens.
    pub(super) fn commit_together(&mut self, commits: &[Commit]) -> Vec<Result<u64, StoreError>> {
        match self.try_together(commits) {
            Ok(results) => results,
            // The room may do for some of them.
            Err(StoreError::Full) if commits.len() > 1 => {
                commits.iter().map(|commit| self.commit_alone(commit)).collect()
            }
            Err(error) => commits.iter().map(|_| Err(error.clone())).collect(),
        }
    }

    /// Moves the log into the database and empties it. What cannot be moved now stays in the log,
    /// where it is as durable.
    pub(super) fn checkpoint(&mut self) {
        let Ok(connection) = self.connection() else { return };
        if let Err(error) = empty_log(connection) {
            self.notice(&error);
        }
    }

    /// Empties the log, closes the file and lets it go.
    pub(super) fn close(&mut self) -> Result<(), StoreError> {
        self.checkpoint();
        let closed = match (&self.failure, self.connection.take()) {
            (Some(failure), _) => Err(failure.clone()),
            (None, None) => Ok(()),
            (None, Some(connection)) => self.close_healthy(connection),
        };
        self.file.release();
        closed
    }

    /// Nothing is left to move; but only a closing that may move lets SQLite take the empty log
    /// away.
    fn close_healthy(&self, connection: Connection) -> Result<(), StoreError> {
        connection
            .set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, false)
            .map_err(|error| from_engine(self.file.path(), &error))?;
        connection.close().map_err(|(_, error)| from_engine(self.file.path(), &error))
    }

    fn commit_alone(&mut self, commit: &Commit) -> Result<u64, StoreError> {
        let results = self.try_together(std::slice::from_ref(commit))?;
        results.into_iter().next().unwrap_or(Err(StoreError::Busy))
    }

    fn try_together(
        &mut self,
        commits: &[Commit],
    ) -> Result<Vec<Result<u64, StoreError>>, StoreError> {
        let connection = self.connection()?;
        match self.write(connection, commits) {
            Ok((feed, results)) => {
                self.feed = feed;
                Ok(results)
            }
            Err(Stop::Refused(error)) => Err(error),
            Err(Stop::Engine(error)) => {
                self.notice(&error);
                Err(self.failure().unwrap_or_else(|| from_engine(self.file.path(), &error)))
            }
        }
    }

    fn write(
        &self,
        connection: &Connection,
        commits: &[Commit],
    ) -> Result<(Feed, Vec<Result<u64, StoreError>>), Stop> {
        // Dropped on every way out but the last, which rolls everything back.
        let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
        let mut feed = self.feed;
        let mut results = Vec::with_capacity(commits.len());
        for commit in commits {
            match self.write_one(&transaction, &mut feed, commit) {
                Ok(revision) => results.push(Ok(revision)),
                Err(Stop::Refused(error)) => results.push(Err(error)),
                Err(stop) => return Err(stop),
            }
        }
        if feed.head > self.feed.head {
            feed.prune(&transaction, self.tombstones_kept, self.feed.head)?;
            feed.write(&transaction)?;
            transaction.commit()?;
        }
        Ok((feed, results))
    }

    /// Checks all of a commit before it writes any of it, so that a refusal has nothing to undo.
    fn write_one(
        &self,
        transaction: &Connection,
        feed: &mut Feed,
        commit: &Commit,
    ) -> Result<u64, Stop> {
        for expect in &commit.expect {
            let present = present(transaction, &expect.key)?;
            if present.map(|row| row.revision) != expect.revision {
                return Err(Stop::Refused(StoreError::Conflict));
            }
        }
        for key in commit.written() {
            let newer = present(transaction, key)?.filter(|row| row.format > self.format);
            if let Some(Present { format: row, .. }) = newer {
                let ours = self.format;
                return Err(Stop::Refused(StoreError::NewerFormat { row, ours }));
            }
        }
        let revision = feed.next()?;
        let (format, stored) = (self.format, as_stored(revision));
        let mut statement = transaction.prepare_cached(WRITE)?;
        for put in &commit.puts {
            let RowKey { tenant, kind, id } = &put.key;
            let (body, mac) = (Some(&put.body), Some(put.mac));
            statement.execute((tenant, kind, id, body, mac, format, put.due_at, stored))?;
        }
        for RowKey { tenant, kind, id } in &commit.tombstones {
            let (body, mac, due_at) = (None::<Vec<u8>>, None::<Vec<u8>>, None::<i64>);
            statement.execute((tenant, kind, id, body, mac, format, due_at, stored))?;
        }
        feed.head = revision;
        Ok(revision)
    }

    fn connection(&self) -> Result<&Connection, StoreError> {
        match (&self.failure, &self.connection) {
            (Some(failure), _) => Err(failure.clone()),
            (None, Some(connection)) => Ok(connection),
            (None, None) => Err(super::closed()),
        }
    }

    fn read<T>(
        &self,
        work: impl FnOnce(&Connection) -> rusqlite::Result<T>,
    ) -> Result<T, StoreError> {
        work(self.connection()?).map_err(|error| from_engine(self.file.path(), &error))
    }

    /// After the disk failed under a write, nothing touches the files again.
    fn notice(&mut self, error: &rusqlite::Error) {
        if is_disk_failure(error) {
            self.failure = Some(StoreError::Failed(error.to_string()));
        }
    }
}

// === impl Feed ===

impl Feed {
    fn read(connection: &Connection) -> rusqlite::Result<Feed> {
        connection.query_row(READ_FEED, (), |row| {
            let (head, examined) = (read_u64(row, 0)?, read_u64(row, 1)?);
            Ok(Feed { head, examined, oldest: read_u64(row, 2)? })
        })
    }

    fn next(&self) -> Result<u64, Stop> {
        let next = self.head.checked_add(1).filter(|next| i64::try_from(*next).is_ok());
        next.ok_or(Stop::Refused(StoreError::Invalid("no revision is left")))
    }

    /// Forgets the tombstones of a few revisions that are old enough.
    fn prune(
        &mut self,
        transaction: &Connection,
        kept: u64,
        head_before: u64,
    ) -> rusqlite::Result<()> {
        let commits = self.head.saturating_sub(head_before);
        let step = commits.saturating_mul(PRUNED_REVISIONS_PER_COMMIT);
        let until = self.head.saturating_sub(kept).min(self.examined.saturating_add(step));
        if until <= self.examined {
            return Ok(());
        }
        let mut statement = transaction.prepare_cached(PRUNE)?;
        let pruned = statement
            .query_map((as_stored(self.examined), as_stored(until)), |row| read_u64(row, 0))?;
        for revision in pruned {
            self.oldest = self.oldest.max(revision?);
        }
        self.examined = until;
        Ok(())
    }

    fn write(&self, transaction: &Connection) -> rusqlite::Result<()> {
        let parameters = [self.head, self.examined, self.oldest].map(as_stored);
        transaction.prepare_cached(WRITE_FEED)?.execute(parameters)?;
        Ok(())
    }
}

/// Moves the log into the database.
fn empty_log(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", (), |_| Ok(()))
}
