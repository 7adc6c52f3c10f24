//! Who may do what: roles, relations, grants and policies, changed and shown.
//!
//! Nobody changes here what they hold themselves, and no use case here decides what a right means: that
//! is said by policies alone.

mod create_grant;
mod duties;
mod explain;
mod grants;
mod own;
mod policies;
mod read_policies;
mod relations;
mod roles;
mod simulate;
mod who_am_i;

use crate::keys::Timestamp;

use super::perform::Act;
use super::refusal::Refusal;

pub(super) use own::unconfined;

pub use create_grant::CreateGrant;
pub use explain::{Asked, Explain, Explained, Judgement};
pub use grants::{ListGrants, RevokeGrant};
pub use policies::{DeletePolicy, PutPolicy};
pub use read_policies::{GetPolicy, GetPolicySchema, ListPolicies, PolicyView};
pub use relations::{ListRelations, RELATIONS_MAX, WriteRelations};
pub use roles::{BindRole, ListRoleBindings, RoleChange};
pub use simulate::{ChangedAnswer, SimulatePolicies, Simulated};
pub use who_am_i::{WhoAmI, WhoAmIReply};

/// What ends must end later than now: what has ended already is a mistake, and not a refusal to give it.
fn in_the_future(act: &Act<'_>, expire_time: Option<Timestamp>) -> Result<(), Refusal> {
    match expire_time {
        Some(end) if end <= act.custody.now() => {
            Err(Refusal::invalid("expire_time", "must be in the future"))
        }
        _ => Ok(()),
    }
}
