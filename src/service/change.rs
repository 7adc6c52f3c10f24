//! Use cases that change what is stored: recorded before the commit and after it, and done once for
//! each request id.
//!
//! The one place where a rule on approvals is kept to: no change gets past it, because none is committed
//! elsewhere for a caller. The proposal is used up in the very commit of the change.

use crate::approval::{Electorate, Proposal, Rule};
use crate::audit::Record;
use crate::custody::{
    Changes, Custody, CustodyError, Past, RequestKey, TrustedProposal, TrustedRule,
};
use crate::keys::{CampaignId, KeyId, ProposalId, Timestamp};
use crate::metrics::{Happened, Outcome};
use crate::policy::{Action, Denied, Permit, SubjectRef};

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

    /// The right that is enough where the first is missing. The change itself then sees to whom it is
    /// enough for; it is asked about the tenant as a whole.
    fn lesser_action(&self) -> Option<Action> {
        None
    }

    /// The actions whose rules on approvals cover it, the one that says most first.
    fn covered_by(&self) -> Vec<Action> {
        vec![self.action()]
    }

    /// When what it gives ends by itself, if it gives something that does.
    fn gives_until(&self) -> Option<Timestamp> {
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

/// A change that was gathered and given up again: what it would be.
pub struct Considered {
    /// What would be done.
    pub action: Action,
    /// Whose rights it would change.
    pub whom: Option<SubjectRef>,
    /// When what it gives ends by itself.
    pub gives_until: Option<Timestamp>,
    /// The actions whose rules cover it.
    pub covered_by: Vec<Action>,
    /// SHA-256 of the action and the request.
    pub digest: [u8; 32],
}

/// What the rules say about a change, and the proposal that it uses up.
struct Cleared {
    rules: Vec<TrustedRule>,
    used: Option<(Proposal, TrustedProposal)>,
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
        self.can_record(action)?;
        let mut record = self.draft(caller, action.name());
        let _under_way = match self.admit(caller, action, record.items) {
            Ok(under_way) => under_way,
            Err(limited) => return self.turn_away(caller, record, limited).await,
        };
        let work = async {
            let whom = asked.as_ref().ok().and_then(Change::whom);
            if let Ok(change) = &asked {
                change.describe(&mut record);
                self.office().hash_values(&mut record);
            }
            let asker = self.asker(caller).await?;
            let about = asked.as_ref().ok().map(Change::about);
            let lesser = asked.as_ref().ok().and_then(Change::lesser_action);
            let decided = self.decide(&asker, action, about, whom, &mut record).await;
            let decided = match (decided, lesser) {
                (Err(Refusal::Denied { .. }), Some(lesser)) => {
                    self.decide(&asker, lesser, Some(About::Tenant), None, &mut record).await?
                }
                (decided, _) => decided?,
            };
            let change = asked?;
            let mut act = self.act(&asker, &decided, &mut record)?;
            let past = self.commit_once(&change, &mut act).await;
            self.office().metrics.changed(act.happened, ended(&past));
            change.reply(&self.office().custody, act.permit, past?).await
        };
        let outcome = caught(work).await;
        self.close(caller, record, outcome).await
    }

    /// Decides about a change and gathers it, and then gives it up: whether others are asked in vain.
    /// Only a refusal is recorded here; whoever goes on records the rest.
    pub async fn consider<C: Change>(
        &self,
        caller: &Caller,
        action: Action,
        asked: Result<C, Refusal>,
    ) -> Result<Considered, Refusal> {
        self.can_record(action)?;
        let mut record = self.draft(caller, action.name());
        let digest = caller.asks().map(|asks| asks.digest);
        let work = async {
            let whom = asked.as_ref().ok().and_then(Change::whom);
            if let Ok(change) = &asked {
                change.describe(&mut record);
                self.office().hash_values(&mut record);
            }
            let asker = self.asker(caller).await?;
            let about = asked.as_ref().ok().map(Change::about);
            let decided = self.decide(&asker, action, about, whom, &mut record).await?;
            let change = asked?;
            let mut act = self.act(&asker, &decided, &mut record)?;
            let mut changed = change.change(&mut act).await?;
            changed.changes.hold_to_quotas().await?;
            drop(changed);
            Ok(Considered {
                action,
                whom: change.whom().cloned(),
                gives_until: change.gives_until(),
                covered_by: change.covered_by(),
                digest: digest.ok_or(Denied::NoPolicy)?,
            })
        };
        match caught(work).await {
            Ok(considered) => Ok(considered),
            refused => {
                record.detail = format!("proposed: {}", record.detail).into();
                self.close(caller, record, refused).await
            }
        }
    }

    async fn commit_once<C: Change>(&self, change: &C, act: &mut Act<'_>) -> Result<Past, Refusal> {
        let request = change.request();
        if let Some(request) = request {
            act.record.request_id = request.id.as_str().to_owned().into();
            if let Some(past) = act.custody.recall(act.permit, request).await? {
                return Ok(replayed(act, past));
            }
        }
        let cleared = clear(change, act).await?;
        let Changed { mut changes, past } = change.change(act).await?;
        changes.hold_to_quotas().await?;
        cleared.bind(&mut changes, act);
        if let Some(request) = request {
            changes.remember(act.permit, request, past).await?;
        }
        complete(act.record, past);
        self.announce(act.record).await?;
        changes.announced_by(act.record.started_sequence, act.record.time_us);
        match changes.commit().await {
            Ok(revision) => Ok(Past { revision, ..past }),
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

    /// A change of a tenant, a proposal or a credential.
    pub(super) fn of(changes: Changes<'c>, made: [u8; 16]) -> Self {
        Self { changes, past: Past { made: Some(made), ..Past::default() } }
    }

    /// A change of a version.
    pub(super) fn of_version(changes: Changes<'c>, key: KeyId, version: u32) -> Self {
        Self { changes, past: Past { key: Some(key), version, ..Past::default() } }
    }
}

// === impl Cleared ===

impl Cleared {
    /// In the same commit: the rules are what they were, and the proposal is used.
    fn bind(self, changes: &mut Changes<'_>, act: &mut Act<'_>) {
        for rule in &self.rules {
            changes.expect_rule(rule);
        }
        let Some((used, was)) = self.used else { return };
        let draft = used.draft();
        act.record.approval = draft.id.to_string().into();
        if draft.electorate == Electorate::BreakGlass {
            let id = draft.id;
            act.record.detail = format!("break_glass=true {}", act.record.detail).into();
            tracing::error!(proposal = %id, "the glass is broken: an emergency proposal is used");
            act.office.metrics.broke_glass();
        }
        changes.put_proposal(used, &was);
    }
}

/// Lets a change through that no rule covers, or that was approved for this very request.
async fn clear<C: Change>(change: &C, act: &Act<'_>) -> Result<Cleared, Refusal> {
    let mut cleared = Cleared { rules: Vec::new(), used: None };
    if act.caller().is_internal() {
        return Ok(cleared);
    }
    for action in change.covered_by() {
        cleared.rules.push(act.custody.rule_on(act.permit, action).await?);
    }
    let Some(rule) = cleared.rules.iter().find_map(TrustedRule::rule) else { return Ok(cleared) };
    // A caller about whose request nothing is known has nothing that could have been approved.
    let asks = act.caller().asks().ok_or_else(|| needed(rule))?;
    let id = asks.approval.as_deref().ok_or_else(|| needed(rule))?;
    let id = ProposalId::parse(id).map_err(|error| Refusal::invalid("bulla-approval", error))?;
    let was = act.custody.proposal(act.permit, id).await?;
    let used = was.proposal().execute(
        rule,
        act.permit.principal().id(),
        (change.action(), &asks.digest),
        |voter| act.is_related(voter, rule.group()),
        act.custody.now(),
    )?;
    cleared.used = Some((used, was));
    Ok(cleared)
}

fn needed(rule: &Rule) -> Refusal {
    let (action, group, needed) = (rule.action().name(), rule.group(), rule.needed());
    let text = format!(
        "{action} needs the approval of {needed} of group {group}; propose it with: bulla proposal \
         create -- COMMAND; once it is approved, repeat the command with --approval ID"
    );
    Refusal::ApprovalRequired { class: "not_proposed", text }
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
