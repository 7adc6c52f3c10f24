//! Attack D09: nobody widens what they themselves hold, nor beyond what their credential is good for.
//!
//! That a subject which a change names is not the caller, nor a group that it is in, the decision sees
//! to. Here is what no decision is asked about: policies, and credentials for less than their principal.

use crate::policy::{Denied, ParsedPolicy};
use crate::service::perform::Act;
use crate::service::refusal::Refusal;

/// Refuses a policy that would give its author something, or that is about its author by name, group or
/// role.
pub(super) async fn not_ones_own(act: &Act<'_>, policy: &ParsedPolicy) -> Result<(), Refusal> {
    let world = act.world().await?;
    match world.touches(policy, act.subject(), act.custody.now()) {
        true => Err(Denied::OwnRoles.into()),
        false => Ok(()),
    }
}

/// Refuses a credential that is good for some keys only what reaches beyond any key.
pub(in crate::service) fn unconfined(act: &Act<'_>) -> Result<(), Refusal> {
    let scope = act.subject().scope.as_ref();
    match scope.is_some_and(|scope| !scope.keys.is_empty() || !scope.key_rings.is_empty()) {
        true => Err(Denied::OutOfScope.into()),
        false => Ok(()),
    }
}
