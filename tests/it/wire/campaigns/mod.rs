//! Campaigns through the API, with an agent that a test plays: a list of blobs for a store, and the
//! calls that an agent would make.

mod lives;
mod refusals;

use std::sync::atomic::{AtomicU64, Ordering};

use bulla_client::{Client, Error};
use bulla_proto::kms;

use super::{Shared, fresh, new_key, rotate};

/// A key with a registered store, whose blobs are all under version 1; version 2 is Active.
pub(super) struct Scene {
    pub(super) server: Shared,
    pub(super) manager: Client,
    pub(super) user: Client,
    pub(super) key: String,
    pub(super) store: String,
    pub(super) number: u32,
    pub(super) blobs: Vec<Vec<u8>>,
}

/// One run of an agent.
pub(super) struct Agent {
    pub(super) client: Client,
    pub(super) id: String,
    campaign_id: String,
    store: String,
    pass: u32,
    seen: usize,
    moved: u64,
}

// === impl Scene ===

impl Scene {
    pub(super) async fn of(server: Shared, blobs: usize) -> Self {
        let manager = server.client("operator").await;
        let user = server.client("app").await;
        let key = new_key(&manager).await;
        let store = fresh("orders-db/customers.dek");
        let number = register(&manager, &store).await;
        let mut scene = Self { server, manager, user, key, store, number, blobs: Vec::new() };
        for _ in 0..blobs {
            let blob = scene.new_blob().await;
            scene.blobs.push(blob);
        }
        rotate(&scene.manager, &scene.key).await.unwrap();
        scene
    }

    pub(super) async fn new_blob(&self) -> Vec<u8> {
        let asked = kms::GenerateDataKeyRequest {
            key: self.key.clone(),
            store: self.number,
            ..Default::default()
        };
        self.user.generate_data_key(asked).await.unwrap().ciphertext
    }

    pub(super) fn create(&self) -> kms::CreateCampaignRequest {
        kms::CreateCampaignRequest {
            key: self.key.clone(),
            stores: vec![self.store.clone()],
            ..Default::default()
        }
    }

    /// Begins a campaign over the store. Its id.
    pub(super) async fn campaign(&self) -> String {
        let made = self.manager.create_campaign(self.create()).await.unwrap();
        made.campaign.unwrap().campaign_id
    }

    pub(super) async fn give_up(&self, campaign_id: &str) {
        let asked = kms::AbandonCampaignRequest {
            campaign_id: campaign_id.to_owned(),
            reason: "another is to begin".into(),
            ..Default::default()
        };
        self.manager.abandon_campaign(asked).await.unwrap();
    }

    pub(super) async fn agent(&self, campaign_id: &str) -> Agent {
        Agent {
            client: self.server.client("rewrapper").await,
            id: new_agent_id(),
            campaign_id: campaign_id.to_owned(),
            store: self.store.clone(),
            pass: 0,
            seen: 0,
            moved: 0,
        }
    }

    pub(super) async fn shown(&self, campaign_id: &str) -> kms::Campaign {
        let asked = kms::GetCampaignRequest { campaign_id: campaign_id.to_owned() };
        self.manager.get_campaign(asked).await.unwrap().campaign.unwrap()
    }

    pub(super) async fn decide(
        &self,
        campaign_id: &str,
        digest: &[u8],
        decision: kms::ProblemDecision,
    ) -> Result<kms::Problem, Error> {
        let asked = kms::DecideProblemRequest {
            campaign_id: campaign_id.to_owned(),
            store: self.store.clone(),
            digest: digest.to_vec(),
            decision: decision.into(),
            reason: "nobody needs it".into(),
            ..Default::default()
        };
        Ok(self.manager.decide_problem(asked).await?.problem.unwrap())
    }
}

// === impl Agent ===

impl Agent {
    pub(super) fn report(&self) -> kms::ReportProgressRequest {
        kms::ReportProgressRequest {
            campaign_id: self.campaign_id.clone(),
            store: self.store.clone(),
            agent_id: self.id.clone(),
            pass: self.pass,
            place: self.seen.to_be_bytes().to_vec(),
            seen: self.seen as u64,
            moved: self.moved,
            ..Default::default()
        }
    }

    /// Sends the report, and goes on where the answer says.
    pub(super) async fn send(
        &mut self,
        report: kms::ReportProgressRequest,
    ) -> Result<kms::ReportProgressResponse, Error> {
        let answer = self.client.report_progress(report).await?;
        let progress = answer.progress.as_ref().unwrap();
        let place = progress.place.as_slice();
        self.seen = place.try_into().map_or(0, usize::from_be_bytes);
        self.pass = progress.pass;
        self.moved = 0;
        Ok(answer)
    }

    /// Asks where the store stands.
    pub(super) async fn claim(&mut self) -> Result<kms::ReportProgressResponse, Error> {
        (self.pass, self.seen, self.moved) = (0, 0, 0);
        self.send(self.report()).await
    }

    /// Moves the next `rows` blobs of old versions. Those that do not open are given back.
    pub(super) async fn work(&mut self, blobs: &mut [Vec<u8>], rows: usize) -> Vec<kms::Problem> {
        let mut problems = Vec::new();
        for blob in blobs.iter_mut().skip(self.seen).take(rows) {
            self.seen += 1;
            if version_of(blob) != 1 {
                continue;
            }
            let asked = kms::ReEncryptRequest { ciphertext: blob.clone(), ..Default::default() };
            match self.client.re_encrypt(asked).await {
                Ok(moved) => {
                    *blob = moved.ciphertext;
                    self.moved += 1;
                }
                Err(error) => problems.push(kms::Problem {
                    place: format!("id={}", self.seen),
                    digest: digest_of(blob),
                    version: 1,
                    reason: error.reason().to_owned(),
                    ..Default::default()
                }),
            }
        }
        problems
    }

    /// Goes through the rest and says that the pass has ended.
    pub(super) async fn finish_pass(
        &mut self,
        blobs: &mut [Vec<u8>],
    ) -> kms::ReportProgressResponse {
        let problems = self.work(blobs, usize::MAX).await;
        let report = kms::ReportProgressRequest { pass_ended: true, problems, ..self.report() };
        self.send(report).await.unwrap()
    }

    /// Scans the store and tells what it found, and reports once more.
    pub(super) async fn scan(
        &mut self,
        key: &str,
        blobs: &[Vec<u8>],
        abandoned: u64,
    ) -> kms::ReportProgressResponse {
        let (key, store) = (key.to_owned(), self.store.clone());
        let begin = kms::BeginScanRequest { key: key.clone(), store: store.clone() };
        let scan_id = self.client.begin_scan(begin).await.unwrap().scan_id;
        let count = |version| blobs.iter().filter(|blob| version_of(blob) == version).count();
        let versions = [1, 2].map(|version| (version, count(version) as u64));
        let report = kms::ReportScanRequest {
            key,
            store,
            scan_id,
            rows: blobs.len() as u64,
            versions: versions.map(|(version, count)| kms::VersionCount { version, count }).into(),
            abandoned: vec![kms::VersionCount { version: 1, count: abandoned }],
            ..Default::default()
        };
        self.client.report_scan(report).await.unwrap();
        self.send(self.report()).await.unwrap()
    }
}

/// As an agent that starts draws it.
pub(super) fn new_agent_id() -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("00000000-0000-4000-8000-{:012x}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) async fn register(manager: &Client, name: &str) -> u32 {
    let asked = kms::RegisterStoreRequest {
        name: name.to_owned(),
        owner: "orders".into(),
        kind: kms::StoreKind::Postgresql.into(),
        ..Default::default()
    };
    manager.register_store(asked).await.unwrap().store.unwrap().store
}

/// The version in a blob's header; 0 where there is none.
pub(super) fn version_of(blob: &[u8]) -> u32 {
    blob.get(22..26).map_or(0, |bytes| u32::from_be_bytes(bytes.try_into().unwrap()))
}

pub(super) fn digest_of(blob: &[u8]) -> Vec<u8> {
    use sha2::Digest;
    sha2::Sha256::digest(blob).to_vec()
}

/// A blob that no longer opens.
pub(super) fn broken(blob: &[u8]) -> Vec<u8> {
    let mut broken = blob.to_vec();
    *broken.last_mut().unwrap() ^= 1;
    broken
}
