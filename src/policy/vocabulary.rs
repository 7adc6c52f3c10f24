//! The words that policies are written in: the schema, and its names as Cedar wants them.
//!
//! All of it comes out of `schema.cedarschema`, parsed once: naming a type anew for each decision is what
//! is slow in Cedar. If the schema did not parse, every decision would be a refusal; a test proves that it
//! does, and that it has exactly the actions of [`Action::ALL`].

use std::collections::HashMap;
use std::sync::LazyLock;

use cedar_policy::{EntityId, EntityTypeName, EntityUid, Schema, Validator};

use crate::policy::action::Action;
use crate::policy::action_set::ActionSet;

/// What policies may speak of, in the Cedar schema language.
pub const SCHEMA: &str = include_str!("schema.cedarschema");

/// The schema, and each of its names.
pub(super) struct Vocabulary {
    /// Validates policies.
    pub(super) validator: Validator,
    pub(super) principal: EntityTypeName,
    pub(super) group: EntityTypeName,
    pub(super) role: EntityTypeName,
    pub(super) relation: EntityTypeName,
    pub(super) key_ring: EntityTypeName,
    pub(super) key: EntityTypeName,
    pub(super) tenant: EntityTypeName,
    pub(super) encryption_context: EntityTypeName,
    pub(super) claims: EntityTypeName,
    action: EntityTypeName,
    /// By the names of actions and of groups of actions: which actions that are.
    actions: HashMap<String, ActionSet>,
}

/// The schema could not be used. A defect of this program: nothing is allowed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct NoVocabulary;

/// The one vocabulary of the program.
pub(super) fn vocabulary() -> Result<&'static Vocabulary, NoVocabulary> {
    static VOCABULARY: LazyLock<Option<Vocabulary>> = LazyLock::new(Vocabulary::read);
    VOCABULARY.as_ref().ok_or(NoVocabulary)
}

// === impl Vocabulary ===

impl Vocabulary {
    fn read() -> Option<Self> {
        let (schema, _) = Schema::from_cedarschema_str(SCHEMA).ok()?;
        let named = |name: &str| format!("Bulla::{name}").parse::<EntityTypeName>().ok();
        let action = named("Action")?;
        let entities = schema.action_entities().ok()?;
        let mut actions: HashMap<String, ActionSet> = HashMap::new();
        for one in Action::ALL {
            let uid = EntityUid::from_type_name_and_id(action.clone(), EntityId::new(one.name()));
            let groups = entities.ancestors(&uid).into_iter().flatten();
            let names = groups.map(|group| group.id().unescaped().to_owned());
            for name in names.chain([one.name().to_owned()]) {
                let known = actions.entry(name).or_default();
                *known = known.or(ActionSet::of(*one));
            }
        }
        Some(Self {
            validator: Validator::new(schema),
            principal: named("Principal")?,
            group: named("Group")?,
            role: named("Role")?,
            relation: named("Relation")?,
            key_ring: named("KeyRing")?,
            key: named("Key")?,
            tenant: named("Tenant")?,
            encryption_context: named("EncryptionContext")?,
            claims: named("Claims")?,
            action,
            actions,
        })
    }

    /// Which actions an entity of a policy's scope stands for.
    pub(super) fn actions_of(&self, uid: &EntityUid) -> ActionSet {
        match *uid.type_name() == self.action {
            true => self.actions.get(uid.id().unescaped()).copied().unwrap_or_default(),
            false => ActionSet::EMPTY,
        }
    }

    /// The entity of an action.
    pub(super) fn action_uid(&self, name: &str) -> EntityUid {
        EntityUid::from_type_name_and_id(self.action.clone(), EntityId::new(name))
    }

    /// The names of the groups that an action is in.
    pub(super) fn groups_of(&self, action: Action) -> impl Iterator<Item = &str> {
        let groups = self
            .actions
            .iter()
            .filter(move |(name, set)| set.holds(action) && name.as_str() != action.name());
        groups.map(|(name, _)| name.as_str())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn d02_the_schema_has_exactly_the_actions_that_the_program_knows() {
        let schema = vocabulary().unwrap().validator.schema();
        let groups: BTreeSet<_> = schema.action_groups().map(|uid| uid.id().unescaped()).collect();
        let known: BTreeSet<_> = schema.actions().map(|uid| uid.id().unescaped()).collect();
        let own: BTreeSet<_> = Action::ALL.iter().map(|action| action.name()).collect();
        assert_eq!(known.difference(&groups).copied().collect::<BTreeSet<_>>(), own);
        assert_eq!(
            groups,
            BTreeSet::from([
                "approve",
                "audit",
                "manage_access",
                "manage_keys",
                "manage_tenants",
                "operate",
                "rewrap_keys",
                "use_keys",
                "view_access",
                "view_keys",
            ])
        );
    }

    #[test]
    fn d02_each_action_is_on_what_the_schema_says_that_it_is_on() {
        let words = vocabulary().unwrap();
        for action in Action::ALL {
            let uid = words.action_uid(action.name());
            let resources: Vec<_> =
                words.validator.schema().resources_for_action(&uid).unwrap().collect();
            let expected = if action.is_on_key() { &words.key } else { &words.tenant };
            assert_eq!(resources, [expected], "{action:?}");
            assert_eq!(words.actions_of(&uid), ActionSet::of(*action));
        }
    }

    #[test]
    fn the_groups_of_actions_say_the_same_as_the_table_of_actions() {
        let words = vocabulary().unwrap();
        let group = |name: &str| words.actions_of(&words.action_uid(name));
        let manages = group("manage_access").or(group("manage_tenants"));
        let manages = manages.each().filter(|action| action.manages_access());
        let table = Action::ALL.iter().copied().filter(|action| action.manages_access());
        assert!(manages.eq(table));
        let uses = group("use_keys").or(group("rewrap_keys"));
        assert!(ActionSet::all(Action::uses_keys).each().all(|action| uses.holds(action)));
        assert!(uses.and(ActionSet::all(Action::manages_access)).is_empty());
        let of: Vec<_> = words.groups_of(Action::GetKey).collect();
        assert_eq!(of, ["view_keys"]);
        assert!(words.actions_of(&words.action_uid("no.such")).is_empty());
    }
}
