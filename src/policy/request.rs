//! A question in Cedar's words: the request, and the entities that it speaks of.
//!
//! Only what the conditions read is built: an entity that nothing asks about changes no answer, and building
//! is most of what a decision costs. Neither is validated against the schema on each call, because typed
//! code builds them and validation would cost more than all the rest; tests validate every shape.

use std::collections::{HashMap, HashSet};

use cedar_policy::{
    Context, Entities, Entity, EntityId, EntityTypeName, EntityUid, Request, RestrictedExpression,
};

use crate::keys::TenantId;
use crate::policy::action::Action;
use crate::policy::condition::{Reads, Unevaluable};
use crate::policy::pairs::Pairs;
use crate::policy::question::{Circumstances, KeyFacts};
use crate::policy::relation::{Related, chain};
use crate::policy::role::RoleName;
use crate::policy::standing::Standing;
use crate::policy::subject::{GroupName, Subject};
use crate::policy::vocabulary::Vocabulary;

/// Everything that a request is built from.
pub(super) struct Facts<'a> {
    pub(super) words: &'a Vocabulary,
    pub(super) tenant: TenantId,
    pub(super) subject: &'a Subject,
    pub(super) standing: &'a Standing,
    pub(super) related: Related,
    /// Of the end user, where there is one.
    pub(super) end_user: Option<&'a Standing>,
    pub(super) action: Action,
    pub(super) key: Option<&'a KeyFacts>,
    /// Which pairs of the encryption context are read.
    pub(super) pairs: &'a Pairs,
    pub(super) circumstances: &'a Circumstances<'a>,
}

// === impl Facts ===

impl Facts<'_> {
    /// The request, with the attributes that are read.
    pub(super) fn request(&self, reads: Reads) -> Result<Request, Unevaluable> {
        let principal = uid(&self.words.principal, self.subject.principal.id().as_str());
        let action = self.words.action_uid(self.action.name());
        let context = Context::from_pairs(self.attributes(reads)).map_err(unevaluable)?;
        Request::new(principal, action, self.resource(), context, None).map_err(unevaluable)
    }

    /// The entities that are read.
    pub(super) fn entities(&self, reads: Reads) -> Result<Entities, Unevaluable> {
        let mut entities = Vec::with_capacity(4);
        let principal = self.subject.principal.id();
        let end_user = self.subject.end_user.as_ref();
        let is_end_user = end_user == Some(principal) && reads.holds(Reads::END_USER);
        if reads.holds(Reads::PRINCIPAL) || is_end_user {
            let (groups, roles) = (self.standing.groups(), self.standing.roles.as_slice());
            entities.push(self.person(principal.as_str(), groups, roles, self.related));
        }
        if let (Some(id), Some(standing), false) = (end_user, self.end_user, is_end_user)
            && reads.holds(Reads::END_USER)
        {
            let (groups, roles) = (standing.groups(), standing.roles.as_slice());
            entities.push(self.person(id.as_str(), groups, roles, Related::default()));
        }
        if let (Some(key), true) = (self.key, reads.holds(Reads::RESOURCE)) {
            let rings = key.ring.iter().flat_map(|ring| chain(ring.as_str()));
            let parents = rings.map(|ring| uid(&self.words.key_ring, ring)).collect();
            entities.push(tagged(self.resource(), parents, pairs(&key.tags))?);
        }
        if reads.holds(Reads::ACTION) {
            let of = self.words.groups_of(self.action);
            let groups = of.map(|group| self.words.action_uid(group)).collect();
            entities.push(Entity::new_no_attrs(self.words.action_uid(self.action.name()), groups));
        }
        if reads.holds(Reads::ENCRYPTION_CONTEXT) {
            let pairs = self.pairs.among(self.circumstances.encryption_context);
            entities.push(tagged(self.encryption_context(), HashSet::new(), pairs)?);
        }
        if reads.holds(Reads::CLAIMS) {
            entities.push(tagged(self.claims(), HashSet::new(), pairs(&self.subject.claims))?);
        }
        Entities::from_entities(entities, None).map_err(unevaluable)
    }

    fn attributes(&self, reads: Reads) -> Vec<(String, RestrictedExpression)> {
        let circumstances = self.circumstances;
        let mut attributes = Vec::with_capacity(9);
        let mut add = |read: Reads, name: &str, value: RestrictedExpression| {
            if reads.holds(read) {
                attributes.push((name.to_owned(), value));
            }
        };
        let entity = RestrictedExpression::new_entity_uid;
        add(Reads::ENCRYPTION_CONTEXT, "encryption_context", entity(self.encryption_context()));
        add(Reads::CLAIMS, "claims", entity(self.claims()));
        if let Some(user) = &self.subject.end_user {
            let user = uid(&self.words.principal, user.as_str());
            add(Reads::END_USER, "end_user", entity(user));
        }
        if let (Some(source), true) = (circumstances.source, reads.holds(Reads::SOURCE)) {
            let source = RestrictedExpression::new_ip(source.to_canonical().to_string());
            add(Reads::SOURCE, "source", source);
        }
        let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
        add(Reads::ENVIRONMENT, "environment", text(circumstances.environment));
        add(Reads::CREDENTIAL_KIND, "credential_kind", text(self.subject.kind.name()));
        let now = circumstances.now.unix_ms();
        let (hour, weekday) = hour_and_weekday(now);
        for (name, value) in [("now", now), ("hour", hour), ("weekday", weekday)] {
            add(Reads::TIME, name, RestrictedExpression::new_long(value));
        }
        attributes
    }

    fn resource(&self) -> EntityUid {
        match self.key {
            Some(key) => uid(&self.words.key, &key.id.to_string()),
            None => uid(&self.words.tenant, &self.tenant.to_string()),
        }
    }

    fn person(
        &self,
        id: &str,
        groups: &[GroupName],
        roles: &[RoleName],
        related: Related,
    ) -> Entity {
        let words = self.words;
        let groups = groups.iter().map(|group| uid(&words.group, group.as_str()));
        let roles = roles.iter().map(|role| uid(&words.role, role.as_str()));
        let relations = related.each().map(|relation| uid(&words.relation, relation.name()));
        Entity::new_no_attrs(
            uid(&words.principal, id),
            groups.chain(roles).chain(relations).collect(),
        )
    }

    fn encryption_context(&self) -> EntityUid {
        uid(&self.words.encryption_context, "request")
    }

    fn claims(&self) -> EntityUid {
        uid(&self.words.claims, "token")
    }
}

pub(super) fn uid(kind: &EntityTypeName, id: &str) -> EntityUid {
    EntityUid::from_type_name_and_id(kind.clone(), EntityId::new(id))
}

fn pairs(map: &std::collections::BTreeMap<String, String>) -> impl Iterator<Item = (&str, &str)> {
    map.iter().map(|(key, value)| (key.as_str(), value.as_str()))
}

fn tagged<'a>(
    uid: EntityUid,
    parents: HashSet<EntityUid>,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
) -> Result<Entity, Unevaluable> {
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let tags: Vec<_> = pairs.map(|(key, value)| (key.to_owned(), text(value))).collect();
    Entity::new_with_tags(uid, HashMap::new(), parents, tags).map_err(unevaluable)
}

fn unevaluable(error: impl std::fmt::Display) -> Unevaluable {
    Unevaluable(error.to_string())
}

/// The hour of the day in UTC, and the day of the week from 1 for Monday. 1970 began on a Thursday.
fn hour_and_weekday(unix_ms: i64) -> (i64, i64) {
    let hours = unix_ms.div_euclid(3_600_000);
    let days = hours.div_euclid(24);
    (hours.rem_euclid(24), days.saturating_add(3).rem_euclid(7).saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::hour_and_weekday;

    #[test]
    fn hours_and_weekdays_are_those_of_the_calendar() {
        let cases = [
            (0, (0, 4)),
            (3_599_999, (0, 4)),
            (3_600_000, (1, 4)),
            (-1, (23, 3)),
            // Tuesday, 24 November 2026, 11:32 UTC.
            (1_795_519_920_000, (11, 2)),
            // Sunday, 31 December 2023, 23:59:59 UTC, and the Monday after.
            (1_704_067_199_000, (23, 7)),
            (1_704_067_200_000, (0, 1)),
        ];
        for (at, expected) in cases {
            assert_eq!(hour_and_weekday(at), expected, "{at}");
        }
    }
}
