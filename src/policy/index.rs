//! Which policies can apply: found by scope, at the same cost among a hundred or a hundred thousand.
//!
//! A policy stands in exactly one place of the index: by whom its scope names, then by where. A question
//! looks at the places of whom it is about (anyone, the principal, its groups, roles and relations) and of
//! where it is (anywhere, the key, its ring and the rings around that).

use std::collections::{HashMap, HashSet};

use crate::keys::{KeyId, TenantId};
use crate::policy::action_set::ActionSet;
use crate::policy::material::Grant;
use crate::policy::parsed::ParsedPolicy;
use crate::policy::reach::{Place, Reach, Whose};
use crate::policy::relation::{Related, chain};

/// All scopes of a tenant's policies and grants, by whom and where.
#[derive(Default)]
pub(super) struct Index {
    by_whom: HashMap<Whose, Places>,
    keys: HashSet<KeyId>,
}

/// Where the policies about somebody are.
#[derive(Default)]
struct Places {
    anywhere: Vec<Entry>,
    keys: HashMap<KeyId, Vec<Entry>>,
    rings: HashMap<Box<str>, Vec<Entry>>,
}

/// One policy: what its scope says of actions, and its place in the list of all.
#[derive(Clone, Copy)]
struct Entry {
    actions: ActionSet,
    rule: usize,
}

/// Whom a question is about.
pub(super) struct Whom<'a> {
    /// Anyone, the principal, its groups and roles.
    pub(super) whose: &'a [Whose],
    /// How it stands to the key.
    pub(super) related: Related,
}

/// Where it is: on a key, which may lie in a ring; or nowhere, for the tenant.
#[derive(Clone, Copy)]
pub(super) struct Spot<'a> {
    pub(super) key: Option<KeyId>,
    pub(super) ring: Option<&'a str>,
}

// === impl Index ===

impl Index {
    /// Adds a policy, unless its scope is about another tenant or nobody.
    pub(super) fn add_policy(&mut self, policy: &ParsedPolicy, tenant: TenantId, rule: usize) {
        let here = policy.tenant.is_none_or(|named| named == tenant);
        if here && policy.reach.whose != Whose::Nobody && !policy.reach.actions.is_empty() {
            self.add(policy.reach.clone(), rule);
        }
    }

    /// Adds a grant.
    pub(super) fn add_grant(&mut self, grant: &Grant, rule: usize) {
        let named = grant.actions.iter().filter(|action| action.is_grantable());
        let actions = named.fold(ActionSet::EMPTY, |set, action| set.or(ActionSet::of(*action)));
        let whose = Whose::Principal(grant.principal.as_str().into());
        self.add(Reach { whose, actions, place: Place::Key(grant.key) }, rule);
    }

    fn add(&mut self, reach: Reach, rule: usize) {
        let entry = Entry { actions: reach.actions, rule };
        let places = self.by_whom.entry(reach.whose).or_default();
        match reach.place {
            Place::Anywhere => places.anywhere.push(entry),
            Place::Ring(ring) => places.rings.entry(ring).or_default().push(entry),
            Place::Key(key) => {
                self.keys.insert(key);
                places.keys.entry(key).or_default().push(entry);
            }
        }
    }

    /// Says that the key is one about which something special is said.
    pub(super) fn name_keys(&mut self, keys: impl Iterator<Item = KeyId>) {
        self.keys.extend(keys);
    }

    /// Whether anything is said about just this key.
    pub(super) fn names(&self, key: KeyId) -> bool {
        self.keys.contains(&key)
    }

    /// Every policy whose scope holds for some of these actions there, with which of them.
    pub(super) fn find(
        &self,
        whom: &Whom<'_>,
        spot: Spot<'_>,
        actions: ActionSet,
    ) -> Vec<(usize, ActionSet)> {
        let mut found = Vec::new();
        let mut look = |whose: &Whose| {
            if let Some(places) = self.by_whom.get(whose) {
                places.find(spot, actions, &mut found);
            }
        };
        whom.whose.iter().for_each(&mut look);
        whom.related.each().for_each(|relation| look(&Whose::Relation(relation)));
        found.sort_unstable_by_key(|(rule, _)| *rule);
        found
    }
}

// === impl Places ===

impl Places {
    fn find(&self, spot: Spot<'_>, actions: ActionSet, found: &mut Vec<(usize, ActionSet)>) {
        let of_key = spot.key.and_then(|key| self.keys.get(&key));
        let rings = spot.ring.into_iter().flat_map(chain);
        let of_rings = rings.filter_map(|ring| self.rings.get(ring));
        for entry in self.anywhere.iter().chain(of_key.into_iter().chain(of_rings).flatten()) {
            let wanted = entry.actions.and(actions);
            if !wanted.is_empty() {
                found.push((entry.rule, wanted));
            }
        }
    }
}
