//! Records whose MAC was good, as the rest of the program sees them.

use std::sync::{Arc, OnceLock};

use crate::crypto::Kek;
use crate::keys::{Alias, Key, KeyId, TenantId, Version};
use crate::policy::{HeldRole, KeyFacts, SubjectRef};

use super::rows::VersionRecord;

/// A key, verified.
pub struct TrustedKey {
    pub(super) tenant: TenantId,
    pub(super) key: Key,
    pub(super) revision: u64,
    facts: Arc<KeyFacts>,
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

/// The roles that a principal, or each member of a group, holds.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RoleBinding {
    /// Who.
    pub subject: SubjectRef,
    /// Which, sorted.
    pub roles: Vec<HeldRole>,
}

// === impl TrustedKey ===

impl TrustedKey {
    pub(super) fn new(tenant: TenantId, key: Key, revision: u64) -> Self {
        let (id, ring, tags) = (key.id, key.key_ring.clone(), key.tags.pairs().clone());
        Self { tenant, key, revision, facts: Arc::new(KeyFacts { id, ring, tags }) }
    }

    /// The key.
    pub fn key(&self) -> &Key {
        &self.key
    }

    /// The id.
    pub fn id(&self) -> KeyId {
        self.key.id
    }

    /// What a decision may read of it.
    pub fn facts(&self) -> &Arc<KeyFacts> {
        &self.facts
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
