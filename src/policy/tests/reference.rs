//! The same question, answered by Cedar alone: every policy whole, every entity there is, and everything
//! validated against the schema. Slow, and beyond doubt.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use cedar_policy::{
    Authorizer, Context, Effect, Entities, Entity, Policy, PolicyId as CedarId, PolicySet, Request,
    RestrictedExpression,
};

use super::Asked;
use crate::policy::request::uid;
use crate::policy::slice::few;
use crate::policy::vocabulary::vocabulary;
use crate::policy::{
    Action, Denied, Material, Object, RelationName, SubjectRef, built_in_policies, grant,
};

/// Answers as a world of this material must.
pub(super) fn answer(material: &Material, asked: &Asked) -> Result<Arc<[Arc<str>]>, Denied> {
    let policies = by_cedar(material, asked)?;
    let needs_none = asked.action.needs_no_policy();
    if policies.is_empty() && !needs_none {
        return Err(Denied::NoPolicy);
    }
    if is_torn(material, asked) && !needs_none {
        return Err(Denied::SeparationOfDuties);
    }
    let manages = Action::ALL
        .iter()
        .filter(|action| action.manages_access() && !action.name().starts_with("tenants."));
    let god = manages.map(|action| {
        let key = asked.key.clone().filter(|_| action.is_on_key());
        let of = Asked { action: *action, key, ..asked.clone() };
        let answer = by_cedar(material, &of);
        (of, answer)
    });
    let mut god = god.filter(|(of, answer)| match answer {
        Ok(policies) => !policies.is_empty(),
        // What cannot be known is taken to be so, where something might permit it at all.
        Err(denied) => matches!(denied, Denied::PolicyError { .. }) && may_permit(material, of),
    });
    if asked.action.uses_keys() && god.next().is_some() {
        return Err(Denied::NoGod);
    }
    Ok(policies)
}

/// Whether the scope of any policy that permits holds.
fn may_permit(material: &Material, asked: &Asked) -> bool {
    let all = policies(material);
    let permits = all.policies().filter(|policy| policy.effect() == Effect::Permit);
    let scopes = permits.map(|policy| {
        let mut statement = policy.to_json().unwrap();
        statement["conditions"] = serde_json::json!([]);
        Policy::from_json(Some(policy.id().clone()), statement).unwrap()
    });
    let scopes = PolicySet::from_policies(scopes).unwrap();
    let (request, entities) = (request(asked), entities(material, asked));
    let response = Authorizer::new().is_authorized(&request, &scopes, &entities);
    response.decision() == cedar_policy::Decision::Allow
}

/// The policies that permit; or those that forbid, or that could not be evaluated.
fn by_cedar(material: &Material, asked: &Asked) -> Result<Arc<[Arc<str>]>, Denied> {
    let (request, entities) = (request(asked), entities(material, asked));
    let policies = policies(material);
    let response = Authorizer::new().is_authorized(&request, &policies, &entities);
    let errors: Vec<CedarId> = response
        .diagnostics()
        .errors()
        .map(|error| match error {
            cedar_policy::AuthorizationError::PolicyEvaluationError(error) => {
                error.policy_id().clone()
            }
        })
        .collect();
    let ids = |ids: Vec<CedarId>| few(ids.iter().map(|id| id.to_string().into()).collect());
    if !errors.is_empty() {
        return Err(Denied::PolicyError { policies: ids(errors) });
    }
    let reasons: Vec<CedarId> = response.diagnostics().reason().cloned().collect();
    let forbids = reasons.iter().any(|id| policies.policy(id).unwrap().effect() == Effect::Forbid);
    match forbids {
        true => Err(Denied::Forbidden { policies: ids(reasons) }),
        false => Ok(ids(reasons)),
    }
}

fn policies(material: &Material) -> PolicySet {
    let built_in = built_in_policies().iter();
    let mut texts: BTreeMap<String, String> =
        built_in.map(|policy| (policy.id().to_string(), policy.to_string())).collect();
    for policy in &material.policies {
        texts.insert(policy.id.to_string(), policy.text.to_string());
    }
    let parsed =
        texts.iter().map(|(id, text)| Policy::parse(Some(CedarId::new(id)), text).unwrap());
    let grants = material.grants.iter().map(|one| {
        Policy::from_json(Some(CedarId::new(grant::id(one))), grant::statement(one, true)).unwrap()
    });
    PolicySet::from_policies(parsed.chain(grants)).unwrap()
}

fn groups_of(material: &Material, id: &str, asserted: &[String]) -> BTreeSet<String> {
    let mut groups: BTreeSet<String> = asserted.iter().cloned().collect();
    loop {
        let before = groups.len();
        for relation in &material.relations {
            let is_member = match &relation.subject {
                SubjectRef::Principal(principal) => principal.as_str() == id,
                SubjectRef::Members(group) => groups.contains(group.as_str()),
            };
            if let (Object::Group(group), RelationName::Member, true) =
                (&relation.object, relation.name, is_member)
            {
                groups.insert(group.to_string());
            }
        }
        if groups.len() == before {
            return groups;
        }
    }
}

fn roles_of(material: &Material, id: &str, groups: &BTreeSet<String>, now: i64) -> Vec<String> {
    let bindings = material.bindings.iter().filter(|(subject, _)| match subject {
        SubjectRef::Principal(principal) => principal.as_str() == id,
        SubjectRef::Members(group) => groups.contains(group.as_str()),
    });
    let held = bindings.flat_map(|(_, roles)| roles);
    held.filter(|held| held.expire_time.is_none_or(|end| now < end.unix_ms()))
        .map(|held| held.role.to_string())
        .collect()
}

fn relations_of(
    material: &Material,
    asked: &Asked,
    groups: &BTreeSet<String>,
) -> Vec<RelationName> {
    let Some(key) = &asked.key else { return Vec::new() };
    let to_key = material.relations.iter().filter(|relation| match &relation.object {
        Object::Group(_) => false,
        Object::Key(id) => *id == key.id,
        Object::Ring(ring) => key.ring.as_ref().is_some_and(|own| ring.contains(own)),
    });
    let own = to_key.filter(|relation| match &relation.subject {
        SubjectRef::Principal(principal) => principal == asked.subject.principal.id(),
        SubjectRef::Members(group) => groups.contains(group.as_str()),
    });
    own.map(|relation| relation.name).filter(|name| *name != RelationName::Member).collect()
}

fn asserted(asked: &Asked) -> Vec<String> {
    asked.subject.groups.iter().map(ToString::to_string).collect()
}

fn is_torn(material: &Material, asked: &Asked) -> bool {
    let id = asked.subject.principal.id().as_str();
    let groups = groups_of(material, id, &asserted(asked));
    let roles = roles_of(material, id, &groups, asked.now.unix_ms());
    let relations = relations_of(material, asked, &groups);
    let has = |role: &str, relation: RelationName| {
        roles.iter().any(|held| held == role) || relations.contains(&relation)
    };
    let manager = has("key-manager", RelationName::Manager);
    let user = has("key-user", RelationName::User);
    let rewrapper = has("key-rewrapper", RelationName::Rewrapper);
    let auditor = roles.iter().any(|held| held == "auditor");
    (manager && (user || rewrapper)) || (user && auditor)
}

fn request(asked: &Asked) -> Request {
    let words = vocabulary().unwrap();
    let (days, hours) = (asked.now.unix_ms() / 86_400_000, asked.now.unix_ms() / 3_600_000);
    let long = RestrictedExpression::new_long;
    let text = |text: &str| RestrictedExpression::new_string(text.to_owned());
    let mut attributes = vec![
        ("now", long(asked.now.unix_ms())),
        ("hour", long(hours % 24)),
        ("weekday", long((days + 3) % 7 + 1)),
        ("environment", text(asked.environment)),
        ("credential_kind", text(asked.subject.kind.name())),
        (
            "encryption_context",
            RestrictedExpression::new_entity_uid(uid(&words.encryption_context, "request")),
        ),
        ("claims", RestrictedExpression::new_entity_uid(uid(&words.claims, "token"))),
    ];
    if let Some(source) = asked.source {
        attributes.push(("source", RestrictedExpression::new_ip(source.to_string())));
    }
    if let Some(user) = &asked.subject.end_user {
        let user = uid(&words.principal, user.as_str());
        attributes.push(("end_user", RestrictedExpression::new_entity_uid(user)));
    }
    let attributes = attributes.into_iter().map(|(name, value)| (name.to_owned(), value));
    Request::new(
        uid(&words.principal, asked.subject.principal.id().as_str()),
        words.action_uid(asked.action.name()),
        resource(asked),
        Context::from_pairs(attributes).unwrap(),
        Some(words.validator.schema()),
    )
    .unwrap()
}

fn resource(asked: &Asked) -> cedar_policy::EntityUid {
    let words = vocabulary().unwrap();
    match &asked.key {
        Some(key) => uid(&words.key, &key.id.to_string()),
        None => uid(&words.tenant, &asked.subject.principal.tenant().to_string()),
    }
}

fn entities(material: &Material, asked: &Asked) -> Entities {
    let words = vocabulary().unwrap();
    let now = asked.now.unix_ms();
    let person = |id: &str, asserted: &[String], relations: bool| {
        let groups = groups_of(material, id, asserted);
        let roles = roles_of(material, id, &groups, now);
        let relations = match relations {
            true => relations_of(material, asked, &groups),
            false => Vec::new(),
        };
        let parents: HashSet<_> = groups
            .iter()
            .map(|group| uid(&words.group, group))
            .chain(roles.iter().map(|role| uid(&words.role, role)))
            .chain(relations.iter().map(|name| uid(&words.relation, name.name())))
            .collect();
        Entity::new_no_attrs(uid(&words.principal, id), parents)
    };
    let tagged = |of, parents, pairs: Vec<(String, String)>| {
        let pairs =
            pairs.into_iter().map(|(key, value)| (key, RestrictedExpression::new_string(value)));
        Entity::new_with_tags(of, HashMap::new(), parents, pairs).unwrap()
    };
    let principal = asked.subject.principal.id().as_str();
    let mut all = vec![person(principal, &asserted(asked), true)];
    if let Some(user) = asked.subject.end_user.as_ref().filter(|user| user.as_str() != principal) {
        all.push(person(user.as_str(), &[], false));
    }
    let context = uid(&words.encryption_context, "request");
    all.push(tagged(context, HashSet::new(), asked.encryption_context.clone()));
    let claims = asked.subject.claims.clone().into_iter().collect();
    all.push(tagged(uid(&words.claims, "token"), HashSet::new(), claims));
    if let Some(key) = &asked.key {
        let ring = |path: &str| uid(&words.key_ring, path);
        let parents = key.ring.iter().map(|path| ring(path.as_str())).collect();
        all.push(tagged(resource(asked), parents, key.tags.clone().into_iter().collect()));
        // Each ring lies in the one around it.
        let mut path = key.ring.as_ref().map_or("", |ring| ring.as_str());
        while !path.is_empty() {
            let outer = path.rsplit_once('/').map_or("", |(outer, _)| outer);
            let parents = (!outer.is_empty()).then(|| ring(outer)).into_iter().collect();
            all.push(Entity::new_no_attrs(ring(path), parents));
            path = outer;
        }
    }
    Entities::from_entities(all, Some(words.validator.schema())).unwrap()
}
