//! What a caller gets when a blob opens, and the wiping of the stack that was used meanwhile.

use zeroize::{Zeroizing, zeroize_stack};

use super::suite::{DATA_KEY_BYTES_MAX, Place};

/// An opened secret. Mute: no `Debug`, no `Clone`, no `Serialize`, no `==`. Wiped on drop.
pub struct Plaintext(Zeroizing<Vec<u8>>);

// === impl Plaintext ===

impl Plaintext {
    pub(super) fn zeroed(bytes: usize) -> Self {
        Self(Zeroizing::new(vec![0; bytes]))
    }

    pub(super) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// Its length in bytes; never 0.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it is empty, which no wrapped secret is.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Gives the secret away, to become part of the reply to a caller who may open it. From here
    /// on only the wiping allocator looks after it.
    pub fn into_public(mut self) -> Vec<u8> {
        std::mem::take(&mut *self.0)
    }
}

impl Place for Plaintext {
    fn buffer(&mut self) -> &mut [u8] {
        &mut self.0
    }
}

/// A secret on its way from one blob to the next: on the stack if it is as short as a data key, and
/// as mute as a [`Plaintext`]. Wiped on drop.
pub(super) enum Passing {
    Short { bytes: Zeroizing<[u8; DATA_KEY_BYTES_MAX]>, length: usize },
    Long(Plaintext),
}

// === impl Passing ===

impl Passing {
    pub(super) fn new(bytes: usize) -> Self {
        if bytes > DATA_KEY_BYTES_MAX {
            return Self::Long(Plaintext::zeroed(bytes));
        }
        Self::Short { bytes: Zeroizing::new([0; DATA_KEY_BYTES_MAX]), length: bytes }
    }
}

impl Place for Passing {
    fn buffer(&mut self) -> &mut [u8] {
        match self {
            Self::Short { bytes, length } => bytes.get_mut(..*length).unwrap_or_default(),
            Self::Long(plaintext) => plaintext.buffer(),
        }
    }
}

/// Does `work`, then wipes `BYTES` of the stack below the caller, where `work` left round keys and
/// copies that its libraries do not wipe themselves. Best effort: registers are not wiped.
#[inline(always)]
pub(super) fn on_clean_stack<const BYTES: usize, R>(work: impl FnOnce() -> R) -> R {
    let result = below(work);
    zeroize_stack::<BYTES>();
    result
}

/// Inlined, the stack of `work` would be the caller's own and stay as it is.
#[inline(never)]
fn below<R>(work: impl FnOnce() -> R) -> R {
    work()
}
