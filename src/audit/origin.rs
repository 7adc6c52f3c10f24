//! The name of an installation's log: what its checkpoints begin with and its key signs under.

use crate::keys::KeyId;

/// The installation whose log `origin` names.
pub fn installation_of(origin: &str) -> Option<[u8; 16]> {
    let id = KeyId::parse(origin.strip_prefix("bulla/")?).ok()?;
    (self::origin(*id.as_bytes()) == origin).then_some(*id.as_bytes())
}

/// `bulla/<installation uuid>`.
pub fn origin(installation_id: [u8; 16]) -> String {
    format!("bulla/{}", KeyId::from_bytes(installation_id))
}
