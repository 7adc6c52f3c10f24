//! How much one core serves: `bulla serve` alone on a core, this load on another, over TLS 1.3.
//!
//! `cargo bench --bench load --features bench-echo` measures every method at every setting in turns
//! with the same server's echo (A B A B), and prints one table. With `--smoke`, or when it is not
//! run by `cargo bench`, everything is short and only says whether it works; with `--only NAME`, one
//! method is compared; `--only fairness` says what a tenant loses to another that sends too much. Ends with 0 only if
//! every call was answered with OK. Sets no thresholds: figures of a shared machine are not a test.
//!
//! Columns: `server` and `load` are how much of its core each used: where `load` is near 100 %, or
//! neither is, the load or the machine was the limit and not the server. `÷ echo` compares calls per
//! second with the echo's; `cpu ÷` compares the echo's CPU time per call with the method's, which
//! does not depend on what else the machine does.
// It is run by hand and by `make bench`: a panic ends it as a failure, which is what is wanted, and
// its output is for a terminal.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod connection;
mod fairness;
mod folder;
mod methods;
mod run;
mod server;
mod table;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use connection::{Connection, Dialler};
use fairness::Span;
use folder::Folder;
use methods::{Method, Methods};
use run::{Measured, Times};
use server::{Cores, Server};

/// Whatever ends the benchmark early.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is measured.
struct Plan {
    /// Connections, and calls in flight on each.
    settings: &'static [(usize, usize)],
    times: Times,
    /// Of the echo and the method in turns.
    rounds: usize,
    /// Everything together.
    ends_within: Duration,
    /// The one method to compare; all of them where it is absent.
    only: Option<String>,
    /// Of what one tenant loses to another.
    fairness: Span,
}

// === impl Plan ===

impl Plan {
    fn compares(&self, method: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == method)
    }

    fn is_fairness_alone(&self) -> bool {
        self.only.as_deref() == Some(FAIRNESS)
    }
}

fn main() -> ExitCode {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let mut plan = if has("--bench") && !has("--smoke") { FULL } else { SMOKE };
    plan.only = std::env::args().skip_while(|argument| argument != "--only").nth(1);
    match benchmark(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("load: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn benchmark(plan: &Plan) -> Result<(), Failure> {
    let folder = Folder::create().map_err(|error| error.to_string())?;
    let (mut server, cores) = Server::start(&folder).map_err(|error| error.to_string())?;
    if cores == Cores::Shared {
        println!("server and load share a core: the figures mean little");
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let measured = runtime.block_on(async {
        let work = async {
            let dialler = Dialler::new(&folder, "client")?;
            let mut first = ready(&dialler, &mut server).await?;
            let mut manager = Dialler::new(&folder, "manager")?.dial().await?;
            let methods = methods::prepare(&mut first, &mut manager).await?;
            if !plan.is_fairness_alone() {
                measure_all(plan, &server, &dialler, &methods).await?;
            }
            if plan.compares(FAIRNESS) {
                measure_fairness(plan, &folder, &dialler, &methods).await?;
            }
            Ok::<_, Failure>(())
        };
        let late = |_| Failure::from("took too long");
        tokio::time::timeout(plan.ends_within, work).await.map_err(late)?
    });
    measured.map_err(|failure| format!("{failure}\n{}", folder.log_tail()))?;
    drop(runtime);
    server.stop().map_err(|error| format!("{error}\n{}", folder.log_tail()).into())
}

/// A connection on which the echo answers.
async fn ready(dialler: &Dialler, server: &mut Server) -> Result<Connection, Failure> {
    let (began, echo) = (Instant::now(), methods::echo()?);
    loop {
        if let Some(status) = server.ended() {
            return Err(format!("the server ended before it was ready ({status})").into());
        }
        let answered = async {
            let mut connection = dialler.dial().await?;
            connection.call(&echo).await?;
            Ok::<_, Failure>(connection)
        };
        match answered.await {
            Ok(connection) => return Ok(connection),
            Err(failure) if began.elapsed() > READY_WITHIN => {
                return Err(format!("the server does not become ready: {failure}").into());
            }
            Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
        }
    }
}

async fn measure_all(
    plan: &Plan,
    server: &Server,
    dialler: &Dialler,
    methods: &Methods,
) -> Result<(), Failure> {
    let mut by_thread = Vec::new();
    let mut half_of_closed = 0.0;
    let (began, waited_before) = (Instant::now(), server::waited());
    table::heads();
    for &(count, streams) in plan.settings {
        let name = format!("{count}×{streams}");
        let connections = dial(dialler, count).await?;
        let mut echoes = Measured::none()?;
        for method in methods.compared.iter().filter(|method| plan.compares(method.name)) {
            let turns = Turns { server, connections: &connections, streams, plan };
            let (echo, measured) = turns.measure(&methods.echo, method).await?;
            table::line(method.name, &name, &measured, Some(&echo), method.data_keys);
            echoes.add(&echo)?;
            if method.name == "GenerateDataKey" && (count, streams) == OPEN_SETTING {
                half_of_closed = measured.rate() / 2.0;
            }
            by_thread.push((method.name, name.clone(), measured));
        }
        table::line(methods.echo.name, &name, &echoes, None, 0);
        by_thread.push((methods.echo.name, name, echoes));
    }

    let (count, streams) = OPEN_SETTING;
    let connections = dial(dialler, count).await?;
    println!("\nopen loop at half of the closed loop's rate, latency from when a call was due");
    for method in [&methods.echo, &methods.compared[0]] {
        let (call, times) = (&method.call, plan.times);
        let measured =
            run::open_loop(server, &connections, streams, call, half_of_closed, times).await?;
        table::line(method.name, &format!("{count}×{streams}"), &measured, None, method.data_keys);
    }

    println!("\nserver CPU by thread, µs for each call");
    for (method, setting, measured) in &by_thread {
        table::threads(method, setting, measured);
    }
    let waited = server::waited().saturating_sub(waited_before).as_secs_f64();
    let share = 100.0 * waited / began.elapsed().as_secs_f64();
    println!("\nthe load waited for its core for {share:.1} % of the time (other work's doing)");
    Ok(())
}

/// The echo and a method, in turns, on the same connections.
struct Turns<'a> {
    server: &'a Server,
    connections: &'a [Connection],
    streams: usize,
    plan: &'a Plan,
}

// === impl Turns ===

impl Turns<'_> {
    /// The sums of all rounds: of the echo, and of the method.
    async fn measure(
        &self,
        echo: &Method,
        method: &Method,
    ) -> Result<(Measured, Measured), Failure> {
        let mut sums = (Measured::none()?, Measured::none()?);
        for _ in 0..self.plan.rounds {
            sums.0.add(&self.once(echo).await?)?;
            sums.1.add(&self.once(method).await?)?;
        }
        Ok(sums)
    }

    async fn once(&self, method: &Method) -> Result<Measured, Failure> {
        let Self { server, connections, streams, plan } = *self;
        run::closed_loop(server, connections, streams, &method.call, plan.times)
            .await
            .map_err(|failure| format!("{}: {failure}", method.name).into())
    }
}

/// What a tenant at its usual rate loses while another sends a hundred times as much.
async fn measure_fairness(
    plan: &Plan,
    folder: &Folder,
    dialler: &Dialler,
    methods: &Methods,
) -> Result<(), Failure> {
    let flood = Dialler::new(folder, "flood")?;
    let mut manager = Dialler::new(folder, "flood-manager")?.dial().await?;
    let loud = methods::generate(&mut flood.dial().await?, &mut manager, "flood").await?;
    let quiet = dial(dialler, QUIET_CONNECTIONS).await?;
    println!("\na tenant at its usual rate, alone and beside one that sends 100 times as much");
    for method in methods.compared.iter().take(2) {
        fairness::compare(method.name, &quiet, &method.call, (&flood, &loud), plan.fairness)
            .await?;
    }
    Ok(())
}

/// One after the other: a server takes only so many handshakes at once from one address.
async fn dial(dialler: &Dialler, count: usize) -> Result<Vec<Connection>, Failure> {
    let mut connections = Vec::with_capacity(count);
    for _ in 0..count {
        connections.push(dialler.dial().await?);
    }
    Ok(connections)
}

const FULL: Plan = Plan {
    settings: &[(1, 1), (8, 8), (64, 1), (64, 8)],
    times: Times { warm: Duration::from_millis(300), measured: Duration::from_millis(2500) },
    rounds: 2,
    ends_within: Duration::from_secs(500),
    only: None,
    fairness: Span { turn: Duration::from_secs(4), turns: 3 },
};
const SMOKE: Plan = Plan {
    settings: &[(1, 1), (8, 8)],
    times: Times { warm: Duration::from_millis(100), measured: Duration::from_millis(300) },
    rounds: 1,
    ends_within: Duration::from_secs(120),
    only: None,
    fairness: Span { turn: Duration::from_millis(500), turns: 1 },
};
const OPEN_SETTING: (usize, usize) = (8, 8);
/// The name for `--only`.
const FAIRNESS: &str = "fairness";
const QUIET_CONNECTIONS: usize = 4;
const READY_WITHIN: Duration = Duration::from_secs(30);
