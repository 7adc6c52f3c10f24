//! The one way out: tables for people or JSON for programs on stdout, everything else on stderr.

use std::io::{self, Write as _};

use super::escape::visible;
use super::failure::{Exit, Failure};
use super::json::{self, Described, Json};
use super::time;

/// How answers are written.
#[derive(clap::Args, Clone, Copy, Debug)]
pub struct OutputArguments {
    /// Tables for people, or JSON with stable names for programs (a stream has an object a line)
    #[arg(long, global = true, value_enum, default_value_t = Format::Table, value_name = "FORMAT")]
    #[arg(help_heading = "Output")]
    pub output: Format,
}

/// The forms of an answer: aligned columns, or the fields of the API's messages.
// The variants have no documentation of their own, so that every help stays short.
#[allow(missing_docs)]
#[derive(clap::ValueEnum, Clone, Copy, Debug, Eq, PartialEq)]
pub enum Format {
    Table,
    Json,
}

/// Writes answers.
#[derive(Clone, Copy)]
pub(crate) struct Printer {
    format: Format,
    now: i64,
}

// === impl Printer ===

impl Printer {
    /// Writes in the form that was asked for; relative times are relative to now.
    pub(crate) fn new(arguments: OutputArguments) -> Self {
        Self { format: arguments.output, now: time::unix_now() }
    }

    /// The form that was asked for.
    pub(crate) fn format(&self) -> Format {
        self.format
    }

    /// One answer: its message, or what `table` makes of it.
    pub(crate) fn message<M: Described>(
        &self,
        message: &M,
        table: impl FnOnce(i64) -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => write_out(table(self.now).as_bytes()),
            Format::Json => write_out(json::of(message)?.pretty().as_bytes()),
        }
    }

    /// One answer of a stream: a line of its own in either form. Times are relative to now.
    pub(crate) fn streamed<M: Described>(
        &self,
        message: &M,
        line: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => write_out(line().as_bytes()),
            Format::Json => write_out(json::of(message)?.compact().as_bytes()),
        }
    }

    /// One answer that is no message of the API.
    pub(crate) fn answer(
        &self,
        json: &Json,
        table: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        match self.format {
            Format::Table => write_out(table().as_bytes()),
            Format::Json => write_out(json.pretty().as_bytes()),
        }
    }

    /// An answer that goes beside what is on stdout.
    pub(crate) fn aside(&self, text: &str) -> Result<(), Failure> {
        let written = io::stderr().lock().write_all(text.as_bytes());
        written.map_err(|error| Failure::midway("cannot write to stderr", &error))
    }
}

/// Writes bytes to stdout and flushes. A reader that went away (`| head`) is not a failure, but
/// nothing further can be said, so the process ends there.
pub(crate) fn write_out(bytes: &[u8]) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(bytes).and_then(|()| stdout.flush()) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => std::process::exit(0),
        Err(error) => Err(Failure::midway("cannot write to stdout", &error)),
    }
}

/// One line on stderr, escaped. What cannot be written there has nowhere else to go.
pub(crate) fn note(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", visible(text));
}

/// The failure on stderr, and its code.
pub(crate) fn report(failure: &Failure) -> Exit {
    // Not `note`: a failure has escaped its parts and has line feeds of its own.
    let _ = writeln!(io::stderr().lock(), "{failure}");
    failure.exit()
}
