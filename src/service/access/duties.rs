//! Separation of duties: the pairs of roles that nobody holds together.

use crate::policy::{Membership, Relation, RelationName, Role, RoleName, SubjectRef};
use crate::service::perform::Act;
use crate::service::refusal::Refusal;

/// Refuses a role that excludes one which the subject holds already, itself or by a group, or which a
/// member of the group that gets it holds. Whom a proof asserts to be in a group is not known here: a
/// decision about them denies by itself.
pub(super) async fn keep_apart(
    act: &Act<'_>,
    subject: &SubjectRef,
    wanted: &RoleName,
) -> Result<(), Refusal> {
    let (world, now) = (act.world().await?, act.custody.now());
    let membership = Membership::after(&world, &[], &[]);
    let held = membership.roles(subject, now).into_iter().find(|held| exclude(held, wanted));
    if let Some(held) = held {
        return Err(Refusal::SeparationOfDuties { held, wanted: wanted.clone(), member: None });
    }
    let SubjectRef::Members(group) = subject else { return Ok(()) };
    for member in membership.members(group) {
        let holder = SubjectRef::Principal(member.clone());
        let held = membership.roles(&holder, now).into_iter().find(|held| exclude(held, wanted));
        if let Some(held) = held {
            let member = Some(member.clone());
            return Err(Refusal::SeparationOfDuties { held, wanted: wanted.clone(), member });
        }
    }
    Ok(())
}

/// Refuses tuples by which somebody would hold two roles that exclude each other: whoever becomes a
/// member, and the members of a group that becomes one.
pub(super) async fn keep_members_apart(
    act: &Act<'_>,
    added: &[Relation],
    removed: &[Relation],
) -> Result<(), Refusal> {
    let (world, now) = (act.world().await?, act.custody.now());
    let membership = Membership::after(&world, added, removed);
    let joining = added.iter().filter(|tuple| tuple.name == RelationName::Member);
    for tuple in joining {
        let inside = match &tuple.subject {
            SubjectRef::Principal(_) => Vec::new(),
            SubjectRef::Members(group) => membership.members(group),
        };
        let inside = inside.into_iter().map(|member| SubjectRef::Principal(member.clone()));
        for holder in inside.chain([tuple.subject.clone()]) {
            let roles = membership.roles(&holder, now);
            if let Some((held, wanted)) = torn(&roles) {
                let member = match holder {
                    SubjectRef::Principal(id) => Some(id),
                    SubjectRef::Members(_) => None,
                };
                return Err(Refusal::SeparationOfDuties { held, wanted, member });
            }
        }
    }
    Ok(())
}

/// Two of these roles that nobody holds together.
fn torn(roles: &[RoleName]) -> Option<(RoleName, RoleName)> {
    let other = |one: &RoleName| roles.iter().find(|other| exclude(one, other)).cloned();
    roles.iter().find_map(|one| Some((one.clone(), other(one)?)))
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
        Action, Circumstances, CredentialKind, Denied, HeldRole, KeyFacts, Material, Principal,
        PrincipalId, Question, Subject, Target, World,
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
