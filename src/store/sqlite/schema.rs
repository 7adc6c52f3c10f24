//! Migrations: from nothing to the schema of this program, in steps that are never edited.
//!
//! A step is one SQL file and one transaction. A database that a newer program has migrated is
//! refused, and so is one whose schema is not exactly what the steps make.

use std::path::Path;

use rusqlite::{Connection, Transaction, TransactionBehavior};

use super::failure::from_engine;
use crate::store::error::StoreError;

/// Every migration, the first one first. Append; never edit.
pub(super) const MIGRATIONS: &[&str] = &[include_str!("migrations/0001_rows.sql")];

/// Refuses a file that is not Bulla's, without writing to it.
pub(super) fn refuse_strange(connection: &Connection, path: &Path) -> Result<(), StoreError> {
    let mark: i64 = connection
        .pragma_query_value(None, "application_id", |row| row.get(0))
        .map_err(|error| from_engine(path, &error))?;
    if mark == APPLICATION_ID {
        return Ok(());
    }
    let reason = "it does not carry Bulla's mark; check the path, \
                  or, if its creation was interrupted, remove it and create it again";
    Err(StoreError::NotAStore { path: path.to_owned(), reason: reason.to_owned() })
}

/// Brings the database to the last of `migrations` and returns its number.
pub(super) fn migrate(
    connection: &Connection,
    path: &Path,
    migrations: &[&str],
    now: i64,
) -> Result<u32, StoreError> {
    let failed = |error: rusqlite::Error| from_engine(path, &error);
    let ours = u32::try_from(migrations.len()).unwrap_or(u32::MAX);
    let found = version(connection).map_err(failed)?;
    if found > ours {
        return Err(StoreError::NewerMigration { found, ours });
    }
    for (number, step) in (1_u32..).zip(migrations) {
        if number > found {
            apply(connection, number, step, now).map_err(failed)?;
        }
    }
    refuse_other_schema(connection, path, migrations)?;
    Ok(ours)
}

fn apply(connection: &Connection, number: u32, step: &str, now: i64) -> rusqlite::Result<()> {
    let transaction = Transaction::new_unchecked(connection, TransactionBehavior::Immediate)?;
    transaction.execute_batch(step)?;
    transaction.execute(
        "INSERT INTO bulla_migration (version, applied_ms) VALUES (?1, ?2)",
        (number, now),
    )?;
    transaction.commit()
}

/// The last migration that was applied; 0 for none.
fn version(connection: &Connection) -> rusqlite::Result<u32> {
    let exists: bool = connection.query_row(
        "SELECT EXISTS (SELECT 1 FROM sqlite_schema WHERE name = 'bulla_migration')",
        (),
        |row| row.get(0),
    )?;
    if !exists {
        return Ok(0);
    }
    connection
        .query_row("SELECT coalesce(max(version), 0) FROM bulla_migration", (), |row| row.get(0))
}

/// A trigger or a view that is not ours could change rows behind the store's back.
fn refuse_other_schema(
    connection: &Connection,
    path: &Path,
    migrations: &[&str],
) -> Result<(), StoreError> {
    let failed = |error: rusqlite::Error| from_engine(path, &error);
    let model = Connection::open_in_memory().map_err(failed)?;
    for step in migrations {
        model.execute_batch(step).map_err(failed)?;
    }
    if schema(connection).map_err(failed)? == schema(&model).map_err(failed)? {
        return Ok(());
    }
    let reason = "its schema is not the one that Bulla makes".to_owned();
    Err(StoreError::NotAStore { path: path.to_owned(), reason })
}

/// Everything in the schema but SQLite's own, such as the statistics that ANALYZE keeps.
fn schema(connection: &Connection) -> rusqlite::Result<Vec<(String, String, Option<String>)>> {
    let mut statement = connection.prepare(
        "SELECT type, name, sql FROM sqlite_schema WHERE name NOT GLOB 'sqlite_*' \
         ORDER BY type, name",
    )?;
    let rows = statement.query_map((), |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))?;
    rows.collect()
}

/// "BULA", as the first migration sets it.
const APPLICATION_ID: i64 = 0x4255_4C41;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
    #![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

    use super::*;

    /// The real migrations, and three that may follow.
    fn steps() -> Vec<&'static str> {
        let mut steps = MIGRATIONS.to_vec();
        steps.push("CREATE TABLE later (a INTEGER) STRICT; INSERT INTO later (a) VALUES (1);");
        steps.push("ALTER TABLE later ADD COLUMN b INTEGER NOT NULL DEFAULT 7;");
        steps.push("CREATE INDEX later_by_b ON later (b);");
        steps
    }

    fn migrated(connection: &Connection, steps: &[&str]) -> Result<u32, StoreError> {
        migrate(connection, Path::new("test.db"), steps, 5)
    }

    #[test]
    fn every_prefix_of_the_migrations_is_brought_to_the_end() {
        let steps = steps();
        let whole = Connection::open_in_memory().unwrap();
        migrated(&whole, &steps).unwrap();
        for prefix in 0..=steps.len() {
            let connection = Connection::open_in_memory().unwrap();
            assert_eq!(migrated(&connection, &steps[..prefix]), Ok(prefix as u32));
            assert_eq!(version(&connection).unwrap(), prefix as u32);
            assert_eq!(migrated(&connection, &steps), Ok(steps.len() as u32));
            assert_eq!(schema(&connection).unwrap(), schema(&whole).unwrap());
            let b: i64 = connection.query_row("SELECT b FROM later", (), |row| row.get(0)).unwrap();
            assert_eq!(b, 7);
            // Nothing is left to do, and each was done once.
            assert_eq!(migrated(&connection, &steps), Ok(steps.len() as u32));
            let count = "SELECT count(*) FROM bulla_migration";
            let count: i64 = connection.query_row(count, (), |row| row.get(0)).unwrap();
            assert_eq!(count, steps.len() as i64);
        }
    }

    #[test]
    fn a_newer_database_is_refused() {
        let steps = steps();
        let connection = Connection::open_in_memory().unwrap();
        migrated(&connection, &steps).unwrap();
        let newer = StoreError::NewerMigration { found: 4, ours: 3 };
        assert_eq!(migrated(&connection, &steps[..3]), Err(newer));
        assert_eq!(version(&connection).unwrap(), 4);
    }

    #[test]
    fn a_migration_that_fails_leaves_the_one_before() {
        let mut steps = steps();
        steps.push("CREATE TABLE half (a INTEGER) STRICT; CREATE TABLE later (a INTEGER) STRICT;");
        let connection = Connection::open_in_memory().unwrap();
        assert!(migrated(&connection, &steps).is_err());
        assert_eq!(version(&connection).unwrap(), 4);
        assert_eq!(migrated(&connection, &steps[..4]), Ok(4));
    }
}
