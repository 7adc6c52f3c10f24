//! `[audit]`: how the audit log is kept, and what of a call is in it. Never whether: every call is.

use std::path::Path;

use serde::Deserialize;

use super::sinks::{self, Anchor, Sink};
use super::{ConfigError, setting};

/// How the audit log is kept.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// The size of a new segment, in bytes. Two of them are on the disk before anything is recorded.
    pub segment_bytes: u64,
    /// Keys of encryption contexts whose values are recorded as hashes; `*` is every key.
    pub hashed_context_keys: Vec<String>,
    /// Where else every record goes.
    pub sinks: Vec<Sink>,
    /// Where checkpoints go.
    pub anchors: Vec<Anchor>,
    /// How many days records are kept; for ever where it is absent.
    pub retention_days: Option<u32>,
}

// === impl Audit ===

impl Audit {
    pub(super) fn resolve(mut self, base: &Path) -> Self {
        self.sinks.iter_mut().for_each(|sink| sink.resolve(base));
        self.anchors.iter_mut().for_each(|anchor| anchor.resolve(base));
        self
    }

    pub(super) fn checked(&self) -> Result<(), ConfigError> {
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&self.segment_bytes) {
            let problem = format!("must be from {SEGMENT_BYTES_MIN} to {SEGMENT_BYTES_MAX}");
            return Err(setting("audit.segment_bytes", &problem));
        }
        let days = self.retention_days.unwrap_or(RETENTION_DAYS_MIN);
        if !(RETENTION_DAYS_MIN..=RETENTION_DAYS_MAX).contains(&days) {
            let problem = format!(
                "must be from {RETENTION_DAYS_MIN} to {RETENTION_DAYS_MAX}; leave it out to keep \
                 every record"
            );
            return Err(setting("audit.retention_days", &problem));
        }
        let name = "audit.hashed_context_keys";
        if self.hashed_context_keys.len() > KEYS_MAX {
            return Err(setting(name, "must be at most 1000 keys; \"*\" is every key"));
        }
        if self.hashed_context_keys.iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(setting(name, "a key must be 1 to 255 bytes"));
        }
        sinks::checked(&self.sinks, &self.anchors)
    }
}

impl Default for Audit {
    fn default() -> Self {
        Self {
            segment_bytes: 64 * 1024 * 1024,
            hashed_context_keys: Vec::new(),
            sinks: Vec::new(),
            anchors: Vec::new(),
            retention_days: None,
        }
    }
}

const SEGMENT_BYTES_MIN: u64 = 1024 * 1024;
const SEGMENT_BYTES_MAX: u64 = 1024 * 1024 * 1024;
/// A slip must not cost a month: what is deleted is gone.
const RETENTION_DAYS_MIN: u32 = 30;
const RETENTION_DAYS_MAX: u32 = 36_500;
const KEYS_MAX: usize = 1_000;
const KEY_BYTES_MAX: usize = 255;
