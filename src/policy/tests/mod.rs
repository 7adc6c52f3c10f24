//! Tests of decisions: named attacks, tables, and random worlds against Cedar's own evaluation.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod attacks;
mod duties;
mod examples;
mod explaining;
mod policies;
mod random;
mod reference;
mod tables;
mod world;

use std::collections::BTreeMap;

use crate::keys::{KeyId, KeyRing, TenantId, Timestamp};
use crate::policy::{
    Action, Circumstances, CredentialKind, Denied, Grant, GroupName, HeldRole, KeyFacts, Material,
    Object, Permit, PolicyId, PolicySource, Principal, PrincipalId, Question, Relation,
    RelationName, RoleName, Subject, SubjectRef, Target, World,
};

const TENANT: TenantId = TenantId::from_bytes([7; 16]);
const APP: &str = "spiffe://demo.bulla/app";
const OTHER: &str = "spiffe://demo.bulla/other";

/// What a test asks, with everything that it does not care about.
#[derive(Clone, Debug)]
struct Asked {
    subject: Subject,
    action: Action,
    key: Option<KeyFacts>,
    whom: Option<SubjectRef>,
    now: Timestamp,
    source: Option<std::net::IpAddr>,
    environment: &'static str,
    encryption_context: Vec<(String, String)>,
}

impl Asked {
    /// Of a caller with a certificate: on some key, where the action is on one.
    fn new(principal: &str, action: Action) -> Self {
        Self {
            subject: subject(principal),
            action,
            key: action.is_on_key().then(|| facts(1, "payments/cards")),
            whom: None,
            now: Timestamp::from_unix_ms(1000),
            source: Some([10, 0, 0, 1].into()),
            environment: "production",
            encryption_context: Vec::new(),
        }
    }

    fn on(self, key: KeyFacts) -> Self {
        Self { key: Some(key), ..self }
    }

    fn at(self, now: i64) -> Self {
        Self { now: Timestamp::from_unix_ms(now), ..self }
    }

    fn with(mut self, key: &str, value: &str) -> Self {
        self.encryption_context.push((key.to_owned(), value.to_owned()));
        self
    }

    fn question<T>(&self, ask: impl FnOnce(&Question<'_>) -> T) -> T {
        let circumstances = Circumstances {
            now: self.now,
            source: self.source,
            environment: self.environment,
            encryption_context: &self.encryption_context,
        };
        ask(&Question {
            subject: &self.subject,
            action: self.action,
            target: self.key.as_ref().map_or(Target::Tenant, Target::Key),
            whom: self.whom.as_ref(),
            circumstances: &circumstances,
        })
    }

    fn of(&self, world: &World) -> Result<Permit, Denied> {
        self.question(|question| world.decide(question))
    }

    /// The ids of the policies that allow, or why not.
    fn answer(&self, world: &World) -> Result<Vec<String>, Denied> {
        self.of(world).map(|permit| names(permit.decided_by()))
    }

    fn class(&self, world: &World) -> &'static str {
        self.of(world).map_or_else(|denied| denied.class(), |_| "allowed")
    }
}

fn names(ids: &[std::sync::Arc<str>]) -> Vec<String> {
    ids.iter().map(ToString::to_string).collect()
}

fn subject(principal: &str) -> Subject {
    let id = PrincipalId::parse(principal).unwrap();
    Subject::new(Principal::new(id, TENANT), CredentialKind::Certificate)
}

fn facts(number: u8, ring: &str) -> KeyFacts {
    let ring = (!ring.is_empty()).then(|| KeyRing::parse(ring).unwrap());
    KeyFacts { id: KeyId::from_bytes([number; 16]), ring, tags: BTreeMap::new() }
}

fn group(name: &str) -> GroupName {
    GroupName::parse(name).unwrap()
}

fn source(id: &str, text: &str) -> PolicySource {
    PolicySource { id: PolicyId::parse(id).unwrap(), text: text.into() }
}

fn held(role: &str, until: Option<i64>) -> HeldRole {
    let expire_time = until.map(Timestamp::from_unix_ms);
    HeldRole { role: RoleName::parse(role).unwrap(), expire_time }
}

fn bound(subject: &str, roles: &[&str]) -> (SubjectRef, Vec<HeldRole>) {
    (SubjectRef::parse(subject).unwrap(), roles.iter().map(|role| held(role, None)).collect())
}

fn related(object: Object, name: RelationName, subject: &str) -> Relation {
    Relation { object, name, subject: SubjectRef::parse(subject).unwrap() }
}

fn member(of: &str, subject: &str) -> Relation {
    related(Object::Group(group(of)), RelationName::Member, subject)
}

fn granted(number: u8, principal: &str, key: &KeyFacts, actions: &[Action]) -> Grant {
    Grant {
        id: [number; 16],
        key: key.id,
        principal: PrincipalId::parse(principal).unwrap(),
        actions: actions.to_vec(),
        encryption_context: BTreeMap::new(),
        expire_time: None,
    }
}

fn world_of(material: Material) -> World {
    World::new(TENANT, material)
}
