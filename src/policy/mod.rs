//! May this principal do this? A pure function of its inputs, and the only maker of a [`Permit`].

mod principal;

pub use principal::{MalformedPrincipal, Principal, PrincipalId};
