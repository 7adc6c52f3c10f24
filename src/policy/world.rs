//! Everything that one tenant has said about who may do what, at one revision; and the decision.
//!
//! Immutable: a change makes a new one. Pure: it reads no row, no clock and no request's text.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;

use crate::keys::{KeyId, KeyRing, TenantId, Timestamp};
use crate::policy::action::Action;
use crate::policy::permit::{Denied, Permit};
use crate::policy::principal::PrincipalId;
use crate::policy::question::Question;
use crate::policy::role::{Role, RoleName};
use crate::policy::subject::{GroupName, Subject};

/// One tenant's policies, role bindings, relations and grants.
pub struct World {
    tenant: TenantId,
    revision: u64,
    suspended: bool,
    bindings: HashMap<SubjectRef, Vec<HeldRole>>,
}

/// What a [`World`] is made from: what the tenant's rows say.
#[derive(Clone, Debug, Default)]
pub struct Material {
    /// The store's revision that it was read at.
    pub revision: u64,
    /// Nothing is allowed in a suspended tenant.
    pub suspended: bool,
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

/// `object#relation@subject`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Relation {
    /// To what.
    pub object: Object,
    /// How it is related. A group has members and nothing else; nothing else has members.
    pub name: RelationName,
    /// Who.
    pub subject: SubjectRef,
}

/// What a relation is to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// `group:NAME`
    Group(GroupName),
    /// `ring:PATH`; what holds for a ring holds for the keys and rings in it.
    Ring(KeyRing),
    /// `key:UUID`
    Key(KeyId),
}

/// The relations that there are.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RelationName {
    /// Of a group.
    Member,
    /// May use the key.
    User,
    /// May move its blobs.
    Rewrapper,
    /// May manage it.
    Manager,
    /// May see it.
    Viewer,
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

/// A policy's id: 1 to 63 of `a-z 0-9 -`, beginning with a letter.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct PolicyId(Arc<str>);

/// The text is no policy's id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a policy's id is 1 to 63 of a-z 0-9 - and begins with a letter")]
pub struct MalformedPolicyId;

// === impl World ===

impl World {
    /// The world of `tenant`.
    pub fn new(tenant: TenantId, material: Material) -> Self {
        Self {
            tenant,
            revision: material.revision,
            suspended: material.suspended,
            bindings: material.bindings.into_iter().collect(),
        }
    }

    /// The store's revision that it stands for.
    pub fn revision(&self) -> u64 {
        self.revision
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Decides. Denies unless something allows it.
    pub fn decide(&self, question: &Question<'_>) -> Result<Permit, Denied> {
        let principal = &question.subject.principal;
        if principal.tenant() != self.tenant {
            return Err(Denied::OtherTenant);
        }
        if self.suspended {
            return Err(Denied::Suspended);
        }
        if question.whom.is_some_and(|whom| *whom == SubjectRef::Principal(principal.id().clone()))
        {
            return Err(Denied::OwnRoles);
        }
        let roles = self.roles(question.subject, question.circumstances.now);
        let given = question.action == Action::WhoAmI
            || roles
                .iter()
                .filter_map(Role::named)
                .any(|role| role.actions().contains(&question.action));
        if given {
            Ok(Permit::new(
                principal.clone(),
                question.action,
                question.target.key(),
                Arc::default(),
            ))
        } else {
            Err(Denied::NoPolicy)
        }
    }

    /// The roles that a subject holds at `now`.
    pub fn roles(&self, subject: &Subject, now: Timestamp) -> Vec<RoleName> {
        let principal = subject.principal.id().clone();
        let held = self.bindings.get(&SubjectRef::Principal(principal));
        let held = held.into_iter().flatten();
        held.filter(|held| held.expire_time.is_none_or(|end| now < end))
            .map(|held| held.role.clone())
            .collect()
    }
}

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
        GroupName::parse(text).map(|_| Self(text.into())).map_err(|_| MalformedPolicyId)
    }

    /// The id.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for PolicyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl fmt::Debug for PolicyId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}
