//! Which checkpoints are kept: every one of the last day, then the first of each hour, and the one at
//! each segment's end. Whatever is not a checkpoint is kept too: it is for a verifier to find.

use std::collections::BTreeSet;

use crate::audit::SignedCheckpoint;

pub(super) struct Thinning {
    now_us: i64,
    /// The last record of each sealed segment that is there.
    ends: BTreeSet<u64>,
    /// The hour of the last one that was kept for its hour.
    hour: Option<i64>,
}

// === impl Thinning ===

impl Thinning {
    pub(super) fn new(now_us: i64, ends: BTreeSet<u64>) -> Self {
        Self { now_us, ends, hour: None }
    }

    /// Whether this one is kept, given those before it.
    pub(super) fn keeps(&mut self, note: &[u8]) -> bool {
        let Ok(checkpoint) = SignedCheckpoint::claimed(note) else { return true };
        let hour = checkpoint.time_us.div_euclid(HOUR_US);
        let is_first = self.hour.replace(hour) != Some(hour);
        let is_recent = checkpoint.time_us >= self.now_us.saturating_sub(DAY_US);
        is_recent || is_first || self.ends.contains(&checkpoint.size)
    }
}

const HOUR_US: i64 = 3_600 * 1_000_000;
const DAY_US: i64 = 24 * HOUR_US;
/// How often it is worth the work.
pub(super) const EVERY_US: i64 = HOUR_US;
