//! What is asked: an action on a key or in a tenant, and the circumstances.

use std::collections::BTreeMap;
use std::net::IpAddr;

use crate::keys::{KeyId, KeyRing, Timestamp};
use crate::policy::action::Action;
use crate::policy::material::SubjectRef;
use crate::policy::subject::Subject;

/// What a decision may read of a key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct KeyFacts {
    /// Which.
    pub id: KeyId,
    /// Where it lives; `None` at the top.
    pub ring: Option<KeyRing>,
    /// What its managers say about it.
    pub tags: BTreeMap<String, String>,
}

/// What an action is to be done to.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Target<'a> {
    /// The caller's tenant as a whole.
    Tenant,
    /// One key of it.
    Key(&'a KeyFacts),
}

/// Everything else that a decision may read. Nothing of it is remembered.
#[derive(Clone, Copy, Debug)]
pub struct Circumstances<'a> {
    /// The time.
    pub now: Timestamp,
    /// Where the call comes from; `None` for a part of this program.
    pub source: Option<IpAddr>,
    /// `production`, `staging` or `development`.
    pub environment: &'static str,
    /// The pairs of the encryption context, sorted by key.
    pub encryption_context: &'a [(String, String)],
}

/// May this subject do this?
#[derive(Clone, Copy, Debug)]
pub struct Question<'a> {
    /// Who.
    pub subject: &'a Subject,
    /// What.
    pub action: Action,
    /// To what.
    pub target: Target<'a>,
    /// Whose rights it would change, if it is about somebody's.
    pub whom: Option<&'a SubjectRef>,
    /// When, from where, with which context.
    pub circumstances: &'a Circumstances<'a>,
}

// === impl KeyFacts ===

impl KeyFacts {
    /// What is decided about where there is no such key: the answer must be the one for a key that
    /// nothing was said about.
    pub fn none() -> Self {
        Self { id: KeyId::from_bytes([0; 16]), ring: None, tags: BTreeMap::new() }
    }
}

// === impl Target ===

impl Target<'_> {
    /// The key, if it is one.
    pub fn key(&self) -> Option<KeyId> {
        match self {
            Self::Tenant => None,
            Self::Key(facts) => Some(facts.id),
        }
    }
}
