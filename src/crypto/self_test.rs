//! What is tried each time the program starts, before anything is served: that both back ends
//! compute what they should on this very processor (attack F12), that a forged blob is refused,
//! that they agree, and that the randomness is not stuck (F08).

use sha2::{Digest, Sha256};

use super::backend::{Backend, Ring, RustCrypto};
use super::context::{Binding, EncryptionContext};
use super::header::{BlobKind, Header};
use super::keys::{Kek, KeyMaterial};
use super::random::{OsRandom, Random, RandomFailed};
use super::suite::{OpenFailure, PLAINTEXT_BYTES_MAX};

/// What failed. The program must not serve, and must end with an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the self-test of {subject} failed: {check}")]
pub struct SelfTestFailed {
    /// Whose test it was.
    pub subject: &'static str,
    /// What did not hold.
    pub check: &'static str,
}

/// Tries everything. Takes well under a millisecond.
///
/// # Errors
/// [`SelfTestFailed`] for the first thing that did not hold.
pub fn self_test() -> Result<(), SelfTestFailed> {
    run::<RustCrypto, Ring>(&OsRandom)
}

fn run<A: Backend, B: Backend>(random: &dyn Random) -> Result<(), SelfTestFailed> {
    randomness(random)?;
    known_answers::<A>()?;
    known_answers::<B>()?;
    agreement::<A, B>(random)?;
    agreement::<B, A>(random)
}

/// Two draws are there, are not zero and differ.
fn randomness(random: &dyn Random) -> Result<(), SelfTestFailed> {
    let holds = |holds: bool, check| expect(holds, "the randomness", check);
    let (mut one, mut other) = ([0; 32], [0; 32]);
    holds(random.fill(&mut one).is_ok(), "it can be drawn")?;
    holds(random.fill(&mut other).is_ok(), "it can be drawn again")?;
    holds(one != [0; 32] && other != [0; 32], "it is not zero")?;
    holds(one != other, "it does not repeat itself")
}

/// RFC 4231, a short and a long blob of the published vectors' making, and one forgery of each
/// kind.
fn known_answers<B: Backend>() -> Result<(), SelfTestFailed> {
    let holds = |holds: bool, check| expect(holds, B::NAME, check);
    let mut tag = [0; 32];
    B::mac(&B::mac_state(b"Jefe"), &[b"what do ya want ", b"for nothing?"], &mut tag);
    holds(tag == RFC_4231_CASE_2, "HMAC-SHA-256 gives the known answer")?;

    let kek = fixed_kek::<B>();
    let context = [("env", "prod"), ("app", "billing"), ("table/é", "")];
    let Some(binding) = fixed_binding(&context) else {
        return holds(false, "a context is accepted");
    };
    let short = kek.wrap(&Fixed, &binding, &SHORT_PLAINTEXT);
    holds(short.is_ok_and(|blob| blob == SHORT_BLOB), "a short blob is the known one")?;
    let opened = kek.open(&binding, &SHORT_BLOB);
    holds(opened.is_ok_and(|it| it.expose() == SHORT_PLAINTEXT), "the known blob opens")?;

    let long = long_plaintext();
    let blob = kek.wrap(&Fixed, &binding, &long).unwrap_or_default();
    holds(Sha256::digest(&blob)[..] == LONG_BLOB_SHA256, "a long blob is the known one")?;
    let opened = kek.open(&binding, &blob);
    holds(opened.is_ok_and(|it| it.expose() == long), "a long blob opens")?;

    let class = |blob: &[u8]| kek.open(&binding, blob).err();
    let forged = flipped(SHORT_BLOB.len().saturating_sub(1));
    holds(class(&forged) == Some(OpenFailure::Tag), "a forged tag is refused")?;
    let forged = flipped(COMMITMENT_AT);
    holds(class(&forged) == Some(OpenFailure::Commitment), "a forged commitment is refused")?;
    let other = fixed_binding(&context[..2]).and_then(|other| kek.open(&other, &SHORT_BLOB).err());
    holds(other == Some(OpenFailure::Commitment), "another context is refused")
}

/// What one back end wraps, with fresh key and randomness, the other opens.
fn agreement<A: Backend, B: Backend>(random: &dyn Random) -> Result<(), SelfTestFailed> {
    let holds = |holds: bool, check| expect(holds, "both back ends", check);
    let Some(binding) = fixed_binding(&[]) else {
        return holds(false, "a context is accepted");
    };
    let Ok(wrapping) = KeyMaterial::<A>::generate(random) else {
        return holds(false, "a key can be made");
    };
    // The same key reaches the other back end as a blob, as keys do.
    let blob = fixed_kek::<A>().wrap_key(random, &binding, &wrapping);
    let Some(opening) = blob.ok().and_then(|it| fixed_kek::<B>().open_key(&binding, &it).ok())
    else {
        return holds(false, "one opens the key that the other wrapped");
    };
    let (wrapping, opening) = (wrapping.kek(), opening.kek());
    let mut agree = true;
    let made = wrapping.generate_data_keys(random, &binding, 32, 2, |data_key, blob| {
        let opened = opening.open(&binding, &blob);
        agree &= opened.is_ok_and(|it| it.expose() == data_key);
    });
    holds(made.is_ok(), "data keys can be made")?;
    holds(agree, "one opens what the other wrapped")
}

fn expect(holds: bool, subject: &'static str, check: &'static str) -> Result<(), SelfTestFailed> {
    if holds { Ok(()) } else { Err(SelfTestFailed { subject, check }) }
}

fn fixed_kek<B: Backend>() -> Kek<B> {
    KeyMaterial::from_bytes(&mut std::array::from_fn(byte)).kek()
}

fn fixed_binding(pairs: &[(&str, &str)]) -> Option<Binding> {
    let key_id = std::array::from_fn(|at| byte(at) | 0xA0);
    let header = Header::new(BlobKind::Client, key_id, 7, 0).ok()?;
    let pairs = pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned()));
    let context = EncryptionContext::new(pairs).ok()?;
    Some(Binding::new(&header, &std::array::from_fn(|at| byte(at) | 0x50), &context))
}

fn flipped(at: usize) -> Vec<u8> {
    let mut blob = SHORT_BLOB.to_vec();
    if let Some(byte) = blob.get_mut(at) {
        *byte ^= 1;
    }
    blob
}

fn long_plaintext() -> [u8; PLAINTEXT_BYTES_MAX] {
    std::array::from_fn(byte)
}

/// The low byte of `at`.
fn byte(at: usize) -> u8 {
    let [low, ..] = at.to_le_bytes();
    low
}

/// The vectors' randomness: 30, 31, 32 …
struct Fixed;

impl Random for Fixed {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        for (byte, value) in bytes.iter_mut().zip(0x30..) {
            *byte = value;
        }
        Ok(())
    }
}

const COMMITMENT_AT: usize = 30 + 16 + 12;

const RFC_4231_CASE_2: [u8; 32] = [
    0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
    0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43,
];
const SHORT_PLAINTEXT: [u8; 32] = [
    0xf0, 0xf1, 0xf2, 0xf3, 0xf4, 0xf5, 0xf6, 0xf7, 0xf8, 0xf9, 0xfa, 0xfb, 0xfc, 0xfd, 0xfe, 0xff,
    0xe0, 0xe1, 0xe2, 0xe3, 0xe4, 0xe5, 0xe6, 0xe7, 0xe8, 0xe9, 0xea, 0xeb, 0xec, 0xed, 0xee, 0xef,
];
/// The case `hedged_salt` of the published vectors.
const SHORT_BLOB: [u8; 138] = [
    0xd7, 0x42, 0x55, 0x01, 0x01, 0x01, 0xa0, 0xa1, 0xa2, 0xa3, 0xa4, 0xa5, 0xa6, 0xa7, 0xa8, 0xa9,
    0xaa, 0xab, 0xac, 0xad, 0xae, 0xaf, 0x00, 0x00, 0x00, 0x07, 0x00, 0x00, 0x00, 0x00, 0x12, 0x3d,
    0xd6, 0xae, 0x58, 0xfe, 0xc8, 0x50, 0xe0, 0xa3, 0x53, 0x06, 0x3f, 0x27, 0x24, 0x65, 0x40, 0x41,
    0x42, 0x43, 0x44, 0x45, 0x46, 0x47, 0x48, 0x49, 0x4a, 0x4b, 0x13, 0xf3, 0x96, 0xc2, 0xcd, 0xac,
    0x3c, 0x33, 0x5a, 0x4e, 0x38, 0xdd, 0x95, 0xe2, 0xec, 0x79, 0x9c, 0x70, 0x0d, 0x0f, 0x84, 0x82,
    0x30, 0x85, 0xbb, 0x05, 0x2b, 0x71, 0x8a, 0xb7, 0xac, 0x96, 0xd6, 0x35, 0x1e, 0x84, 0x08, 0xba,
    0x74, 0x04, 0xd3, 0x99, 0x95, 0x24, 0xe4, 0x85, 0xbb, 0xd4, 0x85, 0x1d, 0x3b, 0xea, 0x5d, 0x79,
    0xc8, 0xd4, 0x45, 0x2e, 0x6f, 0x14, 0x00, 0xe3, 0xc7, 0x13, 0x7b, 0x62, 0x19, 0x13, 0xaa, 0x62,
    0xbd, 0xc1, 0x50, 0x01, 0x39, 0x92, 0x40, 0xac, 0x12, 0x4e,
];
/// Of 4096 bytes of plaintext, byte `i` being `i mod 256`, and otherwise as `SHORT_BLOB`. It takes
/// the processor's widest path through AES and GHASH.
const LONG_BLOB_SHA256: [u8; 32] = [
    0x02, 0xfa, 0x19, 0x62, 0xbc, 0x17, 0x58, 0x17, 0xee, 0x91, 0x77, 0xe6, 0xb2, 0x1d, 0x0a, 0x86,
    0x61, 0x25, 0x39, 0x78, 0xdf, 0x17, 0xbe, 0x90, 0xd2, 0x98, 0xc6, 0x8a, 0x8e, 0xe8, 0xdf, 0x1d,
];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::crypto::tests::{
        ANY_TAG_IS_RIGHT, LONG_TEXT_IS_WRONG, Lying, MAC_IS_WRONG, NO_TAG_IS_RIGHT,
        OPENED_TEXT_IS_WRONG, OTHER_BINDINGS_ARE_WRONG, SEALED_TAG_IS_WRONG, SEALED_TEXT_IS_WRONG,
    };

    #[test]
    fn f12_the_self_test_passes_on_this_processor() {
        self_test().unwrap();
    }

    #[test]
    fn f12_a_back_end_with_any_one_fault_fails_the_self_test() {
        fn fault<const FAULT: u8>() -> &'static str {
            let first = run::<Lying<FAULT>, RustCrypto>(&OsRandom).unwrap_err();
            let second = run::<Ring, Lying<FAULT>>(&OsRandom).unwrap_err();
            assert_eq!(first.check, second.check);
            first.check
        }
        assert_eq!(fault::<MAC_IS_WRONG>(), "HMAC-SHA-256 gives the known answer");
        assert_eq!(fault::<SEALED_TAG_IS_WRONG>(), "a short blob is the known one");
        assert_eq!(fault::<SEALED_TEXT_IS_WRONG>(), "a short blob is the known one");
        assert_eq!(fault::<NO_TAG_IS_RIGHT>(), "the known blob opens");
        assert_eq!(fault::<OPENED_TEXT_IS_WRONG>(), "the known blob opens");
        assert_eq!(fault::<LONG_TEXT_IS_WRONG>(), "a long blob is the known one");
        assert_eq!(fault::<ANY_TAG_IS_RIGHT>(), "a forged tag is refused");
    }

    #[test]
    fn f12_a_back_end_that_is_right_about_the_known_answers_alone_fails_the_self_test() {
        let failed = |check| SelfTestFailed { subject: "both back ends", check };
        assert_eq!(
            run::<Lying<OTHER_BINDINGS_ARE_WRONG>, Ring>(&OsRandom),
            Err(failed("one opens the key that the other wrapped"))
        );
    }

    #[test]
    fn f08_stuck_zero_or_missing_randomness_fails_the_self_test() {
        struct Gives(Result<u8, RandomFailed>);
        impl Random for Gives {
            fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
                bytes.fill(self.0?);
                Ok(())
            }
        }
        let check = |gives| run::<RustCrypto, Ring>(&Gives(gives)).unwrap_err().check;
        assert_eq!(check(Ok(0)), "it is not zero");
        assert_eq!(check(Ok(1)), "it does not repeat itself");
        assert_eq!(check(Err(RandomFailed::Unavailable)), "it can be drawn");
    }
}
