//! `GET /metrics`: the one thing here that is not gRPC. Allowed, limited and recorded like any call;
//! only its answer is a page, and its refusal an HTTP status that a scraper understands.

use http::header::CONTENT_TYPE;
use http::{HeaderValue, Request, Response, StatusCode};
use tonic::body::Body;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

use super::Api;
use crate::metrics;
use crate::service::ReadMetrics;

// === impl Api ===

impl Api {
    pub(super) async fn metrics(&self, request: Request<Body>) -> Response<Body> {
        let connections = (self.connections)();
        let (head, _) = request.into_parts();
        let request = tonic::Request::from_parts(MetadataMap::new(), head.extensions, ());
        let asked = |()| Ok(ReadMetrics { connections });
        let answered =
            self.perform(request, asked, |counted| counted.metrics.page(counted.readings));
        match answered.await.map(tonic::Response::into_inner) {
            Ok(Ok(page)) => {
                let mut response = Response::new(Body::new(page));
                let kind = HeaderValue::from_static(metrics::CONTENT_TYPE);
                response.headers_mut().insert(CONTENT_TYPE, kind);
                response
            }
            Ok(Err(_)) => Status::internal("internal error").into_http(),
            Err(status) => status.into_http(),
        }
    }
}

impl Api {
    /// The public keys with which others verify this installation's own tokens (RFC 7517).
    pub(super) fn key_set(&self) -> Response<Body> {
        let tokens = self.desk.office().tokens.as_ref();
        let keys = tokens.map_or(r#"{"keys":[]}"#, |tokens| tokens.key_set());
        let mut response = Response::new(Body::new(keys.to_owned()));
        let kind = HeaderValue::from_static("application/jwk-set+json");
        response.headers_mut().insert(CONTENT_TYPE, kind);
        response
    }
}

/// The answer with the HTTP status that says what its gRPC status says.
pub(super) fn with_http_status(mut response: Response<Body>) -> Response<Body> {
    if let Some(status) = Status::from_header_map(response.headers()) {
        *response.status_mut() = match status.code() {
            Code::Ok => StatusCode::OK,
            Code::Unauthenticated => StatusCode::UNAUTHORIZED,
            Code::PermissionDenied => StatusCode::FORBIDDEN,
            Code::InvalidArgument => StatusCode::BAD_REQUEST,
            Code::ResourceExhausted => StatusCode::PAYLOAD_TOO_LARGE,
            Code::DeadlineExceeded | Code::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        };
    }
    response
}
