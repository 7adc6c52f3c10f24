//! What happens by itself, on clocks that a test moves: whole programs but for the network, on one
//! store in memory.

mod access;
mod audit;
mod budget;
mod clocks;
mod ladder;
mod lease;
mod metrics;
mod proof;
mod quotas;

use std::sync::Arc;
use std::time::Instant;

use bulla::clock::{Clock, ManualClock};
use bulla::crypto::OsRandom;
use bulla::custody::{self, Budget, Custody, Installed, KeyFile, Witness};
use bulla::keys::{
    Description, DestroyWait, KeyId, KeyRef, Reason, RotationLimit, RotationPeriod, State, Tags,
    TenantId, Timestamp,
};
use bulla::policy::{Action, CredentialKind, Principal, PrincipalId, Role, Subject, SubjectRef};
use bulla::rotation::{Done, Scheduler};
use bulla::service::{
    BindRole, Caller, CreateKey, Desk, GetKey, HashedKeys, ListVersions, Office, Refusal,
    RoleChange, RotateKey, ScheduleDestroy, Unended, VersionChange,
};
use bulla::store::{MemoryStore, Options};

use crate::trail::FakeDisk;

const SECOND: i64 = 1_000;
const HOUR: i64 = 3_600 * SECOND;
const DAY: i64 = 24 * HOUR;
const YEARS_10: i64 = 3_652 * DAY;
/// 2026-09-21.
const START: i64 = 1_790_000_000_000;

const BUDGET: Budget = Budget { rotations_per_hour_max: 600, destructions_per_hour_max: 100 };

/// A store, and what opens it.
struct Site {
    store: Arc<MemoryStore>,
    /// The store's own clock.
    clock: Arc<ManualClock>,
    folder: tempfile::TempDir,
    tenant: TenantId,
}

/// A program that serves the store, with a clock and an audit log of its own.
struct Program {
    desk: Desk,
    clock: Arc<ManualClock>,
    scheduler: Scheduler,
    manager: Caller,
    /// Its audit log's.
    disk: FakeDisk,
    lane: tokio::task::JoinHandle<()>,
}

// === impl Site ===

impl Site {
    /// A new installation whose clocks stand at [`START`].
    async fn new() -> Self {
        let clock = Arc::new(ManualClock::at_ms(START));
        let shown = Arc::clone(&clock);
        let options = Options { clock: Arc::new(move || shown.unix_ms()), ..Options::default() };
        let store = Arc::new(MemoryStore::with(options));
        let folder = tempfile::tempdir().unwrap();
        let seal = KeyFile::create(&folder.path().join("root.key"), &OsRandom).unwrap();
        let made = custody::create(installed(&store, &clock), &seal).await.unwrap();
        let tenant = made.add_tenant("demo").await.unwrap();
        let site = Self { store, clock, folder, tenant };
        site.program().await.become_manager(tenant).await;
        site
    }

    /// Another program on the store, whose clock says what the store's says.
    async fn program(&self) -> Program {
        self.program_with(BUDGET).await
    }

    async fn program_with(&self, budget: Budget) -> Program {
        let clock = Arc::new(ManualClock::at_ms(self.clock.unix_ms()));
        let seal = KeyFile::read(&self.folder.path().join("root.key")).unwrap();
        let custody = custody::open(installed(&self.store, &clock), &seal).await.unwrap();
        Program::new(Arc::new(custody), clock, budget, self.tenant)
    }

    /// Time passes for the store and for these programs.
    fn pass(&self, programs: &[&Program], millis: i64) {
        self.clock.advance_ms(millis);
        programs.iter().for_each(|program| program.clock.advance_ms(millis));
    }

    /// The machine's clock, which is the store's too, is put elsewhere. No time passes.
    fn jump(&self, programs: &[&Program], millis: i64) {
        self.clock.jump_ms(millis);
        programs.iter().for_each(|program| program.clock.jump_ms(millis));
    }
}

fn installed(store: &Arc<MemoryStore>, clock: &Arc<ManualClock>) -> Installed {
    Installed {
        store: Arc::<MemoryStore>::clone(store),
        clock: Arc::<ManualClock>::clone(clock),
        random: Arc::new(OsRandom),
        environment: "development".to_owned(),
    }
}

// === impl Program ===

impl Program {
    fn new(
        custody: Arc<Custody>,
        clock: Arc<ManualClock>,
        budget: Budget,
        tenant: TenantId,
    ) -> Self {
        let installation = custody.installation_id();
        let disk = FakeDisk::default();
        let (trail, _) = disk.open(installation).unwrap();
        let lane = trail.lane();
        let holder = custody.new_holder_id().unwrap();
        let office = Office {
            custody,
            trail,
            notarized: None,
            clock: Arc::<ManualClock>::clone(&clock),
            started: Instant::now(),
            environment: "development",
            budget,
            metrics: Arc::default(),
            limiter: Arc::default(),
            tokens: None,
            hashed_keys: HashedKeys::default(),
            unended: Unended::default(),
        };
        let desk = Desk::new(Arc::new(office), lane.clone());
        let scheduler = Scheduler::new(desk.clone(), Witness::new(holder, None));
        let principal = PrincipalId::parse("spiffe://demo.bulla/operator").unwrap();
        let source = "127.0.0.1:1".parse().unwrap();
        let manager = Caller::remote(
            Subject::new(Principal::new(principal, tenant), CredentialKind::Certificate).into(),
            source,
        );
        Self { desk, clock, scheduler, manager, disk, lane: tokio::spawn(lane.run()) }
    }

    async fn become_manager(&self, tenant: TenantId) {
        let bind = BindRole {
            subject: SubjectRef::Principal(self.manager.principal().id().clone()),
            role: Role::KeyManager.into(),
            expire_time: None,
            change: RoleChange::Bind,
            reason: Reason::none(),
            request: None,
        };
        let installer = Caller::installer(tenant);
        self.desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
    }

    fn custody(&self) -> &Custody {
        &self.desk.office().custody
    }

    async fn create_key(&self, period: RotationPeriod, time: Option<i64>) -> KeyId {
        self.make_key(period, time).await.unwrap()
    }

    async fn try_key(&self) -> Result<KeyId, Refusal> {
        self.make_key(RotationPeriod::NEVER, None).await
    }

    async fn make_key(&self, period: RotationPeriod, time: Option<i64>) -> Result<KeyId, Refusal> {
        let create = CreateKey {
            alias: None,
            key_ring: None,
            description: Description::default(),
            tags: Tags::default(),
            rotation_period: period,
            rotation_wraps: RotationLimit::NEVER,
            rotation_bytes: RotationLimit::NEVER,
            rotation_time: time.map(Timestamp::from_unix_ms),
            request: None,
        };
        let made = self.desk.perform_change(&self.manager, Action::CreateKey, Ok(create));
        Ok(made.await?.key.id())
    }

    async fn rotate(&self, key: KeyId) -> Result<u32, Refusal> {
        let (key, reason) = (KeyRef::Id(key), Reason::none());
        let rotate = RotateKey { key, reason, mandate: None, request: None };
        let rotated = self.desk.perform_change(&self.manager, Action::RotateKey, Ok(rotate)).await;
        rotated.map(|rotated| rotated.version.number())
    }

    async fn schedule_destroy(&self, key: KeyId, version: u32) {
        let destroy = ScheduleDestroy {
            of: VersionChange {
                key: KeyRef::Id(key),
                version,
                reason: Reason::none(),
                request: None,
            },
            wait: DestroyWait::from_ms(DestroyWait::MIN_MS).unwrap(),
            not_safe: false,
        };
        let asked = self.desk.perform_change(&self.manager, Action::ScheduleDestroy, Ok(destroy));
        asked.await.unwrap();
    }

    /// The states of a key's versions, which must be numbered from 1 without gaps.
    async fn states(&self, key: KeyId) -> Vec<State> {
        let list = ListVersions { key: KeyRef::Id(key), after: 0, page_size: 1_000 };
        let page = self.desk.perform(&self.manager, Ok(list)).await.unwrap();
        let mut states = Vec::new();
        for version in page.versions {
            states.push(version.version().state());
            assert_eq!(version.number() as usize, states.len());
        }
        let active = states.iter().filter(|state| **state == State::Active).count();
        assert!(active <= 1, "{states:?}");
        states
    }

    async fn next_rotation_time(&self, key: KeyId) -> Option<i64> {
        let get = GetKey { key: KeyRef::Id(key) };
        let view = self.desk.perform(&self.manager, Ok(get)).await.unwrap();
        view.key.key().next_rotation_time().map(Timestamp::unix_ms)
    }

    /// Looks until a look finds nothing to do any more. What was done in all.
    async fn settle(&mut self) -> Done {
        let mut sum = Done::default();
        let mut idle = 0;
        while idle < 100 {
            let done = self.scheduler.look().await.unwrap();
            sum.rotated += done.rotated;
            sum.destroyed += done.destroyed;
            sum.failed += done.failed;
            sum.climbed += done.climbed;
            idle = if done.rotated + done.destroyed + done.climbed == 0 { idle + 1 } else { 0 };
        }
        sum
    }
}

impl Drop for Program {
    /// As `kill -9` does: nothing is let go in an orderly way.
    fn drop(&mut self) {
        self.lane.abort();
    }
}
