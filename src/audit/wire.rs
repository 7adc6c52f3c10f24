//! A record's payload, written straight into a buffer: protobuf's wire format for
//! `bulla.store.v1.AuditRecord`, byte for byte what the generated encoder writes, without building its
//! owned message first. Never reads.

use super::record::{Destination, Record, RecordItem};

/// Appends `record`. The caller has checked its limits.
pub(super) fn put_record(out: &mut Vec<u8>, id: &[u8; 16], record: &Record<'_>) {
    if *id != [0; 16] {
        put_bytes(out, 1, id);
    }
    put_number(out, 2, record.time_us.cast_unsigned());
    if let Some(tenant) = &record.tenant {
        put_bytes(out, 3, tenant.as_bytes());
    }
    put_bytes(out, 4, record.principal.as_bytes());
    put_bytes(out, 5, record.action.as_bytes());
    if let Some(key) = &record.key {
        put_bytes(out, 6, key.as_bytes());
    }
    put_number(out, 7, record.version.into());
    put_number(out, 8, record.store.into());
    for (key, value) in &record.context {
        let inner = bytes_len(1, key.as_bytes()).saturating_add(bytes_len(2, value.as_bytes()));
        put_length(out, 9, inner);
        put_bytes(out, 1, key.as_bytes());
        put_bytes(out, 2, value.as_bytes());
    }
    put_number(out, 10, record.outcome.number().into());
    put_bytes(out, 11, record.reason.as_bytes());
    put_bytes(out, 12, record.class.as_bytes());
    put_bytes(out, 13, record.request_id.as_bytes());
    put_bytes(out, 14, record.source_address.as_bytes());
    put_number(out, 15, record.items.into());
    put_bytes(out, 16, record.detail.as_bytes());
    put_number(out, 17, record.started_sequence);
    for item in &record.item_details {
        put_length(out, 18, item_len(item));
        put_item(out, item);
    }
    put_destination(out, 19, record.destination.as_ref());
    put_number(out, 22, record.wrapped_bytes);
    put_bytes(out, 23, record.credential_kind.as_bytes());
    put_bytes(out, 24, record.end_user.as_bytes());
    for policy in record.policies.iter() {
        put_element(out, 25, policy.as_bytes());
    }
    put_number(out, 26, record.policy_revision);
    put_bytes(out, 27, record.approval.as_bytes());
    put_number(out, 28, record.latency_us);
    if let Some(root) = &record.items_root {
        put_bytes(out, 29, root);
    }
    put_place(out, record.tenant_sequence, record.write_position);
}

/// Appends what the log alone knows of a record: the payload's last fields.
pub fn put_place(out: &mut Vec<u8>, tenant_sequence: u64, write_position: u32) {
    put_number(out, 30, tenant_sequence);
    put_number(out, 31, write_position.into());
}

fn put_item(out: &mut Vec<u8>, item: &RecordItem<'_>) {
    if let Some(key) = &item.key {
        put_bytes(out, 1, key.as_bytes());
    }
    put_number(out, 2, item.version.into());
    put_number(out, 3, item.store.into());
    put_bytes(out, 4, item.reason.as_bytes());
    put_bytes(out, 5, item.class.as_bytes());
    put_number(out, 6, item.count.into());
    put_destination(out, 7, item.destination.as_ref());
    put_number(out, 10, item.wrapped_bytes);
}

/// Three fields in a row, the first of them numbered `first`.
fn put_destination(out: &mut Vec<u8>, first: u8, destination: Option<&Destination>) {
    if let Some(Destination { key, version, store }) = destination {
        put_bytes(out, first, key.as_bytes());
        put_number(out, first.saturating_add(1), (*version).into());
        put_number(out, first.saturating_add(2), (*store).into());
    }
}

fn destination_len(first: u8, destination: Option<&Destination>) -> usize {
    destination.map_or(0, |Destination { key, version, store }| {
        bytes_len(first, key.as_bytes())
            .saturating_add(number_len(first.saturating_add(1), (*version).into()))
            .saturating_add(number_len(first.saturating_add(2), (*store).into()))
    })
}

fn item_len(item: &RecordItem<'_>) -> usize {
    [
        item.key.as_ref().map_or(0, |key| bytes_len(1, key.as_bytes())),
        number_len(2, item.version.into()),
        number_len(3, item.store.into()),
        bytes_len(4, item.reason.as_bytes()),
        bytes_len(5, item.class.as_bytes()),
        number_len(6, item.count.into()),
        destination_len(7, item.destination.as_ref()),
        number_len(10, item.wrapped_bytes),
    ]
    .iter()
    .fold(0, |sum, length| sum.saturating_add(*length))
}

/// A varint field; absent when 0, as proto3 has it.
fn put_number(out: &mut Vec<u8>, field: u8, value: u64) {
    if value != 0 {
        put_tag(out, field, VARINT);
        put_varint(out, value);
    }
}

/// A bytes or string field; absent when empty.
fn put_bytes(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        put_element(out, field, bytes);
    }
}

/// One element of a repeated bytes or string field: it counts when it is empty, too.
fn put_element(out: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    put_length(out, field, bytes.len());
    out.extend_from_slice(bytes);
}

fn put_length(out: &mut Vec<u8>, field: u8, length: usize) {
    put_tag(out, field, LENGTH_DELIMITED);
    put_varint(out, length_as_u64(length));
}

fn put_tag(out: &mut Vec<u8>, field: u8, wire_type: u8) {
    put_varint(out, (u64::from(field) << 3) | u64::from(wire_type));
}

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn number_len(field: u8, value: u64) -> usize {
    if value == 0 { 0 } else { tag_len(field).saturating_add(varint_len(value)) }
}

fn bytes_len(field: u8, bytes: &[u8]) -> usize {
    if bytes.is_empty() {
        return 0;
    }
    tag_len(field)
        .saturating_add(varint_len(length_as_u64(bytes.len())))
        .saturating_add(bytes.len())
}

fn tag_len(field: u8) -> usize {
    if field < 16 { 1 } else { 2 }
}

fn varint_len(value: u64) -> usize {
    let bits = 64_u32.saturating_sub(value.leading_zeros()).max(1);
    bits.div_ceil(7) as usize
}

fn length_as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

const VARINT: u8 = 0;
const LENGTH_DELIMITED: u8 = 2;

#[cfg(test)]
mod tests {
    #![allow(clippy::arithmetic_side_effects)]

    use super::*;

    #[test]
    fn a_varint_is_as_long_as_is_said() {
        for shift in 0..64 {
            for value in [(1_u64 << shift) - 1, 1 << shift, u64::MAX] {
                let mut out = Vec::new();
                put_varint(&mut out, value);
                assert_eq!(out.len(), varint_len(value), "{value}");
            }
        }
    }
}
