//! Records whose MAC was good, as the rest of the program sees them.

use std::sync::OnceLock;

use crate::crypto::Kek;
use crate::keys::{Alias, Key, KeyId, TenantId, Version};
use crate::policy::{PrincipalId, Role};

use super::rows::VersionRecord;

/// A key, verified.
pub struct TrustedKey {
    pub(super) tenant: TenantId,
    pub(super) key: Key,
    pub(super) revision: u64,
}

/// A version, verified; its material is opened on first use and then stays open.
pub struct TrustedVersion {
    pub(super) tenant: TenantId,
    pub(super) record: VersionRecord,
    pub(super) revision: u64,
    pub(super) kek: OnceLock<Kek>,
}

/// An alias and the key it points at.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct AliasEntry {
    /// The name.
    pub alias: Alias,
    /// The key.
    pub key: KeyId,
}

/// The roles that a principal holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleBinding {
    /// Who.
    pub principal: PrincipalId,
    /// Which, sorted.
    pub roles: Vec<Role>,
}

// === impl TrustedKey ===

impl TrustedKey {
    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// The store's revision at which the key last changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}

// === impl TrustedVersion ===

impl TrustedVersion {
    /// The key it belongs to.
    pub fn key(&self) -> KeyId {
        self.record.key
    }

    /// The version.
    pub fn version(&self) -> &Version {
        &self.record.version
    }

    /// The number.
    pub fn number(&self) -> u32 {
        self.record.version.number()
    }

    /// The store's revision at which the version last changed.
    pub fn revision(&self) -> u64 {
        self.revision
    }
}
