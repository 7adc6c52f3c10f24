//! Opening a connection that trusts nothing in the file and loses nothing on the way to the disk.

use std::path::Path;
use std::time::Duration;

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

use super::failure::from_engine;
use super::schema::{MIGRATIONS, migrate, refuse_strange};
use super::statements::as_stored;
use crate::store::error::StoreError;
use crate::store::options::Options;

/// Whether the file was made just now.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum IsNew {
    Yes,
    No,
}

/// Refuses a version of SQLite, as a number, that is known to corrupt databases.
pub(super) fn refuse_outdated(version: i32) -> Result<(), StoreError> {
    if version < ENGINE_VERSION_MIN {
        return Err(StoreError::OutdatedEngine { found: rusqlite::version().to_owned() });
    }
    Ok(())
}

/// A connection to the database at `path`, migrated, and the migration that it is at.
pub(super) fn connect(
    path: &Path,
    options: &Options,
    is_new: IsNew,
) -> Result<(Connection, u32), StoreError> {
    // Whoever holds it now is no passing reader: this store keeps it for as long as it runs.
    let locked = |error: StoreError| match error {
        StoreError::Busy => StoreError::Locked { path: path.to_owned() },
        other => other,
    };
    let failed = |error: rusqlite::Error| locked(from_engine(path, &error));
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(failed)?;
    guard(&connection).map_err(failed)?;
    if is_new == IsNew::No {
        refuse_strange(&connection, path).map_err(locked)?;
    }
    make_durable(&connection, options).map_err(failed)?;
    let migration = migrate(&connection, path, MIGRATIONS, (options.clock)())?;
    Ok((connection, migration))
}

/// Trusts nothing in the file, and takes it for this connection alone. Writes nothing.
fn guard(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_DEFENSIVE, true)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_TRUSTED_SCHEMA, false)?;
    // Closing must not write: after a failure nothing may, and otherwise the engine has done it.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_KEPT_MAX);
    // Exclusive before the first access, so that the log needs no shared memory.
    for pragma in [
        "PRAGMA locking_mode = EXCLUSIVE",
        "PRAGMA mmap_size = 0",
        "PRAGMA cell_size_check = ON",
        "PRAGMA foreign_keys = ON",
        "PRAGMA temp_store = MEMORY",
    ] {
        connection.execute_batch(pragma)?;
    }
    Ok(())
}

fn make_durable(connection: &Connection, options: &Options) -> rusqlite::Result<()> {
    for pragma in [
        "PRAGMA journal_mode = WAL",
        "PRAGMA synchronous = FULL",
        "PRAGMA secure_delete = ON",
        // A failed checkpoint must be noticed; the automatic one hides it.
        "PRAGMA wal_autocheckpoint = 0",
    ] {
        connection.execute_batch(pragma)?;
    }
    if let Some(bytes) = options.bytes_max {
        let page_bytes: i64 = connection.pragma_query_value(None, "page_size", |row| row.get(0))?;
        let page_bytes = u64::try_from(page_bytes).unwrap_or(0);
        let pages = bytes.checked_div(page_bytes).unwrap_or(0).clamp(1, PAGES_MAX);
        connection.pragma_update(None, "max_page_count", as_stored(pages))?;
    }
    // Takes the lock now, and finds out whether the log can be written.
    Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?.commit()
}

/// 3.51.3 is the first without the WAL-reset bug, which corrupts databases.
const ENGINE_VERSION_MIN: i32 = 3_051_003;
const STATEMENTS_KEPT_MAX: usize = 16;
/// SQLite's own limit.
const PAGES_MAX: u64 = 4_294_967_294;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use rusqlite::types::Value;

    use super::*;

    #[test]
    fn the_connection_is_durable_exclusive_and_trusts_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("bulla.db");
        std::fs::write(&path, "").unwrap();
        let options = Options { bytes_max: Some(1 << 20), ..Options::default() };
        let (connection, migration) = connect(&path, &options, IsNew::Yes).unwrap();
        assert_eq!(migration, 1);
        for (pragma, expected) in [
            ("journal_mode", Value::Text("wal".to_owned())),
            ("locking_mode", Value::Text("exclusive".to_owned())),
            ("synchronous", Value::Integer(2)),
            ("secure_delete", Value::Integer(1)),
            ("foreign_keys", Value::Integer(1)),
            ("trusted_schema", Value::Integer(0)),
            ("cell_size_check", Value::Integer(1)),
            ("wal_autocheckpoint", Value::Integer(0)),
            ("page_size", Value::Integer(4096)),
            ("max_page_count", Value::Integer(256)),
            ("temp_store", Value::Integer(2)),
        ] {
            let value: Value =
                connection.pragma_query_value(None, pragma, |row| row.get(0)).unwrap();
            assert_eq!(value, expected, "{pragma}");
        }
        let defensive = DbConfig::SQLITE_DBCONFIG_DEFENSIVE;
        assert!(connection.db_config(defensive).unwrap());
        // This one answers nothing at all where SQLite was built without it.
        let mut mapped_bytes = Vec::<i64>::new();
        let push = |row: &rusqlite::Row<'_>| {
            mapped_bytes.push(row.get(0)?);
            Ok(())
        };
        connection.pragma_query(None, "mmap_size", push).unwrap();
        assert!(mapped_bytes.iter().all(|bytes| *bytes == 0));
    }

    #[test]
    fn the_engine_is_one_without_the_wal_reset_bug() {
        assert_eq!(refuse_outdated(rusqlite::version_number()), Ok(()));
        assert_eq!(refuse_outdated(3_051_003), Ok(()));
        let refused = refuse_outdated(3_051_002).unwrap_err();
        assert!(refused.to_string().contains("3.51.3 or later"), "{refused}");
    }
}
