//! Which action needs whose approval.

use crate::policy::{Action, GroupName};

/// An action that is done only once enough members of a group have approved it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Rule {
    action: Action,
    group: GroupName,
    needed: u32,
    lifetime_ms: u64,
}

/// The rule is none that could be kept to.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
pub enum MalformedRule {
    /// Nobody's approval is no approval.
    #[error("needed: must be from 1 to {NEEDED_MAX}")]
    Needed,
    /// Over the longest.
    #[error("lifetime: must be from 1 minute to 7 days")]
    Lifetime,
    /// It changes nothing, or is asked for without a person.
    #[error("action: must be one that changes something and that a caller asks for")]
    Action,
}

// === impl Rule ===

impl Rule {
    /// A rule. `lifetime_ms` is how long a proposal stays good.
    pub fn new(
        action: Action,
        group: GroupName,
        needed: u32,
        lifetime_ms: u64,
    ) -> Result<Self, MalformedRule> {
        if !is_approvable(action) {
            return Err(MalformedRule::Action);
        }
        if !(1..=NEEDED_MAX).contains(&needed) {
            return Err(MalformedRule::Needed);
        }
        if !(LIFETIME_MS_MIN..=LIFETIME_MS_MAX).contains(&lifetime_ms) {
            return Err(MalformedRule::Lifetime);
        }
        Ok(Self { action, group, needed, lifetime_ms })
    }

    /// What it covers.
    pub fn action(&self) -> Action {
        self.action
    }

    /// Whose members approve.
    pub fn group(&self) -> &GroupName {
        &self.group
    }

    /// How many of them.
    pub fn needed(&self) -> u32 {
        self.needed
    }

    /// How long a proposal stays good.
    pub fn lifetime_ms(&self) -> u64 {
        self.lifetime_ms
    }
}

/// Whether a rule can cover it. What uses keys and what reads cannot wait for people; what the program
/// does by itself has nobody who could propose it; a vote that needed votes would never come about.
fn is_approvable(action: Action) -> bool {
    use Action as A;
    let name = action.name();
    let reads = ["get_", "list_", "watch_", "retire_check", "who_am_i", "explain", "simulate"];
    let verb = name.split_once('.').map_or("", |(_, verb)| verb);
    let reads = reads.iter().any(|read| verb.starts_with(read));
    let by_itself = matches!(action, A::DestroyVersion | A::StepLadder | A::PrepareVersion);
    let of_agents =
        matches!(action, A::BeginScan | A::ReportScan | A::ReportProgress | A::RotateDue);
    let votes = matches!(action, A::Propose | A::Approve | A::Reject);
    let of_area = ["keys.", "rotation.", "access.", "tenants.", "approvals."];
    let token = action == A::ExchangeToken;
    of_area.iter().any(|area| name.starts_with(area))
        && !(reads || by_itself || of_agents || votes || token)
}

/// 24 hours.
pub const LIFETIME_MS_DEFAULT: u64 = 24 * 60 * 60 * 1_000;
/// 7 days.
pub const LIFETIME_MS_MAX: u64 = 7 * LIFETIME_MS_DEFAULT;
/// More people than that are never found.
pub const NEEDED_MAX: u32 = 20;
/// A minute: nobody votes faster.
const LIFETIME_MS_MIN: u64 = 60_000;
