//! An anchor that is a witness (C2SP `tlog-witness`): it gets each checkpoint with the proof that it goes
//! on from the last one that it signed, and answers with its own signature, which is kept with the
//! checkpoint. Believes no signature that does not verify with the configured key.

use std::sync::Arc;

use base64::prelude::{BASE64_STANDARD, Engine};
use http::StatusCode;

use super::Take;
use crate::audit::{SignedCheckpoint, WitnessKey};
use crate::sinks::error::PlaceError;
use crate::sinks::http::Http;
use crate::trail::Notarized;

/// The witness.
pub(in crate::sinks) struct WitnessAnchor {
    http: Http,
    key: WitnessKey,
    notarized: Arc<Notarized>,
    /// How large the log is that it last signed, as far as is known.
    seen: u64,
}

// === impl WitnessAnchor ===

impl WitnessAnchor {
    pub(in crate::sinks) fn new(http: Http, key: WitnessKey, notarized: Arc<Notarized>) -> Self {
        Self { http, key, notarized, seen: 0 }
    }

    /// `old SIZE`, the proof a line each, an empty line and the checkpoint.
    fn request(&self, signed: &SignedCheckpoint) -> Result<Vec<u8>, PlaceError> {
        let (old, size) = (self.seen, signed.checkpoint().size);
        let proof = match old > 0 && old < size {
            true => self.notarized.prove_consistency(old, Some(size))?.1,
            false => Vec::new(),
        };
        let mut body = format!("old {old}\n");
        for hash in proof {
            body.push_str(&BASE64_STANDARD.encode(hash));
            body.push('\n');
        }
        body.push('\n');
        let mut body = body.into_bytes();
        body.extend_from_slice(signed.as_bytes());
        Ok(body)
    }
}

impl Take for WitnessAnchor {
    async fn take(&mut self, signed: &SignedCheckpoint) -> Result<(), PlaceError> {
        let size = signed.checkpoint().size;
        for _ in 0..ATTEMPTS {
            let request = self.request(signed)?;
            let answer = self.http.post("application/octet-stream", request).await?;
            match answer.status {
                StatusCode::OK => {
                    let lines =
                        std::str::from_utf8(&answer.body).map_err(|_| PlaceError::Answer)?;
                    self.notarized.cosign(signed, lines, &self.key)?;
                    self.seen = size;
                    return Ok(());
                }
                // It has another size, and says which.
                StatusCode::CONFLICT => {
                    let text = std::str::from_utf8(&answer.body).map_err(|_| PlaceError::Answer)?;
                    let seen = text.strip_suffix('\n').unwrap_or(text).parse();
                    let seen = seen.map_err(|_| PlaceError::Answer)?;
                    if seen > size {
                        return Err(PlaceError::SeenMore(seen));
                    }
                    self.seen = seen;
                }
                other => return Err(PlaceError::Status(other)),
            }
        }
        Err(PlaceError::Answer)
    }

    fn give_up(&mut self) {
        self.http.give_up();
    }
}

/// The second begins where the witness says that it stands.
const ATTEMPTS: usize = 3;
