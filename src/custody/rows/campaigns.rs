//! Rows of campaigns: the campaign, how far each of its stores has come, and the blobs that did not
//! open.

use bulla_proto::stored;
use prost::Message;
use sha2::{Digest, Sha256};

use crate::campaign::{
    Agent, BlobDigest, Campaign, CampaignState, Decided, Decision, Phase, Place, Problem,
    ProblemPlace, ProblemReason, StoreProgress,
};
use crate::keys::{CampaignId, HolderId, KeyId, Reason, StoreNumber, Timestamp};

use super::{Malformed, Record, array};

/// How far one store of a campaign has come.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ProgressRecord {
    pub(in crate::custody) campaign: CampaignId,
    pub(in crate::custody) store: StoreNumber,
    pub(in crate::custody) progress: StoreProgress,
}

/// A blob of a campaign's store that did not open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ProblemRecord {
    pub(in crate::custody) campaign: CampaignId,
    pub(in crate::custody) store: StoreNumber,
    pub(in crate::custody) problem: Problem,
}

/// The last campaign that moves, or moved, a key's blobs out of a store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::custody) struct ClaimRecord {
    pub(in crate::custody) key: KeyId,
    pub(in crate::custody) store: StoreNumber,
    pub(in crate::custody) campaign: CampaignId,
}

// === impl Campaign ===

impl Record for Campaign {
    const KIND: u8 = 14;

    fn row_id(&self) -> Vec<u8> {
        self.id.as_bytes().to_vec()
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        stored::CampaignBody {
            key_id: self.key.as_bytes().to_vec(),
            source_versions: self.source_versions.clone(),
            stores: self.stores.iter().map(|store| store.as_u32()).collect(),
            state: u32::from(self.state.number()),
            rate_per_second: self.rate_per_second,
            urgent: self.urgent,
            reason: self.reason.as_str().to_owned(),
            principal: self.principal.clone(),
            create_time_ms: self.create_time.unix_ms(),
            end_time_ms: self.end_time.map_or(0, Timestamp::unix_ms),
            note: self.note.clone(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::CampaignBody::decode(body)?;
        let store = |number: &u32| StoreNumber::new(*number).ok_or(Malformed);
        Ok(Self {
            id: CampaignId::from_slice(id)?,
            key: KeyId::from_slice(&body.key_id)?,
            source_versions: body.source_versions,
            stores: body.stores.iter().map(store).collect::<Result<_, _>>()?,
            state: CampaignState::from_number(body.state).ok_or(Malformed)?,
            rate_per_second: body.rate_per_second,
            urgent: body.urgent,
            reason: Reason::parse(&body.reason)?,
            principal: body.principal,
            create_time: Timestamp::from_unix_ms(body.create_time_ms),
            end_time: time(body.end_time_ms),
            note: body.note,
        })
    }
}

// === impl ProgressRecord ===

impl ProgressRecord {
    /// The id of the row: the campaign's 16 bytes, then the store, so that a campaign's stores sort.
    pub(in crate::custody) fn row_id_of(campaign: CampaignId, store: StoreNumber) -> Vec<u8> {
        let mut id = campaign.as_bytes().to_vec();
        id.extend_from_slice(&store.as_u32().to_be_bytes());
        id
    }
}

impl Record for ProgressRecord {
    const KIND: u8 = 15;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.campaign, self.store)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let progress = &self.progress;
        let holder = progress.holder.as_ref();
        stored::StoreProgressBody {
            phase: u32::from(progress.phase.number()),
            agent_id: holder.map(|agent| agent.id.as_bytes().to_vec()).unwrap_or_default(),
            agent: holder.map(|agent| agent.principal.clone()).unwrap_or_default(),
            report_time_ms: progress.report_time.map_or(0, Timestamp::unix_ms),
            place: progress.place.as_bytes().to_vec(),
            pass: progress.pass,
            seen: progress.seen,
            total: progress.total,
            moved: progress.moved,
            changed: progress.changed,
            problems: progress.problems,
            undecided: progress.undecided,
            pass_end_sequence: progress.pass_end_sequence,
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::StoreProgressBody::decode(body)?;
        let (campaign, store) = id.split_at_checked(16).ok_or(Malformed)?;
        let holder = match body.agent_id.as_slice() {
            [] => None,
            id => Some(Agent { id: HolderId::from_slice(id)?, principal: body.agent }),
        };
        let progress = StoreProgress {
            phase: Phase::from_number(body.phase).ok_or(Malformed)?,
            holder,
            report_time: time(body.report_time_ms),
            place: Place::new(body.place)?,
            pass: body.pass,
            seen: body.seen,
            total: body.total,
            moved: body.moved,
            changed: body.changed,
            problems: body.problems,
            undecided: body.undecided,
            pass_end_sequence: body.pass_end_sequence,
        };
        Ok(Self {
            campaign: CampaignId::from_slice(campaign)?,
            store: store_number(store)?,
            progress,
        })
    }
}

// === impl ProblemRecord ===

impl ProblemRecord {
    /// The id of the row: the id of the store's progress, then SHA-256 of the place, which may be longer
    /// than an id.
    pub(in crate::custody) fn row_id_of(
        campaign: CampaignId,
        store: StoreNumber,
        place: &ProblemPlace,
    ) -> Vec<u8> {
        let mut id = ProgressRecord::row_id_of(campaign, store);
        id.extend_from_slice(&Sha256::digest(place.as_str()));
        id
    }
}

impl Record for ProblemRecord {
    const KIND: u8 = 16;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.campaign, self.store, &self.problem.place)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let problem = &self.problem;
        let decided = problem.decided.as_ref();
        stored::ProblemBody {
            place: problem.place.as_str().to_owned(),
            version: problem.version,
            reason: problem.reason.as_str().to_owned(),
            decision: decided.map_or(0, |decided| u32::from(decided.decision.number())),
            report_time_ms: problem.report_time.unix_ms(),
            decision_principal: decided.map(|by| by.principal.clone()).unwrap_or_default(),
            decision_reason: decided.map(|by| by.reason.as_str().to_owned()).unwrap_or_default(),
            digest: problem.digest.as_bytes().to_vec(),
            told_by: problem.told_by.to_vec(),
        }
        .encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::ProblemBody::decode(body)?;
        let (campaign, rest) = id.split_at_checked(16).ok_or(Malformed)?;
        let (store, place) = rest.split_at_checked(4).ok_or(Malformed)?;
        if place != Sha256::digest(&body.place).as_slice() {
            return Err(Malformed);
        }
        let decided = match body.decision {
            0 => None,
            number => Some(Decided {
                decision: Decision::from_number(number).ok_or(Malformed)?,
                principal: body.decision_principal,
                reason: Reason::parse(&body.decision_reason)?,
            }),
        };
        let problem = Problem {
            place: ProblemPlace::parse(&body.place)?,
            digest: BlobDigest::from_slice(&body.digest)?,
            version: body.version,
            reason: ProblemReason::parse(&body.reason)?,
            report_time: Timestamp::from_unix_ms(body.report_time_ms),
            told_by: array(&body.told_by)?,
            decided,
        };
        Ok(Self {
            campaign: CampaignId::from_slice(campaign)?,
            store: store_number(store)?,
            problem,
        })
    }
}

// === impl ClaimRecord ===

impl ClaimRecord {
    /// The id of the row: the key's 16 bytes, then the store.
    pub(in crate::custody) fn row_id_of(key: KeyId, store: StoreNumber) -> Vec<u8> {
        let mut id = key.as_bytes().to_vec();
        id.extend_from_slice(&store.as_u32().to_be_bytes());
        id
    }
}

impl Record for ClaimRecord {
    const KIND: u8 = 28;

    fn row_id(&self) -> Vec<u8> {
        Self::row_id_of(self.key, self.store)
    }

    fn due_at(&self) -> Option<Timestamp> {
        None
    }

    fn encode(&self) -> Vec<u8> {
        let campaign_id = self.campaign.as_bytes().to_vec();
        stored::CampaignClaimBody { campaign_id }.encode_to_vec()
    }

    fn decode(id: &[u8], body: &[u8]) -> Result<Self, Malformed> {
        let body = stored::CampaignClaimBody::decode(body)?;
        let (key, store) = id.split_at_checked(16).ok_or(Malformed)?;
        Ok(Self {
            key: KeyId::from_slice(key)?,
            store: store_number(store)?,
            campaign: CampaignId::from_slice(&body.campaign_id)?,
        })
    }
}

fn time(millis: i64) -> Option<Timestamp> {
    (millis != 0).then(|| Timestamp::from_unix_ms(millis))
}

fn store_number(bytes: &[u8]) -> Result<StoreNumber, Malformed> {
    let number = u32::from_be_bytes(array(bytes)?);
    StoreNumber::new(number).ok_or(Malformed)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn survives<R: Record + PartialEq + std::fmt::Debug>(record: &R) {
        assert_eq!(&R::decode(&record.row_id(), &record.encode()).unwrap(), record);
    }

    fn campaign() -> Campaign {
        Campaign {
            id: CampaignId::from_bytes([1; 16]),
            key: KeyId::from_bytes([2; 16]),
            source_versions: vec![1, 3],
            stores: [7, 9].map(|number| StoreNumber::new(number).unwrap()).into(),
            state: CampaignState::Failed,
            rate_per_second: 500,
            urgent: true,
            reason: Reason::parse("v1 leaked").unwrap(),
            principal: "spiffe://demo.bulla/operator".into(),
            create_time: Timestamp::from_unix_ms(1_790_000_000_000),
            end_time: Some(Timestamp::from_unix_ms(1_790_000_000_001)),
            note: "given up".into(),
        }
    }

    #[test]
    fn campaigns_and_their_stores_and_problems_survive_being_stored() {
        survives(&campaign());
        survives(&Campaign { end_time: None, ..campaign() });
        let (campaign, store) = (campaign().id, StoreNumber::new(7).unwrap());
        let progress = |progress| ProgressRecord { campaign, store, progress };
        survives(&progress(StoreProgress::default()));
        survives(&progress(StoreProgress {
            phase: Phase::Verifying,
            holder: Some(Agent {
                id: HolderId::from_bytes([3; 16]),
                principal: "spiffe://demo.bulla/rewrap".into(),
            }),
            report_time: Some(Timestamp::from_unix_ms(5)),
            place: Place::new(vec![0xff; 4096]).unwrap(),
            pass: 2,
            seen: 3,
            total: 4,
            moved: 5,
            changed: 6,
            problems: 7,
            undecided: 8,
            pass_end_sequence: 9,
        }));
        let problem = |decided| Problem {
            digest: BlobDigest::from_slice(&[4; 32]).unwrap(),
            place: ProblemPlace::parse("id=7, name='\u{1b}'").unwrap(),
            version: 1,
            reason: ProblemReason::parse("INVALID_CIPHERTEXT").unwrap(),
            report_time: Timestamp::from_unix_ms(5),
            told_by: [6; 32],
            decided,
        };
        survives(&ProblemRecord { campaign, store, problem: problem(None) });
        survives(&ClaimRecord { key: KeyId::from_bytes([2; 16]), store, campaign });
        for decision in [Decision::Abandoned, Decision::Retry] {
            let reason = Reason::parse("nobody needs it").unwrap();
            let decided = Decided { decision, principal: "spiffe://demo.bulla/o".into(), reason };
            survives(&ProblemRecord { campaign, store, problem: problem(Some(decided)) });
        }
    }

    #[test]
    fn a_body_that_is_not_its_kind_is_malformed() {
        let id = [1; 52];
        assert_eq!(Campaign::decode(&id[..16], &[]), Err(Malformed), "no state");
        assert_eq!(ProgressRecord::decode(&id[..20], &[]), Err(Malformed), "no phase");
        assert_eq!(ProblemRecord::decode(&id, &[]), Err(Malformed), "no place");
        assert_eq!(ProblemRecord::decode(&id[..51], &[]), Err(Malformed));
        assert_eq!(ClaimRecord::decode(&id[..20], &[]), Err(Malformed), "no campaign");
        let progress = StoreProgress::default();
        let (campaign, store) = (campaign().id, StoreNumber::new(7).unwrap());
        let body = ProgressRecord { campaign, store, progress }.encode();
        let mut of_no_store = campaign.as_bytes().to_vec();
        of_no_store.extend([0; 4]);
        assert_eq!(ProgressRecord::decode(&of_no_store, &body), Err(Malformed));
    }
}
