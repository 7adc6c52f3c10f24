//! Permits as a caller with one role gets them, for tests that work on rows themselves.

use bulla::keys::Timestamp;
use bulla::policy::{
    Action, Circumstances, CredentialKind, HeldRole, KeyFacts, Material, Permit, Principal,
    Question, Role, Subject, SubjectRef, Target, World,
};

/// The permit that a caller with this role gets for this action, on a key of which nothing is known
/// where the action is on one.
pub(crate) fn permit(principal: &Principal, role: Role, action: Action) -> Permit {
    let held = vec![HeldRole { role: role.into(), expire_time: None }];
    let bindings = vec![(SubjectRef::Principal(principal.id().clone()), held)];
    let world = World::new(principal.tenant(), Material { bindings, ..Material::default() });
    let no_key = KeyFacts::none();
    let target = if action.is_on_key() { Target::Key(&no_key) } else { Target::Tenant };
    let circumstances = Circumstances {
        now: Timestamp::from_unix_ms(1),
        source: None,
        environment: "development",
        encryption_context: &[],
    };
    let subject = Subject::new(principal.clone(), CredentialKind::Certificate);
    let question =
        Question { subject: &subject, action, target, whom: None, circumstances: &circumstances };
    world.decide(&question).unwrap()
}
