//! May this principal do this? A pure function of its inputs, and the only maker of a [`Permit`].
//!
//! Never reads a row, a clock or a request's text: what it needs is passed in, already parsed.

mod action;
mod action_set;
mod builtin;
mod condition;
mod decide;
mod explain;
mod grant;
mod index;
mod limits;
mod material;
mod members;
mod memory;
mod pairs;
mod parsed;
mod permit;
mod principal;
mod problem;
mod question;
mod reach;
mod relation;
mod request;
mod role;
mod slice;
mod standing;
mod subject;
#[cfg(test)]
mod tests;
mod touches;
mod tuple;
mod vocabulary;
mod world;

pub use action::Action;
pub use builtin::built_in_policies;
pub use explain::Explanation;
pub use limits::MAX_POLICY_BYTES;
pub use material::{
    Grant, HeldRole, MalformedPolicyId, MalformedSubject, Material, PolicyId, PolicySource,
    SubjectRef,
};
pub use members::Membership;
pub use parsed::{ParsedPolicy, validate_policy};
pub use permit::{Denied, Permit};
pub use principal::{MalformedPrincipal, Principal, PrincipalId};
pub use problem::PolicyProblem;
pub use question::{Circumstances, KeyFacts, Question, Target};
pub use relation::{Object, Relation, RelationName};
pub use role::{MalformedRole, ProgramRole, Role, RoleName, decide_internal};
pub use subject::{
    CredentialKind, GroupName, MalformedGroup, MalformedNetwork, Network, Scope, Subject,
};
pub use tuple::{MalformedObject, MalformedRelation};
pub use vocabulary::SCHEMA;
pub use world::World;
