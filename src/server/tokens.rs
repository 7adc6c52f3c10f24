//! This installation as an issuer of tokens: what `service` asks for, signed by `auth`.

use std::sync::Arc;

use uuid::Uuid;

use crate::auth::{OwnIssuer, OwnKey, OwnToken, OwnTokenError};
use crate::config::TokenAlgorithm;
use crate::custody::Custody;
use crate::keys::Timestamp;
use crate::service::{NewToken, TokenSigner};

use super::error::ServerError;

/// Signs for `service`.
pub(super) struct Tokens(Arc<OwnIssuer>);

/// The issuer of the installation behind `custody`: the same after each start. It has a key for each
/// algorithm and shows both, so that another can be configured without a token that stops counting.
pub(super) fn own_issuer(
    custody: &Custody,
    algorithm: TokenAlgorithm,
) -> Result<Arc<OwnIssuer>, ServerError> {
    let name = format!("bulla:{}", Uuid::from_bytes(custody.installation_id()));
    let seed = custody.token_seed();
    let mut issuer = Err(OwnTokenError::Key);
    for draw in 0..P256_DRAWS_MAX {
        let secret = custody.token_secret_p256(draw);
        let (ed25519, p256) = (OwnKey::Ed25519(&seed), OwnKey::P256(&secret));
        issuer = match algorithm {
            TokenAlgorithm::EdDSA => OwnIssuer::new(&name, ed25519, &[p256]),
            TokenAlgorithm::ES256 => OwnIssuer::new(&name, p256, &[ed25519]),
        };
        if issuer.is_ok() {
            break;
        }
    }
    Ok(Arc::new(issuer.map_err(|error| ServerError::Tokens(error.to_string()))?))
}

/// One in 2³² is no key's.
const P256_DRAWS_MAX: u8 = 4;

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
