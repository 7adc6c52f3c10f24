//! Tests of calls.
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
