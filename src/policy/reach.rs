//! What a policy's scope reaches: whom, which actions, and where. The index is made of these.
//!
//! It says exactly what the scope says, so that a policy without conditions needs no evaluation: that
//! the answers are those of Cedar's own evaluation of the whole text is proved on random worlds.

use cedar_policy::{
    ActionConstraint, EntityTypeName, EntityUid, Policy, PrincipalConstraint, ResourceConstraint,
};

use crate::keys::{KeyId, TenantId};
use crate::policy::action::Action;
use crate::policy::action_set::ActionSet;
use crate::policy::relation::RelationName;
use crate::policy::vocabulary::Vocabulary;

/// Whom, what and where.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Reach {
    pub(super) whose: Whose,
    pub(super) actions: ActionSet,
    pub(super) place: Place,
}

/// The principals that a scope is about.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Whose {
    Anyone,
    Nobody,
    Principal(Box<str>),
    Group(Box<str>),
    Role(Box<str>),
    Relation(RelationName),
}

/// The resources that a scope is about. Whether it is a key or the tenant follows from the action, so
/// that a scope on one kind is a scope on fewer actions.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub(super) enum Place {
    Anywhere,
    Key(KeyId),
    Ring(Box<str>),
}

// === impl Reach ===

impl Reach {
    /// What the policy's scope says, in this tenant.
    pub(super) fn of(policy: &Policy, words: &Vocabulary) -> (Self, Option<TenantId>) {
        let whose = match policy.principal_constraint() {
            PrincipalConstraint::Any => Whose::Anyone,
            PrincipalConstraint::Eq(uid) if *uid.type_name() == words.principal => {
                Whose::Principal(uid.id().unescaped().into())
            }
            PrincipalConstraint::Eq(_) => Whose::Nobody,
            PrincipalConstraint::In(uid) => Whose::inside(&uid, words),
            PrincipalConstraint::Is(kind) if kind == words.principal => Whose::Anyone,
            PrincipalConstraint::IsIn(kind, uid) if kind == words.principal => {
                Whose::inside(&uid, words)
            }
            PrincipalConstraint::Is(_) | PrincipalConstraint::IsIn(..) => Whose::Nobody,
        };
        let actions = match policy.action_constraint() {
            ActionConstraint::Any => ActionSet::all(|_| true),
            ActionConstraint::Eq(uid) => {
                let named = Action::named(uid.id().unescaped()).map(ActionSet::of);
                words.actions_of(&uid).and(named.unwrap_or_default())
            }
            ActionConstraint::In(uids) => {
                uids.iter().fold(ActionSet::EMPTY, |set, uid| set.or(words.actions_of(uid)))
            }
        };
        let (place, kinds, tenant) = where_of(policy.resource_constraint(), words);
        let actions = match whose {
            // Nobody stands in a relation to the tenant.
            Whose::Relation(_) => actions.and(ActionSet::all(Action::is_on_key)),
            _ => actions,
        };
        (Self { whose, actions: actions.and(kinds), place }, tenant)
    }
}

// === impl Whose ===

impl Whose {
    fn inside(uid: &EntityUid, words: &Vocabulary) -> Self {
        let (kind, id) = (uid.type_name(), uid.id().unescaped());
        if *kind == words.group {
            Self::Group(id.into())
        } else if *kind == words.role {
            Self::Role(id.into())
        } else if *kind == words.relation {
            RelationName::named(id).map_or(Self::Nobody, Self::Relation)
        } else if *kind == words.principal {
            Self::Principal(id.into())
        } else {
            Self::Nobody
        }
    }
}

/// Where a scope is, which actions there can be there, and in which tenant if it says so.
fn where_of(
    constraint: ResourceConstraint,
    words: &Vocabulary,
) -> (Place, ActionSet, Option<TenantId>) {
    let on_keys = ActionSet::all(Action::is_on_key);
    let on_tenant = ActionSet::all(|action| !action.is_on_key());
    let nowhere = (Place::Anywhere, ActionSet::EMPTY, None);
    let is = |kind: &EntityTypeName| match kind {
        kind if *kind == words.key => on_keys,
        kind if *kind == words.tenant => on_tenant,
        _ => ActionSet::EMPTY,
    };
    let one = |uid: &EntityUid, kinds: ActionSet| {
        let (kind, id) = (uid.type_name(), uid.id().unescaped());
        if *kind == words.key {
            let key = KeyId::parse(id);
            key.map_or(nowhere.clone(), |key| (Place::Key(key), kinds.and(on_keys), None))
        } else if *kind == words.tenant {
            let tenant = TenantId::parse(id);
            tenant.map_or(nowhere.clone(), |tenant| {
                (Place::Anywhere, kinds.and(on_tenant), Some(tenant))
            })
        } else {
            nowhere.clone()
        }
    };
    let inside = |uid: &EntityUid, kinds: ActionSet| match *uid.type_name() == words.key_ring {
        true => (Place::Ring(uid.id().unescaped().into()), kinds.and(on_keys), None),
        false => one(uid, kinds),
    };
    match constraint {
        ResourceConstraint::Any => (Place::Anywhere, on_keys.or(on_tenant), None),
        ResourceConstraint::Is(kind) => (Place::Anywhere, is(&kind), None),
        ResourceConstraint::Eq(uid) => one(&uid, on_keys.or(on_tenant)),
        ResourceConstraint::In(uid) => inside(&uid, on_keys.or(on_tenant)),
        ResourceConstraint::IsIn(kind, uid) => inside(&uid, is(&kind)),
    }
}
