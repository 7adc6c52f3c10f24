//! What `make bench` compares with: the same way in and out, and nothing done between. Only a build
//! with the feature `bench-echo` serves it.

use std::convert::Infallible;

use http::{Request, Response};
use tonic::body::Body;

#[cfg(feature = "bench-echo")]
pub(super) async fn call(request: Request<Body>) -> Result<Response<Body>, Infallible> {
    use tower_service::Service;

    bulla_proto::kms::bench_server::BenchServer::new(Echo).call(request).await
}

#[cfg(not(feature = "bench-echo"))]
pub(super) async fn call(_: Request<Body>) -> Result<Response<Body>, Infallible> {
    Ok(super::errors::unknown_method().into_http())
}

#[cfg(feature = "bench-echo")]
struct Echo;

#[cfg(feature = "bench-echo")]
#[tonic::async_trait]
impl bulla_proto::kms::bench_server::Bench for Echo {
    async fn echo(
        &self,
        request: tonic::Request<bulla_proto::kms::EchoRequest>,
    ) -> Result<tonic::Response<bulla_proto::kms::EchoResponse>, tonic::Status> {
        let payload = request.into_inner().payload;
        Ok(tonic::Response::new(bulla_proto::kms::EchoResponse { payload }))
    }
}
