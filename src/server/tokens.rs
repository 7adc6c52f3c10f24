//! This installation as an issuer of tokens: what `service` asks for, signed by `auth`.

use std::sync::Arc;

use uuid::Uuid;

use crate::auth::{OwnIssuer, OwnToken};
use crate::custody::Custody;
use crate::keys::Timestamp;
use crate::service::{NewToken, TokenSigner};

use super::error::ServerError;

/// Signs for `service`.
pub(super) struct Tokens(Arc<OwnIssuer>);

/// The issuer of the installation behind `custody`: the same after each start.
pub(super) fn own_issuer(custody: &Custody) -> Result<Arc<OwnIssuer>, ServerError> {
    let name = format!("bulla:{}", Uuid::from_bytes(custody.installation_id()));
    let issuer = OwnIssuer::new(&name, &custody.token_seed(), &[]);
    Ok(Arc::new(issuer.map_err(|error| ServerError::Tokens(error.to_string()))?))
}

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(issuer: Arc<OwnIssuer>) -> Self {
        Self(issuer)
    }
}

impl TokenSigner for Tokens {
    fn issue(&self, token: NewToken, id: &[u8; 16], now: Timestamp) -> Result<String, String> {
        let own = OwnToken {
            audience: token.audience,
            subject: token.subject,
            earlier_actors: Vec::new(),
            lifetime_seconds: token.lifetime_seconds.into(),
            certificate: token.certificate,
        };
        let seconds = now.unix_ms().div_euclid(1_000);
        self.0.sign(&own, id, seconds).map_err(|error| error.to_string())
    }

    fn key_set(&self) -> &str {
        self.0.key_set()
    }
}
