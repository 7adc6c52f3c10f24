//! From what the service gives to messages.

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use bulla_proto::kms;

use crate::keys::{State, Timestamp};
use crate::service::{
    AliasEntry, AuditRecord, KeyView, Moved, Opened, Refusal, RoleBinding, TrustedVersion,
};

pub(super) fn key(view: &KeyView) -> kms::Key {
    let key = view.key.key();
    kms::Key {
        key_id: key.id.to_string(),
        aliases: key.aliases.iter().map(ToString::to_string).collect(),
        key_ring: key.key_ring.as_ref().map(ToString::to_string).unwrap_or_default(),
        description: key.description.as_str().to_owned(),
        tags: key.tags.pairs().clone(),
        enabled: !key.disabled,
        active_version: view.active_version,
        latest_version: key.latest_version,
        rotation_period: key.rotation_period.as_ms().map(duration),
        create_time: Some(timestamp(key.create_time)),
        next_rotation_time: key.next_rotation_time().map(timestamp),
        etag: view.key.revision().to_string(),
        rotation_wraps: key.rotation_wraps.as_u64(),
        rotation_bytes: key.rotation_bytes.as_u64(),
        rotation_time: key.rotation_time.map(timestamp),
        prepared_version: key.prepared_version.unwrap_or(0),
    }
}

pub(super) fn version(version: &TrustedVersion) -> kms::Version {
    let parts = version.version().parts();
    kms::Version {
        key_id: version.key().to_string(),
        version: parts.number,
        state: state(parts.state).into(),
        create_time: Some(timestamp(parts.create_time)),
        activate_time: parts.activate_time.map(timestamp),
        deactivate_time: parts.deactivate_time.map(timestamp),
        destroy_time: parts.destroy_time.map(timestamp),
        state_time: Some(timestamp(parts.state_time)),
        reason: parts.reason.as_str().to_owned(),
    }
}

pub(super) const fn state(state: State) -> kms::VersionState {
    match state {
        State::PreActive => kms::VersionState::PreActive,
        State::Active => kms::VersionState::Active,
        State::Deactivated => kms::VersionState::Deactivated,
        State::RewrapOnly => kms::VersionState::RewrapOnly,
        State::Suspended => kms::VersionState::Suspended,
        State::Compromised => kms::VersionState::Compromised,
        State::DestroyScheduled => kms::VersionState::DestroyScheduled,
        State::Destroyed => kms::VersionState::Destroyed,
    }
}

pub(super) fn alias(entry: &AliasEntry) -> kms::Alias {
    kms::Alias { alias: entry.alias.to_string(), key_id: entry.key.to_string() }
}

pub(super) fn binding(binding: &RoleBinding) -> kms::RoleBinding {
    kms::RoleBinding {
        principal: binding.subject.to_string(),
        roles: binding.roles.iter().map(|held| held.role.to_string()).collect(),
        expire_times: binding
            .roles
            .iter()
            .filter_map(|held| Some((held.role.to_string(), timestamp(held.expire_time?))))
            .collect(),
    }
}

pub(super) fn opened(opened: Opened) -> kms::DecryptResponse {
    kms::DecryptResponse {
        plaintext: opened.plaintext.into_public(),
        key_id: opened.key.to_string(),
        version: opened.version,
        store: opened.store,
    }
}

pub(super) fn moved(moved: Moved) -> kms::ReEncryptResponse {
    kms::ReEncryptResponse {
        ciphertext: moved.ciphertext,
        source_key_id: moved.source_key.to_string(),
        source_version: moved.source_version,
        key_id: moved.key.to_string(),
        version: moved.version,
    }
}

pub(super) fn refusal(refusal: &Refusal) -> kms::Refusal {
    kms::Refusal { reason: refusal.reason().to_owned(), message: refusal.to_string() }
}

/// A record as the API shows it.
pub fn record(entry: AuditRecord) -> kms::Record {
    let record = entry.record;
    let to = record.destination;
    kms::Record {
        sequence: entry.sequence,
        time: Some(timestamp_us(record.time_us)),
        principal: record.principal.into_owned(),
        action: record.action.into_owned(),
        key_id: record.key.map(|key| key.to_string()).unwrap_or_default(),
        version: record.version,
        store: record.store,
        encryption_context: record
            .context
            .into_iter()
            .map(|(key, value)| (key.into_owned(), value.into_owned()))
            .collect(),
        outcome: record.outcome.as_str().to_owned(),
        reason: record.reason.into_owned(),
        class: record.class.into_owned(),
        request_id: record.request_id.into_owned(),
        source_address: record.source_address.into_owned(),
        items: record.items,
        detail: record.detail.into_owned(),
        hash: entry.hash.to_vec(),
        started_sequence: record.started_sequence,
        item_details: record
            .item_details
            .into_iter()
            .map(|item| kms::RecordItem {
                key_id: item.key.map(|key| key.to_string()).unwrap_or_default(),
                version: item.version,
                store: item.store,
                reason: item.reason.into_owned(),
                class: item.class.into_owned(),
                count: item.count,
                destination_key_id: item
                    .destination
                    .map(|to| to.key.to_string())
                    .unwrap_or_default(),
                destination_version: item.destination.map_or(0, |to| to.version),
                destination_store: item.destination.map_or(0, |to| to.store),
            })
            .collect(),
        destination_key_id: to.map(|to| to.key.to_string()).unwrap_or_default(),
        destination_version: to.map_or(0, |to| to.version),
        destination_store: to.map_or(0, |to| to.store),
        credential_kind: record.credential_kind.into_owned(),
        end_user: record.end_user.into_owned(),
        policies: record.policies.iter().map(ToString::to_string).collect(),
        policy_revision: record.policy_revision,
        approval: record.approval.into_owned(),
        id: record.id.to_vec(),
        latency_us: record.latency_us,
        tenant_sequence: record.tenant_sequence,
        items_root: record.items_root.map(|root| root.to_vec()).unwrap_or_default(),
    }
}

/// Opaque to callers, and safe in a URL.
pub(super) fn page_token(after: Option<impl ToString>) -> String {
    after.map(|after| BASE64_URL_SAFE_NO_PAD.encode(after.to_string())).unwrap_or_default()
}

pub(super) fn duration(millis: u64) -> prost_types::Duration {
    prost_types::Duration {
        seconds: i64::try_from(millis.div_euclid(1_000)).unwrap_or(i64::MAX),
        nanos: i32::try_from(millis.rem_euclid(1_000).saturating_mul(1_000_000)).unwrap_or(0),
    }
}

pub(super) fn timestamp(time: Timestamp) -> prost_types::Timestamp {
    timestamp_us(time.unix_ms().saturating_mul(1_000))
}

fn timestamp_us(micros: i64) -> prost_types::Timestamp {
    prost_types::Timestamp {
        seconds: micros.div_euclid(1_000_000),
        nanos: i32::try_from(micros.rem_euclid(1_000_000).saturating_mul(1_000)).unwrap_or(0),
    }
}
