//! Whether a policy is about somebody in particular: nobody writes the policies that are about themselves
//! (attack D09).
//!
//! It looks at whom a policy's scope names. What its conditions say is not looked at: they can only make
//! it be about fewer.

use crate::keys::Timestamp;
use crate::policy::action_set::ActionSet;
use crate::policy::parsed::ParsedPolicy;
use crate::policy::reach::Whose;
use crate::policy::subject::Subject;
use crate::policy::world::World;

// === impl World ===

impl World {
    /// Whether the policy names the subject, a group that it is in, a role that it holds or a relation in
    /// which it stands to anything; or allows anyone at all something besides the use of keys, which
    /// whoever writes policies never has.
    pub fn touches(&self, policy: &ParsedPolicy, subject: &Subject, now: Timestamp) -> bool {
        let standing = self.standing(subject, now);
        match &policy.reach.whose {
            Whose::Nobody => false,
            Whose::Anyone => {
                let harmless = ActionSet::all(|action| action.name().starts_with("crypto."));
                let others = ActionSet::all(|action| !harmless.holds(action));
                policy.permits && !policy.reach.actions.and(others).is_empty()
            }
            Whose::Relation(name) => self
                .material
                .relations
                .iter()
                .any(|tuple| tuple.name == *name && standing.is(subject, &tuple.subject)),
            named => standing.whose.contains(named),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::keys::TenantId;
    use crate::policy::{
        Action, CredentialKind, HeldRole, Material, Object, PolicyId, Principal, PrincipalId,
        Relation, RelationName, RoleName, SubjectRef, validate_policy,
    };

    const ME: &str = "spiffe://one.test/operator";

    /// Holds the role operator, is in a group of a group, and that group manages a ring.
    fn world() -> World {
        let relation = |object: &str, name, subject: &str| {
            let object = Object::parse(object).unwrap();
            Relation::new(object, name, SubjectRef::parse(subject).unwrap()).unwrap()
        };
        let held = HeldRole { role: RoleName::parse("operator").unwrap(), expire_time: None };
        let material = Material {
            bindings: vec![(SubjectRef::parse(ME).unwrap(), vec![held])],
            relations: vec![
                relation("group:crew", RelationName::Member, ME),
                relation("group:company", RelationName::Member, "group:crew#member"),
                relation("ring:a", RelationName::Manager, "group:company#member"),
            ],
            ..Material::default()
        };
        World::new(TenantId::from_bytes([1; 16]), material)
    }

    #[test]
    fn d09_a_policy_is_about_whom_its_scope_names_and_about_anyone_whom_it_gives_more_than_keys() {
        let principal = Principal::new(PrincipalId::parse(ME).unwrap(), world().tenant());
        let subject = Subject::new(principal, CredentialKind::Certificate);
        let using = r#"action == Bulla::Action::"crypto.decrypt", resource"#;
        let managing = r#"action == Bulla::Action::"keys.rotate_key", resource"#;
        for (scope, touched) in [
            (format!(r#"permit (principal == Bulla::Principal::"{ME}", {using});"#), true),
            (format!(r#"forbid (principal == Bulla::Principal::"{ME}", {using});"#), true),
            (format!(r#"permit (principal == Bulla::Principal::"{ME}2", {managing});"#), false),
            (format!(r#"permit (principal in Bulla::Group::"company", {managing});"#), true),
            (format!(r#"permit (principal in Bulla::Group::"others", {managing});"#), false),
            (format!(r#"permit (principal in Bulla::Role::"operator", {managing});"#), true),
            (format!(r#"permit (principal in Bulla::Role::"key-manager", {managing});"#), false),
            (format!(r#"permit (principal in Bulla::Relation::"manager", {managing});"#), true),
            (format!(r#"permit (principal in Bulla::Relation::"user", {using});"#), false),
            (format!("permit (principal, {managing});"), true),
            (format!("permit (principal is Bulla::Principal, {managing});"), true),
            (format!("permit (principal, {using});"), false),
            (format!("forbid (principal, {managing});"), false),
        ] {
            let policy = validate_policy(&PolicyId::parse("p").unwrap(), &scope).unwrap();
            let now = Timestamp::from_unix_ms(1);
            assert_eq!(world().touches(&policy, &subject, now), touched, "{scope}");
        }
    }

    #[test]
    fn crypto_actions_are_the_ones_that_nobody_has_who_manages_access() {
        for action in Action::ALL.iter().filter(|action| action.uses_keys()) {
            assert!(action.name().starts_with("crypto."));
        }
    }
}
