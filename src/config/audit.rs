//! How calls are recorded.

use serde::Deserialize;

use super::{ConfigError, setting};

/// What the audit log has of a call.
#[derive(Clone, Debug, Default, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields, default)]
pub struct Audit {
    /// Keys of encryption contexts whose values are recorded as hashes; `*` is every key.
    pub hashed_context_keys: Vec<String>,
}

// === impl Audit ===

impl Audit {
    pub(super) fn checked(&self) -> Result<(), ConfigError> {
        let name = "audit.hashed_context_keys";
        if self.hashed_context_keys.len() > KEYS_MAX {
            return Err(setting(name, "must be at most 1000 keys; \"*\" is every key"));
        }
        if self.hashed_context_keys.iter().any(|key| key.is_empty() || key.len() > KEY_BYTES_MAX) {
            return Err(setting(name, "a key must be 1 to 255 bytes"));
        }
        Ok(())
    }
}

const KEYS_MAX: usize = 1_000;
const KEY_BYTES_MAX: usize = 255;
