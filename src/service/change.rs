//! Use cases that change what is stored: recorded before the commit and after it, and done once for
//! each request id.

use crate::audit::Record;
use crate::custody::{Changes, Custody, CustodyError, Past, RequestKey};
use crate::keys::{CampaignId, KeyId};
use crate::metrics::{Happened, Outcome};
use crate::policy::{Action, Permit, SubjectRef};

use super::perform::{About, Act, Caller, Desk, caught};
use super::refusal::Refusal;

/// Something that a caller can have changed.
pub trait Change: Send + Sync {
    /// What it gives.
    type Reply: Send;

    /// What the caller must be allowed to do.
    fn action(&self) -> Action;

    /// What it is done to.
    fn about(&self) -> About<'_>;

    /// The caller's id for this request and its digest, if it gave one.
    fn request(&self) -> Option<&RequestKey>;

    /// Whose rights it would change, if it is about somebody's.
    fn whom(&self) -> Option<&SubjectRef> {
        None
    }

    /// Puts what was asked into the record.
    fn describe(&self, record: &mut Record);

    /// Gathers the change. Commits nothing.
    fn change<'c>(
        &self,
        act: &mut Act<'c>,
    ) -> impl Future<Output = Result<Changed<'c>, Refusal>> + Send;

    /// The reply, from what was committed now or when the same request was made before.
    fn reply(
        &self,
        custody: &Custody,
        permit: &Permit,
        past: Past,
    ) -> impl Future<Output = Result<Self::Reply, Refusal>> + Send;
}

/// A change that was gathered, and what it leads to.
pub struct Changed<'c> {
    /// To be committed.
    pub changes: Changes<'c>,
    /// What the reply is made from.
    pub past: Past,
}

// === impl Desk ===

impl Desk {
    /// Makes the change, or refuses it. What it is about is durable in the audit log before the
    /// commit, and how it ended is before this returns.
    pub async fn perform_change<C: Change>(
        &self,
        caller: &Caller,
        action: Action,
        asked: Result<C, Refusal>,
    ) -> Result<C::Reply, Refusal> {
        let mut record = self.draft(caller, action.name());
        let _under_way = match self.admit(caller, action, record.items) {
            Ok(under_way) => under_way,
            Err(limited) => return self.turn_away(record, limited).await,
        };
        let work = async {
            let whom = asked.as_ref().ok().and_then(Change::whom);
            if let Ok(change) = &asked {
                change.describe(&mut record);
            }
            let asker = self.asker(caller).await?;
            let about = asked.as_ref().ok().map(Change::about);
            let decided = self.decide(&asker, action, about, whom, &mut record).await?;
            let change = asked?;
            let mut act = self.act(&asker, &decided, &mut record)?;
            let past = self.commit_once(&change, &mut act).await;
            self.office().metrics.changed(act.happened, ended(&past));
            change.reply(&self.office().custody, act.permit, past?).await
        };
        let outcome = caught(work).await;
        self.close(record, outcome).await
    }

    async fn commit_once<C: Change>(&self, change: &C, act: &mut Act<'_>) -> Result<Past, Refusal> {
        let request = change.request();
        if let Some(request) = request {
            act.record.request_id = request.id.as_str().to_owned().into();
            if let Some(past) = act.custody.recall(act.permit, request).await? {
                return Ok(replayed(act, past));
            }
        }
        let Changed { mut changes, past } = change.change(act).await?;
        if let Some(request) = request {
            changes.remember(act.permit, request, past).await?;
        }
        complete(act.record, past);
        self.announce(act.record).await?;
        match changes.commit().await {
            Ok(_) => Ok(past),
            // The same request may have been made on another connection a moment ago.
            Err(CustodyError::Conflict) => match request {
                Some(request) => match act.custody.recall(act.permit, request).await? {
                    Some(past) => Ok(replayed(act, past)),
                    None => Err(Refusal::Conflict),
                },
                None => Err(Refusal::Conflict),
            },
            Err(other) => Err(other.into()),
        }
    }
}

// === impl Changed ===

impl<'c> Changed<'c> {
    /// A change of a key.
    pub(super) fn of_key(changes: Changes<'c>, key: KeyId) -> Self {
        Self { changes, past: Past { key: Some(key), ..Past::default() } }
    }

    /// A change of a campaign of this key.
    pub(super) fn of_campaign(changes: Changes<'c>, key: KeyId, campaign: CampaignId) -> Self {
        let past = Past { key: Some(key), campaign: Some(campaign), ..Past::default() };
        Self { changes, past }
    }

    /// A change of a version.
    pub(super) fn of_version(changes: Changes<'c>, key: KeyId, version: u32) -> Self {
        Self { changes, past: Past { key: Some(key), version, ..Past::default() } }
    }
}

fn complete(record: &mut Record, past: Past) {
    record.key = past.key.or(record.key);
    record.version = past.version;
}

fn replayed(act: &mut Act<'_>, past: Past) -> Past {
    complete(act.record, past);
    act.record.detail = "the same request was made before; nothing was changed again".into();
    act.happened = Happened::default();
    past
}

fn ended<T>(outcome: &Result<T, Refusal>) -> Outcome {
    match outcome {
        Ok(_) => Outcome::Succeeded,
        Err(refusal) if refusal.is_refused() => Outcome::Refused,
        Err(_) => Outcome::Failed,
    }
}
