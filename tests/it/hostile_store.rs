//! A database that answers with rows that are authentic, and not those that were asked for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use async_trait::async_trait;
use bulla::census::{RunningScan, Scans};
use bulla::clock::ManualClock;
use bulla::crypto::OsRandom;
use bulla::custody::{self, CustodyError, Installed, KeyFile};
use bulla::keys::{Key, KeyId, KeyRef, RotationPeriod, ScanId, StoreNumber, Use};
use bulla::policy::{
    Action, Circumstances, CredentialKind, HeldRole, Material, Principal, PrincipalId, Question,
    Role, Subject, SubjectRef, Target, World,
};
use bulla::store::{
    Changes, Commit, MemoryStore, Row, RowKey, Scan, Store, StoreError, StoreStatus,
};

use crate::permits;

const ASKED: KeyId = KeyId::from_bytes([1; 16]);
const OTHER: KeyId = KeyId::from_bytes([2; 16]);

/// Gives what belongs to [`OTHER`] whenever somebody asks for what belongs to [`ASKED`], once it lies.
#[derive(Default)]
struct Hostile {
    rows: MemoryStore,
    lies: AtomicBool,
}

impl Hostile {
    fn instead_of(&self, id: &[u8]) -> Vec<u8> {
        match id.strip_prefix(ASKED.as_bytes()) {
            Some(rest) if self.lies.load(Ordering::SeqCst) => [OTHER.as_bytes(), rest].concat(),
            _ => id.to_vec(),
        }
    }
}

#[async_trait]
impl Store for Hostile {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        let other = |key: &RowKey| RowKey { id: self.instead_of(&key.id), ..key.clone() };
        self.rows.load(&keys.iter().map(other).collect::<Vec<_>>()).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        let prefix = self.instead_of(&scan.prefix);
        self.rows.scan(&Scan { prefix, ..scan.clone() }).await
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&bulla::store::DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.rows.due(now, after, limit).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        self.rows.changes(after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        self.rows.commit(commit).await
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        self.rows.clock().await
    }

    async fn wait_hint(&self, after: u64) {
        self.rows.wait_hint(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.rows.status().await
    }
}

#[tokio::test]
async fn f05_an_authentic_row_of_another_key_passes_for_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let seal = KeyFile::create(&folder.path().join("root.key"), &OsRandom).unwrap();
    let store = Arc::new(Hostile::default());
    let installed = Installed {
        store: Arc::<Hostile>::clone(&store),
        clock: Arc::new(ManualClock::at_ms(1_790_000_000_000)),
        random: Arc::new(OsRandom),
        environment: "development".to_owned(),
    };
    let custody = custody::create(installed, &seal).await.unwrap();
    let tenant = custody.add_tenant("demo").await.unwrap();
    let id = PrincipalId::parse("spiffe://demo.bulla/manager").unwrap();
    let principal = Principal::new(id, tenant);
    let permit = permits::permit(&principal, Role::KeyManager, Action::RetireCheck);

    let number = StoreNumber::new(1).unwrap();
    let mut changes = custody.change(&permit).unwrap();
    for (key, scan) in [(ASKED, [1; 16]), (OTHER, [2; 16])] {
        let was = custody.scans(&permit, key, number).await.unwrap();
        let mut scans = Scans::default();
        scans.begin(RunningScan {
            id: ScanId::from_bytes(scan),
            principal: "agent".into(),
            begin_time: custody.now(),
            begin_sequence: 7,
        });
        changes.put_scans(key, number, scans, &was);
    }
    changes.commit().await.unwrap();
    let running = |scans: &Scans| scans.running.as_ref().map(|scan| *scan.id.as_bytes());
    let found = custody.scans(&permit, ASKED, number).await.unwrap();
    assert_eq!(running(&found.record), Some([1; 16]));
    let all = custody.scans_of(&permit, ASKED).await.unwrap();
    assert_eq!(
        all.iter().map(|(_, scans)| running(&scans.record)).collect::<Vec<_>>(),
        [Some([1; 16])]
    );

    store.lies.store(true, Ordering::SeqCst);
    let one = custody.scans(&permit, ASKED, number).await.err();
    assert!(matches!(one, Some(CustodyError::Tampered { .. })), "{one:?}");
    let all = custody.scans_of(&permit, ASKED).await.err();
    assert!(matches!(all, Some(CustodyError::Tampered { .. })), "{all:?}");
}

/// Whatever code asks: a permit reads and uses the key that it was given for, and no other.
#[tokio::test]
async fn d03_a_permit_for_one_key_reads_and_uses_no_other() {
    let folder = tempfile::tempdir().unwrap();
    let seal = KeyFile::create(&folder.path().join("root.key"), &OsRandom).unwrap();
    let installed = Installed {
        store: Arc::new(MemoryStore::default()),
        clock: Arc::new(ManualClock::at_ms(1_790_000_000_000)),
        random: Arc::new(OsRandom),
        environment: "development".to_owned(),
    };
    let custody = custody::create(installed, &seal).await.unwrap();
    let tenant = custody.add_tenant("demo").await.unwrap();
    let principal = |name: &str| {
        let id = PrincipalId::parse(&format!("spiffe://demo.bulla/{name}")).unwrap();
        Principal::new(id, tenant)
    };
    let manages = permits::permit(&principal("manager"), Role::KeyManager, Action::CreateKey);
    let mut changes = custody.change(&manages).unwrap();
    for id in [ASKED, OTHER] {
        let present = custody.present().await.unwrap();
        let (key, version) = Key::create(id, RotationPeriod::from_ms(0).unwrap(), present).unwrap();
        changes.put_new_key(&key);
        changes.put_new_version(id, version).unwrap();
    }
    changes.commit().await.unwrap();

    let held = HeldRole { role: Role::KeyUser.into(), expire_time: None };
    let user = principal("user");
    let bindings = vec![(SubjectRef::Principal(user.id().clone()), vec![held])];
    let world = World::new(tenant, Material { bindings, ..Material::default() });
    let subject = Subject::new(user, CredentialKind::Certificate);
    let facts = custody.key_facts(tenant, &KeyRef::Id(ASKED)).await.unwrap();
    let circumstances = Circumstances {
        now: custody.now(),
        source: None,
        environment: "development",
        encryption_context: &[],
    };
    let question = Question {
        subject: &subject,
        action: Action::Decrypt,
        target: Target::Key(&facts),
        whom: None,
        circumstances: &circumstances,
    };
    let permit = world.decide(&question).unwrap();
    let own = custody.key_by_id(&permit, ASKED).await.unwrap();
    let version = custody.version(&permit, ASKED, 1).await.unwrap();
    assert!(custody.material(&permit, &own, &version, Use::Decrypt).is_ok());

    assert!(matches!(custody.key_by_id(&permit, OTHER).await, Err(CustodyError::NotFound)));
    assert!(matches!(custody.version(&permit, OTHER, 1).await, Err(CustodyError::NotFound)));
    // Not with what somebody else was let read, either.
    let other = custody.key_by_id(&manages, OTHER).await.unwrap();
    let of_other = custody.version(&manages, OTHER, 1).await.unwrap();
    let used = custody.material(&permit, &other, &of_other, Use::Decrypt);
    assert!(matches!(used, Err(CustodyError::NotCovered)));
    // Nor for another use of its own.
    let used = custody.material(&permit, &own, &version, Use::Wrap);
    assert!(matches!(used, Err(CustodyError::NotCovered)));
}
