//! What the agent needs of a place where blobs are kept. Five connectors can be as different as they
//! like behind it; the engine knows none of them.

use std::borrow::Cow;
use std::collections::BTreeMap;

use async_trait::async_trait;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, Engine as _, GeneralPurpose, GeneralPurposeConfig};
use sha2::{Digest as _, Sha256};

/// A place where blobs are kept: a table, a directory, a stream of lines.
///
/// Whatever an application does to the store at the same time, no method loses or overwrites what it
/// wrote. All methods may be called while others run.
#[async_trait]
pub trait Store: Send + Sync {
    /// What it is, in words for people, such as `postgresql orders-db/public.customers.dek`.
    fn identity(&self) -> &str;

    /// Whether it can be gone through only once, and is written anew beside the old (standard input
    /// and output). Then a pass begins at the start whatever place was kept, and another run over
    /// what was written must prove it.
    fn is_stream(&self) -> bool {
        false
    }

    /// About how many entries there are; 0 when nobody can say cheaply.
    async fn total(&self) -> Result<u64, StoreError>;

    /// The next entries after a place, in the order of their places, which no change to the store
    /// alters: an entry that is there all the time is met exactly once on the way from the start.
    /// At most `limit`; none only at the end. Places that hold nothing (NULL) are left out.
    async fn read(&self, after: &Place, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// What is at a place now; `None` when nothing is.
    async fn read_one(&self, place: &Place) -> Result<Option<Entry>, StoreError>;

    /// Puts each new blob in its place if the very bytes that were read are still there, and says for
    /// each, in order, whether it did. What is `Replaced` is durable when this returns.
    async fn replace(&self, moves: &[Move]) -> Result<Vec<Outcome>, StoreError>;

    /// Everything up to this place has been dealt with, and will not be asked for again in this pass.
    async fn settled(&self, _place: &Place) -> Result<(), StoreError> {
        Ok(())
    }

    /// The whole of the store as it was at one moment, which is not before this call.
    async fn scan(&self) -> Result<Box<dyn Rows>, StoreError>;
}

/// Entries, a batch at a time, in no order.
#[async_trait]
pub trait Rows: Send {
    /// The next entries; `None` at the end. A batch has at most 1000, and only one is held at a time.
    async fn next(&mut self) -> Result<Option<Vec<Entry>>, StoreError>;
}

/// Where an entry is in the order of its store, in the connector's own words; at most 4096 bytes,
/// because the server keeps it. Empty: before the first.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Place(Vec<u8>);

/// The encryption context of a blob.
pub type Context = BTreeMap<String, String>;

/// A place that holds something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Entry {
    /// Where.
    pub place: Place,
    /// The same for people: a primary key, a path, a line; see [`named`].
    pub name: String,
    /// What stands there.
    pub held: Held,
    /// What the blob was bound to, unless it cannot be moved whatever that is.
    pub context: Result<Context, Unmovable>,
}

/// What stands in a place, to the byte.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Held {
    /// Bytes: the blob itself.
    Bytes(Vec<u8>),
    /// Text: the blob in base64.
    Text(String),
}

/// An entry and what is to stand there instead.
#[derive(Clone, Debug)]
pub struct Move {
    /// As it was read.
    pub entry: Entry,
    /// In the same form.
    pub new: Held,
}

/// How a replacement went.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// The new blob is there, durably.
    Replaced,
    /// Something else was there, or nothing. Nothing was written.
    Changed,
}

/// Text that is not base64.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct NotBlob;

/// Why a blob has to stay where it is until a person has done something.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Unmovable {
    /// This column or field, which the encryption context is made from, holds nothing.
    #[error("CONTEXT_IS_NULL: {0}")]
    NullColumn(String),
    /// It stands in the header of sealed data of suite 01, which takes no other: the file is to be
    /// decrypted and encrypted again.
    #[error("FIXED_HEADER: of suite 01, encrypt it again")]
    FixedHeader,
}

/// Why a store does not do what it has to.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The connector file is wrong, or does not fit what is there.
    #[error("{0}")]
    Connector(String),
    /// The store failed, or refused.
    #[error("{0}")]
    Failed(String),
    /// The store cannot be reached, or cut the connection. The same may succeed later; what was being
    /// written may or may not be there.
    #[error("{0}")]
    Away(String),
}

// === impl Place ===

impl Place {
    /// A place in a connector's own words.
    ///
    /// # Errors
    /// When it is longer than the server keeps.
    pub fn new(bytes: Vec<u8>) -> Result<Self, StoreError> {
        if bytes.len() > PLACE_BYTES_MAX {
            let long = format!("a primary key of {} bytes is longer than 4096", bytes.len());
            return Err(StoreError::Failed(long));
        }
        Ok(Self(bytes))
    }

    /// The words.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Whether it is before the first entry.
    pub fn is_start(&self) -> bool {
        self.0.is_empty()
    }
}

// === impl Held ===

impl Held {
    /// The blob that stands there. Line feeds and padding of base64 are as the writer liked.
    ///
    /// # Errors
    /// When it is text, and not in base64.
    pub fn blob(&self) -> Result<Cow<'_, [u8]>, NotBlob> {
        match self {
            Self::Bytes(bytes) => Ok(bytes.into()),
            Self::Text(text) => {
                let lines: Cow<'_, str> = if text.contains(char::is_whitespace) {
                    text.split_ascii_whitespace().collect()
                } else {
                    text.into()
                };
                BASE64.decode(lines.as_bytes()).map(Cow::from).map_err(|_| NotBlob)
            }
        }
    }

    /// Another blob in the same form.
    pub fn with(&self, blob: Vec<u8>) -> Self {
        match self {
            Self::Bytes(_) => Self::Bytes(blob),
            Self::Text(_) => Self::Text(BASE64.encode(blob)),
        }
    }

    /// SHA-256 of what stands there: how a person's decision about it is found again.
    pub fn digest(&self) -> [u8; 32] {
        Sha256::digest(self.as_bytes()).into()
    }

    fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Bytes(bytes) => bytes,
            Self::Text(text) => text.as_bytes(),
        }
    }
}

// === impl Unmovable ===

impl Unmovable {
    /// What is wrong with the blob, as the server keeps it.
    pub fn reason(&self) -> String {
        let mut reason = named(self.to_string());
        reason.truncate(reason.floor_char_boundary(REASON_BYTES_MAX));
        reason
    }
}

/// A name for people, without control characters and cut to what the server keeps. The server knows a
/// problem by it, so one that is cut ends with a digest of the whole.
pub fn named(mut name: String) -> String {
    if name.chars().any(char::is_control) {
        name = name.chars().flat_map(shown).collect();
    }
    if name.len() > NAME_BYTES_MAX {
        let whole = hex_of(&Sha256::digest(&name));
        name.truncate(name.floor_char_boundary(NAME_BYTES_MAX.saturating_sub(whole.len())));
        name.push_str(&whole);
    }
    name
}

/// The first 16 bytes, after an ellipsis.
fn hex_of(digest: &[u8]) -> String {
    let bytes = digest.iter().take(16);
    bytes.fold("\u{2026}".to_owned(), |text, byte| format!("{text}{byte:02x}"))
}

fn shown(character: char) -> impl Iterator<Item = char> {
    let escaped = character.is_control().then(|| character.escape_default());
    let plain = (!character.is_control()).then_some(character);
    escaped.into_iter().flatten().chain(plain)
}

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

const PLACE_BYTES_MAX: usize = 4096;
const NAME_BYTES_MAX: usize = 512;
const REASON_BYTES_MAX: usize = 128;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn base64_is_read_however_it_was_broken_into_lines_and_padded() {
        for text in ["AQIDBA==", "AQIDBA", "AQID\nBA==", " AQ IDBA ==\n"] {
            assert_eq!(*Held::Text(text.into()).blob().unwrap(), [1, 2, 3, 4], "{text}");
        }
        for text in ["AQIDB", "né", "AQ-D", "{}"] {
            assert_eq!(Held::Text(text.into()).blob(), Err(NotBlob), "{text}");
        }
    }

    #[test]
    fn a_new_blob_is_written_in_the_form_of_the_old() {
        assert_eq!(Held::Bytes(vec![9]).with(vec![1, 2]), Held::Bytes(vec![1, 2]));
        assert_eq!(Held::Text("AA==".into()).with(vec![1, 2]), Held::Text("AQI=".into()));
    }

    #[test]
    fn a_place_or_a_name_is_never_longer_than_the_server_keeps() {
        assert!(Place::new(vec![0; 4096]).is_ok());
        assert!(Place::new(vec![0; 4097]).is_err());
        let (long, other) = ("é".repeat(300), "é".repeat(301));
        assert!(named(long.clone()).starts_with("ééé") && named(long.clone()).len() <= 512);
        assert_ne!(named(long), named(other), "cut, and still told apart");
        assert_eq!(named("short".into()), "short");
        assert_eq!(named("a\nb\u{1b}".into()), "a\\nb\\u{1b}");
    }
}
