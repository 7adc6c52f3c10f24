//! One call: its deadline, and its retries within a budget. Repeats only what does no harm when it
//! is done twice, and never after the deadline.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::RngExt as _;
use tokio::time::{self, Instant};
use tonic::{Request, Response, Status};

use crate::error::Error;

/// When and how often a failed call is tried again.
///
/// Only `UNAVAILABLE`, `ABORTED` and a lost connection are repeated. The wait before retry *n* is
/// uniform between 0 and `backoff_min · 2ⁿ⁻¹`, at most `backoff_max` ("full jitter"), after
/// whatever wait the server asks for. All clones of a client share one budget: each call earns
/// `budget_percent` of a retry, up to `budget_reserve` retries, so that a failing server is not
/// drowned in retries.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Retries {
    /// How often a call is sent at most, the first time included. 4 unless set; 1 means no retry.
    pub attempts_max: u32,
    /// The upper end of the first wait. 50 ms unless set.
    pub backoff_min: Duration,
    /// The upper end of every wait. 2 s unless set.
    pub backoff_max: Duration,
    /// How many retries a hundred calls earn. 10 unless set.
    pub budget_percent: u32,
    /// How many retries can be saved up, and how many there are at the start. 10 unless set.
    pub budget_reserve: u32,
}

/// Sends calls for one client and all its clones.
pub(crate) struct Caller {
    server: String,
    retries: Retries,
    budget: Budget,
    jitter: Jitter,
}

/// Picks a wait between zero and its argument.
pub(crate) type Jitter = Box<dyn Fn(Duration) -> Duration + Send + Sync>;

/// Retries that were earned and not yet spent, in hundredths.
struct Budget {
    hundredths: AtomicU64,
    percent: u64,
    hundredths_max: u64,
}

// === impl Retries ===

impl Default for Retries {
    fn default() -> Self {
        Self {
            attempts_max: 4,
            backoff_min: Duration::from_millis(50),
            backoff_max: Duration::from_secs(2),
            budget_percent: 10,
            budget_reserve: 10,
        }
    }
}

impl Retries {
    /// Every call is sent once.
    pub fn none() -> Self {
        Self { attempts_max: 1, ..Self::default() }
    }

    /// The upper end of the wait after `failed` tries.
    fn backoff(&self, failed: u32) -> Duration {
        let doublings = failed.saturating_sub(1).min(20);
        self.backoff_min.saturating_mul(1 << doublings).min(self.backoff_max)
    }
}

// === impl Caller ===

impl Caller {
    pub(crate) fn new(server: String, retries: Retries) -> Arc<Self> {
        let jitter = |most: Duration| {
            let most = u64::try_from(most.as_micros()).unwrap_or(u64::MAX);
            Duration::from_micros(rand::rng().random_range(0..=most))
        };
        Arc::new(Self::with_jitter(server, retries, Box::new(jitter)))
    }

    fn with_jitter(server: String, retries: Retries, jitter: Jitter) -> Self {
        Self { server, budget: Budget::new(&retries), retries, jitter }
    }

    /// Sends `message` until it is answered, refused for good, out of budget or out of time.
    pub(crate) async fn call<M, T, F, S>(
        &self,
        message: M,
        timeout: Duration,
        send: F,
    ) -> Result<T, Error>
    where
        M: Clone,
        F: Fn(Request<M>) -> S,
        S: Future<Output = Result<Response<T>, Status>>,
    {
        let start = Instant::now();
        let deadline = start.checked_add(timeout).unwrap_or_else(|| far_from(start));
        self.budget.earn();
        let mut failed: u32 = 0;
        let mut last = None;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let mut request = Request::new(message.clone());
            request.set_timeout(left);
            let error = match time::timeout_at(deadline, send(request)).await {
                Ok(Ok(response)) => return Ok(response.into_inner()),
                Ok(Err(status)) => Error::from_status(&status, &self.server, timeout),
                Err(_) => return Err(Error::deadline(timeout, last)),
            };
            failed = failed.saturating_add(1);
            if !error.is_worth_repeating() || failed >= self.retries.attempts_max {
                return Err(error);
            }
            let wait = (self.jitter)(self.retries.backoff(failed));
            let wait = wait.saturating_add(error.retry_after().unwrap_or_default());
            if wait >= deadline.saturating_duration_since(Instant::now()) || !self.budget.spend() {
                return Err(error);
            }
            last = Some(error);
            time::sleep(wait).await;
        }
    }

    /// Opens a stream: the deadline is for its beginning, and it is never tried again.
    pub(crate) async fn open<M, T, S>(
        &self,
        message: M,
        timeout: Duration,
        send: impl FnOnce(Request<M>) -> S,
    ) -> Result<T, Error>
    where
        S: Future<Output = Result<Response<T>, Status>>,
    {
        match time::timeout(timeout, send(Request::new(message))).await {
            Ok(Ok(response)) => Ok(response.into_inner()),
            Ok(Err(status)) => Err(Error::from_status(&status, &self.server, timeout)),
            Err(_) => Err(Error::deadline(timeout, None)),
        }
    }

    pub(crate) fn server(&self) -> &str {
        &self.server
    }
}

impl fmt::Debug for Caller {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Caller")
            .field("server", &self.server)
            .field("retries", &self.retries)
            .finish_non_exhaustive()
    }
}

// === impl Budget ===

impl Budget {
    fn new(retries: &Retries) -> Self {
        let hundredths_max = u64::from(retries.budget_reserve).saturating_mul(RETRY_HUNDREDTHS);
        Self {
            hundredths: AtomicU64::new(hundredths_max),
            percent: u64::from(retries.budget_percent),
            hundredths_max,
        }
    }

    fn earn(&self) {
        let earned = |now: u64| Some(now.saturating_add(self.percent).min(self.hundredths_max));
        let _ = self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, earned);
    }

    fn spend(&self) -> bool {
        let spent = |now: u64| now.checked_sub(RETRY_HUNDREDTHS);
        self.hundredths.fetch_update(Ordering::Relaxed, Ordering::Relaxed, spent).is_ok()
    }
}

/// Stands for "no deadline" where the asked one cannot be counted.
fn far_from(start: Instant) -> Instant {
    start.checked_add(Duration::from_secs(365 * 86_400)).unwrap_or(start)
}

const RETRY_HUNDREDTHS: u64 = 100;

#[cfg(test)]
mod tests;
