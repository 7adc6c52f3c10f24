//! Proofs about the audit log: the newest checkpoint, one record of the tenant's own as it stands in
//! the log, and what ties a record to a checkpoint and a checkpoint to a later one. A checkpoint and a
//! proof show hashes alone; another tenant's record shows to nobody.

use std::sync::Arc;

use crate::audit::{Hash, Record, SignedCheckpoint, VerifyingKey};
use crate::policy::Action;
use crate::trail::{Entry, Notarized, NotaryError, Trail};

use super::perform::{About, Act, Office, UseCase};
use super::read_audit::owners;
use super::refusal::Refusal;

/// The newest checkpoint, and the key that it is signed with.
pub struct GetCheckpoint {
    /// Of those that witnesses have signed.
    pub cosigned: bool,
}

/// One record as it stands in the log.
pub struct GetRecord {
    /// Which.
    pub sequence: u64,
}

/// That a record is in the tree of `tree_size` records, or of the newest checkpoint.
pub struct ProveInclusion {
    /// Which record.
    pub sequence: u64,
    /// None for the newest checkpoint's.
    pub tree_size: Option<u64>,
}

/// That the log of `first_size` records is the beginning of the one of `second_size`.
pub struct ProveConsistency {
    /// The earlier size.
    pub first_size: u64,
    /// None for the newest checkpoint's.
    pub second_size: Option<u64>,
}

/// A record with all that its place in the chain is computed from.
pub struct ProvenRecord {
    /// The record.
    pub entry: Entry,
    /// Its bytes.
    pub payload: Vec<u8>,
    /// The chain value before it.
    pub previous: Hash,
}

/// A proof, and the size of the tree that it is about.
pub struct Proof {
    /// How many records.
    pub size: u64,
    /// The hashes, in the order of RFC 6962.
    pub hashes: Vec<Hash>,
}

// === impl GetCheckpoint ===

impl UseCase for GetCheckpoint {
    type Reply = (SignedCheckpoint, VerifyingKey);

    const ACTION: Action = Action::ReadAudit;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let notarized = notarized(act.office)?;
        let found = if self.cosigned { notarized.cosigned() } else { notarized.checkpoint() };
        let none = || match self.cosigned {
            true => Refusal::invalid("cosigned", "no witness has signed a checkpoint yet"),
            false => NotaryError::NotYet.into(),
        };
        Ok((found.ok_or_else(none)?, notarized.key()))
    }
}

// === impl GetRecord ===

impl UseCase for GetRecord {
    type Reply = ProvenRecord;

    const ACTION: Action = Action::ReadAudit;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("sequence={}", self.sequence).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<ProvenRecord, Refusal> {
        let trail = act.office.trail.clone();
        let sequence = self.sequence;
        let owners = owners(act.office, act.permit)?;
        let found = off_the_runtime(move || stored(&trail, sequence)).await?;
        let found = found.filter(|found| owners.have(&found.entry.record));
        // Another tenant's record and one that is not there yet are the same answer (attack C02).
        found.ok_or(Refusal::Denied { class: "not_found" })
    }
}

// === impl ProveInclusion ===

impl UseCase for ProveInclusion {
    type Reply = Proof;

    const ACTION: Action = Action::ReadAudit;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("sequence={}", self.sequence).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Proof, Refusal> {
        let notarized = notarized(act.office)?;
        off_the_runtime(move || {
            let proven = notarized.prove_inclusion(self.sequence, self.tree_size);
            Ok(proven.map(|(size, hashes)| Proof { size, hashes })?)
        })
        .await
    }
}

// === impl ProveConsistency ===

impl UseCase for ProveConsistency {
    type Reply = Proof;

    const ACTION: Action = Action::ReadAudit;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, record: &mut Record) {
        record.detail = format!("first_size={}", self.first_size).into();
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Proof, Refusal> {
        let notarized = notarized(act.office)?;
        off_the_runtime(move || {
            let proven = notarized.prove_consistency(self.first_size, self.second_size);
            Ok(proven.map(|(size, hashes)| Proof { size, hashes })?)
        })
        .await
    }
}

impl From<NotaryError> for Refusal {
    fn from(error: NotaryError) -> Self {
        match error {
            NotaryError::NotYet => Self::invalid(
                "tree_size",
                "no checkpoint covers that yet; ask for the newest checkpoint first",
            ),
            error => Self::AuditUnavailable { problem: error.to_string() },
        }
    }
}

/// The record `sequence`, if it is there and not deleted.
fn stored(trail: &Trail, sequence: u64) -> Result<Option<ProvenRecord>, Refusal> {
    let segments = trail.segments();
    let Some(before) = sequence.checked_sub(1).filter(|_| sequence >= segments.begins()) else {
        return Ok(None);
    };
    let mut frames = segments.frames(before);
    let Some(chain) = frames.stands_after()? else { return Ok(None) };
    let previous = *chain.head();
    let found = frames.next(|frame| (frame.payload().to_vec(), *frame.hash()))?;
    let Some((payload, hash)) = found else { return Ok(None) };
    let record = Record::decode(&payload)
        .map_err(|error| Refusal::AuditUnavailable { problem: error.to_string() })?;
    Ok(Some(ProvenRecord { entry: Entry { sequence, hash, record }, payload, previous }))
}

fn notarized(office: &Office) -> Result<Arc<Notarized>, Refusal> {
    let unsigned = || Refusal::AuditUnavailable { problem: "nothing signs the log".to_owned() };
    office.notarized.clone().ok_or_else(unsigned)
}

/// Files are read where nothing waits for it.
async fn off_the_runtime<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Refusal> + Send + 'static,
) -> Result<T, Refusal> {
    let ended = |_| Refusal::AuditUnavailable { problem: "the server is stopping".to_owned() };
    tokio::task::spawn_blocking(work).await.map_err(ended)?
}
