//! Records whose MAC was good, as the rest of the program sees them.

use std::sync::{Arc, OnceLock};

use crate::crypto::Kek;
use crate::keys::{Alias, Description, GrantId, Key, KeyId, TenantId, Timestamp, Version};
use crate::policy::{Grant, HeldRole, KeyFacts, PolicySource, PrincipalId, SubjectRef};

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

/// A policy of the tenant's own, and who wrote it when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicyEntry {
    /// Its id and its text.
    pub source: PolicySource,
    /// What it is for.
    pub description: Description,
    /// Who wrote it.
    pub principal: PrincipalId,
    /// When.
    pub update_time: Timestamp,
}

/// A grant, and who gave it when.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct GrantEntry {
    /// What a decision reads of it.
    pub grant: Grant,
    /// Who may take it away besides whoever manages access.
    pub retiring_principal: Option<PrincipalId>,
    /// What it is for.
    pub name: Description,
    /// Who gave it.
    pub grantor: PrincipalId,
    /// When.
    pub create_time: Timestamp,
}

// === impl GrantEntry ===

impl GrantEntry {
    /// The grant's id.
    pub fn id(&self) -> GrantId {
        GrantId::from_bytes(self.grant.id)
    }
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
