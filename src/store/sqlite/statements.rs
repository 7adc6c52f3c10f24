//! Every SQL text that runs on rows, and how rows come out of it.
//!
//! All values are bound parameters; nothing here is ever put together from input.

use rusqlite::types::Type;
use rusqlite::{Connection, OptionalExtension};

use crate::store::rows::{Change, Row, RowKey};

/// What a commit may meet where it wants to write.
pub(super) struct Present {
    pub(super) revision: u64,
    pub(super) format: u16,
}

pub(super) fn present(connection: &Connection, key: &RowKey) -> rusqlite::Result<Option<Present>> {
    let mut statement = connection.prepare_cached(PRESENT)?;
    let read =
        |row: &rusqlite::Row<'_>| Ok(Present { revision: read_u64(row, 0)?, format: row.get(1)? });
    statement.query_row((key.tenant, key.kind, &key.id), read).optional()
}

pub(super) fn as_row(row: &rusqlite::Row<'_>) -> rusqlite::Result<Row> {
    Ok(Row {
        key: read_key(row)?,
        body: row.get(3)?,
        mac: row.get(4)?,
        format: row.get(5)?,
        due_at: row.get(6)?,
        revision: read_u64(row, 7)?,
    })
}

pub(super) fn as_change(row: &rusqlite::Row<'_>) -> rusqlite::Result<Change> {
    if row.get_ref(3)?.data_type() == Type::Null {
        return Ok(Change::Gone { key: read_key(row)?, revision: read_u64(row, 7)? });
    }
    as_row(row).map(Change::Put)
}

fn read_key(row: &rusqlite::Row<'_>) -> rusqlite::Result<RowKey> {
    Ok(RowKey { tenant: row.get(0)?, kind: row.get(1)?, id: row.get(2)? })
}

pub(super) fn read_u64(row: &rusqlite::Row<'_>, column: usize) -> rusqlite::Result<u64> {
    let value: i64 = row.get(column)?;
    let failed = |_| rusqlite::Error::IntegralValueOutOfRange(column, value);
    u64::try_from(value).map_err(failed)
}

/// SQLite's integers have a sign. A cursor beyond them is beyond every revision too.
pub(super) fn as_stored(revision: u64) -> i64 {
    i64::try_from(revision).unwrap_or(i64::MAX)
}

pub(super) fn as_limit(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

macro_rules! select_rows {
    ($rest:literal) => {
        concat!(
            "SELECT tenant, kind, id, body, mac, format, due_at, revision FROM bulla_row ",
            $rest
        )
    };
}

pub(super) const LOAD: &str =
    select_rows!("WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND body IS NOT NULL");
pub(super) const SCAN: &str = select_rows!(
    "WHERE tenant = ?1 AND kind = ?2 AND id >= ?3 AND id < ?4 AND body IS NOT NULL \
     ORDER BY id LIMIT ?5"
);
pub(super) const DUE: &str =
    select_rows!("WHERE due_at <= ?1 ORDER BY due_at, tenant, kind, id LIMIT ?2");
pub(super) const DUE_AFTER: &str = select_rows!(
    "WHERE due_at <= ?1 AND (due_at, tenant, kind, id) > (?3, ?4, ?5, ?6) \
     ORDER BY due_at, tenant, kind, id LIMIT ?2"
);
pub(super) const CHANGES: &str =
    select_rows!("WHERE revision > ?1 ORDER BY revision, tenant, kind, id");
const PRESENT: &str = "SELECT revision, format FROM bulla_row \
     WHERE tenant = ?1 AND kind = ?2 AND id = ?3 AND body IS NOT NULL";
pub(super) const WRITE: &str = "INSERT INTO bulla_row \
     (tenant, kind, id, body, mac, format, due_at, revision) \
     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8) \
     ON CONFLICT (tenant, kind, id) DO UPDATE SET body = excluded.body, mac = excluded.mac, \
     format = excluded.format, due_at = excluded.due_at, revision = excluded.revision";
pub(super) const NEWEST: &str = "SELECT coalesce(max(revision), 0) FROM bulla_row";
pub(super) const READ_FEED: &str = "SELECT head, examined, oldest FROM bulla_feed";
pub(super) const WRITE_FEED: &str = "UPDATE bulla_feed SET head = ?1, examined = ?2, oldest = ?3";
pub(super) const PRUNE: &str = "DELETE FROM bulla_row \
     WHERE revision > ?1 AND revision <= ?2 AND body IS NULL RETURNING revision";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

    use super::super::schema::MIGRATIONS;
    use super::*;

    #[test]
    fn every_statement_finds_its_rows_by_an_index_and_in_order() {
        let connection = Connection::open_in_memory().unwrap();
        for step in MIGRATIONS {
            connection.execute_batch(step).unwrap();
        }
        for (sql, expected) in [
            (LOAD, "SEARCH bulla_row USING PRIMARY KEY (tenant=? AND kind=? AND id=?)"),
            (PRESENT, "SEARCH bulla_row USING PRIMARY KEY (tenant=? AND kind=? AND id=?)"),
            (SCAN, "SEARCH bulla_row USING PRIMARY KEY (tenant=? AND kind=? AND id>? AND id<?)"),
            (DUE, "SEARCH bulla_row USING INDEX bulla_row_by_due (due_at<?)"),
            (
                DUE_AFTER,
                "SEARCH bulla_row USING INDEX bulla_row_by_due \
                 ((due_at,tenant,kind,id)>(?,?,?,?) AND due_at<?)",
            ),
            (CHANGES, "SEARCH bulla_row USING INDEX bulla_row_by_revision (revision>?)"),
            (NEWEST, "SEARCH bulla_row USING COVERING INDEX bulla_row_by_revision"),
            (
                PRUNE,
                "SEARCH bulla_row USING INDEX bulla_row_by_revision (revision>? AND revision<?)",
            ),
        ] {
            let mut statement = connection.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).unwrap();
            let steps: Vec<String> = statement
                .raw_query()
                .mapped(|row| row.get(3))
                .collect::<rusqlite::Result<_>>()
                .unwrap();
            // One step: nothing is scanned, and nothing is sorted afterwards.
            assert_eq!(steps, [expected], "{sql}");
        }
    }
}
