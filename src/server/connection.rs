//! One connection after its handshake: HTTP/2 over TLS, up to its end.
//!
//! It ends when the client goes, when no request comes, when it grows old, when the server drains, or
//! when its requests are cancelled faster than they are let end (the rapid-reset attack,
//! CVE-2023-44487). Never looks into a request: it adds who the peer is and hands the request on.

use std::convert::Infallible;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::Notify;
use tokio::time::{Instant, sleep};
use tower_service::Service;

use super::drain::Drain;
use super::gate::{Ticket, count};
use super::limits::ListenLimits;
use crate::auth::Peer;

/// A response's body, which counts as in flight until it has been sent.
pub struct Tracked<B> {
    body: B,
    request: InFlight,
}

/// What is going on on a connection.
struct Activity {
    started: AtomicU64,
    in_flight: AtomicU32,
    /// How many more requests may be cancelled.
    patience: AtomicU32,
    patience_max: u32,
    impatient: Notify,
}

/// A request from its head to the end of its response.
struct InFlight {
    activity: Arc<Activity>,
    ended: bool,
}

/// The service, told who is calling.
struct Attended<S> {
    service: S,
    peer: Arc<Peer>,
    activity: Arc<Activity>,
}

/// A call that has not been answered yet.
struct Call<F> {
    call: F,
    request: Option<InFlight>,
}

/// Where a connection is in its life.
#[derive(Clone, Copy)]
enum Phase {
    /// No request has come yet.
    Opening,
    /// This many had come when last looked at.
    Serving(u64),
    /// The client was told to go elsewhere.
    Closing,
}

/// Serves HTTP/2 on `stream` until the connection ends. The service's `poll_ready` is not asked: it
/// must always be ready, as tonic's generated services are.
pub(super) async fn serve<T, S>(
    stream: T,
    peer: Arc<Peer>,
    ticket: Ticket,
    service: S,
    drain: Drain,
) where
    T: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Clone
        + Send
        + 'static,
    S::Future: Send + Unpin + 'static,
{
    let limits = *ticket.gate().limits();
    let activity = Arc::new(Activity::new(limits.cancelled_max));
    let attended = Attended { service, peer, activity: Arc::clone(&activity) };
    let mut connection = pin!(builder(&limits).serve_connection(TokioIo::new(stream), attended));
    let mut requested = pin!(drain.requested());
    let mut look = pin!(sleep(Duration::from_millis(limits.first_request_ms_max)));
    let old = Instant::now().checked_add(limits.age(ticket.id()));
    let mut phase = Phase::Opening;
    loop {
        let close = tokio::select! {
            biased;
            // A connection that fails is the client's affair: it knows.
            _ = connection.as_mut() => return,
            () = activity.impatient.notified() => {
                count(&ticket.gate().counters.cancelling);
                return;
            }
            () = requested.as_mut(), if !matches!(phase, Phase::Closing) => true,
            () = look.as_mut() => match (phase, activity.started.load(Ordering::Relaxed)) {
                (Phase::Closing, _) => return,
                (Phase::Opening, 0) => {
                    count(&ticket.gate().counters.silent);
                    return;
                }
                (Phase::Opening, started) => {
                    phase = Phase::Serving(started);
                    is_past(old)
                }
                (Phase::Serving(before), started) => {
                    phase = Phase::Serving(started);
                    is_past(old) || (started == before && activity.is_idle())
                }
            },
        };
        let wait_ms = if close {
            phase = Phase::Closing;
            connection.as_mut().graceful_shutdown();
            // Without a request in flight only the client's farewell is waited for.
            let farewell_ms = limits.keep_alive_ms_max.min(limits.drain_ms_max);
            if activity.is_idle() { farewell_ms } else { limits.drain_ms_max }
        } else {
            limits.idle_ms_max
        };
        let next = Instant::now().checked_add(Duration::from_millis(wait_ms));
        let next = match (next, old) {
            (Some(next), Some(old)) if !close => next.min(old),
            (next, _) => next.unwrap_or_else(Instant::now),
        };
        look.as_mut().reset(next);
    }
}

fn builder(limits: &ListenLimits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .keep_alive_interval(Duration::from_millis(limits.keep_alive_interval_ms))
        .keep_alive_timeout(Duration::from_millis(limits.keep_alive_ms_max))
        .max_header_list_size(limits.header_list_bytes_max)
        .max_concurrent_streams(limits.streams_max)
        .initial_stream_window_size(limits.stream_window_bytes)
        .initial_connection_window_size(limits.connection_window_bytes)
        .max_send_buf_size(limits.send_buffer_bytes_max)
        .max_pending_accept_reset_streams(limits.unaccepted_resets_max)
        .max_local_error_reset_streams(limits.local_resets_max)
        .auto_date_header(false);
    builder
}

fn is_past(time: Option<Instant>) -> bool {
    time.is_some_and(|time| Instant::now() >= time)
}

// === impl Activity ===

impl Activity {
    fn new(patience_max: u32) -> Self {
        Self {
            started: AtomicU64::new(0),
            in_flight: AtomicU32::new(0),
            patience: AtomicU32::new(patience_max),
            patience_max,
            impatient: Notify::new(),
        }
    }

    fn is_idle(&self) -> bool {
        self.in_flight.load(Ordering::Relaxed) == 0
    }

    fn start(self: &Arc<Self>) -> InFlight {
        self.started.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        InFlight { activity: Arc::clone(self), ended: false }
    }
}

// === impl InFlight ===

impl Drop for InFlight {
    fn drop(&mut self) {
        let activity = &self.activity;
        activity.in_flight.fetch_sub(1, Ordering::Relaxed);
        let patience = activity.patience.load(Ordering::Relaxed);
        // Only this connection's runtime writes here, one request at a time.
        if self.ended {
            if patience < activity.patience_max {
                activity.patience.store(patience.saturating_add(1), Ordering::Relaxed);
            }
        } else if patience == 0 {
            activity.impatient.notify_one();
        } else {
            activity.patience.store(patience.saturating_sub(1), Ordering::Relaxed);
        }
    }
}

// === impl Attended ===

impl<S> hyper::service::Service<Request<Incoming>> for Attended<S>
where
    S: Service<Request<Incoming>, Response = Response<tonic::body::Body>, Error = Infallible>
        + Clone,
    S::Future: Unpin,
{
    type Response = Response<Tracked<tonic::body::Body>>;
    type Error = Infallible;
    type Future = Call<S::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        request.extensions_mut().insert(Arc::clone(&self.peer));
        let in_flight = self.activity.start();
        Call { call: self.service.clone().call(request), request: Some(in_flight) }
    }
}

// === impl Call ===

impl<F, B> Future for Call<F>
where
    F: Future<Output = Result<Response<B>, Infallible>> + Unpin,
    B: Body,
{
    type Output = Result<Response<Tracked<B>>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let response = ready!(Pin::new(&mut self.call).poll(context))?;
        let Some(mut request) = self.request.take() else { return Poll::Pending };
        Poll::Ready(Ok(response.map(|body| {
            request.ended = body.is_end_stream();
            Tracked { body, request }
        })))
    }
}

// === impl Tracked ===

impl<B> Body for Tracked<B>
where
    B: Body<Data = Bytes> + Unpin,
{
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        // After trailers nobody asks again.
        self.request.ended |= match &frame {
            None => true,
            Some(Ok(frame)) => frame.is_trailers() || self.body.is_end_stream(),
            Some(Err(_)) => false,
        };
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
