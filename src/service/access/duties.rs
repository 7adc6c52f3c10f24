//! Separation of duties: the pairs of roles that nobody holds together.

use crate::policy::{CredentialKind, Principal, PrincipalId, Role, RoleName, Subject, SubjectRef};
use crate::service::perform::Act;
use crate::service::refusal::Refusal;

/// Refuses a role that excludes one which the subject holds already, itself or by a group. Those whom a
/// group's role reaches besides are not looked through: a decision about them denies by itself.
pub(super) async fn keep_apart(
    act: &Act<'_>,
    subject: &SubjectRef,
    wanted: &RoleName,
) -> Result<(), Refusal> {
    // For a group, whoever holds nothing but by being its member.
    let (id, groups) = match subject {
        SubjectRef::Principal(id) => (id.clone(), Vec::new()),
        SubjectRef::Members(group) => (PrincipalId::installer(), vec![group.clone()]),
    };
    let principal = Principal::new(id, act.permit.tenant());
    let subject = Subject { groups, ..Subject::new(principal, CredentialKind::Internal) };
    let held = act.world().await?.roles(&subject, act.custody.now());
    match held.into_iter().find(|held| exclude(held, wanted)) {
        Some(held) => Err(Refusal::SeparationOfDuties { held, wanted: wanted.clone() }),
        None => Ok(()),
    }
}

fn exclude(one: &RoleName, other: &RoleName) -> bool {
    let is = |role: Role, name: &RoleName| role.name() == name.as_str();
    EXCLUDING.iter().any(|(a, b)| (is(*a, one) && is(*b, other)) || (is(*a, other) && is(*b, one)))
}

/// Managing keys and using or moving what they seal; using keys and reading what was done.
const EXCLUDING: [(Role, Role); 3] = [
    (Role::KeyManager, Role::KeyUser),
    (Role::KeyManager, Role::KeyRewrapper),
    (Role::KeyUser, Role::Auditor),
];

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{KeyId, TenantId, Timestamp};
    use crate::policy::{
        Action, Circumstances, Denied, HeldRole, KeyFacts, Material, Question, Target, World,
    };

    #[test]
    fn d09_a_pair_is_refused_here_exactly_when_a_decision_would_deny_it() {
        let tenant = TenantId::from_bytes([1; 16]);
        let id = PrincipalId::installer();
        let principal = Principal::new(id.clone(), tenant);
        let subject = Subject::new(principal, CredentialKind::Certificate);
        let key = KeyFacts { id: KeyId::from_bytes([2; 16]), ..KeyFacts::none() };
        let circumstances = Circumstances {
            now: Timestamp::from_unix_ms(1),
            source: None,
            environment: "development",
            encryption_context: &[],
        };
        for one in Role::ALL {
            for other in Role::ALL.into_iter().filter(|other| *other != one) {
                let roles =
                    [one, other].map(|role| HeldRole { role: role.into(), expire_time: None });
                let bindings = vec![(SubjectRef::Principal(id.clone()), roles.to_vec())];
                let world = World::new(tenant, Material { bindings, ..Material::default() });
                let is_denied =
                    Action::ALL.iter().filter(|action| action.is_on_key()).any(|action| {
                        let question = Question {
                            subject: &subject,
                            action: *action,
                            target: Target::Key(&key),
                            whom: None,
                            circumstances: &circumstances,
                        };
                        world.decide(&question).is_err_and(|why| why == Denied::SeparationOfDuties)
                    });
                assert_eq!(exclude(&one.into(), &other.into()), is_denied, "{one} and {other}");
            }
        }
    }
}
