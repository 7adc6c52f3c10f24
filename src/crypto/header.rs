//! The thirty bytes that every wrapped blob begins with: what it is, and which key opens it.
//!
//! They are not secret and not proof of anything: only a blob that opens has a true header.

use std::num::NonZeroU32;

use super::suite::{BLOB_BYTES_MAX, BLOB_BYTES_MIN, OpenFailure};

/// What a blob wraps. Part of its header, so a blob of one kind never opens as another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum BlobKind {
    /// A data key or a small payload of a caller.
    Client = 0x01,
    /// The material of one version of a key.
    Kek = 0x10,
    /// A tenant's key.
    Tenant = 0x11,
    /// The root key, in one slot of its seal.
    Root = 0x12,
    /// A key within a backup.
    Backup = 0x20,
    /// What the key that signs the audit log's checkpoints is made from.
    AuditKey = 0x13,
}

/// A header that can exist: its kind is known and its version is not zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    kind: BlobKind,
    key_id: [u8; 16],
    version: NonZeroU32,
    store: u32,
}

/// A header was to be made for version zero, which no key has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a key's versions begin at 1")]
pub struct VersionZero;

// === impl BlobKind ===

impl BlobKind {
    /// All kinds.
    pub const ALL: [Self; 6] =
        [Self::Client, Self::Kek, Self::Tenant, Self::Root, Self::Backup, Self::AuditKey];

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

// === impl Header ===

impl Header {
    /// The header of what version `version` of key `key_id` wraps for `store` (0: not said).
    ///
    /// # Errors
    /// [`VersionZero`] if `version` is 0.
    pub fn new(
        kind: BlobKind,
        key_id: [u8; 16],
        version: u32,
        store: u32,
    ) -> Result<Self, VersionZero> {
        let version = NonZeroU32::new(version).ok_or(VersionZero)?;
        Ok(Self { kind, key_id, version, store })
    }

    /// Reads the header of a whole blob.
    ///
    /// # Errors
    /// In this order: `Length`, unless `blob` is 107 to 4202 bytes long; `Magic`; `Suite`; `Type`;
    /// `Version`. None of these needs a key.
    pub fn parse(blob: &[u8]) -> Result<Self, OpenFailure> {
        if !(BLOB_BYTES_MIN..=BLOB_BYTES_MAX).contains(&blob.len()) {
            return Err(OpenFailure::Length);
        }
        let (magic, rest) = blob.split_first_chunk().ok_or(OpenFailure::Length)?;
        let ([suite, kind], rest) = rest.split_first_chunk().ok_or(OpenFailure::Length)?;
        let (key_id, rest) = rest.split_first_chunk().ok_or(OpenFailure::Length)?;
        let (version, rest) = rest.split_first_chunk().ok_or(OpenFailure::Length)?;
        let (store, _) = rest.split_first_chunk().ok_or(OpenFailure::Length)?;
        if *magic != MAGIC {
            return Err(OpenFailure::Magic);
        }
        if *suite != SUITE {
            return Err(OpenFailure::Suite);
        }
        let kind = BlobKind::from_byte(*kind).ok_or(OpenFailure::Type)?;
        Self::new(kind, *key_id, u32::from_be_bytes(*version), u32::from_be_bytes(*store))
            .map_err(|VersionZero| OpenFailure::Version)
    }

    /// The suite that it is made with.
    pub fn suite(&self) -> u8 {
        SUITE
    }

    /// What the blob wraps.
    pub fn kind(&self) -> BlobKind {
        self.kind
    }

    /// The key that wrapped it.
    pub fn key_id(&self) -> &[u8; 16] {
        &self.key_id
    }

    /// The key's version that wrapped it; never 0.
    pub fn version(&self) -> u32 {
        self.version.get()
    }

    /// Where the blob is kept, as its maker said; 0 if it did not.
    pub fn store(&self) -> u32 {
        self.store
    }

    /// `magic(4) ‖ suite(1) ‖ type(1) ‖ key_id(16) ‖ u32 version ‖ u32 store`.
    pub fn to_bytes(&self) -> [u8; HEADER_BYTES] {
        let [m0, m1, m2, m3] = MAGIC;
        let [k0, k1, k2, k3, k4, k5, k6, k7, k8, k9, ka, kb, kc, kd, ke, kf] = self.key_id;
        let [v0, v1, v2, v3] = self.version.get().to_be_bytes();
        let [s0, s1, s2, s3] = self.store.to_be_bytes();
        [
            m0,
            m1,
            m2,
            m3,
            SUITE,
            self.kind as u8, //
            k0,
            k1,
            k2,
            k3,
            k4,
            k5,
            k6,
            k7,
            k8,
            k9,
            ka,
            kb,
            kc,
            kd,
            ke,
            kf, //
            v0,
            v1,
            v2,
            v3,
            s0,
            s1,
            s2,
            s3,
        ]
    }
}

/// Bytes of a header.
pub const HEADER_BYTES: usize = 30;
/// `10JVAQ` in base64, so that secret scanners can find a blob.
const MAGIC: [u8; 4] = [0xD7, 0x42, 0x55, 0x01];
const SUITE: u8 = 0x01;
