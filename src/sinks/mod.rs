//! Where else the audit log goes: sinks, which get every record, and anchors, which get every
//! checkpoint. All of it follows what is durable in the log, as the notary does, each place on a thread
//! of its own, and never stands in the log thread's way.
//!
//! A best-effort place that is slow, refuses or is gone costs nobody anything: it catches up from the
//! log. A required one makes calls wait, and be refused within a second while it is away. What goes where
//! is said in the configuration file alone (H06). Never sends anything that the log does not hold.

mod anchor;
mod error;
mod file;
mod follow;
mod http;
mod line;
mod otlp;
mod peer;
mod position;
mod syslog;

use std::future::Future;
use std::path::Path;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use rustls::crypto::CryptoProvider;
use tokio::sync::watch;

use crate::audit::{WitnessKey, origin};
use crate::config::{self, Anchor, AnchorKind, Audit, Sink, SinkKind};
use crate::metrics::{Metrics, PlaceCounts};
use crate::trail::{Need, Notarized, Trail};

pub use error::OutsideError;

use anchor::{Age, CommandAnchor, FileAnchor, HttpAnchor, Keeper, Take, WitnessAnchor};
use file::FileSink;
use follow::{Follower, Receive};
use http::Http;
use otlp::Otlp;
use peer::Peer;
use position::Position;
use syslog::Syslog;

/// Every place outside, at work. Dropping it ends them: each has two seconds for what is left.
pub struct Outside {
    stop: watch::Sender<bool>,
    threads: Vec<JoinHandle<()>>,
}

/// What every place is started with.
struct Start<'a> {
    folder: &'a Path,
    trail: &'a Trail,
    notarized: &'a Arc<Notarized>,
    provider: &'a Arc<CryptoProvider>,
    stop: &'a watch::Sender<bool>,
}

// === impl Outside ===

impl Outside {
    /// Starts what is configured. `folder` is the log's; positions are kept below it.
    ///
    /// # Errors
    /// A file or an address cannot be used, or the log is not the one that was sent or anchored.
    pub fn start(
        config: &Audit,
        folder: &Path,
        trail: &Trail,
        notarized: &Arc<Notarized>,
        metrics: &Metrics,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, OutsideError> {
        let mut outside = Self { stop: watch::Sender::new(false), threads: Vec::new() };
        let folder = folder.join("sinks");
        let sinks: Vec<_> = config.sinks.iter().map(|sink| PlaceCounts::new(&sink.name)).collect();
        let anchors = config.anchors.iter().map(|anchor| PlaceCounts::new(&anchor.name));
        let anchors: Vec<_> = anchors.collect();
        metrics.show_places(sinks.clone(), anchors.clone());
        for (sink, counts) in config.sinks.iter().zip(sinks) {
            let stop = &outside.stop;
            let start = Start { folder: &folder, trail, notarized, provider, stop };
            outside.threads.push(start.sink(sink, counts)?);
        }
        for (anchor, counts) in config.anchors.iter().zip(anchors) {
            let stop = &outside.stop;
            let start = Start { folder: &folder, trail, notarized, provider, stop };
            outside.threads.push(start.anchor(anchor, counts)?);
        }
        Ok(outside)
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        for thread in self.threads.drain(..) {
            // A panic of the thread was told by the thread.
            let _ = thread.join();
        }
    }
}

// === impl Start ===

impl Start<'_> {
    fn sink(&self, sink: &Sink, counts: Arc<PlaceCounts>) -> Result<JoinHandle<()>, OutsideError> {
        let position = Position::open(self.folder, &sink.name, self.trail)?;
        match sink.kind {
            SinkKind::File => {
                let path = sink.path.clone().unwrap_or_default();
                let receiver = FileSink::new(path, sink.rotate_bytes);
                self.follow(sink, counts, position, receiver)
            }
            SinkKind::Syslog => {
                let bytes_max = usize::try_from(sink.message_bytes_max).unwrap_or(usize::MAX);
                let receiver = Syslog::new(
                    self.peer(&sink.name, &sink.address, false, &sink.peer)?,
                    bytes_max,
                    position.at(),
                );
                self.follow(sink, counts, position, receiver)
            }
            SinkKind::Otlp => {
                let http = Http::new(self.peer(&sink.name, &sink.address, true, &sink.peer)?, "");
                let receiver = Otlp::new(http, origin(self.trail.installation_id()));
                self.follow(sink, counts, position, receiver)
            }
        }
    }

    fn anchor(
        &self,
        anchor: &Anchor,
        counts: Arc<PlaceCounts>,
    ) -> Result<JoinHandle<()>, OutsideError> {
        let Anchor { name, address, peer, .. } = anchor;
        match anchor.kind {
            AnchorKind::Command => {
                self.keep(anchor, counts, CommandAnchor::new(anchor.command.clone()))
            }
            AnchorKind::File => {
                let path = anchor.path.as_deref().unwrap_or(Path::new(""));
                self.keep(anchor, counts, FileAnchor::open(path, self.notarized)?)
            }
            AnchorKind::Http => {
                let http = Http::new(self.peer(name, address, true, peer)?, "");
                self.keep(anchor, counts, HttpAnchor(http))
            }
            AnchorKind::Witness => {
                let key = anchor.verifier_key.as_deref().unwrap_or_default();
                let key = WitnessKey::parse(key).map_err(|_| OutsideError::Setting {
                    setting: "verifier_key",
                    name: name.clone(),
                    problem: "must be NAME+ID+KEY of a witness (Ed25519, type 4)".to_owned(),
                })?;
                let http = Http::new(self.peer(name, address, true, peer)?, "add-checkpoint");
                let notarized = Arc::clone(self.notarized);
                self.keep(anchor, counts, WitnessAnchor::new(http, key, notarized))
            }
        }
    }

    fn peer(
        &self,
        name: &str,
        address: &Option<String>,
        speaks_http: bool,
        peer: &config::Peer,
    ) -> Result<Peer, OutsideError> {
        let address = address.as_deref().unwrap_or_default();
        Peer::new(name, address, speaks_http, peer, self.provider)
    }

    fn keep(
        &self,
        config: &Anchor,
        counts: Arc<PlaceCounts>,
        anchor: impl Take + 'static,
    ) -> Result<JoinHandle<()>, OutsideError> {
        let age_max = Duration::from_secs(config.age_seconds_max.into());
        let needed = config.required.then(|| (self.trail.need(Need::Presence), age_max));
        let notarized = Arc::clone(self.notarized);
        let keeper = Keeper { notarized, anchor, age: Age::new(counts, needed) };
        let stop = self.stop.subscribe();
        thread("bulla-anchor", async move { keeper.run(stop).await })
    }

    fn follow(
        &self,
        sink: &Sink,
        counts: Arc<PlaceCounts>,
        position: Position,
        receiver: impl Receive + 'static,
    ) -> Result<JoinHandle<()>, OutsideError> {
        let trail = self.trail.clone();
        let needed = sink.required.then(|| trail.need(Need::EveryRecord));
        let follower = Follower { trail, receiver, position, counts, needed, frames: None };
        let stop = self.stop.subscribe();
        thread("bulla-sink", async move { follower.run(stop).await })
    }
}

/// A thread for one place, with what it takes to wait for several things at once.
fn thread(
    name: &str,
    work: impl Future<Output = ()> + Send + 'static,
) -> Result<JoinHandle<()>, OutsideError> {
    let failed = |error| OutsideError::System("start a thread for a sink or an anchor", error);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(failed)?;
    let builder = std::thread::Builder::new().name(name.to_owned());
    builder.spawn(move || runtime.block_on(work)).map_err(failed)
}
