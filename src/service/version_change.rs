//! What is common to everything that a caller has done to one version of a key.

use std::sync::Arc;

use crate::audit::Record;
use crate::custody::{Custody, Past, RequestKey, TrustedKey, TrustedVersion};
use crate::keys::{KeyRef, Reason};
use crate::policy::Permit;

use super::perform::Act;
use super::read_keys::made;
use super::refusal::Refusal;

/// A version, as a caller names it, and why something is done to it.
pub struct VersionChange {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
    /// Why, for the record.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl VersionChange ===

impl VersionChange {
    /// Puts what was asked into the record.
    pub(super) fn describe(&self, record: &mut Record) {
        record.version = self.version;
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    /// The key and the version as they stand.
    pub(super) async fn find(
        &self,
        act: &mut Act<'_>,
    ) -> Result<(Arc<TrustedKey>, Arc<TrustedVersion>), Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let version = act.custody.version(act.permit, key.id(), self.version).await?;
        Ok((key, version))
    }
}

/// The version that a change was about, as it stands now.
pub(super) async fn changed_version(
    custody: &Custody,
    permit: &Permit,
    past: Past,
) -> Result<Arc<TrustedVersion>, Refusal> {
    Ok(custody.version(permit, made(past.key)?, past.version).await?)
}
