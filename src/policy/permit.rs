//! The decision, and the value that proves it.

use std::fmt;

use crate::keys::{TenantId, Use};
use crate::policy::action::Action;
use crate::policy::principal::{Principal, PrincipalId};
use crate::policy::role::Role;

/// Proof that a principal may take an action in its own tenant.
///
/// Only [`decide`] makes one, and whatever acts demands one: it says in whose tenant rows may be read
/// and what may be done with material, so that a use case has no other tenant to name.
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
}

/// The principal may not. What is missing is for the audit record, never for the caller.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum Denied {
    /// No role that the principal holds gives the action.
    #[error("no role gives this action")]
    NoRole,
    /// The principal would change what it itself holds.
    #[error("a principal may not change its own roles")]
    OwnRoles,
}

/// Decides. Denies unless one of the roles that `principal` holds gives `action`; `whom` is the
/// principal that the action is about, if it is about one.
pub fn decide(
    principal: &Principal,
    action: Action,
    roles: &[Role],
    whom: Option<&PrincipalId>,
) -> Result<Permit, Denied> {
    if whom.is_some_and(|whom| whom == principal.id()) {
        return Err(Denied::OwnRoles);
    }
    let given =
        action == Action::WhoAmI || roles.iter().any(|role| role.actions().contains(&action));
    if given { Ok(Permit { principal: principal.clone(), action }) } else { Err(Denied::NoRole) }
}

// === impl Permit ===

impl Permit {
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

    /// Whether it covers this use of a version's material.
    pub fn covers(&self, wanted: Use) -> bool {
        self.action.uses().contains(&wanted)
    }
}

// === impl Denied ===

impl Denied {
    /// The class in the audit record.
    pub const fn class(self) -> &'static str {
        match self {
            Self::NoRole => "no_role",
            Self::OwnRoles => "own_roles",
        }
    }
}

impl fmt::Display for Permit {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{} may {}", self.principal.id(), self.action.name())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn principal(path: &str) -> Principal {
        let id = PrincipalId::parse(&format!("spiffe://demo.bulla/{path}")).unwrap();
        Principal::new(id, TenantId::from_bytes([1; 16]))
    }

    #[test]
    fn nothing_is_allowed_without_a_role_but_to_ask_who_one_is() {
        for action in Action::ALL {
            let decision = decide(&principal("app"), *action, &[], None);
            assert_eq!(decision.is_ok(), *action == Action::WhoAmI, "{action:?}");
        }
    }

    #[test]
    fn d02_each_role_gives_its_own_actions_and_no_other() {
        for role in Role::ALL {
            for action in Action::ALL {
                let decision = decide(&principal("app"), *action, &[role], None);
                let given = role.actions().contains(action) || *action == Action::WhoAmI;
                assert_eq!(decision.is_ok(), given, "{role} {action:?}");
                if let Ok(permit) = decision {
                    assert_eq!(permit.action(), *action);
                    assert_eq!(permit.tenant(), TenantId::from_bytes([1; 16]));
                }
            }
        }
    }

    #[test]
    fn d09_nobody_changes_their_own_roles() {
        let operator = principal("operator");
        let bind = |whom: &PrincipalId| {
            decide(&operator, Action::BindRole, &[Role::Operator], Some(whom)).map(|_| ())
        };
        assert_eq!(bind(operator.id()), Err(Denied::OwnRoles));
        assert_eq!(bind(principal("app").id()), Ok(()));
    }

    #[test]
    fn a_permit_covers_only_the_uses_of_its_action() {
        let permit =
            decide(&principal("app"), Action::ReEncryptFrom, &[Role::KeyRewrapper], None).unwrap();
        assert!(permit.covers(Use::ReEncryptFrom));
        assert!(!permit.covers(Use::Decrypt));
        assert!(!permit.covers(Use::Wrap));
    }
}
