//! Shows grants, and takes them away.

use crate::audit::Record;
use crate::custody::{Custody, GrantEntry, Past, RequestKey};
use crate::keys::{GrantId, KeyRef};
use crate::policy::{Action, Denied, Permit};
use crate::service::change::{Change, Changed};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

/// Grants, by id.
pub struct ListGrants {
    /// Only those on this key.
    pub key: Option<KeyRef>,
    /// After this one.
    pub after: Option<GrantId>,
    /// 1 to 1000.
    pub page_size: usize,
}

/// Takes a grant away.
pub struct RevokeGrant {
    /// Which.
    pub grant: GrantId,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

// === impl ListGrants ===

impl UseCase for ListGrants {
    type Reply = (Vec<GrantEntry>, Option<GrantId>);

    const ACTION: Action = Action::ListGrants;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        if let Some(key) = &self.key {
            record.detail = format!("key={key}").into();
        }
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let key = match &self.key {
            Some(named) => Some(act.custody.key_facts(act.permit.tenant(), named).await?.id),
            None => None,
        };
        let now = act.custody.now();
        let wants = |entry: &GrantEntry| {
            let lasts = entry.grant.expire_time.is_none_or(|end| now < end);
            lasts && key.is_none_or(|key| key == entry.grant.key)
        };
        let (mut wanted, mut after) = (Vec::new(), self.after);
        for _ in 0..SCANS_MAX {
            let found = act.custody.grants(act.permit, after, SCAN).await?;
            let at_end = found.len() < SCAN;
            for entry in found {
                after = Some(GrantId::from_bytes(entry.grant.id));
                if !wants(&entry) {
                    continue;
                }
                wanted.push(entry);
                if wanted.len() == self.page_size {
                    return Ok((wanted, after));
                }
            }
            if at_end {
                return Ok((wanted, None));
            }
        }
        Ok((wanted, after))
    }
}

// === impl RevokeGrant ===

impl Change for RevokeGrant {
    type Reply = ();

    fn action(&self) -> Action {
        Action::RevokeGrant
    }

    /// Whoever may not take any grant away may still give up its own.
    fn lesser_action(&self) -> Option<Action> {
        Some(Action::RetireGrant)
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("grant={}", self.grant).into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        let was = act.custody.grant(act.permit, self.grant).await?;
        let caller = act.permit.principal().id();
        let is_its_own = was.record.grant.principal == *caller
            || was.record.retiring_principal.as_ref() == Some(caller);
        // The same answer as for a grant that is not there (attack C02).
        if act.permit.action() == Action::RetireGrant && !is_its_own {
            return Err(Denied::NoPolicy.into());
        }
        act.record.key = Some(was.record.grant.key);
        let mut changes = act.custody.change(act.permit)?;
        changes.remove_grant(&was);
        let past = Past { key: Some(was.record.grant.key), ..Past::default() };
        Ok(Changed { changes, past })
    }

    async fn reply(&self, _: &Custody, _: &Permit, _: Past) -> Result<(), Refusal> {
        Ok(())
    }
}

const SCAN: usize = 1_000;
const SCANS_MAX: usize = 20;
