//! Counts each request once, by its row and by the reason of its answer, also when its caller does not
//! wait for one.

use http::Response;
use tonic::body::Body;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use super::front::is_ok;
use crate::metrics::{CANCELLED, Metrics, OTHER};

/// A request that is under way.
pub(super) struct Counting<'m> {
    metrics: &'m Metrics,
    place: usize,
    is_counted: bool,
}

// === impl Counting ===

impl<'m> Counting<'m> {
    pub(super) fn begin(metrics: &'m Metrics, place: usize) -> Self {
        Self { metrics, place, is_counted: false }
    }

    /// There is an answer, or its beginning.
    pub(super) fn end(mut self, response: &Response<Body>) {
        self.is_counted = true;
        if is_ok(response) {
            self.metrics.succeeded(self.place);
        } else {
            self.metrics.not_done(self.place, &reason(response));
        }
    }
}

impl Drop for Counting<'_> {
    fn drop(&mut self) {
        if !self.is_counted {
            self.metrics.not_done(self.place, CANCELLED);
        }
    }
}

fn reason(response: &Response<Body>) -> String {
    let Some(status) = Status::from_header_map(response.headers()) else { return OTHER.to_owned() };
    match status.get_details_error_info() {
        Some(info) => info.reason,
        // Health's own answer for a service that is not here.
        None if status.code() == Code::NotFound => "NOT_FOUND".to_owned(),
        None => OTHER.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::sync::Arc;

    use super::*;
    use crate::api::errors;
    use crate::metrics::Readings;

    #[test]
    fn a_request_counts_once_by_its_reason_also_when_its_caller_went_away() {
        let metrics = Arc::new(Metrics::new(vec!["method"]));
        let answer = |response: Response<Body>| Counting::begin(&metrics, 0).end(&response);
        answer(Response::new(Body::empty()));
        answer(errors::unknown_method().into_http());
        answer(errors::too_large(5).into_http());
        answer(Status::not_found("no such service").into_http());
        answer(Status::internal("of the framework").into_http());
        drop(Counting::begin(&metrics, 0));
        let page = metrics.page(Readings::default()).unwrap();
        for reason in ["OK", "UNKNOWN_METHOD", "TOO_LARGE", "NOT_FOUND", OTHER, CANCELLED] {
            let line = format!("bulla_requests_total{{method=\"method\",reason=\"{reason}\"}} 1\n");
            assert!(page.contains(&line), "{reason}\n{page}");
        }
        assert_eq!(page.matches("bulla_requests_total{").count(), 6);
    }
}
