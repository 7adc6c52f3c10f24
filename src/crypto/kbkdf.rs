//! KBKDF: NIST SP 800-108r1 §4.1, in counter mode with HMAC-SHA-256.
//!
//! Block `i`, from 1, is `HMAC(K, u32 i ‖ label ‖ 00 ‖ context ‖ u32 L)`, where `L` is the length
//! of the whole output in bits. A key that goes in here goes nowhere else.

use zeroize::Zeroizing;

use super::backend::Backend;

/// What a derived key is for. Different labels give independent keys.
///
/// Made in a constant, at the one place that uses it:
///
/// ```
/// use bulla::crypto::Label;
///
/// const ROW_MAC: Label = Label::new("bulla-row-v1");
/// ```
#[derive(Clone, Copy)]
pub struct Label(&'static str);

// === impl Label ===

impl Label {
    /// # Panics
    /// At compile time, when used as it is meant to be, unless `text` is `bulla-…-v` and a digit,
    /// and neither is one that suite 01 keeps for itself nor longer than 32 bytes.
    pub const fn new(text: &'static str) -> Self {
        let bytes = text.as_bytes();
        assert!(matches!(bytes, [b'b', b'u', b'l', b'l', b'a', b'-', .., b'-', b'v', b'0'..=b'9']));
        assert!(bytes.len() <= LABEL_BYTES_MAX, "the label is too long");
        assert!(!same(bytes, WRAP.0.as_bytes()), "the label is the wrapping's own");
        assert!(!same(bytes, HEDGE.0.as_bytes()), "the label is the hedge's own");
        assert!(!same(bytes, DATA_KEY.0.as_bytes()), "the label is the data keys' own");
        Self(text)
    }
}

/// Fills `out` from the key behind `state`. The context is given in two parts, which are joined.
pub(super) fn derive<B: Backend>(
    state: &B::MacState,
    label: Label,
    context: [&[u8]; 2],
    out: &mut [u8],
) {
    let [context_head, context_tail] = context;
    let bits = u32::try_from(out.len()).unwrap_or(u32::MAX).saturating_mul(8).to_be_bytes();
    let fixed = [label.0.as_bytes(), &[0], context_head, context_tail, &bits];
    // Joined, a MAC is updated twice and not six times. What is longer than usual goes in parts. It
    // is on the stack, which every caller wipes (`on_clean_stack`).
    let mut joined = [0; JOINED_BYTES];
    let joined = join(&mut joined, &fixed);
    let mut block = Zeroizing::new([0; 32]);
    for (counter, out) in (1u32..).zip(out.chunks_mut(block.len())) {
        let counter = counter.to_be_bytes();
        match joined.as_deref() {
            Some(joined) => B::mac(state, &[&counter, joined], &mut block),
            None => {
                let [label, zero, head, tail, bits] = fixed;
                B::mac(state, &[&counter, label, zero, head, tail, bits], &mut block);
            }
        }
        for (to, from) in out.iter_mut().zip(block.iter()) {
            *to = *from;
        }
    }
}

/// All `parts` one after the other, if they fit into `room`.
fn join<'r>(room: &'r mut [u8], parts: &[&[u8]]) -> Option<&'r mut [u8]> {
    let mut length = 0_usize;
    for part in parts {
        let end = length.checked_add(part.len())?;
        room.get_mut(length..end)?.copy_from_slice(part);
        length = end;
    }
    room.get_mut(..length)
}

/// Whether two labels are the same, where `==` is not to be had.
const fn same(mut one: &[u8], mut other: &[u8]) -> bool {
    while let ([a, one_rest @ ..], [b, other_rest @ ..]) = (one, other) {
        if *a != *b {
            return false;
        }
        (one, other) = (one_rest, other_rest);
    }
    one.is_empty() && other.is_empty()
}

/// The key and the commitment of one blob.
pub(super) const WRAP: Label = Label("bulla-wrap-v1");
/// The key that hedges salts.
pub(super) const HEDGE: Label = Label("bulla-hedge-v1");
/// What is added to the system's randomness to make a data key.
pub(super) const DATA_KEY: Label = Label("bulla-datakey-v1");

const LABEL_BYTES_MAX: usize = 32;
/// Longer than the input of every derivation of suite 01 without its counter.
const JOINED_BYTES: usize = 160;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]

    use aes_gcm::Aes256Gcm;
    use hmac::Hmac;
    use kbkdf::{Counter, Kbkdf, Params};
    use proptest::prelude::*;
    use sha2::Sha256;

    use super::*;
    use crate::crypto::backend::{Ring, RustCrypto};

    // The crate names output sizes by types of such a key size: 32 bytes and 64.
    type Out32 = Aes256Gcm;
    type Out64 = Hmac<Sha256>;

    proptest! {
        #[test]
        fn kbkdf_is_what_an_independent_implementation_makes(
            key: [u8; 32], head: Vec<u8>, tail: Vec<u8>,
        ) {
            for label in [WRAP, HEDGE, DATA_KEY, Label::new("bulla-row-v1")] {
                let context = [&head[..], &tail].concat();
                let params = || {
                    let params = Params::builder(&key).with_label(label.0.as_bytes());
                    params.with_context(&context).build()
                };
                let theirs_32 = Counter::<Hmac<Sha256>, Out32>::default().derive(params());
                let theirs_64 = Counter::<Hmac<Sha256>, Out64>::default().derive(params());
                let (theirs_32, theirs_64) = (theirs_32.unwrap(), theirs_64.unwrap());
                for ours in [derived::<RustCrypto, 32>, derived::<Ring, 32>] {
                    prop_assert_eq!(&ours(&key, label, [&head, &tail])[..], &theirs_32[..]);
                }
                for ours in [derived::<RustCrypto, 64>, derived::<Ring, 64>] {
                    prop_assert_eq!(&ours(&key, label, [&head, &tail])[..], &theirs_64[..]);
                }
            }
        }

        #[test]
        fn f06_two_labels_never_derive_the_same_key(key: [u8; 32], context: [u8; 48]) {
            let labels = [WRAP, HEDGE, DATA_KEY, Label::new("bulla-row-v1")];
            let mut keys =
                labels.map(|label| derived::<RustCrypto, 32>(&key, label, [&context, &[]]));
            keys.sort_unstable();
            prop_assert!(keys.windows(2).all(|pair| pair[0] != pair[1]));
        }
    }

    #[test]
    fn f06_labels_of_the_suite_and_ill_formed_ones_are_not_to_be_had() {
        let reserved = ["bulla-wrap-v1", "bulla-hedge-v1", "bulla-datakey-v1"];
        let ill_formed = ["", "row", "bulla-v1", "bulla-row", "bulla-row-vx", "bulla_row-v1"];
        let too_long = "bulla-a-label-of-thirty-three-b-v1";
        for text in reserved.into_iter().chain(ill_formed).chain([too_long]) {
            assert!(std::panic::catch_unwind(|| Label::new(text)).is_err(), "{text}");
        }
    }

    fn derived<B: Backend, const N: usize>(
        key: &[u8; 32],
        label: Label,
        context: [&[u8]; 2],
    ) -> [u8; N] {
        let mut out = [0; N];
        derive::<B>(&B::mac_state(key), label, context, &mut out);
        out
    }
}
