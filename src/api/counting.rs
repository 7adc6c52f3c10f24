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
