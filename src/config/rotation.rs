//! How much happens by itself, and up to when the clock was looked at.

use serde::Deserialize;

use super::{ConfigError, setting};

/// What the scheduler may do.
#[derive(Clone, Copy, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Keys that rotate by themselves, at most.
    pub rotations_per_hour_max: u32,
    /// Versions whose destruction is due that are destroyed, at most.
    pub destructions_per_hour_max: u32,
}

// === impl Rotation ===

impl Rotation {
    pub(super) fn checked(self) -> Result<(), ConfigError> {
        for (name, value) in [
            ("rotation.rotations_per_hour_max", self.rotations_per_hour_max),
            ("rotation.destructions_per_hour_max", self.destructions_per_hour_max),
        ] {
            if !(1..=1_000_000).contains(&value) {
                return Err(setting(name, "must be from 1 to 1000000"));
            }
        }
        Ok(())
    }
}

impl Default for Rotation {
    fn default() -> Self {
        Self { rotations_per_hour_max: 600, destructions_per_hour_max: 100 }
    }
}
