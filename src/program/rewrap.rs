//! `bulla rewrap run`: joins the agent, a connector file and a connection, and shows how it goes.

use std::fs::File;
use std::io;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use bulla::agent::{
    Agent, AgentError, Connector, Ended, Job, Remote, Standing, StoreError, Timing, Watcher,
    agent_id,
};
use bulla::cli::{ConnectionArguments, Exit, Failure, OutputArguments, RewrapView};
use bulla_client::kms;
use tokio::signal::unix::{SignalKind, signal};

/// Moving blobs.
#[derive(clap::Subcommand)]
pub(super) enum RewrapCommand {
    /// Move a store of a campaign to its end, and prove it; goes on where it stopped
    Run(RunArguments),
}

/// What to move, or to scan.
#[derive(clap::Args)]
pub(super) struct RunArguments {
    /// The campaign's UUID
    #[arg(long, value_name = "UUID", required_unless_present = "scan_only")]
    campaign: Option<String>,
    /// The store's name or number
    #[arg(long, value_name = "STORE")]
    store: String,
    /// TOML file that says where the blobs are
    #[arg(long, value_name = "FILE")]
    connector: PathBuf,
    /// Only count what there is, without a campaign
    #[arg(long, requires = "key", conflicts_with = "campaign")]
    scan_only: bool,
    /// UUID or alias of the key to scan for
    #[arg(long, requires = "scan_only")]
    key: Option<String>,
}

/// Shows what the agent tells.
struct Shown {
    view: RewrapView,
    problems: AtomicU32,
}

// === impl RewrapCommand ===

impl RewrapCommand {
    pub(super) fn run(self, connection: ConnectionArguments, output: OutputArguments) -> ExitCode {
        let Self::Run(arguments) = self;
        let connector = Connector::load(&arguments.connector);
        let is_stream = matches!(connector, Ok(Connector::JsonLines(_)));
        let view = RewrapView::new(output, is_stream);
        let view = Arc::new(Shown { view, problems: AtomicU32::new(0) });
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(THREADS)
            .enable_all()
            .build()
            .map_err(|error| midway("start a runtime", &error));
        let done = runtime.and_then(|runtime| {
            let connector = connector.map_err(|error| failure(error.into()))?;
            let done = runtime.block_on(arguments.run(connector, connection, &view));
            // A thread may wait for standard input for ever.
            runtime.shutdown_background();
            done
        });
        match done {
            Ok(()) => ExitCode::SUCCESS,
            Err(failure) => view.view.failed(&failure).into(),
        }
    }
}

// === impl RunArguments ===

impl RunArguments {
    async fn run(
        self,
        connector: Connector,
        connection: ConnectionArguments,
        view: &Arc<Shown>,
    ) -> Result<(), Failure> {
        // Held until the end: two agents of one connector file would take each other for one.
        let file = File::open(&self.connector).map_err(|error| midway("open", &error))?;
        file.try_lock().map_err(|_| {
            let text = format!("another agent runs with {}", self.connector.display());
            Failure::new(Exit::Temporary, text).hint("let it finish, or stop it first")
        })?;
        let client = connection.connect().await?;
        let store = connector.open().await.map_err(|error| failure(error.into()))?;
        let remote = Arc::new(Remote(client));
        let agent = Agent {
            board: Arc::clone(&remote) as _,
            mover: remote,
            store,
            watcher: Arc::clone(view) as _,
            timing: Timing::default(),
        };
        match (&self.campaign, &self.key) {
            (Some(campaign), _) => self.rewrap(&agent, campaign, view).await,
            (None, Some(key)) => {
                let scan = agent.scan_only(key, &self.store).await.map_err(failure)?;
                scanned(&view.view, &scan)
            }
            (None, None) => Err(Failure::new(Exit::Usage, "neither --campaign nor --key is given")),
        }
    }

    async fn rewrap(
        &self,
        agent: &Agent,
        campaign: &str,
        view: &Arc<Shown>,
    ) -> Result<(), Failure> {
        let job = Job {
            campaign_id: campaign.to_owned(),
            store: self.store.clone(),
            agent_id: agent_id(&self.connector, campaign, &self.store),
        };
        let ended = agent.run(&job, stopped()).await.map_err(failure)?;
        let answer = |outcome: &str, standing: Standing| {
            let Standing { seen, moved, problems, .. } = standing;
            view.view.ended(outcome, &[("seen", seen), ("moved", moved), ("problems", problems)])
        };
        match ended {
            Ended::Clean(standing) => answer("CLEAN", standing),
            Ended::Rewritten(standing) => {
                answer("REWRITTEN", standing)?;
                view.view.note(
                    "put what came out in the place of the old lines, and run the same over it to \
                     prove that it is clean",
                );
                Ok(())
            }
            Ended::NotClean { left, standing } => {
                answer("NOT_CLEAN", standing)?;
                let text = format!("{left} blobs of old versions are still in these lines");
                let hint = "nothing was changed; run the same over them again to move these";
                Err(Failure::new(Exit::Data, text).hint(hint))
            }
            Ended::Undecided { undecided, standing } => {
                answer("UNDECIDED", standing)?;
                let text = format!("{undecided} places hold what does not open");
                let hint = "see which, and decide about each: bulla campaign problems";
                Err(Failure::new(Exit::Data, text).hint(format!("{hint} {campaign}")))
            }
        }
    }
}

// === impl Shown ===

impl Watcher for Shown {
    fn began(&self, store: &str, pass: u32, standing: Standing) {
        self.view.began(&format!("pass {pass} over {store}"), standing.seen, standing.total);
    }

    fn advanced(&self, standing: Standing) {
        self.view.advanced(standing.seen, standing.total, standing.moved, standing.per_second);
    }

    fn paused(&self, paused: bool) {
        self.view.note(if paused { "paused; waiting until it is resumed" } else { "resumed" });
    }

    fn pass_ended(&self, pass: u32, standing: Standing) {
        let Standing { seen, moved, .. } = standing;
        self.view.note(&format!("pass {pass} ended: {seen} places seen, {moved} blobs moved"));
    }

    fn scanned(&self, rows: u64) {
        self.view.scanned(rows);
    }

    fn problem(&self, problem: &kms::Problem) {
        match self.problems.fetch_add(1, Ordering::Relaxed) {
            0..PROBLEMS_SHOWN_MAX => {
                self.view.note(&format!("{}: {}", problem.place, problem.reason));
            }
            PROBLEMS_SHOWN_MAX => self.view.note("more that do not open are not shown"),
            _ => {}
        }
    }

    fn waits(&self, why: &str, wait: Duration) {
        self.view.note(&format!("{why}; trying again in {wait:?}"));
    }
}

/// What a scan found, by version.
fn scanned(view: &RewrapView, scan: &kms::Scan) -> Result<(), Failure> {
    let mut numbers = vec![("rows".to_owned(), scan.rows)];
    for count in &scan.versions {
        numbers.push((format!("version_{}", count.version), count.count));
    }
    numbers.push(("other_keys".to_owned(), scan.other_keys));
    numbers.push(("unreadable".to_owned(), scan.unreadable));
    let numbers: Vec<_> = numbers.iter().map(|(name, value)| (name.as_str(), *value)).collect();
    view.ended("SCANNED", &numbers)
}

/// Until a person or the system asks it to stop.
async fn stopped() {
    let signals = (signal(SignalKind::interrupt()), signal(SignalKind::terminate()));
    let (Ok(mut interrupt), Ok(mut terminate)) = signals else {
        return std::future::pending().await;
    };
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
    }
}

fn failure(error: AgentError) -> Failure {
    let text = error.to_string();
    match error {
        AgentError::Store(StoreError::Connector(_)) => Failure::new(Exit::Configuration, text),
        AgentError::Store(StoreError::Failed(_)) => Failure::new(Exit::InputOutput, text)
            .hint("the place is kept; the next run goes on from here"),
        AgentError::Store(StoreError::Away(_)) | AgentError::StoreAway { .. } => {
            Failure::new(Exit::Unavailable, text)
        }
        AgentError::Server(error) => match error.source {
            Some(error) => error.into(),
            None => Failure::new(Exit::Unavailable, text),
        },
        AgentError::NotMovable(_) => Failure::new(Exit::Unavailable, text)
            .hint("`bulla key versions KEY` shows the state of each version"),
        AgentError::GivenUp(_) => Failure::new(Exit::Unavailable, text),
        AgentError::Taken(_) | AgentError::NeverClean { .. } => Failure::new(Exit::Temporary, text),
        AgentError::NoBlobs(..) => Failure::new(Exit::Data, text),
        AgentError::Answer(_) => Failure::new(Exit::Internal, text),
        AgentError::Interrupted => Failure::new(Exit::Interrupted, text),
    }
}

fn midway(doing: &str, error: &io::Error) -> Failure {
    Failure::new(Exit::InputOutput, format!("cannot {doing}: {error}"))
}

/// One reads and writes while the other decodes and encodes.
const THREADS: usize = 2;

/// `bulla campaign problems` has them all.
const PROBLEMS_SHOWN_MAX: u32 = 20;
