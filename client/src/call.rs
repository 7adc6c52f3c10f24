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
mod tests {
    #![allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::arithmetic_side_effects
    )]

    use std::sync::atomic::AtomicU32;

    use tonic::Code;
    use tonic_types::{ErrorDetails, StatusExt};

    use super::*;
    use crate::error::Kind;

    /// Always waits as long as the backoff allows.
    fn caller(retries: Retries) -> Caller {
        Caller::with_jitter("test:1".to_owned(), retries, Box::new(|most| most))
    }

    /// Calls with answers made by `answer`, and counts the tries.
    async fn tries(
        caller: &Caller,
        timeout: Duration,
        answer: impl Fn(u32) -> Result<(), Status>,
    ) -> (Result<(), Error>, u32) {
        let count = AtomicU32::new(0);
        let send = |_: Request<()>| {
            let answer = answer(count.fetch_add(1, Ordering::Relaxed));
            async move { answer.map(Response::new) }
        };
        let outcome = caller.call((), timeout, send).await;
        (outcome, count.into_inner())
    }

    const TEN_SECONDS: Duration = Duration::from_secs(10);

    #[tokio::test(start_paused = true)]
    async fn a_call_that_fails_for_a_moment_is_tried_again() {
        for code in [Code::Unavailable, Code::Aborted] {
            let (outcome, count) = tries(&caller(Retries::default()), TEN_SECONDS, |n| {
                if n < 2 { Err(Status::new(code, "later")) } else { Ok(()) }
            })
            .await;
            outcome.unwrap();
            assert_eq!(count, 3);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_final() {
        for code in [
            Code::Cancelled,
            Code::Unknown,
            Code::InvalidArgument,
            Code::DeadlineExceeded,
            Code::NotFound,
            Code::AlreadyExists,
            Code::PermissionDenied,
            Code::ResourceExhausted,
            Code::FailedPrecondition,
            Code::OutOfRange,
            Code::Unimplemented,
            Code::Internal,
            Code::DataLoss,
            Code::Unauthenticated,
        ] {
            let answer = |_| Err(Status::new(code, "no"));
            let (outcome, count) = tries(&caller(Retries::default()), TEN_SECONDS, answer).await;
            assert_eq!((outcome.unwrap_err().code(), count), (code, 1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn no_call_is_tried_more_often_than_allowed() {
        for attempts_max in [1, 2, 5] {
            let retries = Retries { attempts_max, ..Retries::default() };
            let answer = |_| Err(Status::unavailable("down"));
            let (outcome, count) = tries(&caller(retries), TEN_SECONDS, answer).await;
            assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
            assert_eq!(count, attempts_max);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn waits_double_up_to_their_maximum() {
        let retries = Retries {
            attempts_max: 6,
            backoff_min: Duration::from_millis(100),
            backoff_max: Duration::from_millis(500),
            ..Retries::default()
        };
        let start = Instant::now();
        let answer = |_| Err(Status::unavailable("down"));
        let (_, count) = tries(&caller(retries), TEN_SECONDS, answer).await;
        assert_eq!(count, 6);
        assert_eq!(start.elapsed().as_millis(), 100 + 200 + 400 + 500 + 500);
    }

    #[tokio::test(start_paused = true)]
    async fn the_wait_that_the_server_asks_for_is_kept() {
        let start = Instant::now();
        let details = || ErrorDetails::with_retry_info(Some(Duration::from_secs(3)));
        let (outcome, count) = tries(&caller(Retries::default()), TEN_SECONDS, |n| match n {
            0 => Err(Status::with_error_details(Code::Unavailable, "busy", details())),
            _ => Ok(()),
        })
        .await;
        outcome.unwrap();
        assert_eq!(count, 2);
        assert_eq!(start.elapsed().as_millis(), 3_000 + 50);
    }

    #[tokio::test(start_paused = true)]
    async fn no_retry_begins_after_the_deadline() {
        let start = Instant::now();
        let details = || ErrorDetails::with_retry_info(Some(Duration::from_secs(30)));
        let answer = |_| Err(Status::with_error_details(Code::Unavailable, "busy", details()));
        let (outcome, count) = tries(&caller(Retries::default()), TEN_SECONDS, answer).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), count), (Kind::Refused, 1));
        assert_eq!(error.retry_after(), Some(Duration::from_secs(30)));
        assert!(error.is_retryable());
        assert_eq!(start.elapsed(), Duration::ZERO);
    }

    #[tokio::test(start_paused = true)]
    async fn a_call_that_is_not_answered_ends_at_its_deadline() {
        let start = Instant::now();
        let send = |request: Request<()>| async move {
            assert_eq!(request.metadata().get("grpc-timeout").unwrap(), "10000000u");
            std::future::pending::<Result<Response<()>, Status>>().await
        };
        let outcome = caller(Retries::default()).call((), TEN_SECONDS, send).await;
        let error = outcome.unwrap_err();
        assert_eq!((error.kind(), error.code()), (Kind::Deadline, Code::DeadlineExceeded));
        assert_eq!(error.to_string(), "no answer within 10s");
        assert_eq!(start.elapsed(), TEN_SECONDS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_deadline_covers_all_tries_and_tells_why_the_last_one_failed() {
        let start = Instant::now();
        let count = AtomicU32::new(0);
        let send = |_: Request<()>| {
            let first = count.fetch_add(1, Ordering::Relaxed) == 0;
            async move {
                time::sleep(Duration::from_secs(6)).await;
                if first { Err(Status::unavailable("draining")) } else { Ok(Response::new(())) }
            }
        };
        let outcome = caller(Retries::default()).call((), TEN_SECONDS, send).await;
        let text = "no answer within 10s; the last try ended with: draining";
        assert_eq!(outcome.unwrap_err().to_string(), text);
        assert_eq!(start.elapsed(), TEN_SECONDS);
    }

    #[tokio::test(start_paused = true)]
    async fn a_timeout_too_long_to_count_is_no_deadline() {
        let caller = caller(Retries::default());
        let (outcome, _) = tries(&caller, Duration::MAX, |_| Ok(())).await;
        outcome.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn j09_a_thousand_failing_calls_are_retried_within_the_budget() {
        let caller = caller(Retries::default());
        let mut sent = 0;
        for _ in 0..1_000 {
            let answer = |_| Err(Status::unavailable("down"));
            let (outcome, count) = tries(&caller, TEN_SECONDS, answer).await;
            assert_eq!(outcome.unwrap_err().code(), Code::Unavailable);
            sent += count;
        }
        // Ten per cent, and the reserve of ten.
        assert!((1_100..=1_110).contains(&sent), "{sent}");
    }

    #[tokio::test(start_paused = true)]
    async fn j09_a_budget_that_was_spent_is_earned_again_by_later_calls() {
        let retries = Retries { budget_reserve: 1, ..Retries::default() };
        let caller = caller(retries);
        let failing = |_| Err(Status::unavailable("down"));
        assert_eq!(tries(&caller, TEN_SECONDS, failing).await.1, 2);
        assert_eq!(tries(&caller, TEN_SECONDS, failing).await.1, 1);
        for _ in 0..10 {
            tries(&caller, TEN_SECONDS, |_| Ok(())).await.0.unwrap();
        }
        assert_eq!(tries(&caller, TEN_SECONDS, failing).await.1, 2);
    }

    #[test]
    fn jitter_spreads_over_the_whole_wait() {
        let caller = Caller::new("test:1".to_owned(), Retries::default());
        let most = Duration::from_millis(100);
        let waits: Vec<_> = (0..1_000).map(|_| (caller.jitter)(most)).collect();
        assert!(waits.iter().all(|wait| *wait <= most));
        assert!(waits.iter().any(|wait| *wait < most / 4));
        assert!(waits.iter().any(|wait| *wait > most / 4 * 3));
    }
}
