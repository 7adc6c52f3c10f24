//! One measurement: the load, for a fixed time, and what it cost the server.
//!
//! Closed loop: every stream sends its next call when the last one is answered. Open loop: calls are
//! due at fixed times whether or not earlier ones are answered, and a call's latency counts from
//! when it was due, so that a server which stalls cannot hide it.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;
use tokio::sync::Semaphore;
use tokio::task::{JoinSet, yield_now};
use tokio::time::timeout;

use crate::Failure;
use crate::connection::{Connection, Prepared};
use crate::server::{Server, cpu_ns};

/// How long a measurement takes.
#[derive(Clone, Copy)]
pub(crate) struct Times {
    /// Under load, not counted.
    pub(crate) warm: Duration,
    /// Counted.
    pub(crate) measured: Duration,
}

/// What came out; the sum of several measurements is [`Measured::add`].
#[derive(Clone)]
pub(crate) struct Measured {
    /// Microseconds.
    pub(crate) latency_us: Histogram<u64>,
    pub(crate) elapsed: Duration,
    /// What the server's threads used, by name.
    pub(crate) cpu_ns: Vec<(String, u64)>,
    /// What the load itself used.
    pub(crate) load_ns: u64,
}

/// What all streams of a measurement share.
struct Shared {
    phase: AtomicU8,
    latency_us: Mutex<Histogram<u64>>,
}

// === impl Measured ===

impl Measured {
    /// Nothing yet.
    pub(crate) fn none() -> Result<Self, Failure> {
        let (elapsed, cpu_ns) = (Duration::ZERO, Vec::new());
        Ok(Self { latency_us: histogram()?, elapsed, cpu_ns, load_ns: 0 })
    }

    /// Counts another measurement in.
    pub(crate) fn add(&mut self, other: &Self) -> Result<(), Failure> {
        self.latency_us.add(&other.latency_us)?;
        self.elapsed += other.elapsed;
        self.load_ns += other.load_ns;
        for (name, ns) in &other.cpu_ns {
            match self.cpu_ns.iter_mut().find(|(known, _)| known == name) {
                Some((_, sum)) => *sum += ns,
                None => self.cpu_ns.push((name.clone(), *ns)),
            }
        }
        Ok(())
    }

    /// Calls answered in the time.
    pub(crate) fn calls(&self) -> u64 {
        self.latency_us.len()
    }

    /// Calls per second.
    pub(crate) fn rate(&self) -> f64 {
        self.calls() as f64 / self.elapsed.as_secs_f64()
    }

    /// Microseconds of the server's CPU for each call.
    pub(crate) fn cpu_us_per_call(&self) -> f64 {
        let ns: u64 = self.cpu_ns.iter().map(|(_, ns)| ns).sum();
        ns as f64 / 1000.0 / self.calls().max(1) as f64
    }

    /// How much of one core the server used, of 1.
    pub(crate) fn cpu_share(&self) -> f64 {
        self.cpu_us_per_call() * self.rate() / 1e6
    }

    /// How much of one core the load used, of 1. Near to 1, the load is what limits the rate.
    pub(crate) fn load_share(&self) -> f64 {
        self.load_ns as f64 / 1e9 / self.elapsed.as_secs_f64()
    }
}

/// `streams` calls in flight on each connection at any time.
pub(crate) async fn closed_loop(
    server: &Server,
    connections: &[Connection],
    streams: usize,
    call: &Prepared,
    times: Times,
) -> Result<Measured, Failure> {
    let shared = Shared::new()?;
    let mut workers = JoinSet::new();
    for connection in connections {
        for _ in 0..streams {
            let (mut connection, shared, call) =
                (connection.clone(), Arc::clone(&shared), call.clone());
            workers.spawn(async move {
                while shared.phase() != ENDED {
                    let sent = Instant::now();
                    connection.call(&call).await?;
                    shared.count(sent);
                }
                Ok(())
            });
        }
    }
    measure(server, &shared, times, workers).await
}

/// `rate` calls a second in all, spread over the streams as they are free.
pub(crate) async fn open_loop(
    server: &Server,
    connections: &[Connection],
    streams: usize,
    call: &Prepared,
    rate: f64,
    times: Times,
) -> Result<Measured, Failure> {
    let shared = Shared::new()?;
    let due = Arc::new((Semaphore::new(0), Mutex::new(VecDeque::<Instant>::new())));
    let mut workers = JoinSet::new();
    for connection in connections {
        for _ in 0..streams {
            let (mut connection, shared, call, due) =
                (connection.clone(), Arc::clone(&shared), call.clone(), Arc::clone(&due));
            workers.spawn(async move {
                // Closed once the time is over.
                while let Ok(permit) = due.0.acquire().await {
                    permit.forget();
                    let next = due.1.lock().unwrap_or_else(PoisonError::into_inner).pop_front();
                    let Some(intended) = next else { break };
                    connection.call(&call).await?;
                    shared.count(intended);
                }
                Ok(())
            });
        }
    }
    let gap = Duration::from_secs_f64(1.0 / rate);
    let pacer = Arc::clone(&shared);
    // The runtime's timers are of a millisecond, which is longer than a call takes.
    workers.spawn(async move {
        let mut next = Instant::now();
        while pacer.phase() != ENDED {
            while next <= Instant::now() {
                due.1.lock().unwrap_or_else(PoisonError::into_inner).push_back(next);
                due.0.add_permits(1);
                next += gap;
            }
            yield_now().await;
        }
        due.0.close();
        Ok(())
    });
    measure(server, &shared, times, workers).await
}

/// Lets the workers run for the time, and ends with the first that fails.
async fn measure(
    server: &Server,
    shared: &Shared,
    times: Times,
    mut workers: JoinSet<Result<(), Failure>>,
) -> Result<Measured, Failure> {
    run_for(times.warm, &mut workers).await?;
    let (before, load_before, began) = (server.cpu_ns(), load_ns(), Instant::now());
    shared.phase.store(COUNTING, Ordering::Relaxed);
    run_for(times.measured, &mut workers).await?;
    shared.phase.store(ENDED, Ordering::Relaxed);
    let (elapsed, after) = (began.elapsed(), server.cpu_ns());
    let load_ns = load_ns().saturating_sub(load_before);
    let rest = async {
        while let Some(ended) = workers.join_next().await {
            ended??;
        }
        Ok::<_, Failure>(())
    };
    timeout(ANSWERED_WITHIN, rest).await.map_err(|_| "calls are not answered")??;
    let used = |(name, ns): (String, u64)| {
        let earlier = before.iter().find(|(known, _)| *known == name).map_or(0, |(_, ns)| *ns);
        (name, ns.saturating_sub(earlier))
    };
    let cpu_ns = after.into_iter().map(used).collect();
    let latency_us = shared.latency_us.lock().unwrap_or_else(PoisonError::into_inner).clone();
    if latency_us.is_empty() {
        return Err("no call was answered in time".into());
    }
    Ok(Measured { latency_us, elapsed, cpu_ns, load_ns })
}

fn load_ns() -> u64 {
    cpu_ns(std::process::id()).iter().map(|(_, ns)| ns).sum()
}

async fn run_for(
    time: Duration,
    workers: &mut JoinSet<Result<(), Failure>>,
) -> Result<(), Failure> {
    let ends = tokio::time::sleep(time);
    tokio::select! {
        () = ends => Ok(()),
        Some(ended) = workers.join_next() => {
            ended??;
            Err("the load ended by itself".into())
        }
    }
}

// === impl Shared ===

impl Shared {
    fn new() -> Result<Arc<Self>, Failure> {
        let latency_us = Mutex::new(histogram()?);
        Ok(Arc::new(Self { phase: AtomicU8::new(WARMING), latency_us }))
    }

    fn phase(&self) -> u8 {
        self.phase.load(Ordering::Relaxed)
    }

    fn count(&self, since: Instant) {
        if self.phase() == COUNTING {
            let us = u64::try_from(since.elapsed().as_micros()).unwrap_or(u64::MAX);
            let mut latency_us = self.latency_us.lock().unwrap_or_else(PoisonError::into_inner);
            latency_us.saturating_record(us.max(1));
        }
    }
}

fn histogram() -> Result<Histogram<u64>, Failure> {
    Ok(Histogram::new_with_bounds(1, LATENCY_US_MAX, 3)?)
}

const WARMING: u8 = 0;
const COUNTING: u8 = 1;
const ENDED: u8 = 2;
const LATENCY_US_MAX: u64 = 60_000_000;
const ANSWERED_WITHIN: Duration = Duration::from_secs(20);
