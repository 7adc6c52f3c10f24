//! What a person sees of `bulla rewrap run`: a bar while it works, notes above it, and an answer at
//! the end. Moves nothing itself, and does not know who does.

use std::io::{self, IsTerminal as _};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::escape::visible;
use super::failure::Failure;
use super::json::Json;
use super::output::{Printer, note, report};
use super::table::record;
use super::{Exit, Format, OutputArguments};

/// The view of one run.
pub struct RewrapView {
    printer: Printer,
    bar: ProgressBar,
    /// Standard output carries lines of the store, so the answer goes to standard error.
    output_is_taken: bool,
}

// === impl RewrapView ===

impl RewrapView {
    /// Shows nothing yet.
    pub fn new(output: OutputArguments, output_is_taken: bool) -> Self {
        let bar = ProgressBar::no_length();
        let people = output.output == Format::Table && io::stderr().is_terminal();
        bar.set_draw_target(match people {
            true => ProgressDrawTarget::stderr(),
            false => ProgressDrawTarget::hidden(),
        });
        Self { printer: Printer::new(output), bar, output_is_taken }
    }

    /// A pass begins at `seen` of `total` places; 0: nobody knows how many there are.
    pub fn began(&self, text: &str, seen: u64, total: u64) {
        let template = match total {
            0 => "{pos} seen, {msg} {elapsed}",
            _ => "{wide_bar} {pos}/{len}, {msg} {eta}",
        };
        if let Ok(style) = ProgressStyle::with_template(template) {
            self.bar.set_style(style);
        }
        self.note(text);
        self.bar.reset();
        self.bar.set_length(total);
        self.bar.set_position(seen);
        self.bar.reset_eta();
    }

    /// The work is so far.
    pub fn advanced(&self, seen: u64, total: u64, moved: u64, per_second: u64) {
        if total > 0 {
            self.bar.set_length(total);
        }
        self.bar.set_position(seen);
        self.bar.set_message(format!("{moved} moved, {per_second}/s"));
    }

    /// The store is scanned; so many places have been looked at.
    pub fn scanned(&self, rows: u64) {
        self.bar.set_position(rows);
        self.bar.set_message("scanned");
    }

    /// A line of its own, above the bar.
    pub fn note(&self, text: &str) {
        if self.bar.is_hidden() {
            note(text);
        } else {
            self.bar.println(visible(text));
        }
    }

    /// The answer: how it ended, and numbers.
    ///
    /// # Errors
    /// [`Exit::InputOutput`] when it cannot be written.
    pub fn ended(&self, outcome: &str, numbers: &[(&str, u64)]) -> Result<(), Failure> {
        self.bar.finish_and_clear();
        let mut fields = vec![("outcome".to_owned(), Json::text(outcome))];
        let number = |value: u64| Json::Integer(value.into());
        fields.extend(numbers.iter().map(|(name, value)| ((*name).to_owned(), number(*value))));
        let mut lines = vec![("outcome", outcome.to_owned())];
        lines.extend(numbers.iter().map(|(name, value)| (*name, value.to_string())));
        let json = Json::Object(fields);
        if self.output_is_taken {
            return match self.printer.format() {
                Format::Table => self.printer.aside(&record(&lines)),
                Format::Json => self.printer.aside(&json.pretty()),
            };
        }
        self.printer.answer(&json, || record(&lines))
    }

    /// Why it did not end well. The code to end with.
    pub fn failed(&self, failure: &Failure) -> Exit {
        self.bar.finish_and_clear();
        report(failure)
    }
}
