//! The engine: claims a store of a campaign, goes through it pass after pass, and has a scan prove
//! each. It can be killed at any moment: what is reported was written before, and what was written
//! stays.
//!
//! Knows neither which store it moves nor how the server is reached.

mod identity;
mod pace;
mod pass;
mod patience;
mod report;
mod subject;
mod tally;
mod verify;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bulla_client::kms::{self, CampaignState, StorePhase};
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::board::{Board, Mover, ServerError};
use super::error::AgentError;
use super::store::{Place, Store};
use super::watcher::{Standing, Watcher};
pub use identity::agent_id;
use patience::Patience;
use subject::{Orders, Subject};
use tally::Tally;

/// What works together: a server, a store, and who looks on.
pub struct Agent {
    /// Where the campaign is kept.
    pub board: Arc<dyn Board>,
    /// Who re-wraps.
    pub mover: Arc<dyn Mover>,
    /// Where the blobs are.
    pub store: Arc<dyn Store>,
    /// Who is told.
    pub watcher: Arc<dyn Watcher>,
    /// How long things take.
    pub timing: Timing,
}

/// Which store of which campaign.
#[derive(Clone, Debug)]
pub struct Job {
    /// The campaign's UUID.
    pub campaign_id: String,
    /// The store's name or number.
    pub store: String,
    /// A UUID by which the server tells agents apart; see [`agent_id`].
    pub agent_id: String,
}

/// Waits and intervals.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Between two reports. The server gives a silent agent's store away after 30 seconds.
    pub report: Duration,
    /// How long the server may be away, or the store.
    pub patience: Duration,
    /// How long another agent may be silent before it is sure that it is gone.
    pub takeover: Duration,
    /// The bound of the first wait before something is tried again; it doubles.
    pub backoff_min: Duration,
    /// The highest such bound.
    pub backoff_max: Duration,
}

/// How a run ended that was not stopped by an error.
#[derive(Clone, Debug, PartialEq)]
pub enum Ended {
    /// A scan found nothing left.
    Clean(Standing),
    /// Nothing is left to move, but a person has to decide about what does not open.
    Undecided {
        /// About so many.
        undecided: u64,
        /// How far it came.
        standing: Standing,
    },
    /// A stream was scanned, and is to be gone through again.
    NotClean {
        /// So many of its blobs are to be moved.
        left: u64,
        /// How far it came.
        standing: Standing,
    },
    /// A stream was rewritten; another run over what came out must prove it.
    Rewritten(Standing),
}

/// One run, from its claim to its end.
struct Run<'a> {
    agent: &'a Agent,
    job: &'a Job,
    subject: Subject,
    tally: Mutex<Tally>,
    orders: watch::Sender<Orders>,
    /// Something should be reported before its time.
    hurry: Notify,
    /// A report was taken.
    reported: Notify,
}

// === impl Timing ===

impl Default for Timing {
    fn default() -> Self {
        Self {
            report: Duration::from_secs(2),
            patience: Duration::from_secs(300),
            takeover: Duration::from_secs(40),
            backoff_min: Duration::from_millis(250),
            backoff_max: Duration::from_secs(10),
        }
    }
}

// === impl Agent ===

impl Agent {
    /// Moves a store of a campaign to its end, or until `stop`.
    ///
    /// # Errors
    /// What stopped it. What was moved stays moved; the next run goes on from there.
    pub async fn run(
        &self,
        job: &Job,
        stop: impl Future<Output = ()>,
    ) -> Result<Ended, AgentError> {
        tokio::pin!(stop);
        let claimed = tokio::select! {
            claimed = self.claim(job) => claimed?,
            () = &mut stop => return Err(AgentError::Interrupted),
        };
        let run = tokio::select! {
            run = Run::begin(self, job, &claimed) => run?,
            () = &mut stop => return Err(AgentError::Interrupted),
        };
        let done = tokio::select! {
            done = run.passes(claimed) => done,
            () = &mut stop => Err(AgentError::Interrupted),
        };
        run.let_go().await;
        done
    }

    /// Scans a store for blobs of a key without a campaign, and reports what there is.
    ///
    /// # Errors
    /// What stopped it. Then the scan counts for nothing.
    pub async fn scan_only(&self, key: &str, store: &str) -> Result<kms::Scan, AgentError> {
        let key_id = match uuid::Uuid::try_parse(key) {
            Ok(_) => key.to_owned(),
            Err(_) => self.patiently(|| self.board.key_id(key)).await?,
        };
        let subject = Subject::new(&key_id, &[])?;
        self.scan(&subject, &Orders::default(), &key_id, store).await
    }

    /// Takes the store for this agent. Another agent that has it may have been killed a moment ago.
    async fn claim(&self, job: &Job) -> Result<kms::ReportProgressResponse, AgentError> {
        let report = kms::ReportProgressRequest {
            campaign_id: job.campaign_id.clone(),
            store: job.store.clone(),
            agent_id: job.agent_id.clone(),
            ..Default::default()
        };
        let mut takeover = Patience::new(self.timing.takeover);
        loop {
            match self.patiently(|| self.board.report_progress(report.clone())).await {
                Err(error) if error.is_conflict() => match takeover.wait(&self.timing) {
                    Some(wait) => {
                        self.watcher.waits(&error.to_string(), wait);
                        tokio::time::sleep(wait).await;
                    }
                    None => return Err(AgentError::Taken(error)),
                },
                answer => return Ok(answer?),
            }
        }
    }

    /// Waits before what failed is tried again; or says why it is not.
    async fn wait_after(
        &self,
        error: AgentError,
        patience: &mut Patience,
    ) -> Result<(), AgentError> {
        if !error.passes() {
            return Err(error);
        }
        let Some(wait) = patience.wait(&self.timing) else {
            return Err(error.for_good(self.timing.patience));
        };
        self.watcher.waits(&error.to_string(), wait);
        tokio::time::sleep(wait).await;
        Ok(())
    }

    /// Calls until it is answered, refused for good, or out of patience.
    async fn patiently<T, F>(&self, mut call: impl FnMut() -> F) -> Result<T, ServerError>
    where
        F: Future<Output = Result<T, ServerError>>,
    {
        let mut patience = Patience::new(self.timing.patience);
        loop {
            match call().await {
                Err(error) if error.passes => match patience.wait(&self.timing) {
                    Some(wait) => {
                        self.watcher.waits(&error.to_string(), wait);
                        tokio::time::sleep(wait).await;
                    }
                    None => return Err(error),
                },
                answer => return answer,
            }
        }
    }
}

// === impl Run ===

impl<'a> Run<'a> {
    async fn begin(
        agent: &'a Agent,
        job: &'a Job,
        claimed: &kms::ReportProgressResponse,
    ) -> Result<Self, AgentError> {
        let subject = Subject::new(&claimed.key_id, &claimed.source_versions)?;
        let mut patience = Patience::new(agent.timing.patience);
        let total = loop {
            match agent.store.total().await {
                Ok(total) => break total,
                Err(error) => agent.wait_after(error.into(), &mut patience).await?,
            }
        };
        Ok(Self {
            agent,
            job,
            subject,
            tally: Mutex::new(Tally::new(total)),
            orders: watch::Sender::new(Orders::of(claimed)),
            hurry: Notify::new(),
            reported: Notify::new(),
        })
    }

    async fn passes(&self, claimed: kms::ReportProgressResponse) -> Result<Ended, AgentError> {
        let mut answer = claimed;
        let mut passes: u32 = 0;
        loop {
            if let Some(ended) = self.ended(&answer)? {
                return Ok(ended);
            }
            let progress = answer.progress.as_ref().ok_or(AgentError::Answer("no progress"))?;
            let pass = progress.pass.max(1);
            if progress.phase() != StorePhase::Verifying {
                if passes == PASSES_MAX {
                    let left = progress.scan.as_ref().map_or(0, |scan| self.subject.left(scan));
                    return Err(AgentError::NeverClean { passes, left });
                }
                passes = passes.saturating_add(1);
                let place = Place::new(progress.place.clone())?;
                match self.agent.store.is_stream() {
                    true => self.tally.lock().begin_stream(pass, progress.seen),
                    false => self.tally.lock().begin_pass(pass, place, progress.seen),
                }
                answer = self.pass().await?;
                if self.agent.store.is_stream() {
                    return Ok(Ended::Rewritten(self.tally.lock().standing()));
                }
                continue;
            }
            self.tally.lock().begin_verify(pass, progress);
            let scan = self.verify().await?;
            answer = self.report_again().await?;
            if let Some(undecided) = undecided(&answer, self.subject.left(&scan)) {
                let standing = self.tally.lock().standing();
                return Ok(Ended::Undecided { undecided, standing });
            }
            // The scan came to the end of the stream: another run has to move what it found.
            if self.agent.store.is_stream() && self.ended(&answer)?.is_none() {
                let standing = self.tally.lock().standing();
                return Ok(Ended::NotClean { left: self.subject.left(&scan), standing });
            }
        }
    }

    /// Whether there is nothing more to do, by the server's word.
    fn ended(&self, answer: &kms::ReportProgressResponse) -> Result<Option<Ended>, AgentError> {
        let clean = || Some(Ended::Clean(self.tally.lock().standing()));
        match answer.state() {
            CampaignState::Failed => Err(AgentError::GivenUp(self.job.campaign_id.clone())),
            CampaignState::Done => Ok(clean()),
            _ => match answer.progress.as_ref().map(kms::StoreProgress::phase) {
                Some(StorePhase::Clean) => Ok(clean()),
                _ => Ok(None),
            },
        }
    }
}

/// How many are undecided, if nothing but these is left.
fn undecided(answer: &kms::ReportProgressResponse, left: u64) -> Option<u64> {
    let progress = answer.progress.as_ref()?;
    let waits = progress.undecided > 0 && left <= progress.undecided;
    (waits && progress.phase() != StorePhase::Clean).then_some(progress.undecided)
}

/// What a pass leaves behind was written while it ran; a store that is never empty has a writer that
/// still uses an old version.
const PASSES_MAX: u32 = 5;
