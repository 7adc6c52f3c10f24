//! The authorization code grant in a browser on this machine: PKCE with S256 (RFC 7636), a `state` and a
//! `nonce` of this login alone, and a page on the loopback to come back to (RFC 8252).
//!
//! Never starts a program: the person opens the address.

use oauth2::{
    AsyncHttpClient, AuthorizationCode, CsrfToken, PkceCodeChallenge, RedirectUrl, Scope,
};

use super::Settings;
use super::callback::{Callback, Expected};
use super::issuer::{Granted, Issuer, OAuth, refused, wrong};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::note;

/// Plays the grant to its end, and gives the nonce that an ID token must repeat.
pub(super) async fn run<H>(
    http: &H,
    issuer: &Issuer,
    oauth: OAuth,
    settings: &Settings,
) -> Result<(Granted, String), Failure>
where
    H: for<'c> AsyncHttpClient<'c>,
{
    issuer.must_have_pkce()?;
    let callback = Callback::open().await?;
    let redirect = RedirectUrl::new(callback.address());
    let redirect = redirect.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
    let oauth = oauth.set_redirect_uri(redirect);
    let (challenge, verifier) = PkceCodeChallenge::new_random_sha256();
    let nonce = CsrfToken::new_random();
    let missing = |_| wrong(&issuer.issuer, &"it has no authorization_endpoint");
    let mut asked = oauth.authorize_url(CsrfToken::new_random).map_err(missing)?;
    for (name, value) in settings.parameters() {
        asked = asked.add_extra_param(name, value);
    }
    let (address, state) = asked
        .add_scopes(settings.scopes.iter().cloned().map(Scope::new))
        .add_extra_param("nonce", nonce.secret())
        .set_pkce_challenge(challenge)
        .url();
    note(
        "open this address in a browser on this machine; nothing happens unless you log in there:",
    );
    note(address.as_str());
    let expected = Expected {
        state: state.into_secret(),
        issuer: issuer.issuer.clone(),
        names_itself: issuer.authorization_response_iss_parameter_supported,
    };
    let code = AuthorizationCode::new(callback.wait(expected).await?);
    let mut redeemed = oauth.exchange_code(code).set_pkce_verifier(verifier);
    for (name, value) in settings.parameters().filter(|(name, _)| *name == "resource") {
        redeemed = redeemed.add_extra_param(name, value);
    }
    let granted = redeemed.request_async(http).await;
    let granted = granted.map_err(|error| refused(&issuer.issuer, error))?;
    Ok((granted, nonce.into_secret()))
}
