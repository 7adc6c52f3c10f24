//! More than one person: the rule on an action, and the life of a proposal, from the first vote to the one
//! time that it is used.
//!
//! Pure: functions of what stands in rows and of the time. Never decides whether somebody may call at
//! all, never knows who is in a group, and never does what was proposed.

mod proposal;
mod rule;
#[cfg(test)]
mod tests;

pub use proposal::{
    BREAK_GLASS_MS_MAX, BREAK_GLASS_NEEDED, Draft, Electorate, ExecuteRefusal, Ground, Proposal,
    ProposalState, Vote, VoteRefusal,
};
pub use rule::{LIFETIME_MS_DEFAULT, LIFETIME_MS_MAX, MalformedRule, NEEDED_MAX, Rule};
