//! The policies that come with the program: what its roles and relations give. A tenant may replace each
//! by a policy of its own with the same id.

use std::sync::{Arc, LazyLock};

use crate::policy::material::PolicyId;
use crate::policy::parsed::ParsedPolicy;

macro_rules! built_in {
    ($($id:literal),+ $(,)?) => {
        /// Ids and texts.
        const TEXTS: &[(&str, &str)] =
            &[$(($id, include_str!(concat!("builtin/", $id, ".cedar")))),+];
    };
}

built_in! {
    "relation-manager",
    "relation-rewrapper",
    "relation-user",
    "relation-viewer",
    "role-approver",
    "role-auditor",
    "role-key-manager",
    "role-key-rewrapper",
    "role-key-user",
    "role-operator",
    "role-tenant-manager",
}

/// The policies that come with the program, by id.
pub fn built_in_policies() -> &'static [Arc<ParsedPolicy>] {
    static POLICIES: LazyLock<Vec<Arc<ParsedPolicy>>> = LazyLock::new(|| {
        let parsed = TEXTS.iter().filter_map(|(id, text)| {
            let id = PolicyId::parse(id).ok()?;
            ParsedPolicy::parse(&id, (*text).into()).ok().map(Arc::new)
        });
        parsed.collect()
    });
    &POLICIES
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::policy::action::Action;
    use crate::policy::reach::Whose;
    use crate::policy::role::Role;
    use crate::policy::{RelationName, validate_policy};

    #[test]
    fn every_built_in_policy_is_one_that_would_be_accepted() {
        assert_eq!(built_in_policies().len(), TEXTS.len());
        for (id, text) in TEXTS {
            let parsed = validate_policy(&PolicyId::parse(id).unwrap(), text);
            assert!(parsed.is_ok(), "{}", parsed.unwrap_err());
        }
    }

    #[test]
    fn a_role_gives_by_its_policy_exactly_what_its_table_says_action_by_action() {
        for role in Role::ALL {
            let id = format!("role-{role}");
            let policy =
                built_in_policies().iter().find(|policy| policy.id().as_str() == id).unwrap();
            assert_eq!(policy.reach.whose, Whose::Role(role.name().into()));
            assert!(policy.permits && policy.condition.is_none());
            for action in Action::ALL {
                let given = policy.reach.actions.holds(*action);
                assert_eq!(given, role.actions().contains(action), "{role} {action:?}");
            }
        }
    }

    #[test]
    fn no_relation_gives_more_than_the_role_that_it_stands_for() {
        for relation in RelationName::ON_KEYS {
            let id = format!("relation-{}", relation.name());
            let policy =
                built_in_policies().iter().find(|policy| policy.id().as_str() == id).unwrap();
            assert_eq!(policy.reach.whose, Whose::Relation(relation));
            let role = match relation {
                RelationName::User => Role::KeyUser,
                RelationName::Rewrapper => Role::KeyRewrapper,
                RelationName::Viewer => Role::Auditor,
                _ => Role::KeyManager,
            };
            let mut given = policy.reach.actions.each();
            assert!(given.all(|action| action.is_on_key() && role.actions().contains(&action)));
            assert!(policy.reach.actions.holds(Action::GetKey));
        }
    }
}
