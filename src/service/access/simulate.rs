//! What other policies would answer: to cases, and to what the audit log recorded. Changes nothing.

use std::collections::HashMap;

use crate::audit::{Filter, Outcome, Owners, Query, Record};
use crate::crypto::EncryptionContext;
use crate::keys::KeyRef;
use crate::policy::{Action, CredentialKind, PolicyId, PolicySource, PrincipalId, World};
use crate::service::perform::{About, Act, UseCase};
use crate::service::read_audit::latest;
use crate::service::refusal::Refusal;

use super::explain::{Asked, Judgement};

/// A proposed set of policies, and what to ask it.
pub struct SimulatePolicies {
    /// To be put.
    pub put: Vec<PolicySource>,
    /// To be deleted.
    pub delete: Vec<PolicyId>,
    /// Questions.
    pub cases: Vec<Asked>,
    /// How many of the latest recorded calls to ask again.
    pub replay: usize,
}

/// What the proposed set answers.
pub struct Simulated {
    /// To each case.
    pub judgements: Vec<Judgement>,
    /// What recorded calls asked and would be answered otherwise, the most frequent first.
    pub changed: Vec<ChangedAnswer>,
    /// How many recorded calls were asked again.
    pub replayed: u64,
}

/// A question that the two sets answer differently.
pub struct ChangedAnswer {
    /// What was asked.
    pub asked: Asked,
    /// What the present set answers.
    pub before: Judgement,
    /// What the proposed set answers.
    pub after: Judgement,
    /// How many recorded calls asked it.
    pub count: u64,
}

// === impl SimulatePolicies ===

impl UseCase for SimulatePolicies {
    type Reply = Simulated;

    const ACTION: Action = Action::SimulatePolicies;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!(
            "put={} delete={} cases={} replay={}",
            self.put.len(),
            self.delete.len(),
            self.cases.len(),
            self.replay
        )
        .into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Simulated, Refusal> {
        let present = act.world().await?;
        let proposed = present
            .with_policies(self.put, &self.delete)
            .map_err(|problem| Refusal::invalid("put", problem))?;
        let mut judgements = Vec::with_capacity(self.cases.len());
        for case in &self.cases {
            judgements.push(Judgement::of(case.explained(act, &proposed).await?));
            // Many cases leave others their turn (attack E07).
            tokio::task::yield_now().await;
        }
        let (asked, replayed) = recorded(act, self.replay).await?;
        let changed = compare(act, &present, &proposed, asked).await?;
        Ok(Simulated { judgements, changed, replayed })
    }
}

/// What the latest recorded calls asked, and how often.
async fn recorded(act: &Act<'_>, last: usize) -> Result<(HashMap<Asked, u64>, u64), Refusal> {
    let (mut asked, mut replayed) = (HashMap::new(), 0_u64);
    if last == 0 {
        return Ok((asked, replayed));
    }
    let owners = Owners::Tenant(act.permit.tenant());
    let wanted = Query { owners, filter: Filter::default() };
    for entry in latest(&act.office.trail, &wanted, last).await?.records {
        // A change that was begun has a second record, of how it ended.
        let question =
            question_of(&entry.record).filter(|_| entry.record.outcome != Outcome::Started);
        // What the values were is not in the log.
        let question = question.filter(|_| !act.office.has_hashed_values(&entry.record));
        if let Some(question) = question {
            let count: &mut u64 = asked.entry(question).or_default();
            *count = count.saturating_add(1);
            replayed = replayed.saturating_add(1);
        }
    }
    Ok((asked, replayed))
}

async fn compare(
    act: &Act<'_>,
    present: &World,
    proposed: &World,
    asked: HashMap<Asked, u64>,
) -> Result<Vec<ChangedAnswer>, Refusal> {
    let mut changed = Vec::new();
    for (asked, count) in asked {
        let before = Judgement::of(asked.explained(act, present).await?);
        let after = Judgement::of(asked.explained(act, proposed).await?);
        if before.decision.is_ok() != after.decision.is_ok() {
            changed.push(ChangedAnswer { asked, before, after, count });
        }
        tokio::task::yield_now().await;
    }
    let name =
        |answer: &ChangedAnswer| (answer.asked.principal.clone(), answer.asked.action.name());
    changed.sort_by(|one, other| {
        other.count.cmp(&one.count).then_with(|| name(one).cmp(&name(other)))
    });
    changed.truncate(CHANGED_MAX);
    Ok(changed)
}

/// The question of a recorded call, as far as the record has it: what a token claimed is not in it.
fn question_of(record: &Record<'_>) -> Option<Asked> {
    let kinds = [
        CredentialKind::Certificate,
        CredentialKind::Token,
        CredentialKind::ServiceAccount,
        CredentialKind::Exchanged,
    ];
    let pairs = record.context.iter();
    let pairs = pairs.map(|(key, value)| (key.clone().into_owned(), value.clone().into_owned()));
    let end_user = match record.end_user.as_ref() {
        "" => None,
        text => Some(PrincipalId::parse(text).ok()?),
    };
    Some(Asked {
        principal: PrincipalId::parse(&record.principal).ok()?,
        action: Action::named(&record.action)?,
        key: record.key.map(KeyRef::Id),
        context: EncryptionContext::new(pairs).ok()?,
        groups: Vec::new(),
        claims: Default::default(),
        kind: kinds.into_iter().find(|kind| kind.name() == record.credential_kind)?,
        source: record
            .source_address
            .parse()
            .ok()
            .map(|address: std::net::SocketAddr| address.ip()),
        time: None,
        end_user,
    })
}

const CHANGED_MAX: usize = 1_000;
