//! The front of sealed data, formats `bulla-data-v1` and `bulla-data-v2`: its bytes, what its suite
//! makes of them, and the ways in which sealed data can be wrong. Does no I/O and asks no server.
//!
//! ```text
//! front  = magic D7 42 55 02 ‖ suite ‖ 00 ‖ u16 length        then the wrapped data key
//! salt   = suite 02: SHA-256( magic ‖ 02 ‖ 00 ‖ r ‖ u64 |aad| ‖ aad )       r: 32 random bytes
//!          suite 01: SHA-256( front ‖ wrapped data key ‖ u64 |aad| ‖ aad )
//! K ‖ C  = HKDF-SHA-256(data key, salt, "bulla-data-v2" or "bulla-data-v1", 64 B)
//! sealed = front ‖ wrapped data key ‖ r (suite 02) ‖ C
//!          ‖ chunks of 64 KiB: AES-256-GCM(K, nonce = u88 counter ‖ last? 01 : 00)
//! ```
//!
//! What is sealed now is of suite 02, whose header takes another wrapped form of the same data key
//! ([`Header::with_wrapped`]); suite 01 is read for ever. Either way a data key seals one message:
//! [`Sealer`](super::Sealer) consumes it.

use sha2::{Digest, Sha256};

/// What is wrong with sealed data, or why there is none. Each is found before any byte that it
/// concerns is released.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum DataFailure {
    /// It does not begin as sealed data does.
    #[error("this is no data sealed by bulla")]
    Magic,
    /// It was sealed by a suite that this client does not know.
    #[error("the data is sealed with a suite that this client does not know")]
    Suite,
    /// The reserved byte is not zero.
    #[error("the data's header has a reserved byte that is not zero")]
    Reserved,
    /// The length of the wrapped data key is not within 107 to 4202 bytes.
    #[error("the data's wrapped key is not of a possible length")]
    WrappedLength,
    /// It ends too early.
    #[error("the data is cut short")]
    Truncated,
    /// The data key, the header or the aad is not the one that it was sealed with.
    #[error("the data was sealed under another data key, header or associated data")]
    Commitment,
    /// A chunk was changed, moved, dropped or added.
    #[error("a chunk of the data was changed, moved, dropped or added")]
    Chunk,
    /// An empty chunk follows others.
    #[error("the data ends with an empty chunk after others")]
    EmptyLastChunk,
    /// Nothing is wrong with the data, but its suite does not let another wrapped key into its
    /// header.
    #[error(
        "the data is of suite 01, whose header cannot take another wrapped key; seal it again, or \
         keep the re-wrapped key beside it"
    )]
    FixedHeader,
    /// Nothing could be sealed, because the operating system gave no randomness.
    #[error("the operating system gives no randomness")]
    Random,
}

/// The front of sealed data, parsed: the wrapped data key, the commitment, and what the suite has
/// besides. Not secret, and not yet authenticated: [`Opener::new`](super::Opener::new) does that.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Header {
    pub(super) suite: Suite,
    /// 107 to 4202 bytes.
    wrapped: Vec<u8>,
    pub(super) commitment: [u8; COMMITMENT_BYTES],
}

/// What the salt of a message covers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Suite {
    /// The wrapped data key.
    One,
    /// Random bytes of the message's own, and not the wrapped data key.
    Two([u8; RANDOM_BYTES]),
}

// === impl DataFailure ===

impl DataFailure {
    /// The stable name of the failure, as in the known answers.
    pub fn class(self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Suite => "suite",
            Self::Reserved => "reserved",
            Self::WrappedLength => "wrapped_length",
            Self::Truncated => "truncated",
            Self::Commitment => "commitment",
            Self::Chunk => "chunk",
            Self::EmptyLastChunk => "empty_last_chunk",
            Self::FixedHeader => "fixed_header",
            Self::Random => "random",
        }
    }
}

// === impl Suite ===

impl Suite {
    /// Suite 02, with random bytes from the operating system.
    pub(super) fn fresh() -> Result<Self, DataFailure> {
        let mut random = [0; RANDOM_BYTES];
        getrandom::fill(&mut random).map_err(|_| DataFailure::Random)?;
        Ok(Self::Two(random))
    }

    fn number(self) -> u8 {
        match self {
            Self::One => 1,
            Self::Two(_) => 2,
        }
    }

    /// What follows the wrapped data key, before the commitment.
    fn random(&self) -> &[u8] {
        match self {
            Self::One => &[],
            Self::Two(random) => random,
        }
    }

    pub(super) fn info(self) -> &'static [u8] {
        match self {
            Self::One => b"bulla-data-v1",
            Self::Two(_) => b"bulla-data-v2",
        }
    }

    pub(super) fn salt(&self, wrapped: &[u8], aad: &[u8]) -> [u8; 32] {
        let hash = Sha256::new();
        let hash = match self {
            Self::One => hash.chain_update(front(1, wrapped)).chain_update(wrapped),
            Self::Two(random) => hash.chain_update(MAGIC).chain_update([2, 0]).chain_update(random),
        };
        hash.chain_update((aad.len() as u64).to_be_bytes()).chain_update(aad).finalize().into()
    }
}

// === impl Header ===

impl Header {
    /// The header of a new message. `wrapped` has been checked.
    pub(super) fn new(suite: Suite, wrapped: &[u8], commitment: [u8; COMMITMENT_BYTES]) -> Self {
        Self { suite, wrapped: wrapped.to_vec(), commitment }
    }

    /// Divides sealed data into its header and its chunks.
    ///
    /// # Errors
    /// [`DataFailure`]: `Truncated`, `Magic`, `Suite`, `Reserved` or `WrappedLength`.
    pub fn split(sealed: &[u8]) -> Result<(Self, &[u8]), DataFailure> {
        let (front, rest) = sealed.split_first_chunk().ok_or(DataFailure::Truncated)?;
        let wrapped_bytes = wrapped_bytes(front)?;
        let (wrapped, rest) = rest.split_at_checked(wrapped_bytes).ok_or(DataFailure::Truncated)?;
        let (suite, rest) = match front[SUITE_AT] {
            1 => (Suite::One, rest),
            _ => {
                let (random, rest) = rest.split_first_chunk().ok_or(DataFailure::Truncated)?;
                (Suite::Two(*random), rest)
            }
        };
        let (commitment, body) = rest.split_first_chunk().ok_or(DataFailure::Truncated)?;
        Ok((Self { suite, wrapped: wrapped.to_vec(), commitment: *commitment }, body))
    }

    /// Joins the first bytes of sealed data and those that [`Header::rest_bytes`] asked for.
    pub(super) fn join(front: &[u8; FRONT_BYTES], rest: &[u8]) -> Result<Self, DataFailure> {
        Ok(Self::split(&[front.as_slice(), rest].concat())?.0)
    }

    /// How many bytes of header follow the first eight.
    pub(super) fn rest_bytes(front: &[u8; FRONT_BYTES]) -> Result<usize, DataFailure> {
        let random_bytes = if front[SUITE_AT] == 1 { 0 } else { RANDOM_BYTES };
        let after = random_bytes.saturating_add(COMMITMENT_BYTES);
        Ok(wrapped_bytes(front)?.saturating_add(after))
    }

    /// The wrapped data key that stands in the header: the one that the data was sealed with or, in
    /// suite 02, one that was put in its place.
    pub fn wrapped(&self) -> &[u8] {
        &self.wrapped
    }

    /// The suite: 1 or 2.
    pub fn suite(&self) -> u8 {
        self.suite.number()
    }

    /// The same header with another wrapped form of the same data key, such as one under a newer
    /// version. The chunks stay as they are; they follow this header as they followed the other.
    ///
    /// Nothing here can tell whether `wrapped` holds the same data key. If it does not, the data no
    /// longer opens: [`DataFailure::Commitment`].
    ///
    /// # Errors
    /// [`DataFailure`]: `FixedHeader` for suite 01, whose salt covers the wrapped data key;
    /// `WrappedLength` unless `wrapped` has 107 to 4202 bytes.
    pub fn with_wrapped(&self, wrapped: &[u8]) -> Result<Self, DataFailure> {
        if self.suite == Suite::One {
            return Err(DataFailure::FixedHeader);
        }
        check_wrapped(wrapped)?;
        Ok(Self { wrapped: wrapped.to_vec(), ..*self })
    }

    /// The length in bytes of this header within the sealed data.
    pub fn header_bytes(&self) -> usize {
        let after = self.suite.random().len().saturating_add(COMMITMENT_BYTES);
        FRONT_BYTES.saturating_add(self.wrapped.len()).saturating_add(after)
    }

    /// The header as it stands in the sealed data.
    pub fn to_bytes(&self) -> Vec<u8> {
        let front = front(self.suite.number(), &self.wrapped);
        [&front, self.wrapped.as_slice(), self.suite.random(), &self.commitment].concat()
    }
}

/// The length of the wrapped data key, from the first eight bytes of sealed data.
fn wrapped_bytes(front: &[u8; FRONT_BYTES]) -> Result<usize, DataFailure> {
    let [m0, m1, m2, m3, suite, reserved, high, low] = *front;
    if [m0, m1, m2, m3] != MAGIC {
        return Err(DataFailure::Magic);
    }
    if !(1..=2).contains(&suite) {
        return Err(DataFailure::Suite);
    }
    if reserved != 0 {
        return Err(DataFailure::Reserved);
    }
    let bytes = usize::from(u16::from_be_bytes([high, low]));
    if WRAPPED_BYTES.contains(&bytes) { Ok(bytes) } else { Err(DataFailure::WrappedLength) }
}

/// The first eight bytes of sealed data.
fn front(suite: u8, wrapped: &[u8]) -> [u8; FRONT_BYTES] {
    let [m0, m1, m2, m3] = MAGIC;
    // `check_wrapped` has seen to it that the length fits.
    let [high, low] = u16::try_from(wrapped.len()).unwrap_or_default().to_be_bytes();
    [m0, m1, m2, m3, suite, 0, high, low]
}

/// # Errors
/// `WrappedLength` unless there are 107 to 4202 bytes.
pub(super) fn check_wrapped(wrapped: &[u8]) -> Result<(), DataFailure> {
    if WRAPPED_BYTES.contains(&wrapped.len()) { Ok(()) } else { Err(DataFailure::WrappedLength) }
}

/// Magic, suite, reserved byte and length.
pub(super) const FRONT_BYTES: usize = 8;
const MAGIC: [u8; 4] = [0xd7, 0x42, 0x55, 0x02];
const SUITE_AT: usize = 4;
const WRAPPED_BYTES: std::ops::RangeInclusive<usize> = 107..=4202;
pub(super) const COMMITMENT_BYTES: usize = 32;
const RANDOM_BYTES: usize = 32;
