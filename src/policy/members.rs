//! Whom a change of groups reaches, and the roles that they would then hold: asked before a role is given
//! to a group and before somebody becomes a member. Never a decision, which looks again by itself.

use std::collections::{HashMap, HashSet};

use crate::keys::Timestamp;
use crate::policy::material::SubjectRef;
use crate::policy::principal::PrincipalId;
use crate::policy::relation::{MAX_GROUPS, Object, Relation, RelationName};
use crate::policy::role::RoleName;
use crate::policy::subject::GroupName;
use crate::policy::world::World;

/// Members of groups as they would be once tuples were added and others removed.
pub struct Membership<'w> {
    world: &'w World,
    above: HashMap<&'w SubjectRef, Vec<&'w GroupName>>,
    below: HashMap<&'w GroupName, Vec<&'w SubjectRef>>,
}

// === impl Membership ===

impl<'w> Membership<'w> {
    /// As it would be.
    pub fn after(world: &'w World, added: &'w [Relation], removed: &[Relation]) -> Self {
        let gone: HashSet<&Relation> = removed.iter().collect();
        let kept = world.relations().iter().filter(|tuple| !gone.contains(tuple));
        let mut all = Self { world, above: HashMap::new(), below: HashMap::new() };
        for tuple in kept.chain(added) {
            if let Object::Group(group) = &tuple.object
                && tuple.name == RelationName::Member
            {
                all.above.entry(&tuple.subject).or_default().push(group);
                all.below.entry(group).or_default().push(&tuple.subject);
            }
        }
        all
    }

    /// The principals that are members of a group, itself or by groups in it; each once.
    pub fn members(&self, group: &GroupName) -> Vec<&'w PrincipalId> {
        let mut seen: HashSet<&SubjectRef> = HashSet::new();
        let mut members = Vec::new();
        let mut next: Vec<&SubjectRef> =
            self.below.get(group).into_iter().flatten().copied().collect();
        while let Some(subject) = next.pop() {
            if !seen.insert(subject) {
                continue;
            }
            match subject {
                SubjectRef::Principal(id) => members.push(id),
                SubjectRef::Members(inner) => {
                    next.extend(self.below.get(inner).into_iter().flatten().copied());
                }
            }
        }
        members.sort_unstable();
        members
    }

    /// The roles that a subject would hold at `now`, itself or by groups. Of whoever is in more groups
    /// than are followed, those of the first: a decision about it denies everything.
    pub fn roles(&self, subject: &SubjectRef, now: Timestamp) -> Vec<RoleName> {
        let mut found: HashSet<&GroupName> = HashSet::new();
        let mut next: Vec<&GroupName> =
            self.above.get(subject).into_iter().flatten().copied().collect();
        if let SubjectRef::Members(group) = subject {
            next.push(group);
        }
        while let Some(group) = next.pop() {
            if found.len() <= MAX_GROUPS && found.insert(group) {
                let of_group = SubjectRef::Members(group.clone());
                next.extend(self.above.get(&of_group).into_iter().flatten().copied());
            }
        }
        let groups = found.into_iter().map(|group| SubjectRef::Members(group.clone()));
        let mut roles = Vec::new();
        for holder in groups.chain([subject.clone()]) {
            let held = self.world.bound(&holder).iter();
            let held = held.filter(|held| held.expire_time.is_none_or(|end| now < end));
            roles.extend(held.map(|held| held.role.clone()));
        }
        roles.sort_unstable();
        roles.dedup();
        roles
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::keys::TenantId;
    use crate::policy::HeldRole;
    use crate::policy::material::Material;

    fn group(name: &str) -> GroupName {
        GroupName::parse(name).unwrap()
    }

    fn subject(text: &str) -> SubjectRef {
        SubjectRef::parse(text).unwrap()
    }

    fn member(of: &str, who: &str) -> Relation {
        let object = Object::Group(group(of));
        Relation { object, name: RelationName::Member, subject: subject(who) }
    }

    fn held(role: &str, until: Option<i64>) -> HeldRole {
        let expire_time = until.map(Timestamp::from_unix_ms);
        HeldRole { role: RoleName::parse(role).unwrap(), expire_time }
    }

    fn names<T: ToString>(all: &[T]) -> Vec<String> {
        all.iter().map(ToString::to_string).collect()
    }

    fn world(relations: Vec<Relation>) -> World {
        let bindings = vec![
            (subject(ANN), vec![held("auditor", None)]),
            (
                subject("group:team#member"),
                vec![held("key-user", None), held("operator", Some(50))],
            ),
            (subject("group:all#member"), vec![held("auditor", None), held("approver", Some(51))]),
        ];
        World::new(
            TenantId::from_bytes([1; 16]),
            Material { relations, bindings, ..Material::default() },
        )
    }

    #[test]
    fn d13_members_are_those_after_the_change_each_once_and_through_groups() {
        let viewer = Relation { name: RelationName::Viewer, ..member("team", EVE) };
        let kept = vec![member("team", ANN), member("team", BOB), member("all", TEAM), viewer];
        let world = world(kept);
        let added = [member("all", ANN), member("team", "group:all#member")];
        let after = Membership::after(&world, &added, &[member("team", BOB)]);
        assert_eq!(names(&after.members(&group("all"))), [ANN]);
        assert_eq!(names(&after.members(&group("team"))), [ANN]);
        let before = Membership::after(&world, &[], &[]);
        assert_eq!(names(&before.members(&group("all"))), [ANN, BOB]);
        assert_eq!(names(&before.members(&group("none"))), [""; 0]);
    }

    #[test]
    fn d07_roles_are_ones_own_and_those_of_all_groups_while_they_last() {
        let world = world(vec![member("team", ANN), member("all", TEAM)]);
        let after = Membership::after(&world, &[], &[]);
        let at = |who: &str, now| names(&after.roles(&subject(who), Timestamp::from_unix_ms(now)));
        assert_eq!(at(ANN, 49), ["approver", "auditor", "key-user", "operator"]);
        assert_eq!(at(ANN, 50), ["approver", "auditor", "key-user"]);
        assert_eq!(at(ANN, 51), ["auditor", "key-user"]);
        assert_eq!(at(TEAM, 51), ["auditor", "key-user"]);
        assert_eq!(at(BOB, 0), [""; 0]);
        // Of a cycle, each once; and of more groups than are followed, no more.
        let many: Vec<_> =
            (0..2 * MAX_GROUPS).map(|number| member(&format!("g{number}"), BOB)).collect();
        let mut all = many.clone();
        all.push(member("g0", "group:g1#member"));
        all.push(member("g1", "group:g0#member"));
        let bindings = (0..2 * MAX_GROUPS)
            .map(|number| {
                let role = held(&format!("role-of-{number}"), None);
                (subject(&format!("group:g{number}#member")), vec![role])
            })
            .collect();
        let tenant = TenantId::from_bytes([1; 16]);
        let wide = World::new(tenant, Material { bindings, ..Material::default() });
        let after = Membership::after(&wide, &all, &[]);
        let roles = after.roles(&subject(BOB), Timestamp::from_unix_ms(0));
        assert_eq!(roles.len(), MAX_GROUPS + 1);
        let few = Membership::after(&wide, all.split_at(2).0, &[]);
        assert_eq!(few.roles(&subject(BOB), Timestamp::from_unix_ms(0)).len(), 2);
    }

    const ANN: &str = "spiffe://demo.bulla/ann";
    const BOB: &str = "spiffe://demo.bulla/bob";
    const EVE: &str = "spiffe://demo.bulla/eve";
    const TEAM: &str = "group:team#member";
}
