//! The accept loop: lets connections in within the caps, does the handshake within its deadline, finds
//! out who it is, and hands the connection on. Out of descriptors it pauses, longer each time, and
//! never spins; no error of an accept ends it. Never speaks without TLS.

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::{Request, Response};
use hyper::body::Incoming;
use rustls::server::ServerConfig;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tower_service::Service;

use super::connection;
use super::drain::Drain;
use super::gate::{Gate, Ticket, count};
use super::tls::HTTP2;
use crate::auth::{AuthError, Authenticator, Peer};

/// What all listeners of a server share.
#[derive(Clone)]
pub struct Listen {
    /// How TLS is spoken. Its verifier is `authenticator`.
    pub tls: Arc<ServerConfig>,
    /// Who is at the other end.
    pub authenticator: Arc<Authenticator>,
    /// The caps and counts.
    pub gate: Arc<Gate>,
    /// Told of those who were refused, within bounds.
    pub on_refused: OnRefused,
    /// When to stop.
    pub drain: Drain,
}

/// Told of a refusal. Must not block: it is called on a data-plane runtime.
pub type OnRefused = Arc<dyn Fn(AuthRefusal) + Send + Sync>;

/// Somebody who is not known: did not get as far as a first request, or whose call proved nothing.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct AuthRefusal {
    /// `connect` or `call`.
    pub action: &'static str,
    /// Where they came from.
    pub address: SocketAddr,
    /// Why, for the audit record: an [`AuthError::class`], or `handshake_late`, `not_tls`,
    /// `not_http2`, `tls_incompatible`, `tls_rejected` (by the client) or `tls_failed`.
    pub class: &'static str,
    /// How many refusals before this one were not told, to keep within bounds.
    pub untold: u64,
}

/// Where connections come from. A seam so that tests can run it out of descriptors.
pub trait Accept: Send {
    /// The next connection and its other end.
    fn accept(&mut self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

// === impl Accept ===

impl Accept for TcpListener {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        TcpListener::accept(self).await
    }
}

// === impl Listen ===

impl Listen {
    /// Accepts from `source` and serves until the drain is requested; then stops accepting and returns
    /// once every connection that was accepted here has ended, which the limits bound.
    pub async fn serve<A, S>(&self, mut source: A, service: S)
    where
        A: Accept,
        S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + Unpin + 'static,
    {
        // Each connection holds a sender; the receiver ends when the last has gone.
        let (alive, mut all_gone) = mpsc::channel::<Infallible>(1);
        let limits = *self.gate.limits();
        let mut pause_ms = limits.accept_pause_ms_min;
        while let Some(accepted) = self.unless_draining(source.accept()).await {
            let (stream, address) = match accepted {
                Ok(accepted) => accepted,
                Err(error) if concerns_one_connection(&error) => {
                    count(&self.gate.counters.accepts_failed);
                    continue;
                }
                Err(_) => {
                    count(&self.gate.counters.accepts_failed);
                    let pause = sleep(Duration::from_millis(pause_ms));
                    pause_ms = pause_ms.saturating_mul(2).min(limits.accept_pause_ms_max);
                    let _ = self.unless_draining(pause).await;
                    continue;
                }
            };
            pause_ms = limits.accept_pause_ms_min;
            let Some(mut ticket) = self.gate.admit(address.ip()) else { continue };
            if self.unless_draining(ticket.wait_for_handshake()).await.is_none() {
                break;
            }
            let attend = self.clone().attend(stream, address, ticket, service.clone());
            let alive = alive.clone();
            tokio::spawn(async move {
                attend.await;
                drop(alive);
            });
        }
        drop((source, alive));
        let None = all_gone.recv().await;
    }

    async fn attend<S>(self, stream: TcpStream, address: SocketAddr, mut ticket: Ticket, service: S)
    where
        S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
            + Clone
            + Send
            + 'static,
        S::Future: Send + Unpin + 'static,
    {
        // Without it replies are late and nothing else is wrong.
        let _ = stream.set_nodelay(true);
        let handshaken = self.unless_draining(self.handshake(stream, address, &ticket)).await;
        ticket.handshaken();
        match handshaken {
            Some(Ok((stream, peer))) => {
                connection::serve(stream, Arc::new(peer), ticket, service, self.drain).await;
            }
            Some(Err(refused)) => {
                count(&self.gate.counters.handshakes_failed);
                if let Some(class) = refused {
                    self.report("connect", address, class);
                }
            }
            None => {}
        }
    }

    /// Who it is, or the class of why not; no class when it hung up by itself.
    async fn handshake(
        &self,
        stream: TcpStream,
        address: SocketAddr,
        ticket: &Ticket,
    ) -> Result<(TlsStream<TcpStream>, Peer), Option<&'static str>> {
        let deadline = Duration::from_millis(self.gate.limits().handshake_ms_max);
        let accepting = TlsAcceptor::from(Arc::clone(&self.tls)).accept(stream);
        let stream = match timeout(deadline, accepting).await {
            Ok(accepted) => accepted.map_err(|error| class_of(&error))?,
            Err(_late) => {
                count(&self.gate.counters.handshakes_late);
                return Err(Some("handshake_late"));
            }
        };
        let (_, session) = stream.get_ref();
        if session.alpn_protocol() != Some(HTTP2) {
            return Err(Some("not_http2"));
        }
        let presented = session.peer_certificates().unwrap_or_default();
        // Where a certificate is optional, whoever shows none is nobody until a call proves otherwise.
        let certified = if presented.is_empty() && !self.authenticator.is_mandatory() {
            None
        } else {
            let certified = self.authenticator.certify(presented);
            Some(certified.map_err(|error: AuthError| Some(error.class()))?)
        };
        let peer = Peer::new(certified, address, ticket.id());
        Ok((stream, peer))
    }

    pub(super) fn report(&self, action: &'static str, address: SocketAddr, class: &'static str) {
        if let Some(untold) = self.gate.may_report(std::time::Instant::now()) {
            (self.on_refused)(AuthRefusal { action, address, class, untold });
        }
    }

    /// What `work` gives, or None once the drain is requested.
    async fn unless_draining<T>(&self, work: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            biased;
            () = self.drain.requested() => None,
            done = work => Some(done),
        }
    }
}

/// Errors of accept(2) that used up the one connection that they were about, so that the next call is
/// about another. All others come again at once, as when descriptors have run out.
fn concerns_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
    )
}

/// Why a handshake failed; None when the other end just went away.
fn class_of(error: &io::Error) -> Option<&'static str> {
    let error = error.get_ref()?.downcast_ref::<rustls::Error>()?;
    if let Some(error) = AuthError::of_handshake(error) {
        return Some(error.class());
    }
    Some(match error {
        rustls::Error::InvalidMessage(_) => "not_tls",
        rustls::Error::NoApplicationProtocol => "not_http2",
        rustls::Error::PeerIncompatible(_) => "tls_incompatible",
        rustls::Error::AlertReceived(_) => "tls_rejected",
        _ => "tls_failed",
    })
}
