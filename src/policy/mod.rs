//! May this principal do this? A pure function of its inputs, and the only maker of a [`Permit`].
//!
//! Never reads a row, a clock or a request's text: what it needs is passed in, already parsed.

mod action;
mod permit;
mod principal;
mod role;

pub use action::Action;
pub use permit::{Denied, Permit, decide};
pub use principal::{MalformedPrincipal, Principal, PrincipalId};
pub use role::{Role, UnknownRole};
