//! Lets the blobs of a version that name no store go without a scan: by name and for a reason.

use crate::audit::Record;
use crate::census::Waiver;
use crate::custody::{Custody, Past, RequestKey};
use crate::keys::{KeyRef, Reason};
use crate::policy::{Action, Permit};

use super::change::{Change, Changed};
use super::perform::{About, Act};
use super::refusal::Refusal;

/// A version whose blobs that name no store need no scan.
pub struct WaiveUnnamedStore {
    /// Of which key.
    pub key: KeyRef,
    /// Which version.
    pub version: u32,
    /// Why; never empty.
    pub reason: Reason,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl WaiveUnnamedStore ===

impl Change for WaiveUnnamedStore {
    type Reply = ();

    fn action(&self) -> Action {
        Action::WaiveUnnamedStore
    }

    fn about(&self) -> About<'_> {
        About::Key(self.key.clone())
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.version = self.version;
        record.detail = format!("key={} reason={}", self.key, self.reason.as_str()).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let key = act.custody.key(act.permit, &self.key).await?.id();
        act.record.key = Some(key);
        act.custody.version(act.permit, key, self.version).await?;
        let was = act.custody.waiver(act.permit, key, self.version).await?;
        let waiver = Waiver {
            principal: act.permit.principal().id().to_string(),
            reason: self.reason.as_str().to_owned(),
            create_time: act.custody.now(),
            sequence: act.durable_sequence(),
        };
        let mut changes = act.custody.change(act.permit)?;
        changes.put_waiver(key, self.version, waiver, &was);
        Ok(Changed::of_version(changes, key, self.version))
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}
