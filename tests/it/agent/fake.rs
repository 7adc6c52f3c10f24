//! A server of the tests: keeps one campaign over one store as the real one does, re-wraps blobs of its
//! own making, and fails when it is told to.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use bulla::agent::{Board, Context, Mover, Replies, ServerError};
use bulla_client::kms::{self, CampaignState, ProblemDecision, StorePhase};
use futures_util::StreamExt;
use futures_util::stream;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use tokio::sync::mpsc;

/// The key of all tests, and another.
pub(crate) const KEY: [u8; 16] = [7; 16];
pub(crate) const OTHER_KEY: [u8; 16] = [8; 16];

/// The campaign moves versions 1 and 2; 3 is Active.
pub(crate) const ACTIVE: u32 = 3;

pub(crate) struct Server {
    pub(crate) state: Mutex<State>,
    rewraps: AtomicU64,
}

#[derive(Default)]
pub(crate) struct State {
    pub(crate) campaign: CampaignState,
    pub(crate) progress: kms::StoreProgress,
    pub(crate) rate_per_second: u32,
    /// By where they stand.
    pub(crate) problems: HashMap<String, kms::Problem>,
    decisions: HashMap<String, ProblemDecision>,
    /// In order of their ends.
    pub(crate) scans: Vec<kms::ReportScanRequest>,
    scan_begun: Option<String>,
    scanned_since_pass: bool,
    pub(crate) reports: Vec<kms::ReportProgressRequest>,
    pub(crate) opened: u64,
    /// So many more calls and messages go well; then as many as `fails` fail.
    pub(crate) goes_well: u64,
    pub(crate) fails: u64,
    /// What every blob is refused with.
    pub(crate) refusal: Option<kms::Refusal>,
    /// Pauses when so many blobs were moved.
    pub(crate) pause_after: Option<u64>,
    pub(crate) moved_blobs: u64,
    /// Digests of the blobs that were asked about in a message, to see that none is moved twice.
    pub(crate) asked: HashSet<Vec<u8>>,
}

impl Server {
    pub(crate) fn new() -> Arc<Self> {
        let state = State {
            campaign: CampaignState::Running,
            progress: kms::StoreProgress {
                store: 5,
                phase: StorePhase::Waiting.into(),
                ..Default::default()
            },
            goes_well: u64::MAX,
            ..State::default()
        };
        Arc::new(Self { state: Mutex::new(state), rewraps: AtomicU64::new(0) })
    }

    /// After so many more calls, so many fail.
    pub(crate) fn fail_after(&self, calls: u64, fails: u64) {
        let mut state = self.state.lock();
        (state.goes_well, state.fails) = (calls, fails);
    }

    pub(crate) fn phase(&self) -> StorePhase {
        self.state.lock().progress.phase()
    }

    pub(crate) fn decide(&self, place: &str, decision: ProblemDecision) {
        self.state.lock().decisions.insert(place.to_owned(), decision);
    }

    fn call(&self) -> Result<(), ServerError> {
        let mut state = self.state.lock();
        if state.goes_well > 0 {
            state.goes_well -= 1;
        } else if state.fails > 0 {
            state.fails -= 1;
            return Err(error("DRAINING", true));
        }
        Ok(())
    }

    fn rewrap(&self, request: kms::ReEncryptRequest) -> kms::ReEncryptResult {
        let refused = |reason: &str| kms::Refusal { reason: reason.into(), message: "no".into() };
        let mut state = self.state.lock();
        let opened = opens(&request.ciphertext, &request.source_encryption_context);
        let outcome = match (&state.refusal, opened) {
            (Some(refusal), _) => Err(refusal.clone()),
            (None, None) => Err(refused("INVALID_CIPHERTEXT")),
            (None, Some(secret)) => {
                let fresh = self.rewraps.fetch_add(1, Ordering::Relaxed);
                let context = &request.source_encryption_context;
                Ok(blob(KEY, ACTIVE, request.store.unwrap(), context, secret, fresh))
            }
        };
        state.asked.insert(request.ciphertext);
        if outcome.is_ok() {
            state.moved_blobs += 1;
            if state.pause_after.is_some_and(|after| state.moved_blobs >= after) {
                state.pause_after = None;
                state.campaign = CampaignState::Paused;
            }
        }
        kms::ReEncryptResult {
            outcome: Some(match outcome {
                Ok(ciphertext) => {
                    let moved = kms::ReEncryptResponse { ciphertext, ..Default::default() };
                    kms::re_encrypt_result::Outcome::Moved(moved)
                }
                Err(refusal) => kms::re_encrypt_result::Outcome::Refusal(refusal),
            }),
        }
    }
}

impl State {
    fn undecided(&self) -> u64 {
        let open = |place: &&String| !self.decisions.contains_key(*place);
        self.problems.keys().filter(open).count() as u64
    }

    fn abandoned(&self) -> Vec<Vec<u8>> {
        let lost =
            |(_, decision): &(&String, &ProblemDecision)| **decision == ProblemDecision::Abandoned;
        let mark = |(place, _): (&String, _)| {
            let hash = Sha256::new().chain_update(&self.problems[place].digest);
            hash.chain_update(place).finalize().to_vec()
        };
        self.decisions.iter().filter(lost).map(mark).collect()
    }

    fn prove(&mut self) {
        if self.progress.phase() != StorePhase::Verifying || !self.scanned_since_pass {
            return;
        }
        let scan = self.scans.last().unwrap();
        let count = |counts: &[kms::VersionCount]| -> u64 {
            counts.iter().filter(|count| count.version < ACTIVE).map(|count| count.count).sum()
        };
        let left = count(&scan.versions) - count(&scan.abandoned);
        self.progress.scan = Some(as_scan(scan));
        if left > 0 {
            self.progress.set_phase(StorePhase::Moving);
            self.progress.pass += 1;
            (self.progress.place, self.progress.seen) = (Vec::new(), 0);
        } else if self.undecided() == 0 {
            self.progress.set_phase(StorePhase::Clean);
            self.campaign = CampaignState::Done;
        }
        self.scanned_since_pass = false;
    }
}

#[async_trait]
impl Board for Server {
    async fn report_progress(
        &self,
        report: kms::ReportProgressRequest,
    ) -> Result<kms::ReportProgressResponse, ServerError> {
        self.call()?;
        let mut state = self.state.lock();
        assert!(report.place.len() <= 4096 && report.problems.len() <= 100);
        let held = &state.progress.agent;
        if !held.is_empty() && *held != report.agent_id {
            return Err(error("CONFLICT", false));
        }
        state.progress.agent = if report.release { String::new() } else { report.agent_id.clone() };
        if report.pass == 0 {
            if state.progress.phase() == StorePhase::Waiting {
                state.progress.set_phase(StorePhase::Moving);
                state.progress.pass = 1;
            }
        } else if report.pass == state.progress.pass && report.seen >= state.progress.seen {
            state.progress.place = report.place.clone();
            state.progress.seen = report.seen;
            state.progress.total = report.total;
            state.progress.moved += report.moved;
            state.progress.changed += report.changed;
            for problem in &report.problems {
                assert!(problem.place.len() <= 512 && problem.digest.len() == 32);
                state.problems.insert(problem.place.clone(), problem.clone());
            }
            if report.pass_ended && state.progress.phase() == StorePhase::Moving {
                state.progress.set_phase(StorePhase::Verifying);
                state.scanned_since_pass = false;
            }
        }
        state.prove();
        state.progress.undecided = state.undecided();
        state.progress.problems = state.problems.len() as u64;
        let answer = kms::ReportProgressResponse {
            state: state.campaign.into(),
            progress: Some(state.progress.clone()),
            rate_per_second: state.rate_per_second,
            key_id: uuid::Uuid::from_bytes(KEY).to_string(),
            source_versions: vec![1, 2],
            abandoned: state.abandoned(),
        };
        state.reports.push(report);
        Ok(answer)
    }

    async fn begin_scan(
        &self,
        _: kms::BeginScanRequest,
    ) -> Result<kms::BeginScanResponse, ServerError> {
        self.call()?;
        let scan_id = format!("scan {}", self.rewraps.fetch_add(1, Ordering::Relaxed));
        self.state.lock().scan_begun = Some(scan_id.clone());
        Ok(kms::BeginScanResponse { scan_id, begin_time: None })
    }

    async fn report_scan(
        &self,
        report: kms::ReportScanRequest,
    ) -> Result<kms::ReportScanResponse, ServerError> {
        self.call()?;
        let mut state = self.state.lock();
        assert_eq!(state.scan_begun.take().as_ref(), Some(&report.scan_id));
        assert!(report.samples.len() <= 10);
        assert!(report.samples.iter().all(|sample| sample.len() <= 256));
        let scan = as_scan(&report);
        state.scans.push(report);
        state.scanned_since_pass = true;
        Ok(kms::ReportScanResponse { scan: Some(scan) })
    }

    async fn key_id(&self, key: &str) -> Result<String, ServerError> {
        assert_eq!(key, "customers");
        Ok(uuid::Uuid::from_bytes(KEY).to_string())
    }
}

/// The server, as the engine is given it.
pub(crate) struct Rewrapper(pub(crate) Arc<Server>);

#[async_trait]
impl Mover for Rewrapper {
    async fn open(
        &self,
        requests: mpsc::Receiver<kms::ReEncryptStreamRequest>,
    ) -> Result<Replies, ServerError> {
        self.0.call()?;
        self.0.state.lock().opened += 1;
        let server = Arc::clone(&self.0);
        let replies = stream::unfold(Some(requests), move |requests| {
            let server = Arc::clone(&server);
            async move {
                let mut requests = requests?;
                let message = requests.recv().await?;
                assert!((1..=1000).contains(&message.requests.len()));
                assert!(prost::Message::encoded_len(&message) <= 1024 * 1024);
                if let Err(error) = server.call() {
                    return Some((Err(error), None));
                }
                let results = message.requests.into_iter().map(|one| server.rewrap(one)).collect();
                Some((Ok(kms::ReEncryptStreamResponse { results }), Some(requests)))
            }
        });
        Ok(replies.boxed())
    }
}

/// A blob whose header is real: it opens with its context to its secret.
pub(crate) fn blob(
    key: [u8; 16],
    version: u32,
    store: u32,
    context: &Context,
    secret: u64,
    fresh: u64,
) -> Vec<u8> {
    let mut blob = [&[0xD7, 0x42, 0x55, 0x01, 0x01, 0x01][..], &key].concat();
    blob.extend(version.to_be_bytes());
    blob.extend(store.to_be_bytes());
    blob.extend(bound(context));
    blob.extend(secret.to_be_bytes());
    blob.extend(fresh.to_be_bytes());
    blob.resize(138, 0);
    blob
}

/// What is inside, if the context is the right one.
pub(crate) fn opens(blob: &[u8], context: &Context) -> Option<u64> {
    let bound_to = blob.get(30..62)?;
    let secret = blob.get(62..70)?.try_into().unwrap();
    (bound_to == bound(context)).then_some(u64::from_be_bytes(secret))
}

pub(crate) fn version_of(blob: &[u8]) -> u32 {
    u32::from_be_bytes(blob[22..26].try_into().unwrap())
}

pub(crate) fn store_of(blob: &[u8]) -> u32 {
    u32::from_be_bytes(blob[26..30].try_into().unwrap())
}

pub(crate) fn context_of(pairs: &[(&str, &str)]) -> Context {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn bound(context: &BTreeMap<String, String>) -> [u8; 32] {
    Sha256::digest(format!("{context:?}")).into()
}

pub(crate) fn error(reason: &str, passes: bool) -> ServerError {
    ServerError { reason: reason.into(), text: "as asked".into(), passes, source: None }
}

fn as_scan(report: &kms::ReportScanRequest) -> kms::Scan {
    kms::Scan {
        scan_id: report.scan_id.clone(),
        rows: report.rows,
        versions: report.versions.clone(),
        other_keys: report.other_keys,
        unreadable: report.unreadable,
        abandoned: report.abandoned.clone(),
        samples: report.samples.clone(),
        ..Default::default()
    }
}
