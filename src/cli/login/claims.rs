//! What an ID token says (OpenID Connect Core 1.0, section 2).
//!
//! Its signature is not verified here: it comes from the token endpoint over TLS, which section 3.1.3.7
//! takes for proof enough, and the server verifies whatever is sent to it. Never believes a token that
//! came any other way.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::Deserialize;

use super::issuer::wrong;
use crate::cli::failure::Failure;

/// The claims that matter here.
#[derive(Deserialize)]
pub(super) struct Claims {
    iss: String,
    pub(super) sub: String,
    aud: Audience,
    pub(super) exp: i64,
    nonce: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Audience {
    One(String),
    Several(Vec<String>),
}

// === impl Claims ===

impl Claims {
    /// Of a token that this issuer gave this client, for this login.
    pub(super) fn of(
        token: &str,
        issuer: &str,
        client_id: &str,
        nonce: Option<&str>,
    ) -> Result<Self, Failure> {
        let bad = |why: &str| wrong(issuer, &format!("its ID token {why}"));
        let read = || {
            let (_, rest) = token.split_once('.')?;
            let (payload, _) = rest.split_once('.')?;
            serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).ok()?).ok()
        };
        let claims: Self = read().ok_or_else(|| bad("is none"))?;
        let audience = match &claims.aud {
            Audience::One(one) => one == client_id,
            Audience::Several(several) => several.iter().any(|one| one == client_id),
        };
        if claims.iss != issuer {
            return Err(bad("is another issuer's"));
        }
        if !audience {
            return Err(bad("is for another client"));
        }
        // A refreshed one need not repeat it.
        if nonce.is_some() && claims.nonce.as_deref() != nonce {
            return Err(bad("is of another login"));
        }
        Ok(claims)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn token(claims: &str) -> String {
        format!("e30.{}.c2ln", URL_SAFE_NO_PAD.encode(claims))
    }

    #[test]
    fn b09_an_id_token_of_another_issuer_client_or_login_is_refused() {
        let good = r#"{"iss":"https://i","sub":"alice","aud":["x","cli"],"exp":9,"nonce":"n"}"#;
        let claims = Claims::of(&token(good), "https://i", "cli", Some("n")).unwrap();
        assert_eq!((claims.sub.as_str(), claims.exp), ("alice", 9));
        for (from, to, why) in [
            ("https://i", "https://i/", "another issuer's"),
            ("\"cli\"", "\"cli2\"", "another client"),
            ("\"nonce\":\"n\"", "\"nonce\":\"m\"", "another login"),
            (",\"nonce\":\"n\"", "", "another login"),
            ("\"sub\":\"alice\",", "", "is none"),
            ("[\"x\",\"cli\"]", "{}", "is none"),
        ] {
            let bad = token(&good.replace(from, to));
            let said = Claims::of(&bad, "https://i", "cli", Some("n")).map(|_| ()).unwrap_err();
            assert!(said.to_string().contains(why), "{said}");
        }
        for bad in ["", "a.b", "a.%.c", "a..c"] {
            assert!(Claims::of(bad, "https://i", "cli", None).is_err(), "{bad}");
        }
    }
}
