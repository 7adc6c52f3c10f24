//! The way in, before a message is even decoded: the method's row, its limits, its deadline.
//!
//! Whatever is refused here is recorded as well. A call that got as far as the desk runs to its end
//! whether or not its caller waits.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bulla_proto::health::health_server::HealthServer;
use bulla_proto::kms::access_server::AccessServer;
use bulla_proto::kms::approvals_server::ApprovalsServer;
use bulla_proto::kms::audit_server::AuditServer;
use bulla_proto::kms::crypto_server::CryptoServer;
use bulla_proto::kms::keys_server::KeysServer;
use bulla_proto::kms::operator_server::OperatorServer;
use bulla_proto::kms::rotation_server::RotationServer;
use bulla_proto::kms::tenants_server::TenantsServer;
use bytes::{Bytes, BytesMut};
use http::{HeaderValue, Request, Response};
use http_body::Body as HttpBody;
use http_body_util::{BodyExt, Full};
use tokio::sync::mpsc;
use tokio::time::timeout;
use tonic::body::Body;
use tonic::{Code, Status};
use tower_service::Service;

use super::counting::Counting;
use super::detached::Detached;
use super::health::Health;
use super::identity::Identity;
use super::methods::{self, Method, ServiceName, Shape};
use super::{Api, Recorded, errors, metrics};
use crate::service::{Caller, ReceiptSlot};

/// The whole API as one HTTP service. Cheap to clone; always ready.
#[derive(Clone)]
pub struct Front {
    api: Api,
    health: Health,
    identity: Identity,
    /// Held by every call that is under way.
    _under_way: mpsc::Sender<Infallible>,
}

/// Resolves when no call is under way any more and no [`Front`] is left that could begin one.
pub struct Ended(mpsc::Receiver<Infallible>);

/// What a request's body must be.
pub trait FrontBody:
    HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

impl<B> FrontBody for B where
    B: HttpBody<Data = Bytes, Error: Into<BoxError>> + Send + Unpin + 'static
{
}

type BoxError = Box<dyn std::error::Error + Send + Sync>;
type Answer = Result<Response<Body>, Infallible>;

// === impl Front ===

impl Front {
    /// The API, and health beside it. `identity` tells who calls.
    pub fn new(api: Api, identity: Identity) -> (Self, Ended) {
        let (under_way, ended) = mpsc::channel(1);
        let health = Health::new(api.serving.clone());
        (Self { api, health, identity, _under_way: under_way }, Ended(ended))
    }

    async fn answer<B: FrontBody>(self, request: Request<B>) -> Response<Body> {
        let found = methods::find(request.uri().path());
        let found = found.filter(|it| !is_page(it.method) || request.method() == http::Method::GET);
        let counters = &self.api.desk.office().metrics;
        let counting = Counting::begin(counters, found.map_or(methods::UNKNOWN, |it| it.place));
        let response = match found {
            Some(found) if found.method.service == ServiceName::KeySet => self.api.key_set(),
            _ => self.identified(found.map(|it| it.method), request).await,
        };
        counting.end(&response);
        match found {
            Some(found) if is_page(found.method) => metrics::with_http_status(response),
            _ => response,
        }
    }

    /// Finds out who calls before anything of the request is read.
    async fn identified<B: FrontBody>(
        &self,
        method: Option<&'static Method>,
        mut request: Request<B>,
    ) -> Response<Body> {
        let longest = method.map_or(UNKNOWN_METHOD_DEADLINE, |method| deadline(&request, method));
        let (caller, presented) = match self.identity.identify(&mut request, longest).await {
            Ok(identified) => identified,
            Err(refused) => return refused.into_http(),
        };
        match method {
            None => self.record(&caller, "unknown_method", errors::unknown_method()).await,
            Some(method) if method.shape != Shape::Stream && wants_receipt(&request) => {
                let slot = ReceiptSlot::default();
                let caller = caller.wanting_receipt(slot.clone());
                request.extensions_mut().insert(caller.clone());
                with_receipt(self.call_method(method, &caller, request).await, &slot)
            }
            Some(method) if method.shape == Shape::Stream => {
                let request = request.map(|body| presented.watch_request(Body::new(body)));
                let recorded = Recorded::default();
                let response = self.route(method, request, recorded.clone()).await;
                if recorded.is_set() || is_ok(&response) {
                    return presented.watch_response(response);
                }
                self.record(&caller, "malformed_request", errors::malformed()).await
            }
            #[cfg(feature = "bench-echo")]
            Some(method) if request.headers().contains_key("bulla-bench-unrecorded") => {
                let caller = caller.unrecorded();
                request.extensions_mut().insert(caller.clone());
                self.call_method(method, &caller, request).await
            }
            Some(method) => self.call_method(method, &caller, request).await,
        }
    }

    async fn call_method<B: FrontBody>(
        &self,
        method: &'static Method,
        caller: &Caller,
        request: Request<B>,
    ) -> Response<Body> {
        let deadline = deadline(&request, method);
        let (head, body) = request.into_parts();
        let request = match timeout(deadline, message(body, method.request_bytes_max)).await {
            Ok(Ok(message)) => Request::from_parts(head, message),
            Ok(Err(refused)) => return self.record(caller, "malformed_request", refused).await,
            Err(_) => {
                return self.record(caller, "late_request", errors::deadline_exceeded()).await;
            }
        };
        let recorded = Recorded::default();
        let front = self.clone();
        let call = {
            let recorded = recorded.clone();
            Detached::new(async move {
                let request = request.map(|message| Body::new(Full::new(message)));
                front.route(method, request, recorded).await
            })
        };
        match timeout(deadline, call).await {
            Err(_) => errors::deadline_exceeded().into_http(),
            Ok(response) if recorded.is_set() || is_ok(&response) => response,
            // It never reached the desk: the message did not decode.
            Ok(_) => self.record(caller, "malformed_request", errors::malformed()).await,
        }
    }

    async fn route(
        &self,
        method: &Method,
        mut request: Request<Body>,
        recorded: Recorded,
    ) -> Response<Body> {
        request.extensions_mut().insert(recorded);
        let api = self.api.clone();
        let limit = method.request_bytes_max;
        let answered = match method.service {
            ServiceName::Crypto => {
                CryptoServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Keys => {
                KeysServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Rotation => {
                RotationServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Access => {
                AccessServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Approvals => {
                ApprovalsServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Tenants => {
                TenantsServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Audit => {
                AuditServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Operator => {
                OperatorServer::new(api).max_decoding_message_size(limit).call(request).await
            }
            ServiceName::Health => {
                HealthServer::new(self.health.clone())
                    .max_decoding_message_size(limit)
                    .call(request)
                    .await
            }
            ServiceName::Metrics => Ok(api.metrics(request).await),
            ServiceName::KeySet => Ok(api.key_set()),
            ServiceName::Bench => super::echo::call(request).await,
        };
        let Ok(response) = answered;
        response
    }

    /// Records a refusal, and only then gives it.
    async fn record(
        &self,
        caller: &Caller,
        action: &'static str,
        refused: Status,
    ) -> Response<Body> {
        let reason = match refused.code() {
            Code::ResourceExhausted => "TOO_LARGE",
            Code::Unimplemented => "UNKNOWN_METHOD",
            Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
            _ => "INVALID_ARGUMENT",
        };
        match self.api.desk.refuse(caller, action, reason).await {
            Ok(()) => refused.into_http(),
            Err(unrecorded) => errors::status(&unrecorded).into_http(),
        }
    }
}

// === impl Ended ===

impl Ended {
    /// Waits for it.
    pub async fn wait(mut self) {
        let None = self.0.recv().await;
    }
}

impl<B: FrontBody> Service<Request<B>> for Front {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Answer> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let front = self.clone();
        Box::pin(async move { Ok(front.answer(request).await) })
    }
}

/// The whole of one gRPC message with its prefix. Its length is looked at before room is made.
async fn message<B: FrontBody>(mut body: B, bytes_max: usize) -> Result<Bytes, Status> {
    let mut gathered = BytesMut::new();
    let mut first = None;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| errors::malformed())?;
        let Ok(data) = frame.into_data() else { continue };
        let so_far = gathered.len().saturating_add(first.as_ref().map_or(0, Bytes::len));
        if so_far.saturating_add(data.len()) > bytes_max.saturating_add(PREFIX_BYTES) {
            return Err(errors::too_large(bytes_max));
        }
        // Nearly always one frame holds it all, and nothing is copied.
        match first.take() {
            None if gathered.is_empty() => first = Some(data),
            None => gathered.extend_from_slice(&data),
            Some(earlier) => {
                gathered.extend_from_slice(&earlier);
                gathered.extend_from_slice(&data);
            }
        }
        let known = first.as_ref().map_or(&gathered[..], |data| &data[..]);
        if let Some([_, a, b, c, d]) = known.first_chunk::<PREFIX_BYTES>() {
            let claimed = u32::from_be_bytes([*a, *b, *c, *d]);
            if usize::try_from(claimed).unwrap_or(usize::MAX) > bytes_max {
                return Err(errors::too_large(bytes_max));
            }
        }
    }
    Ok(first.unwrap_or_else(|| gathered.freeze()))
}

fn wants_receipt<B>(request: &Request<B>) -> bool {
    request.headers().get(RECEIPT).is_some_and(|value| value == "1")
}

/// The response, an error too, with the receipt of its record.
fn with_receipt(mut response: Response<Body>, slot: &ReceiptSlot) -> Response<Body> {
    let text = slot.receipt().map(|receipt| receipt.to_string());
    if let Some(Ok(value)) = text.map(HeaderValue::try_from) {
        response.headers_mut().insert(RECEIPT, value);
    }
    response
}

fn is_page(method: &Method) -> bool {
    matches!(method.service, ServiceName::Metrics | ServiceName::KeySet)
}

pub(super) fn is_ok(response: &Response<Body>) -> bool {
    // An error without a message has its status in the headers.
    response.headers().get("grpc-status").is_none_or(|status| status == "0")
}

/// The caller's deadline (`grpc-timeout`), or the method's where that is sooner.
fn deadline<B>(request: &Request<B>, method: &Method) -> Duration {
    let longest = Duration::from_millis(method.deadline_ms_max);
    let asked = request
        .headers()
        .get("grpc-timeout")
        .and_then(|value| value.to_str().ok())
        .and_then(grpc_timeout);
    asked.map_or(longest, |asked| asked.min(longest))
}

/// At most eight digits and a unit, as the gRPC protocol over HTTP/2 writes it.
fn grpc_timeout(text: &str) -> Option<Duration> {
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let amount: u64 = digits.parse().ok()?;
    match unit {
        "H" => Some(Duration::from_secs(amount.checked_mul(3_600)?)),
        "M" => Some(Duration::from_secs(amount.checked_mul(60)?)),
        "S" => Some(Duration::from_secs(amount)),
        "m" => Some(Duration::from_millis(amount)),
        "u" => Some(Duration::from_micros(amount)),
        "n" => Some(Duration::from_nanos(amount)),
        _ => None,
    }
}

/// Asks for a receipt in a request, and has it in the response.
const RECEIPT: &str = "bulla-receipt";
/// To find out who calls something that is not there.
const UNKNOWN_METHOD_DEADLINE: Duration = Duration::from_secs(5);
const PREFIX_BYTES: usize = 5;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_grpc_timeout_is_digits_and_a_unit() {
        assert_eq!(grpc_timeout("5S"), Some(Duration::from_secs(5)));
        assert_eq!(grpc_timeout("99999999m"), Some(Duration::from_millis(99_999_999)));
        for bad in ["", "S", "5", "5s", "-5S", "123456789S", "5\u{e9}"] {
            assert_eq!(grpc_timeout(bad), None, "{bad:?}");
        }
    }

    #[tokio::test]
    async fn a_message_that_claims_too_much_is_refused_before_it_is_read() {
        let claims = |length: u32, sent: usize| {
            let mut bytes = vec![0];
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.resize(5 + sent, 0);
            Full::new(Bytes::from(bytes))
        };
        assert_eq!(message(claims(10, 10), 10).await.unwrap().len(), 15);
        for (length, sent) in [(11, 0), (u32::MAX, 0), (10, 11)] {
            let refused = message(claims(length, sent), 10).await.unwrap_err();
            assert_eq!(refused.code(), Code::ResourceExhausted);
        }
    }
}
