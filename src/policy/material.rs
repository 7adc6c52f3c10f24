//! What a tenant's rows say about who may do what, as it goes into a [`World`](super::World).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::keys::{KeyId, Timestamp};
use crate::policy::action::Action;
use crate::policy::principal::{PrincipalId, shown_as_text};
use crate::policy::relation::Relation;
use crate::policy::role::RoleName;
use crate::policy::subject::GroupName;

/// What a [`World`](super::World) is made from: what the tenant's rows say.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The store's revision that it was read at.
    pub revision: u64,
    /// Nothing is allowed in a suspended tenant.
    pub suspended: bool,
    /// It is the installation's own tenant, whose principals manage the others.
    pub is_installation: bool,
    /// Who holds which roles.
    pub bindings: Vec<(SubjectRef, Vec<HeldRole>)>,
    /// Who stands in which relation to what.
    pub relations: Vec<Relation>,
    /// Grants on keys.
    pub grants: Vec<Grant>,
    /// The tenant's own policies.
    pub policies: Vec<PolicySource>,
}

/// Whom a binding or a relation names.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum SubjectRef {
    /// One principal.
    Principal(PrincipalId),
    /// Every member of a group: `group:NAME#member`.
    Members(GroupName),
}

/// The text names neither a principal nor the members of a group.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("neither a principal such as spiffe://example.org/app nor group:NAME#member")]
pub struct MalformedSubject;

/// A role that is held, for ever or until a time.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct HeldRole {
    /// Which.
    pub role: RoleName,
    /// When it ends.
    pub expire_time: Option<Timestamp>,
}

/// What one principal may do with one key besides what policies say.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Grant {
    /// 16 random bytes.
    pub id: [u8; 16],
    /// On which key.
    pub key: KeyId,
    /// To whom.
    pub principal: PrincipalId,
    /// What.
    pub actions: Vec<Action>,
    /// Pairs that the encryption context must hold.
    pub encryption_context: BTreeMap<String, String>,
    /// When it ends.
    pub expire_time: Option<Timestamp>,
}

/// A policy as its author wrote it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct PolicySource {
    /// Its id.
    pub id: PolicyId,
    /// One statement in the Cedar language.
    pub text: Arc<str>,
}

/// A policy's id: 1 to 63 of `a-z 0-9 -`, beginning with a letter. `grant-` begins the ids of grants, and
/// of nothing else.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyId(Arc<str>);

/// The text is no policy's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a policy's id is 1 to 63 of a-z 0-9 - and begins with a letter, and not with grant-")]
pub struct MalformedPolicyId;

/// What the ids of grants begin with, where policies that decided are named.
pub(super) const GRANT_PREFIX: &str = "grant-";

// === impl SubjectRef ===

impl SubjectRef {
    /// Parses a principal's id, or `group:NAME#member`.
    pub fn parse(text: &str) -> Result<Self, MalformedSubject> {
        match text.strip_prefix("group:").and_then(|rest| rest.strip_suffix("#member")) {
            Some(group) => GroupName::parse(group).map(Self::Members).map_err(|_| MalformedSubject),
            None => PrincipalId::parse(text).map(Self::Principal).map_err(|_| MalformedSubject),
        }
    }
}

impl fmt::Display for SubjectRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Principal(id) => fmt::Display::fmt(id, formatter),
            Self::Members(group) => write!(formatter, "group:{group}#member"),
        }
    }
}

// === impl PolicyId ===

impl PolicyId {
    /// Parses the one form.
    pub fn parse(text: &str) -> Result<Self, MalformedPolicyId> {
        let lawful = GroupName::parse(text).is_ok() && !text.starts_with(GRANT_PREFIX);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedPolicyId) }
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn shared(&self) -> &Arc<str> {
        &self.0
    }
}

shown_as_text!(PolicyId);

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn c01_a_subject_has_one_spelling() {
        for text in ["spiffe://d/app", "group:payments#member"] {
            assert_eq!(SubjectRef::parse(text).unwrap().to_string(), text);
        }
        for bad in ["", "group:payments", "group:Payments#member", "group:#member", "app"] {
            assert_eq!(SubjectRef::parse(bad), Err(MalformedSubject), "{bad:?}");
        }
    }

    #[test]
    fn c01_no_policy_can_be_taken_for_a_grant() {
        assert_eq!(
            format!("{0} {0:?}", PolicyId::parse("office-hours").unwrap()),
            "office-hours office-hours"
        );
        for bad in ["grant-00", "Grant", "", "1st", "a b", &"a".repeat(64)] {
            assert_eq!(PolicyId::parse(bad), Err(MalformedPolicyId), "{bad:?}");
        }
    }
}
