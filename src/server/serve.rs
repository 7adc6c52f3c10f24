//! Serving: data-plane runtimes that listen, and beside them what watches, schedules and stops.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;

use crate::api::{Api, Front, Identity, methods};
use crate::audit::{Outcome, Record};
use crate::clock::{Clock, SystemClock};
use crate::config::{Config, StoreKind};
use crate::custody::{self, Custody, KeyFile, StartError, Witness};
use crate::keys::Timestamp;
use crate::metrics::Metrics;
use crate::rotation::Scheduler;
use crate::service::{Desk, Office, Refusal};
use crate::trail::{CLOSE_MAX, Lane, Notary, Trail};

use super::administer::{self, Bindings};
use super::assemble::{self, OpenStore};
use super::drain::{Drain, drain, terminated};
use super::error::ServerError;
use super::gate::Gate;
use super::limits::ListenLimits;
use super::listen::{AuthRefusal, Listen};
use super::retention::Retention;
use super::runtimes::{Runtimes, bind_each, cores};
use super::tls::{TlsIdentity, provider, server_config};
use super::trust::{self, Trust};
use super::{notary, outside};

/// What serving may be told beyond the configuration.
#[derive(Clone, Debug, Default)]
pub struct ServeOptions {
    /// Begin a new audit log where the old one is missing.
    pub new_audit_log: bool,
    /// The first roles of a store in memory, which has none.
    pub bindings: Bindings,
}

/// Serves until the process is told to stop, then finishes what is in flight.
///
/// # Errors
/// It does not start, or had to stop: the store failed, or a thread ended.
pub async fn serve(config: &Config, options: &ServeOptions) -> Result<(), ServerError> {
    let terminated = terminated().map_err(|e| ServerError::System("catch signals", e))?;
    let hangup =
        signal(SignalKind::hangup()).map_err(|e| ServerError::System("catch signals", e))?;
    assemble::harden(config)?;
    let metrics = Arc::new(Metrics::new(methods::labels()));
    let (store, custody, trail, notary) = open(config, options, &metrics).await?;
    let (switch, drain) = drain();
    let (serving, is_serving) = watch::channel(true);
    let office = assemble::office(
        config,
        Arc::new(custody),
        trail.clone(),
        Some(notary.notarized()),
        metrics,
    )?;
    let holder = office.custody.new_holder_id().map_err(StartError::from)?;
    let (refusals, refused) = mpsc::channel(REFUSALS_MAX);
    let trust = Trust::load(config, &office.custody)?;
    let plane = DataPlane::new(config, &office, &trust, drain, refusals, is_serving)?;
    let lane = trail.lane();
    let running_lane = tokio::spawn(lane.run());
    let desk = Desk::new(Arc::clone(&office), lane.clone());
    end_what_was_begun(&desk).await?;
    let outside = outside::start(config, &office, &trail, notary.notarized()).await?;
    let mut runtimes = plane.start(config)?;
    let trusting = tokio::spawn(trust.follow(config.clone(), hangup));

    let following = tokio::spawn({
        let custody = Arc::clone(&office.custody);
        async move { custody.follow().await }
    });
    let counting = tokio::spawn({
        let (custody, trail) = (Arc::clone(&office.custody), trail.clone());
        async move { custody.run_census(&trail).await }
    });
    let checked = config.rotation.clock_checked_ms().map(Timestamp::from_unix_ms);
    let witness = Witness::new(holder, checked);
    let scheduler = Scheduler::new(desk, witness);
    let scheduling = tokio::spawn(scheduler.run());
    let retaining = config.audit.retention_days.map(|days| {
        let retention = Retention {
            trail: trail.clone(),
            lane: lane.clone(),
            notarized: notary.notarized(),
            custody: Arc::clone(&office.custody),
            clock: Arc::clone(&office.clock),
            days,
        };
        tokio::spawn(retention.run())
    });
    let recording = tokio::spawn(record_refusals(refused, lane));

    let stopped = tokio::select! {
        () = terminated => Ok(()),
        error = store.failed() => Err(ServerError::Store(error)),
        _ = runtimes.next_ended() => Err(ServerError::Ended("a data-plane thread")),
    };
    tracing::info!("draining");
    serving.send_replace(false);
    switch.request();
    scheduling.abort();
    if let Some(retaining) = retaining {
        retaining.abort();
    }
    trusting.abort();
    counting.abort();
    following.abort();
    let longest = Duration::from_secs(config.limits.drain_seconds_max.into());
    let drained = timeout(longest, async { while runtimes.next_ended().await.is_some() {} }).await;
    if drained.is_err() {
        tracing::warn!("calls were still in flight when the time for draining ran out");
    }
    recording.abort();
    trail.close().await;
    // After the last record, and signs it.
    let notarizing = tokio::task::spawn_blocking(move || drop(notary));
    if timeout(CLOSE_MAX, notarizing).await.is_err() {
        tracing::warn!(
            "the audit log's last records are not signed yet; the next start signs them"
        );
    }
    outside::end(outside).await;
    running_lane.abort();
    let closed = store.close().await;
    tracing::info!("stopped");
    stopped?;
    Ok(closed?)
}

/// Says in the audit log what became of changes that the last run of the program was stopped in.
async fn end_what_was_begun(desk: &Desk) -> Result<(), ServerError> {
    let problem = |refusal: Refusal| ServerError::Unended(refusal.to_string());
    match desk.end_what_was_begun().await.map_err(problem)? {
        0 => {}
        changes => tracing::warn!(changes, "recorded how changes ended that were interrupted"),
    }
    Ok(())
}

/// The server's chain and key, from files; the key's may be read by its owner only.
pub(super) fn tls_identity(config: &Config) -> Result<TlsIdentity, ServerError> {
    let setting = "tls.certificate_file";
    let path = config.tls.certificate_file.clone();
    let text = std::fs::read(&path).map_err(|error| {
        let (path, problem) = (path.clone(), error.to_string());
        ServerError::File { setting, path, problem }
    })?;
    let chain = trust::certificates(setting, &path, &text)?;
    let path = &config.tls.key_file;
    assemble::private_file("tls.key_file", path)?;
    let key = PrivateKeyDer::from_pem_file(path).map_err(|error| ServerError::File {
        setting: "tls.key_file",
        path: path.clone(),
        problem: format!("holds no private key in PEM ({error})"),
    })?;
    Ok(TlsIdentity { chain, key })
}

/// Everything that every data-plane thread needs.
struct DataPlane {
    listen: Listen,
    office: Arc<Office>,
    identity: Identity,
    serving: watch::Receiver<bool>,
}

// === impl DataPlane ===

impl DataPlane {
    fn new(
        config: &Config,
        office: &Arc<Office>,
        trust: &Trust,
        drain: Drain,
        refusals: mpsc::Sender<AuthRefusal>,
        serving: watch::Receiver<bool>,
    ) -> Result<Self, ServerError> {
        let provider = provider();
        let authenticator = Arc::clone(&trust.authenticator);
        let wrong = |path: &Path, problem: String| ServerError::File {
            setting: "tls.key_file",
            path: path.to_owned(),
            problem,
        };
        let tls = server_config(tls_identity(config)?, provider, Arc::clone(&authenticator))
            .map_err(|error| wrong(&config.tls.key_file, error.to_string()))?;
        let limits = ListenLimits {
            connections_max: config.limits.connections_max as usize,
            connections_per_address_max: config.limits.connections_per_address_max as usize,
            streams_max: config.limits.streams_per_connection_max,
            drain_ms_max: u64::from(config.limits.drain_seconds_max).saturating_mul(1_000),
            ..ListenLimits::DEFAULT
        };
        let listen = Listen {
            tls,
            authenticator,
            gate: Arc::new(Gate::new(limits)),
            // Bounded twice: the gate tells so many a second, and what finds no room is let go.
            on_refused: Arc::new(move |refusal| {
                let _ = refusals.try_send(refusal);
            }),
            drain,
        };
        let refusing = listen.clone();
        let (failed, asked) = (Arc::clone(&office.limiter), Arc::clone(&office.limiter));
        let on_unknown = Arc::new(move |address: SocketAddr, class| {
            failed.authentication_failed(address.ip());
            refusing.report("call", address, class);
        });
        let may_try = Arc::new(move |address: SocketAddr| asked.may_authenticate(address.ip()));
        let identity = Identity::new(Arc::clone(&trust.identifier), on_unknown, may_try);
        Ok(Self { listen, office: Arc::clone(office), identity, serving })
    }

    /// Binds every listener before any thread starts, so that an address in use is told at once.
    fn start(self, config: &Config) -> Result<Runtimes, ServerError> {
        let mut cores = cores().map_err(|e| ServerError::System("list the cores", e))?;
        if let threads @ 1.. = config.limits.data_plane_threads as usize {
            cores = cores.iter().copied().cycle().take(threads).collect();
        }
        let listeners = bind_each(config.listen, cores.len())
            .map_err(|source| ServerError::Listen { address: config.listen, source })?;
        if let Some(address) = listeners.first().and_then(|first| first.local_addr().ok()) {
            tracing::info!(%address, threads = cores.len(), "listening");
        }
        let listeners: Vec<_> = listeners.into_iter().map(|l| Mutex::new(Some(l))).collect();
        let plane = Arc::new(self);
        let listeners = Arc::new(listeners);
        Runtimes::start(&cores, move |index| {
            let plane = Arc::clone(&plane);
            let listener = listeners.get(index).and_then(|listener| listener.lock().take());
            async move {
                if let Some(listener) = listener {
                    plane.run(listener).await;
                }
            }
        })
        .map_err(|e| ServerError::System("start a data-plane thread", e))
    }

    async fn run(&self, listener: TcpListener) {
        let listener = match tokio::net::TcpListener::from_std(listener) {
            Ok(listener) => listener,
            Err(error) => return tracing::error!(%error, "cannot use a listener"),
        };
        let lane = self.office.trail.lane();
        let running = tokio::spawn(lane.run());
        let gate = Arc::clone(&self.listen.gate);
        let connections =
            Arc::new(move || u64::try_from(gate.counts().connections_now).unwrap_or(u64::MAX));
        let api =
            Api::new(Desk::new(Arc::clone(&self.office), lane), connections, self.serving.clone());
        let (front, ended) = Front::new(api, self.identity.clone());
        self.listen.serve(listener, front).await;
        ended.wait().await;
        running.abort();
    }
}

async fn open(
    config: &Config,
    options: &ServeOptions,
    metrics: &Arc<Metrics>,
) -> Result<(OpenStore, Custody, Trail, Notary), ServerError> {
    let store = match config.store {
        StoreKind::Sqlite => assemble::open_store(config)?,
        StoreKind::Memory => assemble::create_store(config)?,
    };
    let store = store.counted(metrics);
    let custody = match config.store {
        StoreKind::Sqlite => assemble::open_custody(config, &store).await?,
        StoreKind::Memory => {
            // A store in memory is new each time, and so is the audit log that tells of it.
            let _ = std::fs::remove_dir_all(config.audit_directory());
            let seal = KeyFile::read(&config.seal.key_file)?;
            let made = custody::create(assemble::installed(config, &store), &seal).await?;
            administer::give(config, made, &options.bindings, true).await?;
            custody::open(assemble::installed(config, &store), &seal).await?
        }
    };
    if options.new_audit_log && !Trail::is_at(&config.audit_directory()) {
        notary::put_aside(config)?;
    }
    let (trail, recovery) = assemble::open_trail(config, &custody, options.new_audit_log)?;
    if recovery.torn_bytes > 0 {
        let bytes = recovery.torn_bytes;
        tracing::warn!(bytes, "left an unfinished batch behind at the end of the audit log");
    }
    tracing::info!(sequence = recovery.sequence, "the audit log verifies");
    let notary = notary::start(config, &custody, &trail).await?;
    Ok((store, custody, trail, notary))
}

/// Records connections and calls that were refused because nobody was known.
async fn record_refusals(mut refused: mpsc::Receiver<AuthRefusal>, lane: Lane) {
    while let Some(refusal) = refused.recv().await {
        let mut record = Record::new(SystemClock.unix_us(), refusal.action, Outcome::Refused);
        record.reason = "UNAUTHENTICATED".into();
        record.class = refusal.class.into();
        record.source_address = refusal.address.to_string().into();
        record.items = u32::try_from(refusal.untold.saturating_add(1)).unwrap_or(u32::MAX);
        // What could not be recorded is counted, and told when the log is back.
        let _ = lane.append(&record).await;
    }
}

const REFUSALS_MAX: usize = 1_000;
