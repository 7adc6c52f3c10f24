//! Why somebody may or may not do something.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;

use crate::audit::{MAX_DETAIL_BYTES, Record, clip};
use crate::crypto::EncryptionContext;
use crate::keys::{KeyRef, Timestamp};
use crate::policy::{
    Action, Circumstances, CredentialKind, Denied, Explanation, GroupName, KeyFacts, Principal,
    PrincipalId, Question, RoleName, Subject, Target, World,
};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

/// Something that a principal of the caller's tenant might ask.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub struct Asked {
    /// Who.
    pub principal: PrincipalId,
    /// What.
    pub action: Action,
    /// Of which key.
    pub key: Option<KeyRef>,
    /// With which pairs.
    pub context: EncryptionContext,
    /// The groups that its token would assert.
    pub groups: Vec<GroupName>,
    /// What its token would claim.
    pub claims: BTreeMap<String, String>,
    /// How it would prove who it is.
    pub kind: CredentialKind,
    /// From where.
    pub source: Option<IpAddr>,
    /// When; `None` for now.
    pub time: Option<Timestamp>,
    /// For whom a gateway would ask.
    pub end_user: Option<PrincipalId>,
}

/// Which policies decide a question.
pub struct Explain(pub Asked);

/// An answer to a question.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// The policies that allow, or why not.
    pub decision: Result<Arc<[Arc<str>]>, Denied>,
    /// The policies that could not be evaluated, and why.
    pub errors: Vec<(Arc<str>, String)>,
}

/// The answer, and where it comes from.
pub struct Explained {
    /// The answer.
    pub judgement: Judgement,
    /// The roles that the principal holds.
    pub roles: Vec<RoleName>,
    /// The groups that it is in.
    pub groups: Vec<GroupName>,
    /// A command that would let it, for whoever may give rights.
    pub remedy: Option<String>,
}

// === impl Asked ===

impl Asked {
    /// What `world` answers.
    pub(super) async fn explained(
        &self,
        act: &Act<'_>,
        world: &World,
    ) -> Result<Explanation, Refusal> {
        let tenant = act.permit.tenant();
        let facts = match &self.key {
            Some(named) => act.custody.key_facts(tenant, named).await?,
            None => Arc::new(KeyFacts::none()),
        };
        let subject = Subject {
            groups: self.groups.clone(),
            claims: self.claims.clone(),
            end_user: self.end_user.clone(),
            ..Subject::new(Principal::new(self.principal.clone(), tenant), self.kind)
        };
        let circumstances = Circumstances {
            now: self.time.unwrap_or_else(|| act.custody.now()),
            source: self.source,
            environment: act.office.environment,
            encryption_context: self.context.as_slice(),
        };
        let on_key = self.action.is_on_key();
        Ok(world.explain(&Question {
            subject: &subject,
            action: self.action,
            target: if on_key { Target::Key(&facts) } else { Target::Tenant },
            whom: None,
            circumstances: &circumstances,
        }))
    }
}

// === impl Judgement ===

impl Judgement {
    pub(super) fn of(explanation: Explanation) -> Self {
        Self { decision: explanation.decision, errors: explanation.errors }
    }
}

// === impl Explain ===

impl UseCase for Explain {
    type Reply = Explained;

    const ACTION: Action = Action::Explain;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        let mut detail = format!("principal={} action={}", self.0.principal, self.0.action.name());
        if let Some(key) = &self.0.key {
            detail.push_str(&format!(" key={key}"));
        }
        record.detail = clip(&detail, MAX_DETAIL_BYTES).into_owned().into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Explained, Refusal> {
        let world = act.world().await?;
        let explanation = self.0.explained(act, &world).await?;
        let (roles, groups) = (explanation.roles.clone(), explanation.groups.clone());
        let gives_rights = act.also(Action::BindRole).is_ok();
        let remedy = explanation.remedy.clone().filter(|_| gives_rights);
        Ok(Explained { judgement: Judgement::of(explanation), roles, groups, remedy })
    }
}
