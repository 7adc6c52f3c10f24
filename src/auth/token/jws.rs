//! One signed token, taken apart (RFC 7515, section 7.1). Nothing in it is believed yet.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Map, Value};

use super::{Algorithm, Claims, TokenError, object};

/// The longest token that is looked at.
pub const TOKEN_BYTES_MAX: usize = 8 * 1_024;

/// A token whose signature has not been verified.
pub struct Jws<'a> {
    algorithm: Algorithm,
    key_id: String,
    token_type: Option<String>,
    signed: &'a str,
    signature: Vec<u8>,
    claims: Claims,
}

// === impl Jws ===

impl<'a> Jws<'a> {
    /// Takes a token apart.
    ///
    /// # Errors
    /// It is too long, not of three parts, or its header is not one that this server understands whole.
    pub fn parse(token: &'a str) -> Result<Self, TokenError> {
        if token.len() > TOKEN_BYTES_MAX {
            return Err(TokenError::TooLong);
        }
        let (signed, signature) = token.rsplit_once('.').ok_or(TokenError::Malformed)?;
        let (header, claims) = signed.split_once('.').ok_or(TokenError::Malformed)?;
        // A fourth dot is a fifth part: an encrypted token.
        if claims.contains('.') {
            return Err(TokenError::UnsupportedHeader);
        }
        let header = part(header)?;
        if header.keys().any(|name| REFUSED_HEADERS.contains(&name.as_str())) {
            return Err(TokenError::UnsupportedHeader);
        }
        let algorithm = match header.get("alg") {
            Some(Value::String(name)) => Algorithm::parse(name).ok_or(TokenError::Algorithm)?,
            _ => return Err(TokenError::Algorithm),
        };
        let key_id = match header.get("kid") {
            Some(Value::String(id)) if (1..=KEY_ID_BYTES_MAX).contains(&id.len()) => id.clone(),
            _ => return Err(TokenError::UnknownKey),
        };
        let token_type = match header.get("typ") {
            None => None,
            Some(Value::String(token_type)) => Some(token_type.clone()),
            Some(_) => return Err(TokenError::Type),
        };
        let signature = decoded(signature)?;
        let claims = Claims::new(part(claims)?);
        Ok(Self { algorithm, key_id, token_type, signed, signature, claims })
    }

    /// How it says that it is signed.
    pub fn algorithm(&self) -> Algorithm {
        self.algorithm
    }

    /// Which key it says that it is signed with: a name to look for, never a place to look in.
    pub fn key_id(&self) -> &str {
        &self.key_id
    }

    /// Who it says has issued it.
    ///
    /// # Errors
    /// It does not say so with one string.
    pub fn issuer(&self) -> Result<&str, TokenError> {
        self.claims.text("iss")
    }

    /// Its `typ`, without `application/` and in lower case (RFC 7515, section 4.1.9).
    pub(in crate::auth) fn token_type(&self) -> Option<String> {
        let token_type = self.token_type.as_deref()?.to_ascii_lowercase();
        Some(token_type.strip_prefix("application/").map(str::to_owned).unwrap_or(token_type))
    }

    pub(in crate::auth) fn claims(&self) -> &Claims {
        &self.claims
    }

    pub(super) fn signed(&self) -> &[u8] {
        self.signed.as_bytes()
    }

    pub(super) fn signature(&self) -> &[u8] {
        &self.signature
    }
}

fn part(text: &str) -> Result<Map<String, Value>, TokenError> {
    object(&decoded(text)?).ok_or(TokenError::Malformed)
}

fn decoded(text: &str) -> Result<Vec<u8>, TokenError> {
    URL_SAFE_NO_PAD.decode(text).map_err(|_| TokenError::Malformed)
}

/// What would change what is signed or how it is read: extensions that must be understood (`crit`,
/// RFC 7515, section 4.1.11), an unencoded payload (`b64`, RFC 7797), nested tokens (`cty`), encryption
/// and compression (RFC 7516). A header that points to a key (`jku`, `jwk`, `x5u`, `x5c`) is not looked
/// at: keys come from the configuration alone.
const REFUSED_HEADERS: [&str; 5] = ["crit", "b64", "cty", "enc", "zip"];

const KEY_ID_BYTES_MAX: usize = 256;
