//! What the schema says of the table, and the statements made of it. Nothing of the connector file
//! reaches a statement unless the schema has it.

use base64::prelude::{BASE64_STANDARD, Engine as _};
use rusqlite::types::{Value, ValueRef};
use rusqlite::{Connection, Row};
use serde::{Deserialize, Serialize};

use super::failed;
use crate::agent::connector::SqliteTable;
use crate::agent::context::ContextPlan;
use crate::agent::store::{Entry, Held, Place, StoreError, named};

/// Everything about the table that statements and rows are made of.
pub(super) struct Layout {
    table: String,
    /// What rows are found by: the rowid, or where there is none the primary key.
    key: Vec<String>,
    /// What rows are called by for people: the primary key, or the rowid.
    names: Vec<String>,
    column: String,
    context: ContextPlan,
}

/// One part of a key within a place, to the bit.
#[derive(Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
enum Part {
    Integer(i64),
    /// IEEE 754.
    Real(u64),
    Text(String),
    /// In base64.
    Blob(String),
}

// === impl Layout ===

impl Layout {
    pub(super) fn find(connection: &Connection, asked: &SqliteTable) -> Result<Self, StoreError> {
        let without_rowid = table(connection, asked)?;
        let columns = columns(connection, asked)?;
        let there = |name: &str| columns.iter().any(|(column, _)| column == name);
        let context = ContextPlan::new(&asked.context);
        for name in [asked.column.as_str()].into_iter().chain(context.columns()) {
            if !there(name) {
                let list: Vec<&str> = columns.iter().map(|(name, _)| name.as_str()).collect();
                let list = list.join(", ");
                let text = format!("table {:?} has no column {name:?}; it has {list}", asked.table);
                return Err(StoreError::Connector(text));
            }
        }
        let mut primary: Vec<(i64, String)> = columns
            .iter()
            .filter(|(_, position)| *position > 0)
            .map(|(name, position)| (*position, name.clone()))
            .collect();
        primary.sort();
        let primary: Vec<String> = primary.into_iter().map(|(_, name)| name).collect();
        // A column may be called like the rowid, and then hides it under that name.
        let hidden = |name: &&str| !columns.iter().any(|(c, _)| c.eq_ignore_ascii_case(name));
        let rowid = ["_rowid_", "rowid", "oid"].into_iter().find(hidden).map(str::to_owned);
        let key = match rowid {
            Some(rowid) if !without_rowid => vec![rowid],
            _ => primary.clone(),
        };
        if key.is_empty() {
            let text = format!("table {:?} hides its rowid and has no primary key", asked.table);
            return Err(StoreError::Connector(text));
        }
        let names = if primary.is_empty() { key.clone() } else { primary };
        let (table, column) = (asked.table.clone(), asked.column.clone());
        Ok(Self { table, key, names, column, context })
    }

    /// The rows after a key; then how many.
    pub(super) fn page(&self, from_start: bool) -> String {
        let key = self.keys();
        let after = match from_start {
            true => String::new(),
            false => format!(" AND ({key}) > ({})", self.holes()),
        };
        format!("{}{after} ORDER BY {key} LIMIT ?", self.all())
    }

    /// The row of a key.
    pub(super) fn one(&self) -> String {
        format!("{} AND ({}) = ({})", self.all(), self.keys(), self.holes())
    }

    /// Every row.
    pub(super) fn all(&self) -> String {
        let name = |name: &String| format!("CAST(t.{} AS TEXT)", quoted(name));
        let context = self.context.columns().map(|column| name(&column.to_owned()));
        let list: Vec<String> = [format!("t.{}", quoted(&self.column)), self.keys()]
            .into_iter()
            .chain(self.names.iter().map(name))
            .chain(context)
            .collect();
        let (table, column) = (quoted(&self.table), quoted(&self.column));
        format!("SELECT {} FROM {table} AS t WHERE t.{column} IS NOT NULL", list.join(", "))
    }

    /// The new blob, the old blob, the key. To the byte, whatever the column's collation takes for
    /// equal.
    pub(super) fn replace(&self) -> String {
        let (table, column) = (quoted(&self.table), quoted(&self.column));
        let key: Vec<String> =
            self.key.iter().map(|name| format!(" AND {} = ?", quoted(name))).collect();
        let key = key.concat();
        format!("UPDATE {table} SET {column} = ? WHERE {column} = ? COLLATE BINARY{key}")
    }

    pub(super) fn count(&self) -> String {
        format!("SELECT count(*) FROM {}", quoted(&self.table))
    }

    /// The entry of a row that was read with the list of [`Layout::all`].
    pub(super) fn entry(&self, row: &Row<'_>) -> Result<Entry, StoreError> {
        let unfit = |error| failed("understand a row", &error);
        let held = match row.get_ref(0).map_err(unfit)? {
            ValueRef::Blob(bytes) => Held::Bytes(bytes.to_vec()),
            ValueRef::Text(text) => Held::Text(String::from_utf8_lossy(text).into_owned()),
            // A number is no blob; its digits say so.
            ValueRef::Integer(number) => Held::Text(number.to_string()),
            ValueRef::Real(number) => Held::Text(number.to_string()),
            ValueRef::Null => Held::Text(String::new()),
        };
        let mut next: usize = 1;
        let mut key = Vec::with_capacity(self.key.len());
        for _ in &self.key {
            key.push(part(row.get_ref(next).map_err(unfit)?));
            next = next.saturating_add(1);
        }
        let mut name = Vec::with_capacity(self.names.len());
        for column in &self.names {
            let text = row.get_ref(next).map_err(unfit)?;
            name.push(format!("{column}={}", text.as_str().unwrap_or("?")));
            next = next.saturating_add(1);
        }
        let context = self.context.fill(|_| {
            let text = row.get_ref(next).map_err(unfit)?;
            next = next.saturating_add(1);
            Ok(text.as_str().ok().map(str::to_owned))
        })?;
        let place =
            serde_json::to_vec(&key).map_err(|error| StoreError::Failed(error.to_string()))?;
        Ok(Entry { place: Place::new(place)?, name: named(name.join(", ")), held, context })
    }

    /// The key that a place stands for.
    pub(super) fn key_of(&self, place: &Place) -> Result<Vec<Value>, StoreError> {
        let unfit = || {
            let text = "sqlite: the place that the campaign keeps is of another table";
            StoreError::Connector(format!("{text}; is this the connector of that store?"))
        };
        if place.is_start() {
            return Ok(Vec::new());
        }
        let key: Vec<Part> = serde_json::from_slice(place.as_bytes()).map_err(|_| unfit())?;
        if key.len() != self.key.len() {
            return Err(unfit());
        }
        let value = |part| {
            Some(match part {
                Part::Integer(number) => Value::Integer(number),
                Part::Real(bits) => Value::Real(f64::from_bits(bits)),
                Part::Text(text) => Value::Text(text),
                Part::Blob(text) => Value::Blob(BASE64_STANDARD.decode(text).ok()?),
            })
        };
        key.into_iter().map(value).collect::<Option<_>>().ok_or_else(unfit)
    }

    fn keys(&self) -> String {
        let key = self.key.iter().map(|name| format!("t.{}", quoted(name)));
        key.collect::<Vec<_>>().join(", ")
    }

    fn holes(&self) -> String {
        vec!["?"; self.key.len()].join(", ")
    }
}

/// Whether the table has no rowid.
fn table(connection: &Connection, asked: &SqliteTable) -> Result<bool, StoreError> {
    let tables = || -> rusqlite::Result<Vec<(String, bool)>> {
        let list = "SELECT name, wr FROM pragma_table_list \
                    WHERE schema = 'main' AND type = 'table' AND name NOT LIKE 'sqlite\\_%' \
                    ESCAPE '\\' ORDER BY name";
        let mut statement = connection.prepare(list)?;
        let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    let tables = tables().map_err(|error| failed("look up the table", &error))?;
    let found = tables.iter().find(|(name, _)| *name == asked.table);
    found.map(|(_, without_rowid)| *without_rowid).ok_or_else(|| {
        let names: Vec<&str> = tables.iter().map(|(name, _)| name.as_str()).collect();
        let (file, table) = (asked.file.display(), &asked.table);
        let there = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
        StoreError::Connector(format!("{file} has no table {table:?}; it has {there}"))
    })
}

/// Each column, and where it is in the primary key, from 1.
fn columns(connection: &Connection, asked: &SqliteTable) -> Result<Vec<(String, i64)>, StoreError> {
    let columns = || -> rusqlite::Result<Vec<(String, i64)>> {
        let list = "SELECT name, pk FROM pragma_table_xinfo(?1) ORDER BY cid";
        let mut statement = connection.prepare(list)?;
        let rows = statement.query_map([&asked.table], |row| Ok((row.get(0)?, row.get(1)?)))?;
        rows.collect()
    };
    columns().map_err(|error| failed("look up the columns", &error))
}

fn part(value: ValueRef<'_>) -> Option<Part> {
    Some(match value {
        ValueRef::Integer(number) => Part::Integer(number),
        ValueRef::Real(number) => Part::Real(number.to_bits()),
        ValueRef::Text(text) => Part::Text(String::from_utf8_lossy(text).into_owned()),
        ValueRef::Blob(bytes) => Part::Blob(BASE64_STANDARD.encode(bytes)),
        // Neither a rowid nor the key of a table without one is ever NULL.
        ValueRef::Null => return None,
    })
}

/// A name as SQL takes it, whatever is in it.
fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}
