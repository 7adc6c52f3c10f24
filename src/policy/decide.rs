//! The decision. Denies unless something allows it; whatever cannot be known denies, too.

use std::sync::Arc;

use cedar_policy::{Entities, Request};

use crate::policy::action::Action;
use crate::policy::condition::{Reads, Unevaluable};
use crate::policy::memory::MemoryKey;
use crate::policy::permit::{Denied, Permit};
use crate::policy::principal::Principal;
use crate::policy::question::{KeyFacts, Question, Target};
use crate::policy::request::Facts;
use crate::policy::slice::{Powers, Slice, few};
use crate::policy::standing::Standing;
use crate::policy::subject::Subject;
use crate::policy::vocabulary::vocabulary;
use crate::policy::world::{Answer, World};

/// What came of evaluating the policies that can decide.
pub(super) struct Evaluated {
    pub(super) answer: Answer,
    /// The policies that could not be evaluated, and why.
    pub(super) errors: Vec<(Arc<str>, String)>,
}

// === impl World ===

impl World {
    /// Decides.
    pub fn decide(&self, question: &Question<'_>) -> Result<Permit, Denied> {
        let subject = question.subject;
        let standing = self.admit(question)?;
        let no_key = KeyFacts::none();
        let key = about(question, &no_key);
        let now = question.circumstances.now;
        let slice = self.slice(&standing, subject.principal.id(), question.action, key, now);
        let policies = match &slice.answer {
            Some(answer) => answer.clone()?,
            None => self.recall(&slice, &standing, question, key)?,
        };
        let by_context = slice.reads.holds(Reads::ENCRYPTION_CONTEXT)
            || subject.scope.as_ref().is_some_and(|scope| !scope.encryption_context.is_empty());
        let key = key.map(|key| key.id).or(question.target.key());
        let permit = Permit::new(subject.principal.clone(), question.action, key, policies);
        Ok(if by_context { permit.reading_encryption_context() } else { permit })
    }

    /// What is asked before any policy: whose tenant it is, whose rights, and what the credential is good
    /// for.
    pub(super) fn admit(&self, question: &Question<'_>) -> Result<Arc<Standing>, Denied> {
        let subject = question.subject;
        if subject.principal.tenant() != self.tenant {
            return Err(Denied::OtherTenant);
        }
        if self.suspended {
            return Err(Denied::Suspended);
        }
        let standing = self.standing(subject, question.circumstances.now);
        if standing.groups.is_err() {
            return Err(Denied::TooManyGroups);
        }
        if question.whom.is_some_and(|whom| standing.is(subject, whom)) {
            return Err(Denied::OwnRoles);
        }
        if subject.scope.as_ref().is_some_and(|scope| !scope.allows(question)) {
            return Err(Denied::OutOfScope);
        }
        if !self.has(question.action) {
            return Err(Denied::NoPolicy);
        }
        if !self.broken.is_empty() && !is_repair(question.action) {
            return Err(Denied::PolicyError { policies: few(self.broken.to_vec()) });
        }
        Ok(standing)
    }

    /// The answer of a slice, from memory if it was given before about the same.
    fn recall(
        &self,
        slice: &Slice,
        standing: &Standing,
        question: &Question<'_>,
        key: Option<&KeyFacts>,
    ) -> Answer {
        if slice.reads.holds(Reads::TIME) {
            return self.evaluate(slice, standing, question, key).answer;
        }
        let memory_key = self.memory_key(slice, question, key);
        if let Some(answer) = self.answers.get(&memory_key) {
            return answer;
        }
        let answer = self.evaluate(slice, standing, question, key).answer;
        self.answers.keep(memory_key, answer.clone());
        answer
    }

    /// Evaluates every condition of a slice. An error in any of them denies.
    pub(super) fn evaluate(
        &self,
        slice: &Slice,
        standing: &Standing,
        question: &Question<'_>,
        key: Option<&KeyFacts>,
    ) -> Evaluated {
        let rules = || slice.conditional.iter().filter_map(|place| self.rules.get(*place));
        let (mut permitting, mut forbidding, mut errors) = (Vec::new(), Vec::new(), Vec::new());
        let built = self.build_request(slice, standing, question, key);
        for rule in rules() {
            let Some(condition) = &rule.condition else { continue };
            let holds = match &built {
                Ok((request, entities)) => condition.holds(request, entities),
                Err(error) => Err(error.clone()),
            };
            match (holds, rule.permits) {
                (Ok(true), true) => permitting.push(Arc::clone(&rule.id)),
                (Ok(true), false) => forbidding.push(Arc::clone(&rule.id)),
                (Ok(false), _) => {}
                (Err(Unevaluable(why)), _) => errors.push((Arc::clone(&rule.id), why)),
            }
        }
        if !errors.is_empty() {
            let policies = few(errors.iter().map(|(id, _)| Arc::clone(id)).collect());
            return Evaluated { answer: Err(Denied::PolicyError { policies }), errors };
        }
        let manages_access = || match &slice.powers {
            Powers::None => false,
            Powers::Some(ways) => ways.iter().any(|way| self.is_open(way, standing, question, key)),
        };
        Evaluated { answer: slice.answer(permitting, forbidding, manages_access), errors }
    }

    /// Whether the subject may, at this moment, manage access in this way. If that cannot be known, it is
    /// taken to be so, because what follows is a refusal.
    fn is_open(
        &self,
        way: &Slice,
        standing: &Standing,
        question: &Question<'_>,
        key: Option<&KeyFacts>,
    ) -> bool {
        let key = key.filter(|_| way.action.is_on_key());
        let answer = match &way.answer {
            Some(answer) => answer.clone(),
            None => self.evaluate(way, standing, question, key).answer,
        };
        matches!(answer, Ok(_) | Err(Denied::PolicyError { .. }))
    }

    fn build_request(
        &self,
        slice: &Slice,
        standing: &Standing,
        question: &Question<'_>,
        key: Option<&KeyFacts>,
    ) -> Result<(Request, Entities), Unevaluable> {
        let words = vocabulary().map_err(|_| Unevaluable("no schema".to_owned()))?;
        let end_user = self.end_user(slice.own_reads, question);
        let facts = Facts {
            words,
            tenant: self.tenant,
            subject: question.subject,
            standing,
            related: slice.related,
            end_user: end_user.as_deref(),
            action: slice.action,
            key,
            pairs: &slice.pairs,
            circumstances: question.circumstances,
        };
        Ok((facts.request(slice.own_reads)?, facts.entities(slice.own_reads)?))
    }

    /// Where the end user stands, if that is read.
    fn end_user(&self, reads: Reads, question: &Question<'_>) -> Option<Arc<Standing>> {
        let id = question.subject.end_user.as_ref().filter(|_| reads.holds(Reads::END_USER))?;
        let principal = Principal::new(id.clone(), self.tenant);
        let subject = Subject::new(principal, question.subject.kind);
        Some(self.standing(&subject, question.circumstances.now))
    }

    /// Everything that the answer of a slice is made from.
    fn memory_key(
        &self,
        slice: &Slice,
        question: &Question<'_>,
        key: Option<&KeyFacts>,
    ) -> MemoryKey {
        let (subject, circumstances) = (question.subject, question.circumstances);
        let reads = |part: Reads| slice.reads.holds(part);
        let mut memory_key = MemoryKey::new();
        memory_key.number(slice.number);
        if let (Some(key), true) = (key, reads(Reads::RESOURCE)) {
            memory_key.bytes(key.id.as_bytes());
            memory_key.pairs(key.tags.iter().map(|(key, value)| (key.as_str(), value.as_str())));
        }
        if reads(Reads::ENCRYPTION_CONTEXT) {
            memory_key.pairs(slice.pairs.among(circumstances.encryption_context));
        }
        if reads(Reads::SOURCE) {
            let source = circumstances.source.map(|source| source.to_canonical().to_string());
            memory_key.maybe(source.as_deref().map(str::as_bytes));
        }
        if reads(Reads::ENVIRONMENT) {
            memory_key.bytes(circumstances.environment.as_bytes());
        }
        if reads(Reads::CREDENTIAL_KIND) {
            memory_key.bytes(subject.kind.name().as_bytes());
        }
        if reads(Reads::CLAIMS) {
            memory_key
                .pairs(subject.claims.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        }
        if reads(Reads::END_USER) {
            memory_key.maybe(subject.end_user.as_ref().map(|user| user.as_str().as_bytes()));
            let standing = self.end_user(slice.reads, question);
            memory_key.number(standing.map_or(u64::MAX, |standing| standing.number));
        }
        memory_key
    }
}

/// The key that a question is about. An action on a key that is asked about the tenant is one on a key that
/// nothing was said about, and opens none.
pub(super) fn about<'a>(question: &Question<'a>, no_key: &'a KeyFacts) -> Option<&'a KeyFacts> {
    match question.target {
        _ if !question.action.is_on_key() => None,
        Target::Key(key) => Some(key),
        Target::Tenant => Some(no_key),
    }
}

/// What is left to do where a policy cannot be parsed: to see which, and to replace or delete it.
fn is_repair(action: Action) -> bool {
    matches!(
        action,
        Action::WhoAmI
            | Action::GetPolicy
            | Action::ListPolicies
            | Action::PutPolicy
            | Action::DeletePolicy
    )
}
