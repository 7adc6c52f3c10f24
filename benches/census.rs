//! How long a census takes to answer: 10,000 keys of 20 versions that were each used with 20
//! stores, on SQLite.
//!
//! `cargo bench --bench census` fills a store through the audit log and the fold, as the server
//! does, and prints the middle and the slowest of 200 answers, the record of each made durable.
//! With another number of keys as its argument it is quicker to fill; run otherwise than by `cargo
//! bench` it has ten. Sets no threshold: figures of a shared machine are not a test.
#![allow(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    missing_docs
)]

use std::sync::Arc;
use std::time::Instant;

use bulla::audit::{Outcome, Record, RecordItem};
use bulla::clock::SystemClock;
use bulla::crypto::OsRandom;
use bulla::crypto::memory::WipingAllocator;
use bulla::custody::{Budget, Installed, KeyFile, create};
use bulla::keys::{
    Description, KeyId, KeyRef, Reason, RotationLimit, RotationPeriod, Tags, TenantId,
};
use bulla::policy::{Action, CredentialKind, Principal, PrincipalId, Role, Subject, SubjectRef};
use bulla::service::{
    BindRole, Caller, CreateKey, Desk, GetCensus, HashedKeys, Office, RoleChange, RotateKey,
    Unended,
};
use bulla::store::sqlite::SqliteStore;
use bulla::trail::{Lane, Trail, TrailOptions};

/// As in the program, so that what it costs is in the figures.
#[global_allocator]
static ALLOCATOR: WipingAllocator = WipingAllocator::new();

const VERSIONS: u32 = 20;
const STORES: u32 = 20;
const ANSWERS: usize = 200;

#[tokio::main]
async fn main() {
    let arguments: Vec<_> = std::env::args().collect();
    let measures = arguments.iter().any(|argument| argument == "--bench");
    let asked = arguments.iter().find_map(|argument| argument.parse().ok());
    let keys: u32 = asked.unwrap_or(if measures { 10_000 } else { 10 });
    let folder = tempfile::tempdir().unwrap();
    let seal = KeyFile::create(&folder.path().join("root.key"), &OsRandom).unwrap();
    let installed = Installed {
        store: Arc::new(SqliteStore::create(folder.path().join("bulla.db")).unwrap()),
        clock: Arc::new(SystemClock),
        random: Arc::new(OsRandom),
        environment: "development".into(),
    };
    let custody = create(installed, &seal).await.unwrap();
    let tenant = custody.add_tenant("one").await.unwrap();
    let log = folder.path().join("audit");
    let (trail, _) =
        Trail::open(&log, custody.installation_id(), &TrailOptions::default()).unwrap();
    let lane = trail.lane();
    tokio::spawn(lane.run());
    let office = Arc::new(Office {
        custody: Arc::new(custody),
        trail: trail.clone(),
        notarized: None,
        clock: Arc::new(SystemClock),
        started: Instant::now(),
        environment: "development",
        budget: Budget { rotations_per_hour_max: 600, destructions_per_hour_max: 100 },
        metrics: Arc::default(),
        limiter: Arc::default(),
        tokens: None,
        hashed_keys: HashedKeys::default(),
        unended: Unended::default(),
    });
    let desk = Desk::new(Arc::clone(&office), lane.clone());
    let manager = manager(&desk, tenant).await;
    let key = key_of_versions(&desk, &manager).await;
    let began = Instant::now();
    for other in 0..keys {
        let id = if other == keys / 2 { key } else { other_key(other) };
        use_everywhere(&lane, tenant, id).await;
    }
    office.custody.fold_census(&trail).await.unwrap();
    println!("filled with {keys} keys in {:.1} s", began.elapsed().as_secs_f64());

    let mut answers = Vec::with_capacity(ANSWERS);
    for _ in 0..ANSWERS {
        let began = Instant::now();
        let asked = GetCensus { key: KeyRef::Id(key) };
        let view = desk.perform(&manager, Ok(asked)).await.unwrap();
        answers.push(began.elapsed());
        assert_eq!(view.versions.len(), VERSIONS as usize);
        assert!(view.versions.iter().all(|(_, census)| census.stores.len() == STORES as usize));
    }
    answers.sort_unstable();
    let ms = |at: usize| answers[at].as_secs_f64() * 1_000.0;
    println!("census of a key: {:.2} ms, the slowest {:.2} ms", ms(ANSWERS / 2), ms(ANSWERS - 1));
    trail.close().await;
}

async fn manager(desk: &Desk, tenant: TenantId) -> Caller {
    let principal = PrincipalId::parse("spiffe://one.test/operator").unwrap();
    let bind = BindRole {
        subject: SubjectRef::Principal(principal.clone()),
        role: Role::KeyManager.into(),
        expire_time: None,
        change: RoleChange::Bind,
        reason: Reason::none(),
        request: None,
    };
    let installer = Caller::installer(tenant);
    desk.perform_change(&installer, Action::BindRole, Ok(bind)).await.unwrap();
    let principal = Principal::new(principal, tenant);
    let subject = Subject::new(principal, CredentialKind::Certificate);
    Caller::remote(subject.into(), ([127, 0, 0, 1], 1).into())
}

async fn key_of_versions(desk: &Desk, manager: &Caller) -> KeyId {
    let made = CreateKey {
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
    let key = desk.perform_change(manager, Action::CreateKey, Ok(made)).await.unwrap().key.id();
    for _ in 1..VERSIONS {
        let rotate = RotateKey {
            key: KeyRef::Id(key),
            reason: Reason::none(),
            mandate: None,
            request: None,
        };
        desk.perform_change(manager, Action::RotateKey, Ok(rotate)).await.unwrap();
    }
    key
}

fn other_key(number: u32) -> KeyId {
    let mut bytes = [0xb0; 16];
    bytes[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
    KeyId::from_bytes(bytes)
}

/// A record that opened a blob of every version in every store.
async fn use_everywhere(lane: &Lane, tenant: TenantId, key: KeyId) {
    let pairs = (1..=VERSIONS).flat_map(|version| (1..=STORES).map(move |store| (version, store)));
    let items = pairs.map(|(version, store)| RecordItem {
        key: Some(key),
        version,
        store,
        reason: "".into(),
        class: "".into(),
        count: 3,
        destination: None,
        wrapped_bytes: 0,
    });
    let record = Record {
        tenant: Some(tenant),
        principal: "spiffe://one.test/app".into(),
        items: 3 * VERSIONS * STORES,
        item_details: items.collect(),
        ..Record::new(1_790_000_000_000_000, Action::Decrypt.name(), Outcome::Succeeded)
    };
    lane.append(&record).await.unwrap();
}
