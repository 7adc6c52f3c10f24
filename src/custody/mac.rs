//! The MAC that makes a row trustworthy.
//!
//! HMAC-SHA-256 under a key derived from the tenant's key (KBKDF, [`ROW_MAC_LABEL`]), over everything
//! that identifies and makes up the row, each part preceded by its length, so that a row changed,
//! moved to another id, kind or tenant, or made due at another time does not verify.

use crate::crypto::{Label, MacKey};
use crate::keys::{TenantId, Timestamp};
use crate::store::{FORMAT, Put, Row, RowKey};

use super::rows::Record;

/// The KBKDF label of the key under which rows of a tenant are authenticated.
pub(super) const ROW_MAC_LABEL: Label = Label::new("bulla-row-mac-v1");

/// For the hashes that stand in the audit log for values of encryption contexts. A tenant's own, so that
/// nobody can look for a value of another tenant by having it hashed (attack H07).
pub(super) const AUDIT_VALUE_LABEL: Label = Label::new("bulla-audit-value-v1");

/// The row that stores `record`.
pub(super) fn seal<R: Record>(mac_key: &MacKey, tenant: TenantId, record: &R) -> Put {
    let key = RowKey { tenant: *tenant.as_bytes(), kind: R::KIND, id: record.row_id() };
    seal_body(mac_key, key, record.encode(), record.due_at())
}

/// The row that stores `body` under `key`.
pub(super) fn seal_body(
    mac_key: &MacKey,
    key: RowKey,
    body: Vec<u8>,
    due_at: Option<Timestamp>,
) -> Put {
    let due_at = due_at.map(Timestamp::unix_ms);
    let mac = with_parts(&key, FORMAT, due_at, &body, |parts| mac_key.tag(parts));
    Put { key, body, mac, due_at }
}

/// Whether `row` is just as this program wrote it.
pub(super) fn is_authentic(mac_key: &MacKey, row: &Row) -> bool {
    with_parts(&row.key, row.format, row.due_at, &row.body, |parts| mac_key.verify(parts, &row.mac))
}

fn with_parts<T>(
    key: &RowKey,
    format: u16,
    due_at: Option<i64>,
    body: &[u8],
    use_parts: impl FnOnce(&[&[u8]]) -> T,
) -> T {
    let length = |bytes: &[u8]| (bytes.len() as u64).to_be_bytes();
    use_parts(&[
        &key.tenant,
        &[key.kind],
        &length(&key.id),
        &key.id,
        &format.to_be_bytes(),
        &[u8::from(due_at.is_some())],
        &due_at.unwrap_or(0).to_be_bytes(),
        &length(body),
        body,
    ])
}
