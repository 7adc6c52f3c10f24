//! Lines of JSON, from standard input to standard output: the way for everything that has no connector
//! of its own. A line that needs no change comes out byte for byte, and of one that does only the blob
//! changes.
//!
//! What comes out is a new store beside the old: always as many lines as came in, also of a scan, so that
//! it can take the place of the old whatever was done. Another run over it must prove that it is clean.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use tokio::io::{AsyncBufReadExt as _, AsyncRead, AsyncReadExt as _, AsyncWrite};
use tokio::io::{AsyncWriteExt as _, BufReader};
use tokio::sync::Mutex;

use super::connector::JsonLinesTable;
use super::context::ContextPlan;
use super::store::{Entry, Held, Move, Outcome, Place, Rows, Store, StoreError};

/// A stream of lines that is being rewritten.
pub(super) struct JsonLines {
    stream: Arc<Mutex<Stream>>,
}

struct Stream {
    input: BufReader<Box<dyn AsyncRead + Send + Unpin>>,
    output: Box<dyn AsyncWrite + Send + Unpin>,
    /// What of a line was read when the reading was given up half way: the next reading goes on there.
    begun: Vec<u8>,
    /// To be written, from `written` on. Kept here, so that a writing that is given up loses nothing.
    outgoing: Vec<u8>,
    written: usize,
    field: String,
    context: ContextPlan,
    /// Of the line that was read last, from 1.
    number: u64,
    /// Of the line that was given out last; behind `number` after something was given up half way.
    given: u64,
    /// Read and not yet written; consecutive.
    pending: VecDeque<Line>,
}

struct Line {
    number: u64,
    bytes: Vec<u8>,
    /// Where the value of the field is.
    blob: Range<usize>,
    /// Nobody will change it any more.
    settled: bool,
}

/// The fields of an object in their order, each as it is written.
struct Fields<'a>(Vec<(String, &'a RawValue)>);

/// What is still to come of the input.
struct Rest(Arc<Mutex<Stream>>);

// === impl JsonLines ===

impl JsonLines {
    pub(super) fn new(
        table: JsonLinesTable,
        input: impl AsyncRead + Send + Unpin + 'static,
        output: impl AsyncWrite + Send + Unpin + 'static,
    ) -> Self {
        let stream = Stream {
            input: BufReader::with_capacity(BUFFER_BYTES, Box::new(input)),
            output: Box::new(output),
            begun: Vec::new(),
            outgoing: Vec::new(),
            written: 0,
            context: ContextPlan::new(&table.context),
            field: table.field,
            number: 0,
            given: 0,
            pending: VecDeque::new(),
        };
        Self { stream: Arc::new(Mutex::new(stream)) }
    }
}

#[async_trait]
impl Store for JsonLines {
    fn identity(&self) -> &str {
        "json lines of standard input"
    }

    fn is_stream(&self) -> bool {
        true
    }

    async fn total(&self) -> Result<u64, StoreError> {
        Ok(0)
    }

    /// What was given out and not settled comes again when it is asked for from before it; everything
    /// earlier is written, and gone.
    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let mut stream = self.stream.lock().await;
        let after = if after.is_start() { 0 } else { number_of(after)? };
        stream.given = stream.given.min(after);
        let mut entries = stream.again(limit);
        while entries.len() < limit {
            let Some((line, entry)) = stream.next().await? else {
                // Lines without a blob may be the last; nobody settles these.
                stream.write_settled().await?;
                stream.flush().await?;
                break;
            };
            stream.pending.push_back(line);
            match entry {
                Some(entry) => {
                    stream.given = stream.number;
                    entries.push(entry);
                }
                None => stream.write_settled().await?,
            }
        }
        Ok(entries)
    }

    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError> {
        let number = number_of(place)?;
        let stream = self.stream.lock().await;
        let line = stream.pending.iter().find(|line| line.number == number);
        Ok(line.and_then(|line| stream.parse(line.number, &line.bytes).1))
    }

    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError> {
        let mut stream = self.stream.lock().await;
        let first = stream.pending.front().map_or(0, |line| line.number);
        let mut outcomes = Vec::with_capacity(moves.len());
        for Move { entry, new } in moves {
            let index = number_of(&entry.place)?.checked_sub(first);
            let index = index.and_then(|index| usize::try_from(index).ok());
            let line = index.and_then(|index| stream.pending.get_mut(index));
            outcomes.push(match (line, new) {
                (Some(line), Held::Text(text)) => {
                    let value = serde_json::to_vec(text).map_err(broken)?;
                    let end = line.blob.start.saturating_add(value.len());
                    line.bytes.splice(line.blob.clone(), value);
                    line.blob.end = end;
                    Outcome::Replaced
                }
                _ => Outcome::Changed,
            });
        }
        Ok(outcomes)
    }

    async fn settled(&self, place: &Place) -> Result<(), StoreError> {
        let number = if place.is_start() { 0 } else { number_of(place)? };
        let mut stream = self.stream.lock().await;
        for line in stream.pending.iter_mut().take_while(|line| line.number <= number) {
            line.settled = true;
        }
        stream.write_settled().await?;
        stream.flush().await
    }

    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError> {
        Ok(Box::new(Rest(Arc::clone(&self.stream))))
    }
}

#[async_trait]
impl Rows for Rest {
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError> {
        let mut stream = self.0.lock().await;
        let mut entries = Vec::new();
        while entries.len() < SCAN_BATCH {
            let Some((line, entry)) = stream.next().await? else { break };
            stream.outgoing.extend_from_slice(&line.bytes);
            entries.extend(entry);
        }
        stream.flush().await?;
        Ok((!entries.is_empty()).then_some(entries))
    }
}

// === impl Fields ===

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Vec<(String, &'de RawValue)>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Self::Value, M::Error> {
                let mut fields = Vec::new();
                while let Some(field) = map.next_entry()? {
                    fields.push(field);
                }
                Ok(fields)
            }
        }

        deserializer.deserialize_map(Object).map(Self)
    }
}

// === impl Stream ===

impl Stream {
    /// The next line, and what it holds if anything.
    async fn next(&mut self) -> Result<Option<(Line, Option<Entry>)>, StoreError> {
        let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
        let mut input = (&mut self.input).take(u64::try_from(room).unwrap_or(u64::MAX));
        let read = input.read_until(b'\n', &mut self.begun).await;
        self.number = self.number.saturating_add(1);
        read.map_err(|error| failed(format!("cannot read line {}: {error}", self.number)))?;
        let bytes = std::mem::take(&mut self.begun);
        if bytes.is_empty() {
            return Ok(None);
        }
        if bytes.len() == LINE_BYTES_MAX && bytes.last() != Some(&b'\n') {
            return Err(failed(format!("line {} is longer than {LINE_BYTES_MAX}", self.number)));
        }
        let number = self.number;
        let (blob, entry) = self.parse(number, &bytes);
        let settled = entry.is_none();
        Ok(Some((Line { number, bytes, blob, settled }, entry)))
    }

    /// Where the blob is in a line, and the entry, if there is something.
    fn parse(&self, number: u64, line: &[u8]) -> (Range<usize>, Option<Entry>) {
        let whole = 0..line.trim_ascii_end().len();
        let entry = |held, context| Entry {
            place: place_of(number),
            name: format!("line {number}"),
            held,
            context,
        };
        if line.trim_ascii().is_empty() {
            return (whole, None);
        }
        let text = std::str::from_utf8(line).unwrap_or_default();
        let fields = serde_json::from_str::<Fields<'_>>(text);
        let Some(fields) = fields.ok().and_then(|fields| self.unambiguous(fields)) else {
            // Whatever it is, it may hide a blob: a person has to look.
            let held = Held::Text(String::from_utf8_lossy(line).into_owned());
            return (whole, Some(entry(held, Ok(self.context.constants()))));
        };
        let Some(value) = fields.get(&self.field).filter(|value| value.get() != "null") else {
            return (whole, None);
        };
        let offset = (value.get().as_ptr() as usize).saturating_sub(text.as_ptr() as usize);
        let blob = offset..offset.saturating_add(value.get().len());
        let held = Held::Text(words(value).unwrap_or_else(|| value.get().to_owned()));
        let context = self.context.fill(|name| {
            let value = fields.get(name);
            Ok::<_, std::convert::Infallible>(value.and_then(|value| words(value)))
        });
        let Ok(context) = context;
        (blob, Some(entry(held, context)))
    }

    /// The fields by name, unless one that matters is there twice: then nobody knows which one counts.
    fn unambiguous<'a>(&self, fields: Fields<'a>) -> Option<HashMap<String, &'a RawValue>> {
        let matters =
            |name: &str| name == self.field || self.context.columns().any(|column| column == name);
        let mut found = HashMap::with_capacity(fields.0.len());
        for (name, value) in fields.0 {
            let twice = matters(&name) && found.contains_key(&name);
            if twice {
                return None;
            }
            found.insert(name, value);
        }
        Some(found)
    }

    /// Entries that are read, not settled, and to be given out again.
    fn again(&mut self, limit: usize) -> Vec<Entry> {
        let lines = self.pending.iter().filter(|line| line.number > self.given && !line.settled);
        let entries = lines.filter_map(|line| self.parse(line.number, &line.bytes).1);
        let entries: Vec<Entry> = entries.take(limit).collect();
        let last = entries.last().and_then(|entry| number_of(&entry.place).ok());
        self.given = last.unwrap_or(self.given);
        entries
    }

    /// Writes the lines at the front that nobody will change any more.
    async fn write_settled(&mut self) -> Result<(), StoreError> {
        while let Some(line) = self.pending.pop_front_if(|line| line.settled) {
            self.outgoing.extend_from_slice(&line.bytes);
        }
        if self.outgoing.len() < BUFFER_BYTES { Ok(()) } else { self.write_outgoing().await }
    }

    async fn write_outgoing(&mut self) -> Result<(), StoreError> {
        while let Some(rest) = self.outgoing.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest).await.map_err(unwritten)? {
                0 => return Err(unwritten(std::io::ErrorKind::WriteZero.into())),
                bytes => self.written = self.written.saturating_add(bytes),
            }
        }
        self.outgoing.clear();
        self.written = 0;
        Ok(())
    }

    async fn flush(&mut self) -> Result<(), StoreError> {
        self.write_outgoing().await?;
        self.output.flush().await.map_err(unwritten)
    }
}

/// A string, number or truth value as text; nothing of anything else.
fn words(value: &RawValue) -> Option<String> {
    match serde_json::from_str(value.get()) {
        Ok(serde_json::Value::String(text)) => Some(text),
        // As it is written: no number is rounded.
        Ok(serde_json::Value::Number(_) | serde_json::Value::Bool(_)) => {
            Some(value.get().to_owned())
        }
        _ => None,
    }
}

fn place_of(number: u64) -> Place {
    Place::new(number.to_be_bytes().to_vec()).unwrap_or_default()
}

fn number_of(place: &Place) -> Result<u64, StoreError> {
    let number = place.as_bytes().try_into().map(u64::from_be_bytes);
    number.map_err(|_| {
        let text = "json lines: the place that the campaign keeps is of another store";
        StoreError::Connector(text.to_owned())
    })
}

fn broken(error: serde_json::Error) -> StoreError {
    failed(error.to_string())
}

fn unwritten(error: std::io::Error) -> StoreError {
    failed(format!("cannot write to standard output: {error}"))
}

fn failed(text: String) -> StoreError {
    StoreError::Failed(format!("json lines: {text}"))
}

const BUFFER_BYTES: usize = 256 * 1024;
const LINE_BYTES_MAX: usize = 4 * 1024 * 1024;
const SCAN_BATCH: usize = 1000;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use futures_util::FutureExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, duplex};

    use super::*;

    fn table() -> JsonLinesTable {
        toml::from_str("field = \"dek\"").unwrap()
    }

    #[tokio::test]
    async fn g05_a_reading_that_is_given_up_half_way_through_a_line_loses_none_of_it() {
        let (mut writer, input) = duplex(1024);
        let lines = JsonLines::new(table(), input, tokio::io::sink());
        writer.write_all(b"{\"dek\":\"o").await.unwrap();
        assert!(lines.read(&Place::default(), 1).now_or_never().is_none(), "half a line");
        writer.write_all(b"ne\"}\n").await.unwrap();
        let entries = lines.read(&Place::default(), 1).await.unwrap();
        assert!(matches!(&entries[..], [Entry { held: Held::Text(text), .. }] if text == "one"));
    }

    #[tokio::test]
    async fn g05_a_writing_that_is_given_up_half_way_loses_none_of_it() {
        let line = "{\"dek\":\"one\"}\n";
        let (output, mut reader) = duplex(8);
        let lines = JsonLines::new(table(), std::io::Cursor::new(line.as_bytes()), output);
        let entries = lines.read(&Place::default(), 1).await.unwrap();
        let place = entries.into_iter().next().unwrap().place;
        assert!(lines.settled(&place).now_or_never().is_none(), "there is room for half of it");
        let finish = async { lines.settled(&place).await.unwrap() };
        let mut out = vec![0; line.len()];
        let (_, read) = tokio::join!(finish, reader.read_exact(&mut out));
        read.unwrap();
        assert_eq!(out, line.as_bytes());
    }
}
