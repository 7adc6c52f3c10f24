//! One policy, parsed; and what has to be true of one before it is accepted.

use std::fmt;
use std::sync::Arc;

use cedar_policy::{Effect, EntityUid, Policy, PolicyId as CedarId, PolicySet, ValidationMode};

use crate::keys::{KeyId, KeyRing, TenantId};
use crate::policy::action::Action;
use crate::policy::action_set::ActionSet;
use crate::policy::condition::Condition;
use crate::policy::limits;
use crate::policy::material::PolicyId;
use crate::policy::principal::PrincipalId;
use crate::policy::problem::PolicyProblem;
use crate::policy::reach::Reach;
use crate::policy::role::RoleName;
use crate::policy::subject::GroupName;
use crate::policy::vocabulary::{Vocabulary, vocabulary};

/// A policy whose text is one statement of the Cedar language. Shared by every world that has it.
#[derive(Debug)]
pub struct ParsedPolicy {
    id: PolicyId,
    text: Arc<str>,
    pub(super) permits: bool,
    pub(super) reach: Reach,
    /// The one tenant that its scope names, if it does.
    pub(super) tenant: Option<TenantId>,
    pub(super) condition: Option<Arc<Condition>>,
}

/// Whether a policy with this id and text is accepted: one statement, valid in every way against the
/// schema, in names that are spelled as they are everywhere else, and not of both kinds of power.
pub fn validate_policy(id: &PolicyId, text: &str) -> Result<ParsedPolicy, PolicyProblem> {
    let (parsed, policy) = ParsedPolicy::read(id, text.into())?;
    if policy.annotation("id").is_some_and(|own| own != id.as_str()) {
        let what = "its annotation @id is another id";
        return Err(PolicyProblem::new(id.as_str(), what, "leave the annotation out"));
    }
    let words = vocabulary().map_err(|_| no_schema(id))?;
    for uid in policy.entity_literals() {
        if let Some(form) = misspelled(&uid, words) {
            let what = format!("nothing can be called {uid}");
            return Err(PolicyProblem::new(id.as_str(), what, format!("write {form}")));
        }
    }
    let set = PolicySet::from_policies([policy])
        .map_err(|error| PolicyProblem::new(id.as_str(), error.to_string(), ONE_STATEMENT))?;
    let result = words.validator.validate(&set, ValidationMode::Strict);
    if let Some(problem) = PolicyProblem::of_validation(id.as_str(), text, &result) {
        return Err(problem);
    }
    let both = parsed.permits
        && !parsed.reach.actions.and(ActionSet::all(Action::uses_keys)).is_empty()
        && !parsed.reach.actions.and(ActionSet::all(Action::manages_access)).is_empty();
    if both {
        let what = "it permits both to use keys and to manage access, and nobody may do both";
        let help = "name actions, or groups of actions such as Bulla::Action::\"use_keys\"";
        return Err(PolicyProblem::new(id.as_str(), what, help));
    }
    Ok(parsed)
}

// === impl ParsedPolicy ===

impl ParsedPolicy {
    /// Parses a text that was accepted before.
    pub(super) fn parse(id: &PolicyId, text: Arc<str>) -> Result<Self, PolicyProblem> {
        Self::read(id, text).map(|(parsed, _)| parsed)
    }

    fn read(id: &PolicyId, text: Arc<str>) -> Result<(Self, Policy), PolicyProblem> {
        limits::check(id.as_str(), &text)?;
        let words = vocabulary().map_err(|_| no_schema(id))?;
        let policy = Policy::parse(Some(CedarId::new(id.as_str())), &text)
            .map_err(|errors| PolicyProblem::of_parse(id.as_str(), &text, &errors))?;
        let (reach, tenant) = Reach::of(&policy, words);
        let conditional = policy.has_non_scope_constraint();
        let condition = conditional
            .then(|| Arc::new(Condition::of_text(id.shared().clone(), Arc::clone(&text))));
        let permits = policy.effect() == Effect::Permit;
        Ok((Self { id: id.clone(), text, permits, reach, tenant, condition }, policy))
    }

    /// Its id.
    pub fn id(&self) -> &PolicyId {
        &self.id
    }

    /// Its text, as its author wrote it.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }
}

impl fmt::Display for ParsedPolicy {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.text)
    }
}

/// How a name should be spelled that is not spelled so: Cedar compares bytes, and a policy about a name
/// that nobody can have would look as if it did something (attack C01).
fn misspelled(uid: &EntityUid, words: &Vocabulary) -> Option<&'static str> {
    let (kind, id) = (uid.type_name(), uid.id().unescaped());
    let (lawful, form) = if *kind == words.principal {
        (PrincipalId::parse(id).is_ok(), "a principal such as spiffe://example.org/app")
    } else if *kind == words.group {
        (GroupName::parse(id).is_ok(), "a group's name in a-z 0-9 -")
    } else if *kind == words.role {
        (RoleName::parse(id).is_ok(), "a role's name in a-z 0-9 -")
    } else if *kind == words.key_ring {
        (KeyRing::parse(id).is_ok(), "a ring's path such as payments/cards")
    } else if *kind == words.key {
        (KeyId::parse(id).is_ok(), "a key's id, a UUID in lower case with hyphens")
    } else if *kind == words.tenant {
        (TenantId::parse(id).is_ok(), "a tenant's id, a UUID in lower case with hyphens")
    } else {
        (true, "")
    };
    (!lawful).then_some(form)
}

fn no_schema(id: &PolicyId) -> PolicyProblem {
    PolicyProblem::new(id.as_str(), "this program's schema is broken", "report this as a defect")
}

const ONE_STATEMENT: &str = "write exactly one statement";
