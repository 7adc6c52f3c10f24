//! Who stands in which relation to what: tuples, and what follows from them.
//!
//! Groups nest: whoever is a member of a member is a member. Cycles are harmless. What holds for a ring
//! holds for the keys and rings in it. Both walks are bounded, and a subject whose groups are more than
//! the bound is refused: a walk that stopped early could have missed the group that a policy forbids.

use std::collections::{HashMap, HashSet};

use crate::keys::{KeyId, KeyRing};
use crate::policy::material::SubjectRef;
use crate::policy::principal::PrincipalId;
use crate::policy::question::KeyFacts;
use crate::policy::subject::GroupName;

/// `object#relation@subject`.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Relation {
    /// To what.
    pub object: Object,
    /// How it is related. A group has members and nothing else; nothing else has members.
    pub name: RelationName,
    /// Who.
    pub subject: SubjectRef,
}

/// What a relation is to.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum Object {
    /// `group:NAME`
    Group(GroupName),
    /// `ring:PATH`; what holds for a ring holds for the keys and rings in it.
    Ring(KeyRing),
    /// `key:UUID`
    Key(KeyId),
}

/// The relations that there are.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum RelationName {
    /// Of a group.
    Member,
    /// May use the key.
    User,
    /// May move its blobs.
    Rewrapper,
    /// May manage it.
    Manager,
    /// May see it.
    Viewer,
}

/// The relations in which a subject stands to a key.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct Related(u8);

/// All tuples of a tenant, by what is asked of them.
#[derive(Default)]
pub(super) struct Graph {
    member_of: HashMap<SubjectRef, Vec<GroupName>>,
    keys: HashMap<KeyId, HashMap<SubjectRef, Related>>,
    rings: HashMap<Box<str>, HashMap<SubjectRef, Related>>,
}

/// A subject is in more groups, or in deeper ones, than are followed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct TooManyGroups;

/// The most groups that one subject may be in.
pub(super) const MAX_GROUPS: usize = 256;

/// How deep groups may nest.
pub(super) const MAX_GROUP_DEPTH: usize = 16;

// === impl RelationName ===

impl RelationName {
    /// Every relation to a key or ring.
    pub const ON_KEYS: [Self; 4] = [Self::User, Self::Rewrapper, Self::Manager, Self::Viewer];

    /// The name in tuples and in policies.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Member => "member",
            Self::User => "user",
            Self::Rewrapper => "rewrapper",
            Self::Manager => "manager",
            Self::Viewer => "viewer",
        }
    }

    /// The relation to a key or ring with this name.
    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ON_KEYS.into_iter().find(|relation| relation.name() == name)
    }
}

// === impl Related ===

impl Related {
    fn of(name: RelationName) -> Self {
        Self(1_u8.checked_shl(name as u32).unwrap_or_default())
    }

    pub(super) fn holds(self, name: RelationName) -> bool {
        self.0 & Self::of(name).0 != 0
    }

    pub(super) fn each(self) -> impl Iterator<Item = RelationName> {
        RelationName::ON_KEYS.into_iter().filter(move |name| self.holds(*name))
    }

    fn add(&mut self, other: Self) {
        self.0 |= other.0;
    }
}

// === impl Graph ===

impl Graph {
    /// Of these tuples. One that says what no tuple can say (a member of a key) says nothing.
    pub(super) fn new(relations: &[Relation]) -> Self {
        let mut graph = Self::default();
        for Relation { object, name, subject } in relations {
            let held = match (object, name) {
                (Object::Group(group), RelationName::Member) => {
                    graph.member_of.entry(subject.clone()).or_default().push(group.clone());
                    continue;
                }
                (Object::Group(_), _) | (_, RelationName::Member) => continue,
                (Object::Key(key), _) => graph.keys.entry(*key).or_default(),
                (Object::Ring(ring), _) => graph.rings.entry(ring.as_str().into()).or_default(),
            };
            held.entry(subject.clone()).or_default().add(Related::of(*name));
        }
        graph
    }

    /// All groups that a principal is in: those that its proof asserts, those that tuples make it a member
    /// of, and those that these are in.
    pub(super) fn groups_of(
        &self,
        principal: &PrincipalId,
        asserted: &[GroupName],
    ) -> Result<Vec<GroupName>, TooManyGroups> {
        let mut found: Vec<GroupName> = Vec::new();
        let mut seen: HashSet<GroupName> = HashSet::new();
        let of_principal = SubjectRef::Principal(principal.clone());
        let mut next: Vec<GroupName> = asserted.to_vec();
        next.extend(self.member_of.get(&of_principal).into_iter().flatten().cloned());
        let mut depth = 0_usize;
        while !next.is_empty() {
            let mut deeper = Vec::new();
            for group in next {
                if !seen.insert(group.clone()) {
                    continue;
                }
                if found.len() >= MAX_GROUPS || depth >= MAX_GROUP_DEPTH {
                    return Err(TooManyGroups);
                }
                let above = self.member_of.get(&SubjectRef::Members(group.clone()));
                deeper.extend(above.into_iter().flatten().cloned());
                found.push(group);
            }
            next = deeper;
            depth = depth.saturating_add(1);
        }
        found.sort_unstable();
        Ok(found)
    }

    /// How a principal that is in these groups stands to a key.
    pub(super) fn related(
        &self,
        principal: &PrincipalId,
        groups: &[GroupName],
        key: &KeyFacts,
    ) -> Related {
        let mut related = Related::default();
        let rings = key.ring.iter().flat_map(|ring| chain(ring.as_str()));
        let objects = rings.filter_map(|ring| self.rings.get(ring));
        for held in objects.chain(self.keys.get(&key.id)) {
            let by = |subject: &SubjectRef| held.get(subject).copied().unwrap_or_default();
            related.add(by(&SubjectRef::Principal(principal.clone())));
            for group in groups {
                related.add(by(&SubjectRef::Members(group.clone())));
            }
        }
        related
    }

    /// The keys that a tuple names.
    pub(super) fn keys(&self) -> impl Iterator<Item = KeyId> {
        self.keys.keys().copied()
    }
}

/// A ring's path and those of the rings that it lies in, outermost first.
pub(super) fn chain(ring: &str) -> impl Iterator<Item = &str> {
    let ends = ring.match_indices('/').map(|(end, _)| end).chain([ring.len()]);
    ends.filter_map(|end| ring.get(..end))
}
