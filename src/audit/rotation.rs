//! The record that changes the key that checkpoints are signed with: signed by the old key, so that
//! whoever trusts that one can follow.
//!
//! `detail` is `NEXT-VKEY SIGNATURE`, with a space between: the new verifier key, and in base64 the old
//! key's Ed25519 signature of `"bulla-rotate-audit-key-v1\n" ‖ old vkey ‖ "\n" ‖ new vkey ‖ "\n"`. The
//! record is of no tenant. Checkpoints that cover it are signed with the new key, those before with the
//! old one.

use base64::prelude::{BASE64_STANDARD, Engine};
use bulla_proof::{Sign, VerifyingKey};

use super::record::Record;

/// The action of such a record.
pub const ROTATE_KEY: &str = "audit.rotate_key";

/// The detail of the record that hands over from `old` to `next`.
pub fn rotation_detail(old: &dyn Sign, next: &VerifyingKey) -> String {
    let signature = old.sign(message(old.key(), next).as_bytes());
    format!("{next} {}", BASE64_STANDARD.encode(signature))
}

/// The key that a record hands over to, if it is such a record and `old` signed it.
pub fn rotated_key(payload: &[u8], old: &VerifyingKey) -> Option<VerifyingKey> {
    handed_over(&handover_of(payload)?, old)
}

/// The detail of a record that hands a key over, whether or not its signature is right.
pub fn handover_of(payload: &[u8]) -> Option<String> {
    if names_a_tenant(payload) {
        return None;
    }
    let record = Record::decode(payload).ok()?;
    let is_one = record.action == ROTATE_KEY && record.tenant.is_none();
    is_one.then(|| record.detail.into_owned())
}

/// The key that such a detail hands over to, if `old` signed it.
pub(super) fn handed_over(detail: &str, old: &VerifyingKey) -> Option<VerifyingKey> {
    let (next, signature) = detail.split_once(' ')?;
    let next = VerifyingKey::parse(next).ok().filter(|next| next.name() == old.name())?;
    let signature = BASE64_STANDARD.decode(signature).ok()?;
    old.verify(message(old, &next).as_bytes(), &signature).then_some(next)
}

fn message(old: &VerifyingKey, next: &VerifyingKey) -> String {
    format!("bulla-rotate-audit-key-v1\n{old}\n{next}\n")
}

/// Whether the record has a tenant, told by its first fields alone: hardly any record has none, and
/// decoding each would cost more than verifying it.
pub(super) fn names_a_tenant(payload: &[u8]) -> bool {
    let after_id = match payload.split_first_chunk::<18>() {
        Some(([ID, 16, ..], rest)) => rest,
        _ => payload,
    };
    let after_time = match after_id.split_first() {
        Some((&TIME, rest)) => {
            let varint = rest.iter().take_while(|byte| **byte >= 0x80).count();
            rest.get(varint.saturating_add(1)..).unwrap_or_default()
        }
        _ => after_id,
    };
    after_time.starts_with(&[TENANT, 16])
}

/// Tags of the first fields: their number and wire type.
const ID: u8 = 1 << 3 | 2;
const TIME: u8 = 2 << 3;
const TENANT: u8 = 3 << 3 | 2;
