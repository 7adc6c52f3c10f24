//! The log's record that its beginning is deleted: up to which record, and the chain value there, so
//! that a log that was shortened by it still verifies, and one that was shortened otherwise does not.
//!
//! `detail` is `from=N to=N chain=BASE64`: the first and the last record that go, and the chain value
//! after the last one. The record is of no tenant, and says nothing of any.

use base64::prelude::{BASE64_STANDARD, Engine};

use super::frame::HASH_BYTES;
use super::record::{Outcome, Record};

/// The action of such a record.
pub const DELETE_SEGMENTS: &str = "audit.delete_segments";

/// That all records up to one are deleted.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Deletion {
    /// The first of them that was still there.
    pub from: u64,
    /// The last of them.
    pub to: u64,
    /// The chain value after it.
    pub chain: [u8; HASH_BYTES],
}

// === impl Deletion ===

impl Deletion {
    /// The record of it.
    pub fn record(&self, time_us: i64) -> Record<'static> {
        let Self { from, to, chain } = self;
        let chain = BASE64_STANDARD.encode(chain);
        Record {
            detail: format!("from={from} to={to} chain={chain}").into(),
            ..Record::new(time_us, DELETE_SEGMENTS, Outcome::Succeeded)
        }
    }

    /// What a record says was deleted, if it is such a record.
    pub fn of(record: &Record<'_>) -> Option<Self> {
        if record.action != DELETE_SEGMENTS || record.tenant.is_some() {
            return None;
        }
        let mut words = record.detail.split(' ');
        let mut word = |name: &str| words.next()?.strip_prefix(name);
        let (from, to) = (word("from=")?.parse().ok()?, word("to=")?.parse().ok()?);
        let chain = BASE64_STANDARD.decode(word("chain=")?).ok()?.try_into().ok()?;
        let deletion = Self { from, to, chain };
        // One spelling.
        (deletion.record(0).detail == record.detail).then_some(deletion)
    }

    /// The same, of a record's payload; of hardly any more than the first bytes are looked at.
    pub fn of_payload(payload: &[u8]) -> Option<Self> {
        if super::rotation::names_a_tenant(payload) {
            return None;
        }
        Self::of(&Record::decode(payload).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::TenantId;

    #[test]
    fn h03_only_the_logs_own_record_in_its_one_spelling_says_that_something_was_deleted() {
        let deletion = Deletion { from: 1, to: 4_096, chain: [9; 32] };
        let record = deletion.record(5);
        assert_eq!(Deletion::of(&record), Some(deletion));
        let tenant = Some(TenantId::from_bytes([1; 16]));
        assert_eq!(Deletion::of(&Record { tenant, ..record.clone() }), None);
        for detail in ["", "from=1 to=4096", "from=01 to=2 chain=CQ==", "from=1 to=2 chain=CQ=="] {
            assert_eq!(Deletion::of(&Record { detail: detail.into(), ..record.clone() }), None);
        }
        let longer = format!("{} ", record.detail);
        assert_eq!(Deletion::of(&Record { detail: longer.into(), ..record }), None);
    }
}
