//! What wraps: a key and its Active version, found once for as many blobs as a call makes.

use std::sync::Arc;

use crate::crypto::{Binding, BlobKind, EncryptionContext, Header, Kek};
use crate::custody::{TrustedKey, TrustedVersion};
use crate::keys::{KeyId, KeyRef, Use};
use crate::policy::Permit;

use super::perform::Act;
use super::refusal::Refusal;

/// A key and the version of it that wraps now.
#[derive(Clone)]
pub(super) struct Wrapping {
    key: Arc<TrustedKey>,
    version: Arc<TrustedVersion>,
}

// === impl Wrapping ===

impl Wrapping {
    /// The version that wraps for `named`, in the permit's tenant.
    pub(super) async fn of(
        act: &Act<'_>,
        permit: &Permit,
        named: &KeyRef,
    ) -> Result<Self, Refusal> {
        let mut key = act.custody.key(permit, named).await?;
        let version = act.custody.wrapping_version(permit, &mut key).await?;
        Ok(Self { key, version })
    }

    /// The key.
    pub(super) fn key(&self) -> KeyId {
        self.key.id()
    }

    /// The version.
    pub(super) fn version(&self) -> u32 {
        self.version.number()
    }

    /// The material, if the version's state lets it wrap.
    pub(super) fn material(&self, act: &Act<'_>, permit: &Permit) -> Result<&Kek, Refusal> {
        Ok(act.custody.material(permit, &self.key, &self.version, Use::Wrap)?)
    }

    /// What a client's blob for `store` under this version is bound to.
    pub(super) fn binding(
        &self,
        permit: &Permit,
        store: u32,
        context: &EncryptionContext,
    ) -> Result<Binding, Refusal> {
        let id = self.key.id();
        let header = Header::new(BlobKind::Client, *id.as_bytes(), self.version(), store)?;
        Ok(Binding::new(&header, permit.tenant().as_bytes(), context))
    }
}
