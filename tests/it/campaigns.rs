//! Campaigns at the desk, on a clock that a test moves: what an agent's silence leads to, and what
//! becomes of reports that race each other.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use bulla::campaign::{CampaignState, Phase, Place, Report};
use bulla::census::{FoundBlobs, RegisteredStore, RunningScan, StoreKind, WriteDelay};
use bulla::clock::ManualClock;
use bulla::crypto::OsRandom;
use bulla::custody::{self, Budget, Custody, Installed, KeyFile};
use bulla::keys::{
    CampaignId, Description, HolderId, KeyId, KeyRef, Owner, Reason, RotationLimit, RotationPeriod,
    StoreName, StoreNumber, StoreRef, Tags, TenantId,
};
use bulla::policy::{
    Action, CredentialKind, Permit, Principal, PrincipalId, Role, Subject, SubjectRef,
};
use bulla::service::{
    BindRole, Caller, CampaignOrder, CampaignView, CreateCampaign, CreateKey, Desk, GetCampaign,
    HashedKeys, Office, Progressed, Refusal, ReportProgress, RoleChange, RotateKey, Said,
    StepCampaign, Unended,
};
use bulla::store::MemoryStore;
use bulla::trail::{MIN_SEGMENT_BYTES, Trail, TrailOptions};
use proptest::prelude::*;

use crate::permits;

/// 2026-09-21.
const START: i64 = 1_790_000_000_000;

/// A program but for the network, with a key, two stores and a campaign over both.
pub(crate) struct Program {
    pub(crate) desk: Desk,
    clock: Arc<ManualClock>,
    pub(crate) tenant: TenantId,
    pub(crate) key: KeyId,
    campaign: CampaignId,
    /// The audit log.
    _folder: tempfile::TempDir,
}

// === impl Program ===

impl Program {
    pub(crate) async fn new() -> Self {
        let clock = Arc::new(ManualClock::at_ms(START));
        let folder = tempfile::tempdir().unwrap();
        let seal = KeyFile::create(&folder.path().join("root.key"), &OsRandom).unwrap();
        let installed = Installed {
            store: Arc::new(MemoryStore::new()),
            clock: Arc::<ManualClock>::clone(&clock),
            random: Arc::new(OsRandom),
            environment: "development".to_owned(),
        };
        let custody = custody::create(installed, &seal).await.unwrap();
        let tenant = custody.add_tenant("demo").await.unwrap();
        let (installation, log) = (custody.installation_id(), folder.path().join("audit"));
        let options = TrailOptions { segment_bytes: MIN_SEGMENT_BYTES, ..TrailOptions::default() };
        let (trail, _) = Trail::open(&log, installation, &options).unwrap();
        let lane = trail.lane();
        tokio::spawn(lane.clone().run());
        let office = Office {
            custody: Arc::new(custody),
            trail,
            notarized: None,
            clock: Arc::<ManualClock>::clone(&clock),
            started: Instant::now(),
            environment: "development",
            budget: Budget { rotations_per_hour_max: 600, destructions_per_hour_max: 100 },
            metrics: Arc::default(),
            limiter: Arc::default(),
            tokens: None,
            hashed_keys: HashedKeys::default(),
            unended: Unended::default(),
        };
        let desk = Desk::new(Arc::new(office), lane);
        let none = (KeyId::from_bytes([0; 16]), CampaignId::from_bytes([0; 16]));
        let (key, campaign) = none;
        let mut program = Self { desk, clock, tenant, key, campaign, _folder: folder };
        program.bind("manager", Role::KeyManager).await;
        for agent in ["one", "other"] {
            program.bind(agent, Role::KeyRewrapper).await;
        }
        program.register(&[1, 2]).await;
        program.key = program.new_key().await;
        program.campaign = program.begin().await;
        program
    }

    pub(crate) fn custody(&self) -> &Custody {
        &self.desk.office().custody
    }

    fn caller(&self, name: &str) -> Caller {
        let source = "127.0.0.1:1".parse().unwrap();
        Caller::remote(
            Subject::new(self.principal(name), CredentialKind::Certificate).into(),
            source,
        )
    }

    fn principal(&self, name: &str) -> Principal {
        let id = PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap();
        Principal::new(id, self.tenant)
    }

    pub(crate) fn permit(&self, action: Action, role: Role) -> Permit {
        permits::permit(&self.principal("manager"), role, action)
    }

    async fn bind(&self, name: &str, role: Role) {
        let principal = self.principal(name).id().clone();
        let bind = BindRole {
            subject: SubjectRef::Principal(principal),
            role: role.into(),
            expire_time: None,
            change: RoleChange::Bind,
            reason: Reason::none(),
            request: None,
        };
        let installer = Caller::installer(self.tenant);
        self.desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
    }

    async fn register(&self, numbers: &[u32]) {
        let permit = self.permit(Action::RegisterStore, Role::KeyManager);
        let mut changes = self.custody().change(&permit).unwrap();
        for number in numbers {
            changes.put_new_store(&RegisteredStore {
                number: StoreNumber::new(*number).unwrap(),
                name: StoreName::parse(&format!("store-{number}")).unwrap(),
                owner: Owner::parse("orders").unwrap(),
                kind: StoreKind::Sqlite,
                write_delay: WriteDelay::DEFAULT,
                create_time: self.custody().now(),
                restore: None,
            });
        }
        changes.commit().await.unwrap();
    }

    async fn new_key(&self) -> KeyId {
        let manager = self.caller("manager");
        let create = CreateKey {
            alias: None,
            key_ring: None,
            description: Description::default(),
            tags: Tags::default(),
            rotation_period: RotationPeriod::NEVER,
            rotation_wraps: RotationLimit::NEVER,
            rotation_bytes: RotationLimit::NEVER,
            rotation_time: None,
            request: None,
        };
        let made = self.desk.perform_change(&manager, Action::CreateKey, Ok(create)).await;
        let key = made.unwrap().key.id();
        let (named, reason) = (KeyRef::Id(key), Reason::none());
        let rotate = RotateKey { key: named, reason, mandate: None, request: None };
        self.desk.perform_change(&manager, Action::RotateKey, Ok(rotate)).await.unwrap();
        key
    }

    async fn begin(&self) -> CampaignId {
        self.begin_over(self.key, &[1, 2]).await.unwrap()
    }

    async fn begin_over(&self, key: KeyId, stores: &[u32]) -> Result<CampaignId, Refusal> {
        let create = CreateCampaign {
            key: KeyRef::Id(key),
            source_versions: [1].into(),
            stores: stores.iter().map(|number| store(*number)).collect(),
            rate_per_second: 0,
            urgent: false,
            reason: Reason::none(),
            request: None,
        };
        let manager = self.caller("manager");
        let made = self.desk.perform_change(&manager, Action::CreateCampaign, Ok(create)).await;
        Ok(made?.campaign.id)
    }

    async fn step(&self, campaign: CampaignId, order: CampaignOrder) -> Result<(), Refusal> {
        let reason = Reason::parse("a person wants it").unwrap();
        let step = StepCampaign { campaign, order, reason, request: None };
        let manager = self.caller("manager");
        self.desk.perform_change(&manager, order.action(), Ok(step)).await.map(|_| ())
    }

    async fn shown(&self) -> CampaignView {
        let get = GetCampaign { campaign: self.campaign };
        self.desk.perform(&self.caller("manager"), Ok(get)).await.unwrap()
    }

    async fn say(&self, agent: &str, number: u32, said: Said) -> Result<Progressed, Refusal> {
        let id = if agent == "one" { 1 } else { 2 };
        let report = ReportProgress {
            campaign: self.campaign,
            store: store(number),
            agent_id: HolderId::from_bytes([id; 16]),
            said,
            digest: [0; 32],
            problems: BTreeMap::new(),
            release: false,
        };
        self.desk.perform(&self.caller(agent), Ok(report)).await
    }

    /// A scan of a store begins now and ends at once, having found nothing.
    async fn scan(&self, number: u32) {
        let permit = self.permit(Action::ReportScan, Role::KeyRewrapper);
        let number = StoreNumber::new(number).unwrap();
        let was = self.custody().scans(&permit, self.key, number).await.unwrap();
        let mut scans = was.record.clone();
        let id = self.custody().new_scan_id().unwrap();
        let now = self.custody().now();
        scans.begin(RunningScan {
            id,
            principal: "spiffe://demo.bulla/one".into(),
            begin_time: now,
            begin_sequence: *self.desk.office().trail.durable().borrow(),
        });
        scans.end(id, "spiffe://demo.bulla/one", now, FoundBlobs::default()).unwrap();
        let mut changes = self.custody().change(&permit).unwrap();
        changes.put_scans(self.key, number, scans, &was);
        changes.commit().await.unwrap();
    }
}

fn store(number: u32) -> StoreRef {
    StoreRef::Number(StoreNumber::new(number).unwrap())
}

fn seen(seen: u64, pass_ended: bool) -> Said {
    let place = Place::new(seen.to_be_bytes().into()).unwrap();
    Said::Pass(Report { pass: 1, place, seen, total: 9, moved: 3, changed: 0, pass_ended })
}

#[tokio::test]
async fn g05_a_silent_agent_keeps_its_store_for_thirty_seconds_and_no_longer() {
    let program = Program::new().await;
    program.say("one", 1, Said::Begun).await.unwrap();
    program.say("one", 1, seen(3, false)).await.unwrap();
    program.clock.advance_ms(29_999);
    let Err(Refusal::StoreHeld(held)) = program.say("other", 1, Said::Begun).await else {
        panic!("the store was given away");
    };
    assert_eq!((held.principal.as_str(), held.free_in_ms), ("spiffe://demo.bulla/one", 1));
    // The other store is free.
    program.say("other", 2, Said::Begun).await.unwrap();

    program.clock.advance_ms(1);
    let taken = program.say("other", 1, Said::Begun).await.unwrap().store.progress;
    assert_eq!((taken.pass, taken.seen, taken.moved), (1, 3, 3), "it goes on where the first was");
    assert_eq!(taken.place.as_bytes(), 3_u64.to_be_bytes());
    // The first is back: what it says now is refused, and what it said is not counted again.
    for said in [seen(6, false), seen(3, false), seen(9, true), Said::Begun] {
        assert!(matches!(program.say("one", 1, said).await, Err(Refusal::StoreHeld(_))));
    }
    let shown = program.shown().await.stores.remove(0).progress;
    assert_eq!((shown.seen, shown.moved, shown.phase), (3, 3, Phase::Moving));
    // An agent that goes on being heard keeps its store for ever.
    for at in 4..9 {
        program.clock.advance_ms(29_000);
        program.say("other", 1, seen(at, false)).await.unwrap();
    }
    // A clock that is set back keeps nothing from anybody.
    program.clock.jump_ms(-86_400_000);
    program.say("one", 1, Said::Begun).await.unwrap();
}

#[tokio::test]
async fn g05_the_same_report_a_hundred_times_at_once_counts_once() {
    let program = Program::new().await;
    program.say("one", 1, Said::Begun).await.unwrap();
    let reports = (0..100).map(|_| program.say("one", 1, seen(3, false)));
    let mut answered = 0;
    for outcome in futures_util::future::join_all(reports).await {
        match outcome {
            Ok(progressed) => assert_eq!(progressed.store.progress.moved, 3),
            // Too many at once for one row; what it said is there already.
            Err(refusal) => assert_eq!(refusal.reason(), "CONFLICT"),
        }
        answered += 1;
    }
    assert_eq!(answered, 100);
    assert_eq!(program.shown().await.stores[0].progress.moved, 3);
}

#[tokio::test]
async fn two_stores_that_end_at_once_see_each_other() {
    let program = Program::new().await;
    for (agent, number) in [("one", 1), ("other", 2)] {
        program.say(agent, number, Said::Begun).await.unwrap();
    }
    let end = |agent, number| program.say(agent, number, seen(3, true));
    let (one, other) = tokio::join!(end("one", 1), end("other", 2));
    one.unwrap();
    other.unwrap();
    assert_eq!(program.shown().await.campaign.state, CampaignState::Verifying);
    program.scan(1).await;
    program.scan(2).await;
    let (one, other) = tokio::join!(end("one", 1), end("other", 2));
    let states = [one, other].map(|told| told.unwrap().campaign.state);
    assert!(states.contains(&CampaignState::Done), "{states:?}");
    let shown = program.shown().await;
    assert_eq!(shown.campaign.state, CampaignState::Done);
    assert!(shown.stores.iter().all(|store| store.progress.phase == Phase::Clean));
}

#[tokio::test]
async fn a_store_that_was_restored_since_its_scan_is_not_clean() {
    let program = Program::new().await;
    program.say("one", 1, Said::Begun).await.unwrap();
    program.say("one", 1, seen(3, true)).await.unwrap();
    program.scan(1).await;
    let permit = program.permit(Action::ReportRestore, Role::KeyManager);
    let custody = program.custody();
    let was = custody.store(&permit, &store(1)).await.unwrap();
    let sequence = *program.desk.office().trail.durable().borrow();
    let restore = Some(bulla::census::Restore { time: custody.now(), sequence });
    let mut changes = custody.change(&permit).unwrap();
    changes.put_store(&RegisteredStore { restore, ..was.record.clone() }, &was);
    changes.commit().await.unwrap();
    let told = program.say("one", 1, seen(3, false)).await.unwrap();
    assert_eq!(told.store.progress.phase, Phase::Verifying);
    program.scan(1).await;
    let told = program.say("one", 1, seen(3, false)).await.unwrap();
    assert_eq!(told.store.progress.phase, Phase::Clean);
}

#[tokio::test]
async fn a_pause_that_races_reports_takes_hold() {
    let program = Program::new().await;
    program.say("one", 1, Said::Begun).await.unwrap();
    let manager = program.caller("manager");
    let step = StepCampaign {
        campaign: program.campaign,
        order: CampaignOrder::Pause,
        reason: Reason::none(),
        request: None,
    };
    let pause = program.desk.perform_change(&manager, Action::PauseCampaign, Ok(step));
    let claims =
        futures_util::future::join_all((0..20).map(|at| program.say("one", 1, seen(at, false))));
    let (paused, _) = tokio::join!(pause, claims);
    paused.unwrap();
    let told = program.say("other", 2, Said::Begun).await.unwrap();
    assert_eq!(told.campaign.state, CampaignState::Paused);
    assert_eq!(told.store.progress.holder, None, "a paused campaign gives no store");
}

/// What happens to the campaigns of two keys over three stores.
#[derive(Clone, Debug)]
enum Event {
    /// All of these at once: the key, and a bit for each store.
    Create(Vec<(usize, u8)>),
    Step(CampaignOrder, prop::sample::Index),
}

fn event() -> impl Strategy<Value = Event> {
    use CampaignOrder::{Abandon, Pause, Resume};
    let order = prop_oneof![1 => Just(Pause), 1 => Just(Resume), 3 => Just(Abandon)];
    prop_oneof![
        prop::collection::vec((0..2usize, 1..8u8), 1..4).prop_map(Event::Create),
        (order, any::<prop::sample::Index>()).prop_map(|(order, at)| Event::Step(order, at)),
    ]
}

fn stores_of(bits: u8) -> Vec<u32> {
    (1..=3_u32).filter(|number| bits & (1 << (number - 1)) != 0).collect()
}

/// `live` is what has not ended: the campaign, its key, and a bit for each store.
async fn walk(events: Vec<Event>) {
    let program = Program::new().await;
    program.register(&[3]).await;
    program.step(program.campaign, CampaignOrder::Abandon).await.unwrap();
    let keys = [program.key, program.new_key().await];
    let mut live: Vec<(CampaignId, usize, u8)> = Vec::new();
    for event in events {
        match event {
            Event::Create(asked) => {
                let stores: Vec<_> = asked.iter().map(|(_, bits)| stores_of(*bits)).collect();
                let creates = asked.iter().zip(&stores);
                let creates =
                    creates.map(|((key, _), stores)| program.begin_over(keys[*key], stores));
                let outcomes = futures_util::future::join_all(creates).await;
                let before = live.clone();
                for ((key, bits), outcome) in asked.iter().zip(outcomes) {
                    let shares = |with: &[(CampaignId, usize, u8)]| {
                        with.iter().any(|(_, other, theirs)| other == key && theirs & bits != 0)
                    };
                    match outcome {
                        Ok(id) => {
                            assert!(!shares(&live), "two at work in one store");
                            live.push((id, *key, *bits));
                        }
                        Err(Refusal::CampaignAtWork { campaign, .. }) => {
                            assert!(shares(&live), "refused for nothing");
                            assert!(live.iter().any(|(id, ..)| *id == campaign));
                        }
                        // Lost a race with another of these, and may ask again.
                        Err(Refusal::Conflict) => assert!(asked.len() > 1 && !shares(&before)),
                        Err(other) => panic!("{other}"),
                    }
                }
            }
            Event::Step(order, at) if !live.is_empty() => {
                let at = at.index(live.len());
                let _ = program.step(live[at].0, order).await;
                if order == CampaignOrder::Abandon {
                    live.swap_remove(at);
                }
            }
            Event::Step(..) => {}
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn no_two_campaigns_are_at_work_on_one_key_in_one_store(
        events in prop::collection::vec(event(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
        runtime.block_on(walk(events));
    }
}
