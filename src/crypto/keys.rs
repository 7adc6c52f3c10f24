//! Keys in use: material in locked pages, KEKs that wrap and open, keys that MAC.
//!
//! A key is made from the operating system's randomness or opened from a blob, in either case
//! where it stays. What leaves this module is blobs, tags, and the plaintext of a blob that opened.
//!
//! # How a data key is made
//!
//! ```text
//! data key = r ⊕ KBKDF(K, "bulla-datakey-v1", s(16) ‖ u64 moment ‖ u64 number ‖ H, 8·|r| bits)
//! ```
//!
//! `r` and `s` come from the operating system for this call, `moment` is the wall clock in
//! nanoseconds, `number` counts the data keys that this [`Kek`] value has made. What it gives:
//!
//! * If `r` is uniform, so is the data key, whatever the other term is.
//! * If `r` is known or chosen by an attacker (a back door, a machine with no entropy yet), the
//!   data key is as hard to guess as `K`, which stays in locked memory.
//! * If the randomness repeats itself, data keys of one running program still differ, by `number`.
//! * If a machine is cloned while running, and the kernel has not noticed, two clones share `r`,
//!   `s`, `K` and `number`; their data keys differ if their clocks do, to the nanosecond. This is
//!   likely and is no proof. The kernel's own reseeding on clones (vmgenid) is the first line.
//!
//! What it does not give: anything against one who knows `K` and the randomness both.

use std::convert::Infallible;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU64, Ordering};

use subtle::ConstantTimeEq;
use zeroize::{Zeroize, Zeroizing};

use super::backend::{Backend, RustCrypto};
use super::context::Binding;
use super::header::Header;
use super::kbkdf::{DATA_KEY, Label, derive};
use super::memory::Locked;
use super::random::{Random, RandomFailed, draw};
use super::secret::{Passing, Plaintext, on_clean_stack};
use super::suite::{
    BLOB_OVERHEAD_BYTES, DATA_KEY_BYTES_MAX, DATA_KEY_BYTES_MIN, DATA_KEYS_MAX, KekState,
    OpenFailure, Place, RANDOM_BYTES, WrapFailure,
};

/// 32 bytes of key, in locked pages. Can become a KEK or a MAC key, or be wrapped.
pub struct KeyMaterial<B: Backend = RustCrypto> {
    bytes: Locked<[u8; KEY_BYTES]>,
    backend: PhantomData<fn() -> B>,
}

/// A key that wraps and opens. Holds MAC states in locked pages, and not the key itself.
pub struct Kek<B: Backend = RustCrypto> {
    state: Locked<KekState<B>>,
    /// How many data keys were numbered so far.
    numbered: AtomicU64,
}

/// A key for HMAC-SHA-256, derived under a label of its own.
pub struct MacKey<B: Backend = RustCrypto> {
    state: Locked<B::MacState>,
}

/// Why a blob was not re-wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RewrapFailure {
    /// The old blob did not open.
    #[error("the blob to re-wrap did not open")]
    Open(#[source] OpenFailure),
    /// The new blob could not be made.
    #[error("the opened blob could not be wrapped again")]
    Wrap(#[source] WrapFailure),
    /// The new blob was made, and does not open to what the old one held.
    #[error("the new blob does not open to what the old one held")]
    Differs,
}

// === impl KeyMaterial ===

impl<B: Backend> KeyMaterial<B> {
    /// A new key, drawn straight into locked pages.
    ///
    /// # Errors
    /// [`RandomFailed`] if there is no randomness, or it is all zeroes or repeats itself.
    pub fn generate(random: &dyn Random) -> Result<Self, RandomFailed> {
        Self::born(|bytes| draw(random, bytes))
    }

    /// Takes a key that came from elsewhere, such as a key file, and wipes it there.
    pub fn from_bytes(source: &mut [u8; KEY_BYTES]) -> Self {
        let Ok(material) = Self::born::<Infallible>(|bytes| {
            bytes.copy_from_slice(source);
            Ok(())
        });
        source.zeroize();
        material
    }

    /// The KEK of this material.
    pub fn kek(&self) -> Kek<B> {
        on_clean_stack::<STACK_BYTES, _>(|| Kek {
            state: Locked::new(|| KekState::new(self.bytes.expose())),
            numbered: AtomicU64::new(0),
        })
    }

    /// The MAC key of this material for one purpose: `KBKDF(K, label, "", 256 bits)`.
    pub fn mac_key(&self, label: Label) -> MacKey<B> {
        on_clean_stack::<STACK_BYTES, _>(|| MacKey {
            state: Locked::new(|| {
                let mut key = Zeroizing::new([0; KEY_BYTES]);
                derive::<B>(&B::mac_state(self.bytes.expose()), label, [&[], &[]], &mut *key);
                B::mac_state(&*key)
            }),
        })
    }

    fn born<E>(fill: impl FnOnce(&mut [u8; KEY_BYTES]) -> Result<(), E>) -> Result<Self, E> {
        Ok(Self { bytes: Locked::born(fill)?, backend: PhantomData })
    }
}

impl<B: Backend> Place for KeyMaterial<B> {
    fn buffer(&mut self) -> &mut [u8] {
        self.bytes.expose_mut()
    }
}

// === impl Kek ===

impl<B: Backend> Kek<B> {
    /// Wraps `plaintext`, 1 to 4096 bytes.
    ///
    /// # Errors
    /// [`WrapFailure`]: the length, or no randomness.
    pub fn wrap(
        &self,
        random: &dyn Random,
        binding: &Binding,
        plaintext: &[u8],
    ) -> Result<Vec<u8>, WrapFailure> {
        on_clean_stack::<STACK_BYTES, _>(|| {
            let mut drawn = [0; RANDOM_BYTES];
            draw(random, &mut drawn)?;
            self.state.expose().wrap(binding, &drawn, plaintext)
        })
    }

    /// Wraps a key, which does not leave locked pages in the clear.
    ///
    /// # Errors
    /// [`WrapFailure::Random`].
    pub fn wrap_key(
        &self,
        random: &dyn Random,
        binding: &Binding,
        key: &KeyMaterial<B>,
    ) -> Result<Vec<u8>, WrapFailure> {
        self.wrap(random, binding, key.bytes.expose())
    }

    /// Makes `count` data keys of `key_bytes` bytes and hands each, with its blob, to `each`. The
    /// data key is wiped when `each` returns. See the module's documentation for how it is made.
    ///
    /// The system is asked for randomness once for about a hundred data keys.
    ///
    /// # Errors
    /// [`WrapFailure`]: `key_bytes` is not 16 to 64, `count` is not 1 to 1000, or there is no
    /// randomness. In the last case `each` may have been called; what it got must not be used.
    pub fn generate_data_keys(
        &self,
        random: &dyn Random,
        binding: &Binding,
        key_bytes: usize,
        count: usize,
        mut each: impl FnMut(&[u8], Vec<u8>),
    ) -> Result<(), WrapFailure> {
        if !(DATA_KEY_BYTES_MIN..=DATA_KEY_BYTES_MAX).contains(&key_bytes) {
            return Err(WrapFailure::KeyBytes { bytes: key_bytes });
        }
        match count {
            1 => on_clean_stack::<STACK_BYTES, _>(|| {
                self.batch::<SINGLE_DRAW_BYTES>(random, binding, key_bytes, 1, &mut each)
            }),
            2..=DATA_KEYS_MAX => on_clean_stack::<{ STACK_BYTES + BATCH_DRAW_BYTES }, _>(|| {
                self.batch::<BATCH_DRAW_BYTES>(random, binding, key_bytes, count, &mut each)
            }),
            _ => Err(WrapFailure::Count { count }),
        }
    }

    /// Opens what this KEK wrapped for exactly this header, tenant and context.
    ///
    /// # Errors
    /// [`OpenFailure`], by the first check that failed.
    pub fn open(&self, binding: &Binding, blob: &[u8]) -> Result<Plaintext, OpenFailure> {
        on_clean_stack::<STACK_BYTES, _>(|| {
            self.state.expose().open(binding, blob, Plaintext::zeroed)
        })
    }

    /// Opens a wrapped key, straight into locked pages.
    ///
    /// # Errors
    /// [`OpenFailure`]; `Length` also for a blob that is valid and holds no 32-byte key.
    pub fn open_key(&self, binding: &Binding, blob: &[u8]) -> Result<KeyMaterial<B>, OpenFailure> {
        Header::parse(blob)?;
        if blob.len() != KEY_BLOB_BYTES {
            return Err(OpenFailure::Length);
        }
        on_clean_stack::<STACK_BYTES, _>(|| {
            self.state.expose().open(binding, blob, |_| {
                let Ok(material) = KeyMaterial::born::<Infallible>(|_| Ok(()));
                material
            })
        })
    }

    /// Opens `blob` and wraps what it held under `to`. The new blob is opened once more and
    /// compared, in constant time, before it is returned: the old one may be thrown away.
    ///
    /// # Errors
    /// [`RewrapFailure`], by the step that failed. The old blob is untouched.
    pub fn rewrap(
        &self,
        binding: &Binding,
        blob: &[u8],
        to: &Self,
        to_binding: &Binding,
        drawn: &mut Drawn<'_>,
    ) -> Result<Vec<u8>, RewrapFailure> {
        let random = drawn.next().map_err(|failed| RewrapFailure::Wrap(failed.into()))?;
        on_clean_stack::<STACK_BYTES, _>(|| {
            let held = self.state.expose().open(binding, blob, Passing::new);
            let mut held = held.map_err(RewrapFailure::Open)?;
            let held = &*held.buffer();
            let to = to.state.expose();
            let new = to.wrap(to_binding, &random, held).map_err(RewrapFailure::Wrap)?;
            let read = to.open(to_binding, &new, Passing::new);
            let mut read = read.map_err(|_| RewrapFailure::Differs)?;
            if !bool::from((*read.buffer()).ct_eq(held)) {
                return Err(RewrapFailure::Differs);
            }
            Ok(new)
        })
    }

    /// Makes `count` data keys from as few draws of at most `DRAW_BYTES` as will do.
    fn batch<const DRAW_BYTES: usize>(
        &self,
        random: &dyn Random,
        binding: &Binding,
        key_bytes: usize,
        count: usize,
        each: &mut impl FnMut(&[u8], Vec<u8>),
    ) -> Result<(), WrapFailure> {
        let item_bytes = key_bytes.saturating_add(RANDOM_BYTES);
        let items_max = DRAW_BYTES.saturating_sub(SEED_BYTES).checked_div(item_bytes).unwrap_or(0);
        let mut drawn = Zeroizing::new([0; DRAW_BYTES]);
        let mut left = count;
        while left > 0 {
            let items = left.min(items_max.max(1));
            let bytes = items.saturating_mul(item_bytes).saturating_add(SEED_BYTES);
            let drawn = drawn.get_mut(..bytes).unwrap_or_default();
            draw(random, drawn)?;
            let Some((seed, drawn)) = drawn.split_first_chunk_mut() else {
                unreachable!("every draw begins with a seed")
            };
            let mut hedge = DataKeyHedge::new(seed, random.moment());
            for item in drawn.chunks_exact_mut(item_bytes) {
                let Some((data_key, random)) = item.split_last_chunk_mut() else {
                    unreachable!("every item ends with a blob's randomness")
                };
                hedge.apply(self, binding, data_key);
                let blob = self.state.expose().wrap(binding, random, data_key)?;
                each(data_key, blob);
            }
            left = left.saturating_sub(items);
        }
        Ok(())
    }
}

/// The system's randomness for the blobs of one call: asked for once for many, each part used once.
pub struct Drawn<'r> {
    random: &'r dyn Random,
    bytes: [u8; DRAWN_BLOBS_BYTES],
    /// What of `bytes` has not been used, at its end.
    left: usize,
    /// How many blobs there will be, besides those that `left` is for.
    to_come: usize,
}

// === impl Drawn ===

impl<'r> Drawn<'r> {
    /// Randomness for `blobs` blobs, and for more if there are more. Nothing is drawn yet.
    pub fn new(random: &'r dyn Random, blobs: usize) -> Self {
        let bytes = [0; DRAWN_BLOBS_BYTES];
        Self { random, bytes, left: 0, to_come: blobs }
    }

    fn next(&mut self) -> Result<[u8; RANDOM_BYTES], RandomFailed> {
        if self.left < RANDOM_BYTES {
            let blobs = self.to_come.clamp(1, DRAWN_BLOBS_MAX);
            let wanted = blobs.saturating_mul(RANDOM_BYTES);
            draw(self.random, self.bytes.get_mut(..wanted).unwrap_or_default())?;
            (self.left, self.to_come) = (wanted, self.to_come.saturating_sub(blobs));
        }
        let unused = self.bytes.get(..self.left).unwrap_or_default();
        let Some(next) = unused.last_chunk() else { unreachable!("there is at least one part") };
        self.left = self.left.saturating_sub(RANDOM_BYTES);
        Ok(*next)
    }
}

/// `s ‖ moment ‖ number`, with the number of the next data key.
struct DataKeyHedge {
    input: Zeroizing<[u8; SEED_BYTES + 8 + 8]>,
}

impl DataKeyHedge {
    fn new(seed: &[u8; SEED_BYTES], moment: u64) -> Self {
        let mut input = Zeroizing::new([0; SEED_BYTES + 8 + 8]);
        let fields = seed.iter().copied().chain(moment.to_be_bytes());
        for (to, from) in input.iter_mut().zip(fields) {
            *to = from;
        }
        Self { input }
    }

    /// Adds the hedge to the system's randomness in `data_key`.
    fn apply<B: Backend>(&mut self, kek: &Kek<B>, binding: &Binding, data_key: &mut [u8]) {
        let number = kek.numbered.fetch_add(1, Ordering::Relaxed);
        if let Some(field) = self.input.last_chunk_mut() {
            *field = number.to_be_bytes();
        }
        let mut hedge = Zeroizing::new([0; DATA_KEY_BYTES_MAX]);
        let hedge = hedge.get_mut(..data_key.len()).unwrap_or_default();
        let context = [&self.input[..], binding.digest()];
        derive::<B>(&kek.state.expose().key, DATA_KEY, context, hedge);
        for (to, from) in data_key.iter_mut().zip(hedge) {
            *to ^= *from;
        }
    }
}

// === impl MacKey ===

impl<B: Backend> MacKey<B> {
    /// HMAC-SHA-256 of all `parts`, joined. Whoever MACs more than one field writes their lengths.
    pub fn tag(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut tag = [0; 32];
        B::mac(self.state.expose(), parts, &mut tag);
        tag
    }

    /// Whether `tag` is the MAC of `parts`. Compares in constant time.
    pub fn verify(&self, parts: &[&[u8]], tag: &[u8; 32]) -> bool {
        self.tag(parts).ct_eq(tag).into()
    }
}

// === limits ===

/// Bytes of every key but data keys.
const KEY_BYTES: usize = 32;
/// The blob of a key.
const KEY_BLOB_BYTES: usize = KEY_BYTES + BLOB_OVERHEAD_BYTES;
/// Drawn once for each batch, for the hedge of data keys.
const SEED_BYTES: usize = 16;
/// For how many blobs randomness is drawn at once.
const DRAWN_BLOBS_MAX: usize = 32;
const DRAWN_BLOBS_BYTES: usize = DRAWN_BLOBS_MAX * RANDOM_BYTES;
/// Randomness for one data key of the greatest size.
const SINGLE_DRAW_BYTES: usize = SEED_BYTES + DATA_KEY_BYTES_MAX + RANDOM_BYTES;
/// Randomness for a hundred of them, on the stack.
const BATCH_DRAW_BYTES: usize = SEED_BYTES + 100 * (DATA_KEY_BYTES_MAX + RANDOM_BYTES);
/// What one wrap or open uses of the stack, amply.
const STACK_BYTES: usize = 6 * 1024;
