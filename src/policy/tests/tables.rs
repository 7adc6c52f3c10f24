//! Every role and relation against every action.

use super::*;
use crate::keys::Use;
use crate::policy::{ProgramRole, Role, decide_internal};

fn in_tenant(tenant: TenantId, mut asked: Asked) -> Asked {
    asked.subject.principal = Principal::new(asked.subject.principal.id().clone(), tenant);
    asked
}

#[test]
fn d02_every_role_may_take_exactly_the_actions_of_its_table() {
    for is_installation in [false, true] {
        let tenant = TENANT;
        for role in Role::ALL {
            let bindings = vec![bound(APP, &[role.name()])];
            let world =
                World::new(tenant, Material { bindings, is_installation, ..Material::default() });
            for action in Action::ALL {
                let of_installation = action.name().starts_with("tenants.");
                let given =
                    role.actions().contains(action) && (!of_installation || is_installation);
                let expected = match (given, action) {
                    (_, Action::WhoAmI | Action::ExchangeToken | Action::RetireGrant) => Ok(vec![]),
                    (true, _) => Ok(vec![format!("role-{role}")]),
                    (false, _) => Err(Denied::NoPolicy),
                };
                let asked = in_tenant(tenant, Asked::new(APP, *action));
                assert_eq!(asked.answer(&world), expected, "{role} {action:?}");
                let stranger = in_tenant(tenant, Asked::new(OTHER, *action));
                assert_eq!(stranger.of(&world).is_ok(), action.needs_no_policy(), "{action:?}");
            }
        }
    }
}

#[test]
fn d02_every_relation_gives_its_actions_on_what_it_is_to_and_nowhere_else() {
    let near = facts(1, "payments/cards/eu");
    let (sibling, top) = (facts(2, "payments/cards-old"), facts(3, ""));
    for relation in RelationName::ON_KEYS {
        let policy = format!("relation-{}", relation.name());
        let ring = Object::Ring(KeyRing::parse("payments/cards").unwrap());
        for object in [Object::Key(near.id), ring] {
            for subject in [APP, "group:team#member"] {
                let relations = vec![
                    related(object.clone(), relation, subject),
                    member("team", "group:inner#member"),
                    member("inner", APP),
                ];
                let world = world_of(Material { relations, ..Material::default() });
                for action in Action::ALL.iter().filter(|action| !action.needs_no_policy()) {
                    let asked = Asked::new(APP, *action);
                    let given = action.is_on_key() && gives(relation, *action);
                    let expected =
                        if given { Ok(vec![policy.clone()]) } else { Err(Denied::NoPolicy) };
                    if action.is_on_key() {
                        assert_eq!(asked.clone().on(near.clone()).answer(&world), expected);
                        for elsewhere in [&sibling, &top] {
                            let asked = asked.clone().on(elsewhere.clone());
                            assert_eq!(asked.answer(&world), Err(Denied::NoPolicy), "{action:?}");
                        }
                    } else {
                        assert_eq!(asked.answer(&world), Err(Denied::NoPolicy), "{action:?}");
                    }
                }
            }
        }
    }
}

/// What the relations give, said once more.
fn gives(relation: RelationName, action: Action) -> bool {
    use Action::*;
    let views =
        [Inspect, GetKey, ListVersions, GetVersion, GetCensus, RetireCheck, GetLadder, GetExposure];
    let name = action.name();
    match relation {
        RelationName::User => matches!(
            action,
            GenerateDataKey
                | GenerateDataKeyWithoutPlaintext
                | Encrypt
                | Decrypt
                | Inspect
                | GetKey
        ),
        RelationName::Rewrapper => matches!(
            action,
            ReEncryptFrom
                | ReEncryptTo
                | Inspect
                | BeginScan
                | ReportScan
                | GetKey
                | GetVersion
                | ListVersions
        ),
        RelationName::Viewer => views.contains(&action),
        RelationName::Manager => {
            views.contains(&action)
                || matches!(action, WaiveUnnamedStore | CreateCampaign | SetLadder | ResumeLadder)
                || (name.starts_with("keys.")
                    && !matches!(action, DestroyVersion | ScheduleDestroyNotSafe))
        }
        RelationName::Member => false,
    }
}

#[test]
fn d14_the_programs_own_roles_have_their_table_and_no_row_gives_them() {
    let principal = subject(APP).principal;
    for program in ProgramRole::ALL {
        let role = program.role();
        assert!(RoleName::parse(role.name()).is_err());
        assert!(!Role::ALL.contains(&role), "no row can give {role}");
        for action in Action::ALL {
            let permit = decide_internal(&principal, program, *action);
            assert_eq!(permit.is_ok(), role.actions().contains(action), "{role} {action:?}");
        }
    }
    let permit = decide_internal(&principal, ProgramRole::Scheduler, Action::RotateKey).unwrap();
    assert!(permit.opens(facts(1, "").id) && permit.decided_by().is_empty());
}

#[test]
fn d03_a_permit_says_who_may_do_what_and_covers_the_uses_of_its_action_alone() {
    let world =
        world_of(Material { bindings: vec![bound(APP, &["key-user"])], ..Material::default() });
    let decrypt = Asked::new(APP, Action::Decrypt).of(&world).unwrap();
    assert_eq!(decrypt.to_string(), "spiffe://demo.bulla/app may crypto.decrypt");
    assert!(decrypt.covers(Use::Decrypt) && !decrypt.covers(Use::Wrap));
    let encrypt = Asked::new(APP, Action::Encrypt).of(&world).unwrap();
    assert!(encrypt.covers(Use::Wrap) && !encrypt.covers(Use::Decrypt));
}
