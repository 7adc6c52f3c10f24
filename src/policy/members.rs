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
