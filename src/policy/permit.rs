//! The value that proves a decision.

use std::fmt;
use std::sync::Arc;

use crate::keys::{KeyId, TenantId, Use};
use crate::policy::action::Action;
use crate::policy::principal::Principal;

/// Proof that a principal may take an action in its own tenant, on one key where the action is on one.
///
/// Only a decision makes one, and whatever acts demands one: it says in whose tenant rows may be read,
/// which key they may be of and what may be done with material, so that a use case has no other tenant
/// and no other key to name.
///
/// ```compile_fail
/// use bulla::policy::{Action, Permit, Principal, PrincipalId};
/// let id = PrincipalId::parse("spiffe://demo.bulla/app").unwrap();
/// let principal = Principal::new(id, bulla::keys::TenantId::from_bytes([1; 16]));
/// let forged = Permit { principal, action: Action::Decrypt };
/// ```
#[derive(Debug)]
pub struct Permit {
    principal: Principal,
    action: Action,
    key: Option<KeyId>,
    decided_by: Arc<[Arc<str>]>,
    reads_encryption_context: bool,
}

/// The principal may not. What is missing is for the audit record, never for the caller.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// Nothing allows it.
    #[error("no policy allows this")]
    NoPolicy,
    /// A policy forbids it.
    #[error("a policy forbids this")]
    Forbidden {
        /// Which.
        policies: Arc<[Arc<str>]>,
    },
    /// A policy that could apply could not be evaluated.
    #[error("a policy could not be evaluated")]
    PolicyError {
        /// Which.
        policies: Arc<[Arc<str>]>,
    },
    /// The principal would change what it itself holds.
    #[error("a principal may not change its own roles")]
    OwnRoles,
    /// The credential is not good for this.
    #[error("the credential is not good for this")]
    OutOfScope,
    /// Whoever manages access uses no key.
    #[error("whoever manages access uses no key")]
    NoGod,
    /// The principal holds two roles that exclude each other.
    #[error("the principal holds two roles that exclude each other")]
    SeparationOfDuties,
    /// The principal is in more groups than are followed, and so perhaps in one that is forbidden this.
    #[error("the principal is in too many groups")]
    TooManyGroups,
    /// The tenant is suspended.
    #[error("the tenant is suspended")]
    Suspended,
    /// The question is about another tenant. A defect of this program.
    #[error("the question is about another tenant")]
    OtherTenant,
}

// === impl Permit ===

impl Permit {
    pub(super) fn new(
        principal: Principal,
        action: Action,
        key: Option<KeyId>,
        decided_by: Arc<[Arc<str>]>,
    ) -> Self {
        Self { principal, action, key, decided_by, reads_encryption_context: false }
    }

    /// The same, decided by something that read the encryption context.
    #[must_use]
    pub(super) fn reading_encryption_context(self) -> Self {
        Self { reads_encryption_context: true, ..self }
    }

    /// Whether it stands for the very encryption context that was asked about, and for no other.
    pub fn reads_encryption_context(&self) -> bool {
        self.reads_encryption_context
    }

    /// Whose it is.
    pub fn principal(&self) -> &Principal {
        &self.principal
    }

    /// The only tenant whose rows it opens.
    pub fn tenant(&self) -> TenantId {
        self.principal.tenant()
    }

    /// What it is for.
    pub fn action(&self) -> Action {
        self.action
    }

    /// The one key that it is for; none where the action is on the tenant as a whole.
    pub fn key(&self) -> Option<KeyId> {
        self.key
    }

    /// Whether rows of this key may be read and its material used with it.
    pub fn opens(&self, key: KeyId) -> bool {
        self.key.is_none_or(|own| own == key)
    }

    /// The ids of the policies that decided.
    pub fn decided_by(&self) -> &Arc<[Arc<str>]> {
        &self.decided_by
    }

    /// Whether it covers this use of a version's material.
    pub fn covers(&self, wanted: Use) -> bool {
        self.action.uses().contains(&wanted)
    }
}

// === impl Denied ===

impl Denied {
    /// The class in the audit record.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::NoPolicy => "no_policy",
            Self::Forbidden { .. } => "forbidden",
            Self::PolicyError { .. } => "policy_error",
            Self::OwnRoles => "own_roles",
            Self::OutOfScope => "out_of_scope",
            Self::NoGod => "no_god",
            Self::SeparationOfDuties => "separation_of_duties",
            Self::TooManyGroups => "too_many_groups",
            Self::Suspended => "tenant_suspended",
            Self::OtherTenant => "other_tenant",
        }
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} may {}", self.principal.id(), self.action.name())
    }
}
