//! The five statements, made of names that the catalog gave.
//!
//! Keys go in and out as text and are cast on the server, so that every type that can be a key is one
//! here. The order is always that of the column, never of its text.

use super::catalog::{Layout, quoted};

/// The texts of the statements.
pub(super) struct Texts {
    /// `$1`: how many.
    pub(super) first: String,
    /// The key to go on after, and how many.
    pub(super) next: String,
    /// A key.
    pub(super) one: String,
    /// For each part of the key an array of texts; then the old and the new blobs, in arrays.
    pub(super) replace: String,
    pub(super) scan: String,
}

// === impl Texts ===

impl Texts {
    pub(super) fn of(layout: &Layout) -> Self {
        let columns: Vec<String> =
            layout.key.iter().map(|part| format!("t.{}", quoted(&part.column))).collect();
        let given: Vec<String> = (layout.key.iter().zip(1..))
            .map(|(part, number)| format!("${number}::text::{}", part.kind))
            .collect();
        let (columns, given) = (columns.join(", "), given.join(", "));
        let limit = layout.key.len().saturating_add(1);
        let (table, blob) = (&layout.table, format!("t.{}", quoted(&layout.column)));
        let select = format!("SELECT {} FROM {table} AS t WHERE {blob} IS NOT NULL", list(layout));
        Self {
            first: format!("{select} ORDER BY {columns} LIMIT $1::bigint"),
            next: format!(
                "{select} AND ({columns}) > ({given}) ORDER BY {columns} LIMIT ${limit}::bigint"
            ),
            one: format!("{select} AND ({columns}) = ({given})"),
            replace: replace(layout),
            scan: select,
        }
    }
}

/// What is read of a row: its key, the blob, and what the context is made from.
fn list(layout: &Layout) -> String {
    let keys = layout.key.iter().map(|part| format!("t.{}::text", quoted(&part.column)));
    let blob = match layout.is_text {
        true => format!("t.{}::text", quoted(&layout.column)),
        false => format!("t.{}::bytea", quoted(&layout.column)),
    };
    let context = layout.context.columns().map(|name| format!("t.{}::text", quoted(name)));
    keys.chain([blob]).chain(context).collect::<Vec<_>>().join(", ")
}

/// Compare-and-swap of many rows. The number of each row that took its new blob comes back.
fn replace(layout: &Layout) -> String {
    let parts = layout.key.len();
    let (old, new) = (parts.saturating_add(1), parts.saturating_add(2));
    let blobs = if layout.is_text { "text[]" } else { "bytea[]" };
    // To the byte, whatever the column's collation takes for equal.
    let exactly = if layout.is_text { " COLLATE \"C\"" } else { "" };
    let arrays = (1..=parts).map(|number| format!("${number}::text[]"));
    let arrays = arrays.chain([format!("${old}::{blobs}"), format!("${new}::{blobs}")]);
    let names = (1..=parts).map(|number| format!("k{number}"));
    let same = (layout.key.iter().zip(1..))
        .map(|(part, number)| format!("t.{} = u.k{number}::{}", quoted(&part.column), part.kind));
    format!(
        "UPDATE {} AS t SET {column} = u.new_blob FROM unnest({}) WITH ORDINALITY AS u({}, \
         old_blob, new_blob, number) WHERE {} AND t.{column} = u.old_blob{exactly} \
         RETURNING u.number",
        layout.table,
        arrays.collect::<Vec<_>>().join(", "),
        names.collect::<Vec<_>>().join(", "),
        same.collect::<Vec<_>>().join(" AND "),
        column = quoted(&layout.column),
    )
}
