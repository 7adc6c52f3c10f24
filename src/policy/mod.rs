//! May this principal do this? A pure function of its inputs, and the only maker of a [`Permit`].
//!
//! Never reads a row, a clock or a request's text: what it needs is passed in, already parsed.

mod action;
mod permit;
mod principal;
mod question;
mod role;
mod subject;
mod world;

pub use action::Action;
pub use permit::{Denied, Permit};
pub use principal::{MalformedPrincipal, Principal, PrincipalId};
pub use question::{Circumstances, KeyFacts, Question, Target};
pub use role::{MalformedRole, Role, RoleName, decide_internal};
pub use subject::{
    CredentialKind, GroupName, MalformedGroup, MalformedNetwork, Network, Scope, Subject,
};
pub use world::{
    Grant, HeldRole, MalformedPolicyId, MalformedSubject, Material, Object, PolicyId, PolicySource,
    Relation, RelationName, SubjectRef, World,
};
