//! `RotateDue`: rotates many keys in one call, each recorded by itself.

use bulla_proto::kms;
use tonic::{Request, Response, Status};

use super::{Api, render, status, taken};

// === impl Api ===

impl Api {
    pub(super) async fn rotate_what_is_due(
        &self,
        request: Request<kms::RotateDueRequest>,
    ) -> Result<Response<kms::RotateDueResponse>, Status> {
        let caller = taken(&request)?;
        let done = self.desk.rotate_due(&caller).await.map_err(|refusal| status(&refusal))?;
        Ok(Response::new(kms::RotateDueResponse {
            keys: done.rotated.iter().map(render::key).collect(),
            deferred: done.deferred,
            deferred_at_least: done.deferred_at_least,
            more: done.more,
            failed: done.failed.iter().map(ToString::to_string).collect(),
        }))
    }
}
