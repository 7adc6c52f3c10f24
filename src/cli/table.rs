//! Tables for people: aligned columns under headings that are the field names of the messages in
//! upper case, and records of one field a line.
//!
//! Every cell passes through [`visible`], so no text from a server can step out of its cell.

use super::escape::visible;

/// Rows under headings.
pub(crate) struct Table {
    headings: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Rows that are written one at a time, as they come, in columns at least this wide.
pub(crate) struct Columns {
    columns: &'static [(&'static str, usize)],
}

// === impl Table ===

impl Table {
    /// No rows yet; `fields` are the names of the columns.
    pub(crate) fn new(fields: &[&str]) -> Self {
        Self { headings: fields.iter().map(|field| heading(field)).collect(), rows: Vec::new() }
    }

    /// Adds a row, with a cell for each column.
    pub(crate) fn row<const N: usize>(&mut self, cells: [String; N]) {
        self.rows.push(cells.iter().map(|cell| cell_text(cell)).collect());
    }

    /// The lines. A table without rows is `none_text` alone.
    pub(crate) fn render(&self, none_text: &str) -> String {
        if self.rows.is_empty() {
            return format!("{none_text}\n");
        }
        let lines = || std::iter::once(&self.headings).chain(&self.rows);
        let widths: Vec<usize> = (0..self.headings.len())
            .map(|at| lines().filter_map(|row| row.get(at)).map(|cell| width(cell)).max())
            .map(Option::unwrap_or_default)
            .collect();
        lines().map(|row| line(row, &widths)).collect()
    }
}

// === impl Columns ===

impl Columns {
    /// Names and least widths.
    pub(crate) const fn new(columns: &'static [(&'static str, usize)]) -> Self {
        Self { columns }
    }

    /// The line of headings.
    pub(crate) fn headings(&self) -> String {
        let names: Vec<_> = self.columns.iter().map(|(field, _)| heading(field)).collect();
        line(&names, &self.widths())
    }

    /// One row.
    pub(crate) fn row<const N: usize>(&self, cells: [String; N]) -> String {
        let cells: Vec<_> = cells.iter().map(|cell| cell_text(cell)).collect();
        line(&cells, &self.widths())
    }

    fn widths(&self) -> Vec<usize> {
        self.columns.iter().map(|(_, width)| *width).collect()
    }
}

/// One field a line, names first.
pub(crate) fn record(fields: &[(&str, String)]) -> String {
    let names: Vec<_> = fields.iter().map(|(field, _)| heading(field)).collect();
    let widest = names.iter().map(|name| width(name)).max().unwrap_or_default();
    names
        .into_iter()
        .zip(fields)
        .map(|(name, (_, value))| line(&[name, cell_text(value)], &[widest, 0]))
        .collect()
}

/// `a=1, b=2`; empty when there are none.
pub(crate) fn pairs<'a>(pairs: impl IntoIterator<Item = (&'a String, &'a String)>) -> String {
    let shown: Vec<_> = pairs.into_iter().map(|(key, value)| format!("{key}={value}")).collect();
    shown.join(", ")
}

/// `true` as `yes`, for people.
pub(crate) fn yes_or_no(value: bool) -> String {
    if value { "yes".into() } else { "no".into() }
}

/// A number that is absent when it is zero.
pub(crate) fn unless_zero(value: impl Into<u64>) -> String {
    match value.into() {
        0 => String::new(),
        value => value.to_string(),
    }
}

/// A value of an enumeration by its name in the proto without `prefix`: empty for the unspecified
/// one, and of a newer server's its number.
pub(crate) fn enumerated(name: Option<&str>, prefix: &str, number: i32) -> String {
    match name.and_then(|name| name.strip_prefix(prefix)) {
        Some("UNSPECIFIED") => String::new(),
        Some(known) => known.to_owned(),
        None => number.to_string(),
    }
}

fn heading(field: &str) -> String {
    field.to_uppercase()
}

fn cell_text(cell: &str) -> String {
    if cell.is_empty() { "-".into() } else { visible(cell).into_owned() }
}

fn width(text: &str) -> usize {
    text.chars().count()
}

fn line(cells: &[String], widths: &[usize]) -> String {
    let mut text = String::new();
    for (cell, least) in cells.iter().zip(widths) {
        if !text.is_empty() {
            text.push_str(GAP);
        }
        text.push_str(cell);
        let padding = least.saturating_sub(width(cell));
        text.extend(std::iter::repeat_n(' ', padding));
    }
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

const GAP: &str = "  ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell_and_nothing_trails() {
        let mut table = Table::new(&["key_id", "aliases", "reason"]);
        table.row(["1".into(), "Zoë".into(), String::new()]);
        table.row(["22222222".into(), "a".into(), "b".into()]);
        assert_eq!(
            table.render("no keys"),
            "KEY_ID    ALIASES  REASON\n1         Zoë      -\n22222222  a        b\n"
        );
        assert_eq!(Table::new(&["key_id"]).render("no keys"), "no keys\n");
    }

    #[test]
    fn a_record_has_a_line_for_each_field() {
        let shown = record(&[("key_id", "x".into()), ("key_ring", String::new())]);
        assert_eq!(shown, "KEY_ID    x\nKEY_RING  -\n");
    }

    #[test]
    fn an_enumerations_value_is_its_name_or_else_its_number() {
        for (name, shown) in [
            (Some("STORE_KIND_SQLITE"), "SQLITE"),
            (Some("STORE_KIND_UNSPECIFIED"), ""),
            (None, "7"),
        ] {
            assert_eq!(enumerated(name, "STORE_KIND_", 7), shown);
        }
    }

    #[test]
    fn h05_a_cell_cannot_start_a_row_of_its_own() {
        let mut table = Table::new(&["reason"]);
        table.row(["fine\n7  SUCCEEDED\u{1b}[1A\u{202e}".into()]);
        let shown = table.render("none");
        assert_eq!(shown, "REASON\nfine\\n7  SUCCEEDED\\u{001b}[1A\\u{202e}\n");
        let streamed = Columns::new(&[("reason", 2)]).row(["a\r\nb".into()]);
        assert_eq!(streamed, "a\\r\\nb\n");
    }

    #[test]
    fn a_streamed_row_lets_a_long_cell_push_the_rest() {
        let columns = Columns::new(&[("action", 4), ("outcome", 7)]);
        assert_eq!(columns.headings(), "ACTION  OUTCOME\n");
        assert_eq!(columns.row(["a".into(), "b".into()]), "a     b\n");
    }
}
