//! An issuer of tokens: what its discovery document says (OpenID Connect Discovery 1.0), and the OAuth
//! client that this makes.
//!
//! Believes a document only if it names exactly the issuer that was asked for, and no address in it
//! that is not https.

use std::fmt::Display;

use http::{Request, StatusCode, header};
use oauth2::basic::{
    BasicErrorResponse, BasicRevocationErrorResponse, BasicTokenIntrospectionResponse,
    BasicTokenType,
};
use oauth2::url::Url;
use oauth2::{
    AsyncHttpClient, AuthUrl, ClientId, DeviceAuthorizationUrl, EndpointMaybeSet, EndpointNotSet,
    EndpointSet, ErrorResponse, ExtraTokenFields, RequestTokenError, RevocationUrl,
    StandardRevocableToken, StandardTokenResponse, TokenUrl,
};
use serde::{Deserialize, Serialize};

use crate::cli::failure::{Exit, Failure};

/// What an issuer says of itself.
#[derive(Debug, Deserialize)]
pub(super) struct Issuer {
    pub(super) issuer: String,
    authorization_endpoint: Option<String>,
    token_endpoint: String,
    device_authorization_endpoint: Option<String>,
    revocation_endpoint: Option<String>,
    #[serde(default)]
    code_challenge_methods_supported: Vec<String>,
    /// Whether it says in an answer who it is (RFC 9207).
    #[serde(default)]
    pub(super) authorization_response_iss_parameter_supported: bool,
}

/// The OAuth client of one issuer.
pub(super) type OAuth = oauth2::Client<
    BasicErrorResponse,
    Granted,
    BasicTokenIntrospectionResponse,
    StandardRevocableToken,
    BasicRevocationErrorResponse,
    EndpointMaybeSet,
    EndpointMaybeSet,
    EndpointNotSet,
    EndpointMaybeSet,
    EndpointSet,
>;

/// What an issuer grants.
pub(super) type Granted = StandardTokenResponse<IdToken, BasicTokenType>;

/// What OpenID Connect adds to a grant. Not `Debug` in anything but name.
#[derive(Clone, Deserialize, Serialize)]
pub(super) struct IdToken {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) id_token: Option<String>,
}

// === impl IdToken ===

impl ExtraTokenFields for IdToken {}

impl std::fmt::Debug for IdToken {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.debug_struct("IdToken").finish_non_exhaustive()
    }
}

// === impl Issuer ===

impl Issuer {
    /// Asks the issuer of this name what it is.
    pub(super) async fn discover<H>(http: &H, issuer: &str) -> Result<Self, Failure>
    where
        H: for<'c> AsyncHttpClient<'c>,
    {
        must_be_an_address(issuer)?;
        let address = format!("{}/.well-known/openid-configuration", issuer.trim_end_matches('/'));
        let request = Request::get(&address).header(header::ACCEPT, "application/json");
        let request = request.body(Vec::new()).map_err(|_| wrong(issuer, &"it is no address"))?;
        let answer = http.call(request).await.map_err(|error| unreachable(issuer, &error))?;
        if answer.status() != StatusCode::OK {
            let what = format!("the issuer {issuer} answered {}", answer.status().as_u16());
            return Err(Failure::new(Exit::Unavailable, what));
        }
        let found: Self = serde_json::from_slice(answer.body())
            .map_err(|_| wrong(issuer, &"its discovery document is none"))?;
        if found.issuer != issuer {
            let why = format!("its discovery document is that of {:?}", found.issuer);
            return Err(wrong(issuer, &why));
        }
        Ok(found)
    }

    /// The client of this id. No secret: a program on people's machines has none.
    pub(super) fn client(&self, client_id: &str) -> Result<OAuth, Failure> {
        let bad = |name: &str| wrong(&self.issuer, &format!("its {name} is no https address"));
        let plain = |name: &'static str, url: &str| plain_https(url).ok_or_else(|| bad(name));
        let optional = |name: &'static str, url: &Option<String>| {
            url.as_deref().map(|url| plain(name, url)).transpose()
        };
        let auth = optional("authorization_endpoint", &self.authorization_endpoint)?;
        let name = "device_authorization_endpoint";
        let device = optional(name, &self.device_authorization_endpoint)?;
        let revocation = optional("revocation_endpoint", &self.revocation_endpoint)?;
        let token = plain("token_endpoint", &self.token_endpoint)?;
        Ok(oauth2::Client::new(ClientId::new(client_id.to_owned()))
            .set_token_uri(TokenUrl::from_url(token))
            .set_auth_uri_option(auth.map(AuthUrl::from_url))
            .set_device_authorization_url_option(device.map(DeviceAuthorizationUrl::from_url))
            .set_revocation_url_option(revocation.map(RevocationUrl::from_url)))
    }

    /// Refuses an issuer that would let an intercepted code be used (RFC 7636, RFC 9700).
    pub(super) fn must_have_pkce(&self) -> Result<(), Failure> {
        if self.code_challenge_methods_supported.iter().any(|method| method == "S256") {
            return Ok(());
        }
        Err(wrong(&self.issuer, &"it does not say that it takes PKCE with S256")
            .hint("without it a code that somebody else gets is a login; use --device"))
    }

    /// Whether a token can be taken back.
    pub(super) fn revokes(&self) -> bool {
        self.revocation_endpoint.is_some()
    }
}

/// An address with a host, and neither a user nor a fragment.
pub(super) fn plain_https(text: &str) -> Option<Url> {
    let url = Url::parse(text).ok()?;
    let plain = url.scheme() == "https"
        && url.host().is_some()
        && url.username().is_empty()
        && url.password().is_none()
        && url.fragment().is_none();
    plain.then_some(url)
}

/// An issuer's name is where its discovery document is found.
pub(super) fn must_be_an_address(issuer: &str) -> Result<(), Failure> {
    match plain_https(issuer) {
        Some(url) if url.query().is_none() => Ok(()),
        _ => Err(Failure::new(Exit::Usage, format!("the issuer {issuer:?} is no https address"))
            .hint("give it as its tokens have it, such as https://login.example.org/realm")),
    }
}

/// The issuer is not what it should be.
pub(super) fn wrong(issuer: &str, why: &dyn Display) -> Failure {
    Failure::new(Exit::Unavailable, format!("the issuer {issuer} cannot be used: {why}"))
}

pub(super) fn unreachable(issuer: &str, error: &dyn Display) -> Failure {
    Failure::new(Exit::Unavailable, format!("cannot ask the issuer {issuer}: {error}"))
}

/// What went wrong with a request for tokens. Nothing that it answered is repeated but its error code
/// and what it says about it.
pub(super) fn refused<E, T>(issuer: &str, error: RequestTokenError<E, T>) -> Failure
where
    E: std::error::Error + 'static,
    T: ErrorResponse + Display + 'static,
{
    match error {
        RequestTokenError::ServerResponse(said) => {
            Failure::new(Exit::Permission, format!("the issuer {issuer} refused: {said}"))
        }
        RequestTokenError::Request(error) => unreachable(issuer, &error),
        RequestTokenError::Parse(..) => wrong(issuer, &"its answer is no grant"),
        RequestTokenError::Other(why) => wrong(issuer, &why),
    }
}

#[cfg(test)]
mod tests;
