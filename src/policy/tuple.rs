//! Relation tuples as text: `object#relation@subject`, each part in its one form.
//!
//! A tuple whose relation its object cannot have is refused here, so that none is ever stored.

use std::fmt;

use crate::keys::{KeyId, KeyRing};
use crate::policy::material::SubjectRef;
use crate::policy::relation::{Object, Relation, RelationName};
use crate::policy::subject::GroupName;

/// The text is no object of a relation.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be group:NAME, ring:PATH or key:UUID")]
pub struct MalformedObject;

/// The text names no relation, or none that this object can have.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be member, of a group, or user, rewrapper, manager or viewer, of a ring or key")]
pub struct MalformedRelation;

// === impl Object ===

impl Object {
    /// Parses the one form of each kind.
    pub fn parse(text: &str) -> Result<Self, MalformedObject> {
        let (kind, name) = text.split_once(':').ok_or(MalformedObject)?;
        match kind {
            "group" => GroupName::parse(name).map(Self::Group).map_err(|_| MalformedObject),
            "ring" => KeyRing::parse(name).map(Self::Ring).map_err(|_| MalformedObject),
            "key" => KeyId::parse(name).map(Self::Key).map_err(|_| MalformedObject),
            _ => Err(MalformedObject),
        }
    }
}

impl fmt::Display for Object {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(name) => write!(formatter, "group:{name}"),
            Self::Ring(ring) => write!(formatter, "ring:{ring}"),
            Self::Key(key) => write!(formatter, "key:{key}"),
        }
    }
}

// === impl RelationName ===

impl RelationName {
    /// Every relation.
    pub const ALL: [Self; 5] =
        [Self::Member, Self::User, Self::Rewrapper, Self::Manager, Self::Viewer];

    /// Parses the name.
    pub fn parse(text: &str) -> Result<Self, MalformedRelation> {
        Self::ALL.into_iter().find(|relation| relation.name() == text).ok_or(MalformedRelation)
    }
}

impl fmt::Display for RelationName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

// === impl Relation ===

impl Relation {
    /// A tuple, if its object can have the relation: a group has members and nothing else, and nothing
    /// else has members.
    pub fn new(
        object: Object,
        name: RelationName,
        subject: SubjectRef,
    ) -> Result<Self, MalformedRelation> {
        let is_group = matches!(object, Object::Group(_));
        match is_group == (name == RelationName::Member) {
            true => Ok(Self { object, name, subject }),
            false => Err(MalformedRelation),
        }
    }
}

impl fmt::Display for Relation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}#{}@{}", self.object, self.name, self.subject)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn c01_an_object_has_one_spelling() {
        let key = "key:a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";
        for good in ["group:payments", "ring:payments/cards", key] {
            assert_eq!(Object::parse(good).unwrap().to_string(), good);
        }
        let upper = key.to_uppercase();
        for bad in ["", "payments", "group:", "Group:a", "group:A", "ring:a//b", "key:1", &upper] {
            assert_eq!(Object::parse(bad), Err(MalformedObject), "{bad:?}");
        }
    }

    #[test]
    fn a_group_has_members_and_nothing_else_has() {
        let subject = SubjectRef::parse("group:b#member").unwrap();
        for object in ["group:a", "ring:a", "key:a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf"] {
            let object = Object::parse(object).unwrap();
            for name in RelationName::ALL {
                assert_eq!(RelationName::parse(name.name()), Ok(name));
                let lawful = matches!(object, Object::Group(_)) == (name == RelationName::Member);
                let made = Relation::new(object.clone(), name, subject.clone());
                assert_eq!(made.is_ok(), lawful, "{object} {name}");
                if let Ok(made) = made {
                    assert_eq!(made.to_string(), format!("{object}#{name}@group:b#member"));
                }
            }
        }
        assert_eq!(RelationName::parse("Member"), Err(MalformedRelation));
    }
}
