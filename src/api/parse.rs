//! From fields of messages to types that cannot be wrong. Each refusal names the field.

use std::collections::BTreeMap;

use base64::prelude::{BASE64_URL_SAFE_NO_PAD, Engine};
use prost::Message;
use sha2::{Digest, Sha256};

use crate::keys::{
    Alias, DestroyWait, KeyId, KeyRef, KeyRing, Reason, RequestId, RotationLimit, RotationPeriod,
    Tags, Timestamp,
};
use crate::policy::Action;
use crate::service::{EncryptionContext, Refusal, RequestKey, VersionChange};

pub(super) fn key(text: &str) -> Result<KeyRef, Refusal> {
    KeyRef::parse(text).map_err(|error| Refusal::invalid("key", error))
}

pub(super) fn optional_key(text: &str) -> Result<Option<KeyRef>, Refusal> {
    if text.is_empty() { Ok(None) } else { key(text).map(Some) }
}

pub(super) fn alias(text: &str) -> Result<Alias, Refusal> {
    Alias::parse(text).map_err(|error| Refusal::invalid("alias", error))
}

pub(super) fn optional_alias(text: &str) -> Result<Option<Alias>, Refusal> {
    if text.is_empty() { Ok(None) } else { alias(text).map(Some) }
}

pub(super) fn key_ring(text: &str) -> Result<Option<KeyRing>, Refusal> {
    if text.is_empty() {
        return Ok(None);
    }
    KeyRing::parse(text).map(Some).map_err(|error| Refusal::invalid("key_ring", error))
}

pub(super) fn tags(pairs: BTreeMap<String, String>) -> Result<Tags, Refusal> {
    Tags::parse(pairs).map_err(|error| Refusal::invalid("tags", error))
}

pub(super) fn reason(text: &str) -> Result<Reason, Refusal> {
    Reason::parse(text).map_err(|error| Refusal::invalid("reason", error))
}

pub(super) fn version(number: u32) -> Result<u32, Refusal> {
    match number {
        0 => Err(Refusal::invalid("version", "must be 1 or more")),
        number => Ok(number),
    }
}

/// What every change of one version is asked with.
pub(super) fn version_change(
    key: &str,
    number: u32,
    reason: &str,
    request: Option<RequestKey>,
) -> Result<VersionChange, Refusal> {
    Ok(VersionChange {
        key: self::key(key)?,
        version: version(number)?,
        reason: self::reason(reason)?,
        request,
    })
}

/// A malformed context names its field; one over its limits is told apart from it.
pub(super) fn context(pairs: BTreeMap<String, String>) -> Result<EncryptionContext, Refusal> {
    EncryptionContext::new(pairs).map_err(Refusal::from)
}

pub(super) fn plaintext(bytes: &[u8]) -> Result<(), Refusal> {
    match bytes.len() {
        1..=PLAINTEXT_BYTES_MAX => Ok(()),
        0 => Err(Refusal::invalid("plaintext", "must be 1 to 4096 bytes")),
        _ => Err(Refusal::TooLarge {
            field: "plaintext",
            problem: "must be 1 to 4096 bytes; encrypt more under a data key".into(),
        }),
    }
}

/// 0 means 32.
pub(super) fn key_bytes(bytes: u32) -> Result<usize, Refusal> {
    match bytes {
        0 => Ok(32),
        16..=64 => Ok(bytes as usize),
        _ => Err(Refusal::invalid("key_bytes", "must be 0 (which means 32) or from 16 to 64")),
    }
}

pub(super) fn random_bytes(bytes: u32) -> Result<usize, Refusal> {
    match bytes {
        1..=1024 => Ok(bytes as usize),
        _ => Err(Refusal::invalid("random_bytes", "must be from 1 to 1024")),
    }
}

/// How many there are in a batch.
pub(super) fn count(field: &'static str, count: usize) -> Result<usize, Refusal> {
    match count {
        1..=BATCH_MAX => Ok(count),
        0 => Err(Refusal::invalid(field, "must be from 1 to 1000")),
        _ => Err(Refusal::TooLarge { field, problem: "must be from 1 to 1000".into() }),
    }
}

/// 0 means 100.
pub(super) fn page_size(size: u32) -> Result<usize, Refusal> {
    match size {
        0 => Ok(100),
        1..=PAGE_MAX => Ok(size as usize),
        _ => Err(Refusal::invalid("page_size", "must be 0 (which means 100) or from 1 to 1000")),
    }
}

pub(super) fn page_token(token: &str) -> Result<Option<String>, Refusal> {
    if token.is_empty() {
        return Ok(None);
    }
    let bytes = BASE64_URL_SAFE_NO_PAD.decode(token).map_err(|_| bad_page_token())?;
    String::from_utf8(bytes).map(Some).map_err(|_| bad_page_token())
}

pub(super) fn key_page_token(token: &str) -> Result<Option<KeyId>, Refusal> {
    page_token(token)?.map(|text| KeyId::parse(&text)).transpose().map_err(|_| bad_page_token())
}

pub(super) fn alias_page_token(token: &str) -> Result<Option<Alias>, Refusal> {
    page_token(token)?.map(|text| Alias::parse(&text)).transpose().map_err(|_| bad_page_token())
}

pub(super) fn version_page_token(token: &str) -> Result<u32, Refusal> {
    match page_token(token)? {
        Some(text) => text.parse().map_err(|_| bad_page_token()),
        None => Ok(0),
    }
}

pub(super) fn cursor(text: &str) -> Result<Option<u64>, Refusal> {
    match text {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|_| Refusal::invalid("cursor", "must be one that WatchKeys gave, or empty")),
    }
}

/// Absent: the default; 0: never.
pub(super) fn rotation_period(
    period: Option<&prost_types::Duration>,
) -> Result<Option<RotationPeriod>, Refusal> {
    let Some(period) = period else { return Ok(None) };
    let out_of_range =
        |error: &dyn ToString| Refusal::invalid("rotation_period", error.to_string());
    let millis = millis(period).ok_or_else(|| out_of_range(&"must not be negative"))?;
    RotationPeriod::from_ms(millis).map(Some).map_err(|error| out_of_range(&error))
}

/// 0: never.
pub(super) fn rotation_wraps(wraps: u64) -> Result<RotationLimit, Refusal> {
    RotationLimit::wraps(wraps).map_err(|error| Refusal::invalid("rotation_wraps", error))
}

/// 0: never.
pub(super) fn rotation_bytes(bytes: u64) -> Result<RotationLimit, Refusal> {
    RotationLimit::bytes(bytes).map_err(|error| Refusal::invalid("rotation_bytes", error))
}

/// Absent: as it is; the Unix epoch: never.
pub(super) fn rotation_time(
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<Option<Timestamp>>, Refusal> {
    let Some(time) = time else { return Ok(None) };
    let problem = "must be the Unix epoch (never) or a later time before the year 10000";
    match timestamp(time) {
        Some(time) if time.unix_ms() == 0 => Ok(Some(None)),
        Some(time) if time.unix_ms() > 0 => Ok(Some(Some(time))),
        _ => Err(Refusal::invalid("rotation_time", problem)),
    }
}

pub(super) fn destroy_wait(wait: Option<&prost_types::Duration>) -> Result<DestroyWait, Refusal> {
    let Some(wait) = wait else { return Ok(DestroyWait::DEFAULT) };
    let out_of_range = |error: &dyn ToString| Refusal::invalid("wait", error.to_string());
    let millis = millis(wait).ok_or_else(|| out_of_range(&"must not be negative"))?;
    DestroyWait::from_ms(millis).map_err(|error| out_of_range(&error))
}

/// The request id, and a digest of the whole message: the same id with another message is refused.
pub(super) fn request(
    action: Action,
    request_id: &str,
    message: &impl Message,
) -> Result<Option<RequestKey>, Refusal> {
    let id = RequestId::parse(request_id).map_err(|error| Refusal::invalid("request_id", error))?;
    Ok(id.map(|id| {
        let mut hash = Sha256::new();
        hash.update(action.name());
        hash.update([0]);
        hash.update(message.encode_to_vec());
        RequestKey { id, digest: hash.finalize().into() }
    }))
}

pub(super) fn millis(duration: &prost_types::Duration) -> Option<u64> {
    let seconds = u64::try_from(duration.seconds).ok()?;
    let nanos = u64::try_from(duration.nanos).ok()?;
    seconds.checked_mul(1_000)?.checked_add(nanos.div_euclid(1_000_000))
}

/// A time as `google.protobuf.Timestamp` allows it, to the millisecond.
pub(super) fn timestamp(time: &prost_types::Timestamp) -> Option<Timestamp> {
    let lawful = (SECONDS_MIN..=SECONDS_MAX).contains(&time.seconds)
        && (0..1_000_000_000).contains(&time.nanos);
    let millis = time
        .seconds
        .saturating_mul(1_000)
        .saturating_add(i64::from(time.nanos.div_euclid(1_000_000)));
    lawful.then(|| Timestamp::from_unix_ms(millis))
}

/// A time in microseconds since the Unix epoch.
pub(super) fn time_us(field: &'static str, time: &prost_types::Timestamp) -> Result<i64, Refusal> {
    let micros = i64::from(time.nanos).div_euclid(1_000).rem_euclid(1_000);
    match timestamp(time) {
        Some(time) => Ok(time.unix_ms().saturating_mul(1_000).saturating_add(micros)),
        None => Err(Refusal::invalid(field, "must be a time of the years 1 to 9999")),
    }
}

/// A time that may be absent.
pub(super) fn optional_time(
    field: &'static str,
    time: Option<&prost_types::Timestamp>,
) -> Result<Option<Timestamp>, Refusal> {
    let Some(time) = time else { return Ok(None) };
    let parsed = timestamp(time);
    parsed.map(Some).ok_or_else(|| Refusal::invalid(field, "must be a time of the years 1 to 9999"))
}

pub(super) fn bad_page_token() -> Refusal {
    Refusal::invalid("page_token", "must be the next_page_token of the page before, or empty")
}

const PLAINTEXT_BYTES_MAX: usize = 4096;
const BATCH_MAX: usize = 1000;
const PAGE_MAX: u32 = 1000;
/// The first second of year 1 and the last of year 9999.
const SECONDS_MIN: i64 = -62_135_596_800;
const SECONDS_MAX: i64 = 253_402_300_799;
