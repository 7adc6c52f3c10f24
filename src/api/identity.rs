//! From a request's connection and headers to its caller, before anything else of it is read.
//!
//! Every refusal has one answer, whatever was wrong; the class of it is told to whoever records. A call
//! that goes on for long is asked who it is from time to time: a certificate, token or credential that
//! does not count any more ends it ([`Watched`]).

use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::header::{AUTHORIZATION, HeaderMap, HeaderValue};
use http::{Request, Response};
use http_body::{Body as HttpBody, Frame};
use tokio::time::{Instant, timeout};
use tonic::Status;
use tonic::body::Body;

use super::errors;
use crate::auth::{Identifier, ON_BEHALF_OF, Peer};
use crate::service::Caller;

/// Tells who calls, and tells of those who are nobody.
#[derive(Clone)]
pub struct Identity {
    identifier: Arc<Identifier>,
    on_unknown: OnUnknown,
    may_try: MayTry,
}

/// Whether a token or credential from this address is worth looking at now.
pub type MayTry = Arc<dyn Fn(SocketAddr) -> bool + Send + Sync>;

/// Told of an address and the class of what was wrong. Must not block; bounds what it makes of it.
pub type OnUnknown = Arc<dyn Fn(SocketAddr, &'static str) + Send + Sync>;

/// What a caller has presented, to be looked at again.
#[derive(Clone)]
pub(super) struct Presented {
    identity: Identity,
    peer: Arc<Peer>,
    headers: HeaderMap,
}

/// A stream of messages that ends when whoever it is of is not known any more.
struct Watched {
    body: Body,
    presented: Presented,
    looked: Instant,
    looking: Option<Pin<Box<dyn Future<Output = bool> + Send>>>,
    /// What came while that is looked at.
    held: Option<Frame<Bytes>>,
    /// Whether this is what the caller sends, rather than what it is sent.
    sent_by_caller: bool,
    ended: bool,
}

// === impl Identity ===

impl Identity {
    /// By this identifier.
    pub fn new(identifier: Arc<Identifier>, on_unknown: OnUnknown, may_try: MayTry) -> Self {
        Self { identifier, on_unknown, may_try }
    }

    /// Puts the caller into the request's extensions and takes its secrets out of the headers. Gives
    /// what was presented, for a call that goes on for long.
    pub(super) async fn identify<B>(
        &self,
        request: &mut Request<B>,
        deadline: Duration,
    ) -> Result<(Caller, Presented), Status> {
        let Some(peer) = request.extensions().get::<Arc<Peer>>().cloned() else {
            return Err(errors::unauthenticated());
        };
        let mut headers = HeaderMap::new();
        for name in [AUTHORIZATION.as_str(), ON_BEHALF_OF] {
            for value in request.headers().get_all(name) {
                if let Ok(name) = http::HeaderName::from_bytes(name.as_bytes()) {
                    headers.append(name, hidden(value));
                }
            }
            request.headers_mut().remove(name);
        }
        let presented = Presented { identity: self.clone(), peer, headers };
        let caller = match timeout(deadline, presented.caller()).await {
            Ok(caller) => caller,
            Err(_late) => {
                (self.on_unknown)(presented.peer.address(), "late_proof");
                None
            }
        };
        let caller = caller.ok_or_else(errors::unauthenticated)?;
        request.extensions_mut().insert(caller.clone());
        Ok((caller, presented))
    }
}

// === impl Presented ===

impl Presented {
    /// Who it is now.
    async fn caller(&self) -> Option<Caller> {
        let address = self.peer.address();
        // A certificate was proved in the handshake; what comes in headers is proved here.
        if !self.headers.is_empty() && !(self.identity.may_try)(address) {
            (self.identity.on_unknown)(address, "too_many_failures");
            return None;
        }
        match self.identity.identifier.identify(&self.peer, &self.headers).await {
            Ok(subject) => {
                let certificate = self.peer.certified().map(|holder| *holder.thumbprint());
                Some(Caller::remote(subject, address).with_certificate(certificate))
            }
            Err(error) => {
                (self.identity.on_unknown)(address, error.class());
                None
            }
        }
    }

    /// What the caller sends, for as long as it is known.
    pub(super) fn watch_request(&self, body: Body) -> Body {
        Body::new(Watched::new(body, self.clone(), true))
    }

    /// What the caller is sent, for as long as it is known.
    pub(super) fn watch_response(&self, response: Response<Body>) -> Response<Body> {
        response.map(|body| Body::new(Watched::new(body, self.clone(), false)))
    }
}

// === impl Watched ===

impl Watched {
    fn new(body: Body, presented: Presented, sent_by_caller: bool) -> Self {
        let looked = Instant::now();
        Self { body, presented, looked, looking: None, held: None, sent_by_caller, ended: false }
    }

    /// The end of it: an error where the caller sends, a status where it is sent something.
    fn end(&mut self) -> Option<Result<Frame<Bytes>, Status>> {
        self.ended = true;
        let status = errors::unauthenticated();
        if self.sent_by_caller {
            return Some(Err(status));
        }
        let mut trailers = HeaderMap::new();
        match status.add_header(&mut trailers) {
            Ok(()) => Some(Ok(Frame::trailers(trailers))),
            Err(status) => Some(Err(status)),
        }
    }
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if self.ended {
            return Poll::Ready(None);
        }
        if self.held.is_none() {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) if frame.is_data() => frame,
                other => return Poll::Ready(other),
            };
            if self.looked.elapsed() < LOOK_AGAIN {
                return Poll::Ready(Some(Ok(frame)));
            }
            self.held = Some(frame);
            let presented = self.presented.clone();
            self.looking = Some(Box::pin(async move { presented.caller().await.is_some() }));
        }
        if let Some(looking) = self.looking.as_mut() {
            let known = ready!(looking.as_mut().poll(context));
            self.looking = None;
            self.looked = Instant::now();
            if !known {
                return Poll::Ready(self.end());
            }
        }
        Poll::Ready(self.held.take().map(Ok))
    }
}

/// Never shown by whatever shows headers, nor put into a compression table (RFC 7541, section 7.1.3).
fn hidden(value: &HeaderValue) -> HeaderValue {
    let mut value = value.clone();
    value.set_sensitive(true);
    value
}

/// How long a stream may go on before its caller is asked again who it is.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
