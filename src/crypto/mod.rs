//! Suites, keys and secrets: everything that touches a key in the clear.
//!
//! One format, suite 01 (see `docs/format.md`), computed by two back ends that must agree. The
//! rest of the program holds blobs, tags and [`Kek`] values; it never sees the bytes of a key,
//! never chooses a nonce, and gets a plaintext only from a blob whose tag was right.
//!
//! This module knows nothing of tenants' rights, stores, time or the wire: it names no other
//! module of the program.

pub mod memory;

mod backend;
mod context;
mod header;
mod kbkdf;
mod keys;
mod random;
mod secret;
mod self_test;
mod suite;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod vectors;
#[cfg(test)]
mod wycheproof;

pub use self::backend::{Backend, Ring, RustCrypto};
pub use self::context::{
    BOUND_BYTES_MAX, Binding, CONTEXT_KEY_BYTES_MAX, CONTEXT_PAIRS_MAX, CONTEXT_VALUE_BYTES_MAX,
    ContextError, EncryptionContext,
};
pub use self::header::{BlobKind, HEADER_BYTES, Header, VersionZero};
pub use self::kbkdf::Label;
pub use self::keys::{Drawn, Kek, KeyMaterial, MacKey, RewrapFailure};
pub use self::random::{OsRandom, Random, RandomFailed, Watched};
pub use self::secret::Plaintext;
pub use self::self_test::{SelfTestFailed, self_test};
pub use self::suite::{
    BLOB_BYTES_MAX, BLOB_BYTES_MIN, BLOB_OVERHEAD_BYTES, DATA_KEY_BYTES_MAX, DATA_KEY_BYTES_MIN,
    DATA_KEYS_MAX, OpenFailure, PLAINTEXT_BYTES_MAX, WrapFailure,
};
