//! Every kind of row as it was first released: the golden file has the id and the body of each, and a
//! change of a stored format fails here. `BULLA_BLESS=1` makes the file when it is missing; it never
//! makes one anew.

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::path::Path;

use super::*;
use crate::approval::{Draft, Electorate, Proposal, ProposalState, Rule, Vote};
use crate::audit::{Outcome, Record as AuditRecord};
use crate::campaign::{
    Agent, BlobDigest, Campaign, CampaignState, Decided, Decision, Phase, Place, Problem,
    ProblemPlace, ProblemReason, StoreProgress,
};
use crate::census::{
    FoundBlobs, RegisteredStore, Restore, RunningScan, Scans, StoreKind, VersionCensus, Waiver,
    WriteDelay, uses,
};
use crate::keys::{
    self, AccountName, CredentialId, DestroyWait, HolderId, Ladder, LadderParts, Owner, Present,
    ProposalId, Quota, Rung, ScanId, Step, StoreName, StoreNumber, TenantId, TenantLimits,
    TenantName,
};
use crate::policy::{Action, GroupName, Network, PrincipalId, Scope};

const KEY: KeyId = KeyId::from_bytes([3; 16]);
const CAMPAIGN: CampaignId = CampaignId::from_bytes([4; 16]);
const NOW: Timestamp = Timestamp::from_unix_ms(1_790_000_000_000);

/// The lines of the file, in the order of the kinds.
#[derive(Default)]
struct Written(String);

impl Written {
    /// A line; and it reads back to the same.
    fn put<R: Record + PartialEq + Debug>(&mut self, record: &R) {
        let (id, body) = (record.row_id(), record.encode());
        assert_eq!(&R::decode(&id, &body).unwrap(), record);
        let (id, body) = (hex::encode(id), hex::encode(body));
        writeln!(self.0, "{} {id} {body}", R::KIND).unwrap();
    }
}

fn reason(text: &str) -> Reason {
    Reason::parse(text).unwrap()
}

fn store() -> StoreNumber {
    StoreNumber::new(7).unwrap()
}

/// Each step with a wait of its own.
fn ladder() -> Ladder {
    Ladder::from_parts(LadderParts {
        restrict_after_ms: 600_000,
        brownouts: 3,
        brownout_length_ms: 120_000,
        brownout_after_ms: 180_000,
        suspend_after_ms: 240_000,
        destroy_after_ms: 300_000,
        destroy_wait: DestroyWait::DEFAULT,
    })
    .unwrap()
}

fn installation(written: &mut Written) {
    written.put(&Installation {
        id: [1; 16],
        environment: "staging".into(),
        create_time: NOW,
        root_generation: 2,
    });
    written.put(&RootSlot {
        id: [2; 16],
        kind: "key-file".into(),
        root_generation: 2,
        wrapped_root: vec![5; 9],
        create_time: NOW,
    });
    written.put(&TenantRecord {
        id: TenantId::from_bytes([4; 16]),
        name: TenantName::parse("demo").unwrap(),
        wrapped_key: vec![6; 9],
        key_generation: 3,
        create_time: NOW,
        description: Description::default(),
        suspended: None,
        limits: TenantLimits::default(),
    });
}

fn keys(written: &mut Written) {
    let (mut key, version) = Key::create(KEY, RotationPeriod::DEFAULT, Present::of(NOW)).unwrap();
    key.key_ring = Some(KeyRing::parse("payments/cards").unwrap());
    key.description = Description::parse("cards").unwrap();
    key.tags = Tags::parse([("team".into(), "payments".into())].into()).unwrap();
    key.aliases = vec![Alias::parse("cards").unwrap(), Alias::parse("b").unwrap()];
    key.disabled = true;
    key.rotation_wraps = RotationLimit::wraps(100).unwrap();
    key.rotation_bytes = RotationLimit::bytes(4_096).unwrap();
    key.rotation_time = Some(NOW.plus_ms(7));
    key.latest_version = 2;
    key.prepared_version = Some(2);
    key.ladder = Some(ladder());
    written.put(&key);
    let aside = version.step(Step::Suspend, reason("leak?"), NOW.plus_ms(1)).unwrap();
    let doomed = aside.schedule_destroy(DestroyWait::DEFAULT, reason("gone"), NOW).unwrap();
    for version in [version, aside, doomed] {
        let (wrapped_material, tenant_key_generation) = (vec![1; 9], 3);
        written.put(&VersionRecord { key: KEY, version, wrapped_material, tenant_key_generation });
    }
    written.put(&AliasRecord { alias: Alias::parse("cards").unwrap(), key: KEY });
    written.put(&BindingRecord {
        subject: SubjectRef::parse("spiffe://demo.bulla/app").unwrap(),
        roles: ["key-user", "auditor"]
            .map(|role| HeldRole { role: RoleName::parse(role).unwrap(), expire_time: None })
            .into(),
    });
    written.put(&RequestRecord {
        id: [7; 32],
        digest: [8; 32],
        key: Some(KEY),
        version: 3,
        replacement_version: 4,
        campaign: Some(CAMPAIGN),
        made: None,
        create_time: NOW,
    });
}

fn census(written: &mut Written) {
    let mut census = VersionCensus::default();
    let steps = [
        (Action::GenerateDataKey, Outcome::Succeeded),
        (Action::Decrypt, Outcome::Succeeded),
        (Action::ReEncryptFrom, Outcome::Succeeded),
        (Action::Decrypt, Outcome::Refused),
    ];
    for (at, (action, outcome)) in (1_u8..).zip(steps) {
        let record = AuditRecord {
            key: Some(KEY),
            version: 2,
            store: 7,
            items: u32::from(at),
            principal: "spiffe://demo.bulla/app".into(),
            reason: "VERSION_NOT_USABLE".into(),
            wrapped_bytes: 32,
            ..AuditRecord::new(1_790_000_000_000_000, action.name(), outcome)
        };
        census.apply(u64::from(at), &record, &uses(&record));
    }
    written.put(&CensusRecord { key: KEY, version: 2, census, due_at: None });
    written.put(&CensusPosition(77));
    let registered = RegisteredStore {
        number: store(),
        name: StoreName::parse("orders-db/customers.dek").unwrap(),
        owner: Owner::parse("the team of orders").unwrap(),
        kind: StoreKind::PostgreSql,
        write_delay: WriteDelay::from_ms(60_000).unwrap(),
        create_time: NOW,
        restore: Some(Restore { time: NOW.plus_ms(1), sequence: 5 }),
    };
    written.put(&registered);
    written.put(&StoreNameRecord { name: registered.name.clone(), number: store() });
    let id = ScanId::from_bytes([8; 16]);
    let begun = RunningScan { id, principal: "agent".into(), begin_time: NOW, begin_sequence: 5 };
    let mut scans = Scans::default();
    scans.begin(begun.clone());
    let found = FoundBlobs {
        rows: 9,
        versions: BTreeMap::from([(1, 5), (2, 1)]),
        other_keys: 2,
        unreadable: 1,
        abandoned: BTreeMap::from([(1, 4)]),
        samples: vec!["id=5".into()],
    };
    scans.end(id, "agent", NOW.plus_ms(2), found).unwrap();
    scans.begin(begun);
    written.put(&ScansRecord { key: KEY, store: store(), scans });
}

fn campaigns(written: &mut Written) {
    written.put(&Campaign {
        id: CAMPAIGN,
        key: KEY,
        source_versions: vec![1, 3],
        stores: [7, 9].map(|number| StoreNumber::new(number).unwrap()).into(),
        state: CampaignState::Failed,
        rate_per_second: 500,
        urgent: true,
        reason: reason("v1 leaked"),
        principal: "spiffe://demo.bulla/operator".into(),
        create_time: NOW,
        end_time: Some(NOW.plus_ms(1)),
        note: "given up".into(),
    });
    let progress = StoreProgress {
        phase: Phase::Verifying,
        holder: Some(Agent { id: HolderId::from_bytes([3; 16]), principal: "agent".into() }),
        report_time: Some(NOW),
        place: Place::new(vec![0xfe; 3]).unwrap(),
        pass: 2,
        seen: 3,
        total: 4,
        moved: 5,
        changed: 6,
        problems: 7,
        undecided: 8,
        pass_end_sequence: 9,
    };
    written.put(&ProgressRecord { campaign: CAMPAIGN, store: store(), progress });
    let problem = Problem {
        digest: BlobDigest::from_slice(&[4; 32]).unwrap(),
        place: ProblemPlace::parse("id=7").unwrap(),
        version: 1,
        reason: ProblemReason::parse("INVALID_CIPHERTEXT").unwrap(),
        report_time: NOW,
        told_by: [6; 32],
        decided: Some(Decided {
            decision: Decision::Abandoned,
            principal: "spiffe://demo.bulla/operator".into(),
            reason: reason("nobody needs it"),
        }),
    };
    written.put(&ProblemRecord { campaign: CAMPAIGN, store: store(), problem });
    written.put(&ClaimRecord { key: KEY, store: store(), campaign: CAMPAIGN });
}

fn retirement(written: &mut Written) {
    let place = keys::Place {
        rung: Rung::Between,
        brownouts_done: 2,
        step_time: Some(NOW),
        step_sequence: 77,
        next_time: Some(NOW.plus_ms(5)),
        pause_reason: reason("somebody was refused"),
    };
    written.put(&PlaceRecord { key: KEY, version: 4, place });
    let waiver = Waiver {
        principal: "spiffe://demo.bulla/operator".into(),
        reason: "none".into(),
        create_time: NOW,
        sequence: 7,
    };
    written.put(&WaiverRecord { key: KEY, version: 3, waiver });
    written.put(&SchedulerRecord {
        holder: Some(HolderId::from_bytes([9; 16])),
        fence: 3,
        expire_time: NOW,
        witnessed_time: NOW.plus_ms(1),
        hour: NOW.plus_ms(2),
        rotations: 600,
        destructions: 7,
    });
    let holder = HolderId::from_bytes([9; 16]);
    written.put(&ReplicaRecord { holder, revision: 77, report_time: NOW });
}

fn people(written: &mut Written) {
    let account = AccountName::parse("billing").unwrap();
    let id = CredentialId::from_bytes([5; 16]);
    written.put(&AccountRecord {
        name: account.clone(),
        description: Description::parse("sends bills").unwrap(),
        scope: Scope {
            actions: vec![Action::Decrypt, Action::GenerateDataKey],
            keys: vec![KEY],
            key_rings: vec![KeyRing::parse("payments/cards").unwrap()],
            encryption_context: [("app".to_owned(), "orders".to_owned())].into(),
            networks: vec![Network::parse("10.0.0.0/8").unwrap()],
        },
        create_time: NOW,
        credentials: vec![id],
    });
    written.put(&CredentialRecord {
        id,
        account,
        secret_digest: [6; 32],
        create_time: NOW,
        expire_time: NOW.plus_ms(7),
        last_use_time: Some(NOW.plus_ms(3)),
        last_use_address: "10.1.2.3".into(),
    });
    let who = |name: &str| PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap();
    let group = GroupName::parse("stewards").unwrap();
    let rule = Rule::new(Action::ScheduleDestroy, group, 2, 86_400_000).unwrap();
    let draft = Draft {
        id: ProposalId::from_bytes([6; 16]),
        method: "/bulla.kms.v1.Keys/ScheduleDestroy".into(),
        action: Action::ScheduleDestroy,
        digest: [7; 32],
        summary: "keys.schedule_destroy key=orders".into(),
        reason: reason("nobody needs it"),
        proposer: who("ann"),
        whom: Some(SubjectRef::parse("group:crew#member").unwrap()),
        electorate: Electorate::Group(rule.group().clone()),
        needed: 2,
        create_time: NOW,
        expire_time: NOW.plus_ms(86_400_000),
    };
    let vote = |name: &str, approves, asserted| Vote {
        principal: who(name),
        approves,
        reason: reason("seen"),
        time: NOW.plus_ms(5),
        asserted,
    };
    let votes = vec![vote("ben", true, false), vote("cat", false, true)];
    written.put(&ProposalRecord(Proposal::from_parts(draft, votes, ProposalState::Rejected)));
    written.put(&RuleRecord(rule));
    written.put(&UsageRecord { quota: Quota::Keys, count: 77 });
    written.put(&OutboxRecord {
        started_sequence: 77,
        started_time_us: 78,
        due_time: NOW.plus_ms(86_400_000),
    });
    let next = Some((vec![4, 5], 77));
    written.put(&AuditKeyRecord { generation: 3, wrapped: vec![1, 2, 3], next });
}

#[test]
fn every_kind_of_row_is_stored_as_it_was() {
    let mut written = Written::default();
    for kinds in [installation, keys, census, campaigns, retirement, people] {
        kinds(&mut written);
    }
    let numbers: Vec<u8> =
        written.0.lines().map(|line| line.split(' ').next().unwrap().parse().unwrap()).collect();
    let kinds = (1..=20).chain(24..=31);
    assert!(kinds.into_iter().all(|kind| numbers.contains(&kind)), "{numbers:?}");
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/row-bodies-v1.txt");
    if std::env::var_os("BULLA_BLESS").is_some() && !golden.exists() {
        fs::write(&golden, &written.0).unwrap();
    }
    let golden = fs::read_to_string(golden).unwrap();
    for (line, now) in golden.lines().zip(written.0.lines()) {
        assert_eq!(now, line);
    }
    assert_eq!(written.0, golden);
}
