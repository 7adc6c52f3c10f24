//! What one tenant loses while another sends a hundred times as much: the quiet one's calls are due at
//! fixed times, alone and beside the flood in turns, and count only if they are answered well and soon.
//!
//! The flood has a thread and connections of its own, asks again whatever it is told, and is counted by
//! what it tries. It shares the load's core, so that it cannot take any of the server's.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::task::JoinSet;
use tokio::time::{sleep, sleep_until, timeout};

use crate::Failure;
use crate::connection::{Connection, Dialler, Prepared};

/// How long it takes.
#[derive(Clone, Copy)]
pub(crate) struct Span {
    /// Each of the quiet tenant's turns.
    pub(crate) turn: Duration,
    /// Turns alone, and as many beside the flood.
    pub(crate) turns: usize,
}

/// The quiet tenant's calls, and the loud one's at the same time.
#[derive(Clone, Copy, Default)]
struct Counted {
    seconds: f64,
    due: u64,
    good: u64,
    refused: u64,
    slowest: Duration,
    tried_by_flood: u64,
    done_for_flood: u64,
}

/// A tenant that asks for as much as it can.
struct Flood {
    shared: Arc<Shared>,
    thread: JoinHandle<Result<(), Failure>>,
}

#[derive(Default)]
struct Shared {
    ends: AtomicBool,
    tried: AtomicU64,
    done: AtomicU64,
}

/// Compares and prints.
pub(crate) async fn compare(
    name: &str,
    quiet: &[Connection],
    call: &Prepared,
    loud: (&Dialler, &Prepared),
    span: Span,
) -> Result<(), Failure> {
    // A first flood says how much it can try, and so what a hundredth of that is.
    let flood = Flood::begin(loud)?;
    flood.is_under_way().await?;
    let (before, began) = (flood.tried(), Instant::now());
    sleep(span.turn).await;
    let tried = (flood.tried() - before) as f64 / began.elapsed().as_secs_f64();
    flood.end()?;
    let per_second = (tried / TIMES).max(PER_SECOND_MIN);

    let (mut alone, mut beside) = (Counted::default(), Counted::default());
    for _ in 0..span.turns {
        alone.add(steady(quiet, call, per_second, span.turn).await?);
        let flood = Flood::begin(loud)?;
        flood.is_under_way().await?;
        let (tried, done) = (flood.tried(), flood.done());
        let mut counted = steady(quiet, call, per_second, span.turn).await?;
        counted.tried_by_flood = flood.tried() - tried;
        counted.done_for_flood = flood.done() - done;
        flood.end()?;
        beside.add(counted);
    }
    let lost = 100.0 * (1.0 - beside.goodput() / alone.goodput().max(f64::MIN_POSITIVE));
    let flood = |count: u64| count as f64 / beside.seconds;
    println!(
        "{name:<16} alone {:>7.1} good/s, beside {:>7.1} good/s: lost {lost:.2} % \
         (slowest {} ms, beside {} ms; refused {}, beside {}); the flood tried {:.0}/s, {:.0} times \
         as much, and {:.0}/s were done",
        alone.goodput(),
        beside.goodput(),
        alone.slowest.as_millis(),
        beside.slowest.as_millis(),
        alone.refused,
        beside.refused,
        flood(beside.tried_by_flood),
        beside.tried_by_flood as f64 / beside.due.max(1) as f64,
        flood(beside.done_for_flood),
    );
    Ok(())
}

/// Calls that are due at fixed times, whether or not earlier ones are answered.
async fn steady(
    connections: &[Connection],
    call: &Prepared,
    per_second: f64,
    turn: Duration,
) -> Result<Counted, Failure> {
    let (began, gap) = (Instant::now(), Duration::from_secs_f64(1.0 / per_second));
    let (mut calls, mut counted) = (JoinSet::new(), Counted::default());
    for connection in connections.iter().cycle() {
        let due = began + gap.mul_f64(counted.due as f64);
        if due.duration_since(began) >= turn {
            break;
        }
        counted.due += 1;
        sleep_until(due.into()).await;
        let (mut connection, call) = (connection.clone(), call.clone());
        calls.spawn(async move {
            let answer = timeout(GOOD_WITHIN, connection.try_call(&call)).await;
            Ok::<_, Failure>((answer.ok().transpose()?, due.elapsed()))
        });
    }
    counted.seconds = turn.as_secs_f64();
    while let Some(ended) = calls.join_next().await {
        let (answer, took) = ended??;
        match answer {
            Some(true) if took <= GOOD_WITHIN => counted.good += 1,
            Some(false) => counted.refused += 1,
            _ => {}
        }
        counted.slowest = counted.slowest.max(took);
    }
    Ok(counted)
}

// === impl Counted ===

impl Counted {
    fn add(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.due += other.due;
        self.good += other.good;
        self.refused += other.refused;
        self.slowest = self.slowest.max(other.slowest);
        self.tried_by_flood += other.tried_by_flood;
        self.done_for_flood += other.done_for_flood;
    }

    /// Calls a second that were answered well and soon.
    fn goodput(&self) -> f64 {
        self.good as f64 / self.seconds.max(f64::MIN_POSITIVE)
    }
}

// === impl Flood ===

impl Flood {
    fn begin((dialler, call): (&Dialler, &Prepared)) -> Result<Self, Failure> {
        let shared = Arc::new(Shared::default());
        let (dialler, call, told) = (dialler.clone(), call.clone(), Arc::clone(&shared));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let thread = std::thread::Builder::new()
            .name("flood".into())
            .spawn(move || runtime.block_on(flood(&dialler, &call, &told)))?;
        Ok(Self { shared, thread })
    }

    /// Returns once it has tried as often as it has calls in flight.
    async fn is_under_way(&self) -> Result<(), Failure> {
        let began = Instant::now();
        while self.tried() < (CONNECTIONS * STREAMS) as u64 {
            if self.thread.is_finished() || began.elapsed() > UNDER_WAY_WITHIN {
                return Err("the flood does not get under way".into());
            }
            sleep(Duration::from_millis(5)).await;
        }
        Ok(())
    }

    fn tried(&self) -> u64 {
        self.shared.tried.load(Ordering::Relaxed)
    }

    fn done(&self) -> u64 {
        self.shared.done.load(Ordering::Relaxed)
    }

    fn end(self) -> Result<(), Failure> {
        self.shared.ends.store(true, Ordering::Relaxed);
        self.thread.join().map_err(|_| "the flood panicked")?
    }
}

async fn flood(dialler: &Dialler, call: &Prepared, shared: &Arc<Shared>) -> Result<(), Failure> {
    let mut callers = JoinSet::new();
    for _ in 0..CONNECTIONS {
        let connection = dialler.dial().await?;
        for _ in 0..STREAMS {
            let (mut connection, call) = (connection.clone(), call.clone());
            let shared = Arc::clone(shared);
            callers.spawn(async move {
                while !shared.ends.load(Ordering::Relaxed) {
                    let is_done = connection.try_call(&call).await?;
                    shared.tried.fetch_add(1, Ordering::Relaxed);
                    shared.done.fetch_add(u64::from(is_done), Ordering::Relaxed);
                }
                Ok::<_, Failure>(())
            });
        }
    }
    while let Some(ended) = callers.join_next().await {
        ended??;
    }
    Ok(())
}

/// How much more the flood sends.
const TIMES: f64 = 100.0;
const PER_SECOND_MIN: f64 = 20.0;
/// What is answered later is of no use to who asked.
const GOOD_WITHIN: Duration = Duration::from_millis(500);
const UNDER_WAY_WITHIN: Duration = Duration::from_secs(20);
/// More in flight than a server needs to be busy.
const CONNECTIONS: usize = 16;
const STREAMS: usize = 64;
