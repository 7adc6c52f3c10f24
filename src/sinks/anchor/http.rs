//! An anchor that is a server: each checkpoint in a POST, taken when it answers with 2xx.

use super::Take;
use crate::audit::SignedCheckpoint;
use crate::sinks::error::PlaceError;
use crate::sinks::http::Http;

/// The server.
pub(in crate::sinks) struct HttpAnchor(pub(in crate::sinks) Http);

// === impl HttpAnchor ===

impl Take for HttpAnchor {
    async fn take(&mut self, signed: &SignedCheckpoint) -> Result<(), PlaceError> {
        let answer = self.0.post("text/plain; charset=utf-8", signed.as_bytes().to_vec()).await?;
        match answer.status.is_success() {
            true => Ok(()),
            false => Err(PlaceError::Status(answer.status)),
        }
    }

    fn give_up(&mut self) {
        self.0.give_up();
    }
}
