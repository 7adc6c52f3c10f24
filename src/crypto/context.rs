//! The encryption context, and what a blob is bound to.
//!
//! The context is told apart by its bytes alone: nothing is normalised, trimmed or folded. Its
//! encoding is injective (attack F04): each length comes before its bytes, pairs stand in strictly
//! ascending order of the key's bytes, and a key that comes twice is an error, so two different
//! contexts never encode alike.

use sha2::{Digest, Sha256};

use super::header::{HEADER_BYTES, Header};

/// String pairs that are authenticated, not secret; sorted, unique and within limits.
///
/// The same pairs must come back to open what was wrapped with them. Their order does not matter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct EncryptionContext {
    pairs: Vec<(String, String)>,
}

/// Everything that a blob is bound to: its header, its tenant and its context.
///
/// Holds the header's bytes and `H = SHA-256(A)`, where
/// `A = header(30) ‖ tenant(16) ‖ u16 n ‖ n × (u16 klen ‖ key ‖ u16 vlen ‖ value)`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    header: Header,
    header_bytes: [u8; HEADER_BYTES],
    digest: [u8; 32],
}

/// Why pairs are no encryption context. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContextError {
    /// A key is the empty string.
    #[error("an encryption context key is empty")]
    KeyEmpty,
    /// A key is longer than [`CONTEXT_KEY_BYTES_MAX`].
    #[error("an encryption context key has {bytes} bytes; at most 256 are allowed")]
    KeyTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// A value is longer than [`CONTEXT_VALUE_BYTES_MAX`].
    #[error("an encryption context value has {bytes} bytes; at most 2048 are allowed")]
    ValueTooLong {
        /// How long it is.
        bytes: usize,
    },
    /// There are more than [`CONTEXT_PAIRS_MAX`] pairs.
    #[error("the encryption context has more than 64 pairs")]
    TooManyPairs,
    /// A key comes twice.
    #[error("an encryption context key comes twice")]
    KeyTwice,
    /// The encoding, header and tenant included, is longer than [`BOUND_BYTES_MAX`].
    #[error("the encryption context takes {bytes} bytes; at most 16384 are allowed")]
    TooLarge {
        /// How long it would be.
        bytes: usize,
    },
}

// === impl EncryptionContext ===

impl EncryptionContext {
    /// Sorts `pairs` and holds them to the limits.
    ///
    /// # Errors
    /// [`ContextError`] for the first limit that is passed, or for a key that comes twice.
    pub fn new(pairs: impl IntoIterator<Item = (String, String)>) -> Result<Self, ContextError> {
        let mut kept: Vec<(String, String)> = Vec::new();
        let mut bytes = BOUND_BYTES_MIN;
        for (key, value) in pairs {
            if kept.len() == CONTEXT_PAIRS_MAX {
                return Err(ContextError::TooManyPairs);
            }
            if key.is_empty() {
                return Err(ContextError::KeyEmpty);
            }
            if key.len() > CONTEXT_KEY_BYTES_MAX {
                return Err(ContextError::KeyTooLong { bytes: key.len() });
            }
            if value.len() > CONTEXT_VALUE_BYTES_MAX {
                return Err(ContextError::ValueTooLong { bytes: value.len() });
            }
            // Two lengths of two bytes each.
            bytes = bytes.saturating_add(4).saturating_add(key.len()).saturating_add(value.len());
            kept.push((key, value));
        }
        if bytes > BOUND_BYTES_MAX {
            return Err(ContextError::TooLarge { bytes });
        }
        // `str` is ordered by its UTF-8 bytes, which is the order that the format wants.
        kept.sort_unstable();
        if kept.windows(2).any(|pair| matches!(pair, [(one, _), (next, _)] if one == next)) {
            return Err(ContextError::KeyTwice);
        }
        Ok(Self { pairs: kept })
    }

    /// No pairs.
    pub const fn empty() -> Self {
        Self { pairs: Vec::new() }
    }

    /// The pairs, in ascending order of the key's bytes.
    pub fn pairs(&self) -> impl ExactSizeIterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The pairs as they are kept.
    pub fn as_slice(&self) -> &[(String, String)] {
        &self.pairs
    }

    /// Whether there are no pairs.
    pub fn is_empty(&self) -> bool {
        self.pairs.is_empty()
    }
}

// === impl Binding ===

impl Binding {
    /// Binds to a header, the tenant that was authenticated, and a context. The limits that
    /// [`EncryptionContext`] keeps are the only ones, so this cannot fail.
    pub fn new(header: &Header, tenant: &[u8; 16], context: &EncryptionContext) -> Self {
        let header_bytes = header.to_bytes();
        let mut hash = Sha256::new();
        bound_parts(&header_bytes, tenant, context, |part| hash.update(part));
        Self { header: *header, header_bytes, digest: hash.finalize().into() }
    }

    /// The header.
    pub fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn header_bytes(&self) -> &[u8; HEADER_BYTES] {
        &self.header_bytes
    }

    /// `H`.
    pub(super) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
}

/// Hands the pieces of `A` to `take`, in order.
pub(super) fn bound_parts(
    header: &[u8; HEADER_BYTES],
    tenant: &[u8; 16],
    context: &EncryptionContext,
    mut take: impl FnMut(&[u8]),
) {
    take(header);
    take(tenant);
    take(&length(context.pairs.len()));
    for (key, value) in &context.pairs {
        take(&length(key.len()));
        take(key.as_bytes());
        take(&length(value.len()));
        take(value.as_bytes());
    }
}

/// A length as the format writes it. It always fits: see the assertions below.
fn length(length: usize) -> [u8; 2] {
    u16::try_from(length).unwrap_or(u16::MAX).to_be_bytes()
}

// === limits ===

/// Longest key of a pair.
pub const CONTEXT_KEY_BYTES_MAX: usize = 256;
/// Longest value of a pair.
pub const CONTEXT_VALUE_BYTES_MAX: usize = 2048;
/// Most pairs.
pub const CONTEXT_PAIRS_MAX: usize = 64;
/// Longest `A`.
pub const BOUND_BYTES_MAX: usize = 16384;
/// `A` of the empty context: header, tenant and the count of pairs.
const BOUND_BYTES_MIN: usize = HEADER_BYTES + 16 + 2;

const _: () = assert!(CONTEXT_KEY_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(CONTEXT_VALUE_BYTES_MAX <= u16::MAX as usize);
const _: () = assert!(CONTEXT_PAIRS_MAX <= u16::MAX as usize);
// One pair of the greatest size fits, so no limit of a pair is out of reach.
const _: () = assert!(
    BOUND_BYTES_MIN + 4 + CONTEXT_KEY_BYTES_MAX + CONTEXT_VALUE_BYTES_MAX <= BOUND_BYTES_MAX
);
