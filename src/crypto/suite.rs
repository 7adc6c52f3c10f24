//! Suite 01: how a secret of up to 4 KiB is wrapped, and how it is opened.
//!
//! ```text
//! salt    = HMAC(K_h, random(16) ‖ H ‖ P)[0:16]           K_h = KBKDF(K, "bulla-hedge-v1", "")
//! K_e ‖ C = KBKDF(K, "bulla-wrap-v1", salt ‖ H, 512 bits)
//! ct, tag = AES-256-GCM(K_e, iv, aad = H, P)
//! blob    = header(30) ‖ salt(16) ‖ iv(12) ‖ C(32) ‖ ct ‖ tag(16)
//! ```
//!
//! `K_e` encrypts one message, so no count of wraps wears a key out and no repeated IV harms it
//! (attack F01). `C` commits to key, header, tenant and context, so no blob opens under two of any
//! of them (F02). It never returns a byte of plaintext before the tag was right (F07).

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::backend::{Backend, Refused};
use super::context::Binding;
use super::header::{HEADER_BYTES, Header};
use super::kbkdf::{HEDGE, WRAP, derive};
use super::random::RandomFailed;

/// Why something was not wrapped. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum WrapFailure {
    /// The plaintext is empty, or longer than [`PLAINTEXT_BYTES_MAX`].
    #[error("a plaintext of {bytes} bytes cannot be wrapped; 1 to 4096 can")]
    Length {
        /// How long it is.
        bytes: usize,
    },
    /// Data keys of this size are not made.
    #[error("a data key has 16 to 64 bytes, not {bytes}")]
    KeyBytes {
        /// The size that was asked for.
        bytes: usize,
    },
    /// None, or more than [`DATA_KEYS_MAX`], data keys were asked for at once.
    #[error("1 to 1000 data keys are made at once, not {count}")]
    Count {
        /// How many were asked for.
        count: usize,
    },
    /// There is no randomness, or none worth the name.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// The cipher would not encrypt.
    #[error("the cipher refused to encrypt")]
    Cipher,
}

/// Why a blob did not open, by the first check that it failed. Callers hear one answer for all of
/// these; the class is for the audit record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenFailure {
    /// It is shorter or longer than any blob, or than a blob of this content.
    #[error("the blob is of no possible length")]
    Length,
    /// It does not begin as a blob does.
    #[error("the blob does not begin with the magic bytes")]
    Magic,
    /// It is of a suite that is not known here.
    #[error("the blob is of an unknown suite")]
    Suite,
    /// It is of a type that is not known here.
    #[error("the blob is of an unknown type")]
    Type,
    /// It says that version 0 wrapped it.
    #[error("the blob names version 0")]
    Version,
    /// Another key, header, tenant or context wrapped it, or it was changed.
    #[error("the blob does not commit to this key, header, tenant and context")]
    Commitment,
    /// Its ciphertext, IV or tag was changed.
    #[error("the blob's tag is wrong")]
    Tag,
}

/// What a KEK is while in use: two MAC keys, past their first compressions. The key itself is
/// not kept.
pub(super) struct KekState<B: Backend> {
    /// Under `K`.
    pub(super) key: B::MacState,
    /// Under `K_h`.
    pub(super) hedge: B::MacState,
}

/// Where a plaintext may be born. It wipes itself when dropped.
pub(super) trait Place {
    /// All of it, to be written.
    fn buffer(&mut self) -> &mut [u8];
}

// === impl OpenFailure ===

impl OpenFailure {
    /// The class as audit records and the published vectors write it.
    pub fn class(&self) -> &'static str {
        match self {
            Self::Length => "length",
            Self::Magic => "magic",
            Self::Suite => "suite",
            Self::Type => "type",
            Self::Version => "version",
            Self::Commitment => "commitment",
            Self::Tag => "tag",
        }
    }
}

// === impl KekState ===

impl<B: Backend> KekState<B> {
    pub(super) fn new(key: &[u8; 32]) -> Self {
        let key = B::mac_state(key);
        let mut hedge_key = Zeroizing::new([0; 32]);
        derive::<B>(&key, HEDGE, [&[], &[]], &mut *hedge_key);
        Self { key, hedge: B::mac_state(&*hedge_key) }
    }

    /// Wraps with a hedged salt. `random` is fresh: 16 bytes for the salt, 12 for the IV.
    pub(super) fn wrap(
        &self,
        binding: &Binding,
        random: &[u8; RANDOM_BYTES],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, WrapFailure> {
        let (Some(salt_random), Some(iv)) = (random.first_chunk::<16>(), random.last_chunk())
        else {
            unreachable!("16 and 12 of 28 bytes")
        };
        let mut hedged = [0; 32];
        B::mac(&self.hedge, &[salt_random, binding.digest(), plaintext], &mut hedged);
        let Some(salt) = hedged.first_chunk() else { unreachable!("16 of 32 bytes") };
        self.wrap_salted(binding, salt, iv, plaintext)
    }

    /// Wraps with this very salt and IV. Apart from `wrap`, only tests of the format come here.
    pub(super) fn wrap_salted(
        &self,
        binding: &Binding,
        salt: &[u8; 16],
        iv: &[u8; 12],
        plaintext: &[u8],
    ) -> Result<Vec<u8>, WrapFailure> {
        if !(1..=PLAINTEXT_BYTES_MAX).contains(&plaintext.len()) {
            return Err(WrapFailure::Length { bytes: plaintext.len() });
        }
        let keys = self.message_keys(binding, salt);
        let [key, commitment] = &*keys;
        let mut blob = Vec::with_capacity(plaintext.len().saturating_add(BLOB_OVERHEAD_BYTES));
        blob.extend_from_slice(binding.header_bytes());
        blob.extend_from_slice(salt);
        blob.extend_from_slice(iv);
        blob.extend_from_slice(commitment);
        let ciphertext_at = blob.len();
        blob.extend_from_slice(plaintext);
        let ciphertext = blob.get_mut(ciphertext_at..).unwrap_or_default();
        match B::seal(key, iv, binding.digest(), ciphertext) {
            Ok(tag) => {
                blob.extend_from_slice(&tag);
                Ok(blob)
            }
            Err(Refused) => {
                blob.zeroize();
                Err(WrapFailure::Cipher)
            }
        }
    }

    /// Opens `blob` into a buffer that `place` makes for the plaintext's length, and that wipes
    /// itself. The checks come in the order of [`OpenFailure`]; the buffer is made after all but
    /// the last, and is dropped if that one fails.
    pub(super) fn open<P: Place>(
        &self,
        binding: &Binding,
        blob: &[u8],
        place: impl FnOnce(usize) -> P,
    ) -> Result<P, OpenFailure> {
        Header::parse(blob)?;
        let parts = Parts::split(blob).ok_or(OpenFailure::Length)?;
        // The commitment is made over the header that the caller bound to. A blob with another
        // header would not match it if its own were put there, and must not match it as it is.
        if parts.header != binding.header_bytes() {
            return Err(OpenFailure::Commitment);
        }
        let keys = self.message_keys(binding, parts.salt);
        let [key, commitment] = &*keys;
        if !bool::from(commitment.ct_eq(parts.commitment)) {
            return Err(OpenFailure::Commitment);
        }
        let mut plaintext = place(parts.ciphertext.len());
        let buffer = plaintext.buffer();
        if buffer.len() != parts.ciphertext.len() {
            return Err(OpenFailure::Length);
        }
        buffer.copy_from_slice(parts.ciphertext);
        B::open(key, parts.iv, binding.digest(), buffer, parts.tag)
            .map_err(|Refused| OpenFailure::Tag)?;
        Ok(plaintext)
    }

    /// `K_e` and `C` of one blob.
    fn message_keys(&self, binding: &Binding, salt: &[u8; 16]) -> Zeroizing<[[u8; 32]; 2]> {
        let mut keys = Zeroizing::new([[0; 32]; 2]);
        derive::<B>(&self.key, WRAP, [salt, binding.digest()], keys.as_flattened_mut());
        keys
    }
}

/// A blob, cut up. Nothing is known of its parts but their length.
struct Parts<'a> {
    header: &'a [u8; HEADER_BYTES],
    salt: &'a [u8; 16],
    iv: &'a [u8; 12],
    commitment: &'a [u8; 32],
    ciphertext: &'a [u8],
    tag: &'a [u8; 16],
}

impl<'a> Parts<'a> {
    fn split(blob: &'a [u8]) -> Option<Self> {
        let (header, rest) = blob.split_first_chunk()?;
        let (salt, rest) = rest.split_first_chunk()?;
        let (iv, rest) = rest.split_first_chunk()?;
        let (commitment, rest) = rest.split_first_chunk()?;
        let (ciphertext, tag) = rest.split_last_chunk()?;
        Some(Self { header, salt, iv, commitment, ciphertext, tag })
    }
}

// === limits ===

/// Longest plaintext; the shortest has one byte.
pub const PLAINTEXT_BYTES_MAX: usize = 4096;
/// How much longer a blob is than its plaintext.
pub const BLOB_OVERHEAD_BYTES: usize = HEADER_BYTES + 16 + 12 + 32 + 16;
/// Shortest blob.
pub const BLOB_BYTES_MIN: usize = BLOB_OVERHEAD_BYTES + 1;
/// Longest blob.
pub const BLOB_BYTES_MAX: usize = BLOB_OVERHEAD_BYTES + PLAINTEXT_BYTES_MAX;
/// Shortest data key.
pub const DATA_KEY_BYTES_MIN: usize = 16;
/// Longest data key.
pub const DATA_KEY_BYTES_MAX: usize = 64;
/// Most data keys at once.
pub const DATA_KEYS_MAX: usize = 1000;
/// Randomness for one blob: 16 bytes for the salt, 12 for the IV.
pub(super) const RANDOM_BYTES: usize = 16 + 12;

const _: () = assert!(BLOB_OVERHEAD_BYTES == 106);
const _: () = assert!(BLOB_BYTES_MIN == 107 && BLOB_BYTES_MAX == 4202);
const _: () = assert!(DATA_KEY_BYTES_MAX <= PLAINTEXT_BYTES_MAX);
