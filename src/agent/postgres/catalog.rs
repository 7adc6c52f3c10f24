//! What the catalog says of the table: its key, the types of it, and whether the columns that the
//! connector file names are there. Nothing of the file reaches a statement but through here.

use tokio_postgres::types::Oid;
use tokio_postgres::{Client, Row};

use super::failed;
use crate::agent::connector::PostgresTable;
use crate::agent::context::ContextPlan;
use crate::agent::store::{Entry, Held, Move, Place, StoreError, named};

/// Everything about the table that statements and rows are made of.
#[derive(Clone)]
pub(super) struct Layout {
    pub(super) oid: Oid,
    /// Quoted, with its schema.
    pub(super) table: String,
    /// In the order of the index.
    pub(super) key: Vec<KeyPart>,
    pub(super) column: String,
    /// Whether the column holds base64.
    pub(super) is_text: bool,
    pub(super) context: ContextPlan,
}

/// One column of the key.
#[derive(Clone)]
pub(super) struct KeyPart {
    pub(super) column: String,
    /// Its type as SQL writes it.
    pub(super) kind: String,
    /// The type's schema.
    namespace: String,
}

/// A column as the catalog has it.
struct Column {
    name: String,
    kind: String,
    /// Of a domain, the type that it narrows.
    base: String,
    not_null: bool,
    namespace: String,
}

// === impl Layout ===

impl Layout {
    /// Looks up what the connector names.
    pub(super) async fn find(client: &Client, asked: &PostgresTable) -> Result<Self, StoreError> {
        let oid = table_oid(client, asked).await?;
        let columns = columns(client, oid).await?;
        let of_table = format!("table {}.{}", asked.schema, asked.table);
        let find = |name: &str| {
            columns.iter().find(|column| column.name == name).ok_or_else(|| {
                let there = shown(columns.iter().map(|column| column.name.as_str()));
                wrong(format!("{of_table} has no column {name:?}; it has {there}"))
            })
        };
        let blob = find(&asked.column)?;
        let is_text = match blob.base.as_str() {
            "bytea" => false,
            "text" | "character varying" => true,
            other => {
                let text = format!("column {:?} of {of_table} is {other}", asked.column);
                return Err(wrong(format!(
                    "{text}; blobs are kept in bytea, or in text as base64"
                )));
            }
        };
        let context = ContextPlan::new(&asked.context);
        for name in context.columns() {
            find(name)?;
        }
        let mut key = Vec::new();
        for name in key_columns(client, oid, asked, &columns).await? {
            let Column { name, kind, namespace, .. } = find(&name)?;
            key.push(KeyPart {
                column: name.clone(),
                kind: kind.clone(),
                namespace: namespace.clone(),
            });
        }
        let table = format!("{}.{}", quoted(&asked.schema), quoted(&asked.table));
        Ok(Self { oid, table, key, column: asked.column.clone(), is_text, context })
    }

    /// Where the operators of the key's types are, so that comparing means what ordering does.
    pub(super) fn search_path(&self) -> String {
        let mut path = vec![quoted("pg_catalog")];
        for part in &self.key {
            let schema = quoted(&part.namespace);
            if !path.contains(&schema) {
                path.push(schema);
            }
        }
        path.join(", ")
    }

    /// The entry of a row that was read with the list of [`Texts`](super::statements::Texts).
    pub(super) fn entry(&self, row: &Row) -> Result<Entry, StoreError> {
        let unfit = |error| failed("understand a row", &error);
        let mut key: Vec<&str> = Vec::with_capacity(self.key.len());
        let mut next: usize = 0;
        for _ in &self.key {
            key.push(row.try_get(next).map_err(unfit)?);
            next = next.saturating_add(1);
        }
        let held = match self.is_text {
            true => Held::Text(row.try_get(next).map_err(unfit)?),
            false => Held::Bytes(row.try_get(next).map_err(unfit)?),
        };
        let context = self.context.fill(|_| {
            next = next.saturating_add(1);
            row.try_get(next).map_err(unfit)
        })?;
        Ok(Entry { place: place(&key)?, name: self.name(&key), held, context })
    }

    /// The key that a place stands for.
    pub(super) fn key_of(&self, place: &Place) -> Result<Vec<String>, StoreError> {
        let unfit = || {
            let text = "postgresql: the place that the campaign keeps is of another table";
            StoreError::Connector(format!("{text}; is this the connector of that store?"))
        };
        if place.is_start() {
            return Ok(Vec::new());
        }
        let key: Vec<String> = serde_json::from_slice(place.as_bytes()).map_err(|_| unfit())?;
        if key.len() == self.key.len() { Ok(key) } else { Err(unfit()) }
    }

    /// The keys of these entries, an array for each part.
    pub(super) fn key_arrays(&self, moves: &[Move]) -> Vec<Vec<String>> {
        let mut arrays = vec![Vec::with_capacity(moves.len()); self.key.len()];
        for moved in moves {
            let key = self.key_of(&moved.entry.place).unwrap_or_default();
            for (array, part) in arrays.iter_mut().zip(key) {
                array.push(part);
            }
        }
        arrays
    }

    fn name(&self, key: &[&str]) -> String {
        let parts = self.key.iter().zip(key).map(|(part, text)| format!("{}={text}", part.column));
        named(parts.collect::<Vec<_>>().join(", "))
    }
}

/// A name as SQL takes it, whatever is in it.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

fn place(key: &[&str]) -> Result<Place, StoreError> {
    let bytes = serde_json::to_vec(key).map_err(|error| StoreError::Failed(error.to_string()))?;
    Place::new(bytes)
}

async fn table_oid(client: &Client, asked: &PostgresTable) -> Result<Oid, StoreError> {
    let find = "SELECT c.oid, c.relkind = ANY('{r,p}') FROM pg_catalog.pg_class c \
                JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                WHERE n.nspname = $1 AND c.relname = $2";
    let look_up = |error| failed("look up the table", &error);
    let found = client.query_opt(find, &[&asked.schema, &asked.table]).await.map_err(look_up)?;
    let PostgresTable { schema, table, .. } = asked;
    if let Some(row) = found {
        let is_table: bool = row.try_get(1).map_err(look_up)?;
        return match is_table {
            true => row.try_get(0).map_err(look_up),
            false => Err(wrong(format!("{schema}.{table} is no table"))),
        };
    }
    let list = "SELECT tablename::text FROM pg_catalog.pg_tables WHERE schemaname = $1 ORDER BY 1";
    let rows = client.query(list, &[schema]).await.map_err(look_up)?;
    let tables: Vec<&str> =
        rows.iter().map(|row| row.try_get(0)).collect::<Result<_, _>>().map_err(look_up)?;
    let there = shown(tables.into_iter());
    Err(wrong(format!("schema {schema:?} has no table {table:?}; it has {there}")))
}

async fn columns(client: &Client, table: Oid) -> Result<Vec<Column>, StoreError> {
    let list = "SELECT a.attname::text, format_type(a.atttypid, a.atttypmod), \
                format_type(CASE t.typtype WHEN 'd' THEN t.typbasetype ELSE t.oid END, NULL), \
                a.attnotnull, n.nspname::text FROM pg_catalog.pg_attribute a \
                JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
                JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace \
                WHERE a.attrelid = $1 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(list, &[&table]).await;
    let column = |row: &Row| {
        Ok(Column {
            name: row.try_get(0)?,
            kind: row.try_get(1)?,
            base: row.try_get(2)?,
            not_null: row.try_get(3)?,
            namespace: row.try_get(4)?,
        })
    };
    rows.and_then(|rows| rows.iter().map(column).collect())
        .map_err(|error| failed("look up the columns", &error))
}

/// The columns that name a row, in the order of the index that keeps them unique.
async fn key_columns(
    client: &Client,
    table: Oid,
    asked: &PostgresTable,
    columns: &[Column],
) -> Result<Vec<String>, StoreError> {
    let list = "SELECT i.indisprimary, array_agg(a.attname::text ORDER BY k.position) \
                FROM pg_catalog.pg_index i \
                CROSS JOIN LATERAL unnest(i.indkey) WITH ORDINALITY AS k(number, position) \
                JOIN pg_catalog.pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.number \
                WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indpred IS NULL \
                AND i.indexprs IS NULL AND k.position <= i.indnkeyatts \
                GROUP BY i.indexrelid, i.indisprimary ORDER BY i.indisprimary DESC, i.indexrelid";
    let rows = client.query(list, &[&table]).await;
    let index = |row: &Row| Ok((row.try_get(0)?, row.try_get(1)?));
    let indexes: Vec<(bool, Vec<String>)> = rows
        .and_then(|rows| rows.iter().map(index).collect())
        .map_err(|error| failed("look up the key", &error))?;
    let never_null = |name: &String| columns.iter().any(|c| c.name == *name && c.not_null);
    let wanted = |(primary, index): &(bool, Vec<String>)| match &asked.key {
        None => *primary,
        Some(key) => {
            key.len() == index.len()
                && key.iter().all(|name| index.contains(name))
                && index.iter().all(never_null)
        }
    };
    let PostgresTable { schema, table, key, .. } = asked;
    indexes.into_iter().find(wanted).map(|(_, key)| key).ok_or_else(|| match key {
        None => wrong(format!(
            "table {schema}.{table} has no primary key; give the columns of a unique index as key"
        )),
        Some(key) => wrong(format!(
            "key: no unique index of table {schema}.{table} is over {} alone and never NULL",
            key.join(", ")
        )),
    })
}

fn wrong(text: String) -> StoreError {
    StoreError::Connector(text)
}

/// What there is, for a person who misspelt it.
fn shown<'a>(names: impl Iterator<Item = &'a str>) -> String {
    let mut names: Vec<&str> = names.take(NAMES_SHOWN_MAX.saturating_add(1)).collect();
    if names.is_empty() {
        return "none".to_owned();
    }
    if names.len() > NAMES_SHOWN_MAX {
        names.truncate(NAMES_SHOWN_MAX);
        names.push("…");
    }
    names.join(", ")
}

const NAMES_SHOWN_MAX: usize = 20;
