//! The two primitives that suite 01 is made of, and who computes them.
//!
//! Two back ends of different origin do, and must agree: on every vector, in every property test
//! and each time the program starts. Nothing outside `crypto` calls a primitive, and nothing
//! anywhere passes a nonce: [`Primitives`] cannot be named from outside this module.

mod ring;
mod rustcrypto;

pub use self::ring::Ring;
pub use self::rustcrypto::RustCrypto;

/// Who computes AES-256-GCM and HMAC-SHA-256. Sealed: there are two, [`RustCrypto`] and [`Ring`].
pub trait Backend: Primitives {}

impl<P: Primitives> Backend for P {}

/// AES-256-GCM (FIPS 197, NIST SP 800-38D) with a 96-bit IV and a 128-bit tag, and HMAC-SHA-256
/// (FIPS 198-1, RFC 2104).
pub trait Primitives: Send + Sync + 'static {
    /// What it is called in reports.
    const NAME: &'static str;

    /// A MAC key after its two first compressions, so that each use starts from there.
    type MacState: Send + Sync + 'static;

    /// Takes a MAC key of any length.
    fn mac_state(key: &[u8]) -> Self::MacState;

    /// Writes the MAC of all `parts`, joined, to `tag`.
    fn mac(state: &Self::MacState, parts: &[&[u8]], tag: &mut [u8; 32]);

    /// Encrypts `buffer` in place and returns the tag.
    ///
    /// `key` is used for this one message and no other; that is what makes any `iv` safe.
    fn seal(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; 16], Refused>;

    /// Checks `tag`, in constant time, and then decrypts `buffer` in place.
    fn open(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Refused>;
}

/// The tag was wrong, or the message is of a size that the cipher does not take.
#[derive(Debug, PartialEq, Eq)]
pub struct Refused;
