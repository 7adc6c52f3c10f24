//! Why somebody may or may not do something, and the smallest change that would let them.

use std::sync::Arc;

use crate::policy::decide::about;
use crate::policy::permit::Denied;
use crate::policy::question::{KeyFacts, Question};
use crate::policy::role::{Role, RoleName};
use crate::policy::slice::Powers;
use crate::policy::subject::GroupName;
use crate::policy::world::World;

/// An answer, and where it comes from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Explanation {
    /// The policies that allow, or why not.
    pub decision: Result<Arc<[Arc<str>]>, Denied>,
    /// The policies that could not be evaluated, and why.
    pub errors: Vec<(Arc<str>, String)>,
    /// The roles that the principal holds.
    pub roles: Vec<RoleName>,
    /// The groups that it is in.
    pub groups: Vec<GroupName>,
    /// The smallest change that would allow it, as a command. None where it is allowed, and where no
    /// grant or role could: what a policy forbids, and what the principal's other rights rule out.
    pub remedy: Option<String>,
}

// === impl World ===

impl World {
    /// Decides as [`World::decide`] does, and says why.
    pub fn explain(&self, question: &Question<'_>) -> Explanation {
        let standing = self.standing(question.subject, question.circumstances.now);
        let (roles, groups) = (standing.roles.clone(), standing.groups().to_vec());
        let decision = self.decide(question).map(|permit| Arc::clone(permit.decided_by()));
        let errors = match &decision {
            Err(Denied::PolicyError { .. }) => self.errors(question),
            _ => Vec::new(),
        };
        let remedy = match &decision {
            Err(Denied::NoPolicy) => self.remedy(question),
            _ => None,
        };
        Explanation { decision, errors, roles, groups, remedy }
    }

    fn errors(&self, question: &Question<'_>) -> Vec<(Arc<str>, String)> {
        let Ok(standing) = self.admit(question) else {
            let why = "it does not parse".to_owned();
            return self.broken.iter().map(|id| (Arc::clone(id), why.clone())).collect();
        };
        let no_key = KeyFacts::none();
        let key = about(question, &no_key);
        let id = question.subject.principal.id();
        let slice = self.slice(&standing, id, question.action, key, question.circumstances.now);
        self.evaluate(&slice, &standing, question, key).errors
    }

    /// A grant on the key, or the role that gives least besides.
    fn remedy(&self, question: &Question<'_>) -> Option<String> {
        let (action, now) = (question.action, question.circumstances.now);
        let id = question.subject.principal.id();
        let standing = self.standing(question.subject, now);
        let no_key = KeyFacts::none();
        let key = about(question, &no_key);
        let slice = self.slice(&standing, id, action, key, now);
        let is_ruled_out = slice.torn || !matches!(slice.powers, Powers::None);
        if is_ruled_out || !self.has(action) {
            return None;
        }
        match question.target.key() {
            Some(key) if action.is_grantable() => Some(format!(
                "bulla grant create {key} --principal {id} --action {}",
                action.name()
            )),
            _ => {
                let giving = Role::ALL.into_iter().filter(|role| role.actions().contains(&action));
                let role = giving.min_by_key(|role| role.actions().len())?;
                Some(format!("bulla role bind {id} {role}"))
            }
        }
    }
}
