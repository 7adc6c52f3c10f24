//! The device authorization grant (RFC 8628): a person opens a page anywhere and types a code that this
//! terminal shows.
//!
//! Never shows an address with the code in it, which could be sent to somebody else to click.

use std::future::Future;
use std::time::Duration;

use oauth2::{
    AsyncHttpClient, DeviceCodeErrorResponseType, RequestTokenError, Scope,
    StandardDeviceAuthorizationResponse,
};

use super::Settings;
use super::issuer::{Granted, Issuer, OAuth, plain_https, refused, wrong};
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::note;

/// Plays the grant to its end. `sleep` waits between two questions.
pub(super) async fn run<H, S, F>(
    http: &H,
    issuer: &Issuer,
    oauth: &OAuth,
    settings: &Settings,
    sleep: S,
) -> Result<Granted, Failure>
where
    H: for<'c> AsyncHttpClient<'c>,
    S: Fn(Duration) -> F,
    F: Future<Output = ()>,
{
    let missing = |_| wrong(&issuer.issuer, &"it has no device_authorization_endpoint");
    let mut asked = oauth.exchange_device_code().map_err(missing)?;
    for (name, value) in settings.parameters() {
        asked = asked.add_extra_param(name, value);
    }
    let asked = asked.add_scopes(settings.scopes.iter().cloned().map(Scope::new));
    let device: StandardDeviceAuthorizationResponse =
        asked.request_async(http).await.map_err(|error| refused(&issuer.issuer, error))?;
    let page = device.verification_uri().as_str();
    plain_https(page).ok_or_else(|| wrong(&issuer.issuer, &"its page is no https address"))?;
    let code = device.user_code().secret();
    note(&format!("open {page} and enter the code {code}"));
    let lasts = device.expires_in().min(LONGEST);
    let waits = |asked: Duration| sleep(asked.clamp(SHORTEST_WAIT, LONGEST_WAIT));
    let token = oauth.exchange_device_access_token(&device);
    token.request_async(http, waits, Some(lasts)).await.map_err(|error| ended(issuer, error))
}

fn ended<E>(
    issuer: &Issuer,
    error: RequestTokenError<E, oauth2::DeviceCodeErrorResponse>,
) -> Failure
where
    E: std::error::Error + 'static,
{
    use DeviceCodeErrorResponseType::{AccessDenied, ExpiredToken};
    let RequestTokenError::ServerResponse(said) = &error else {
        return refused(&issuer.issuer, error);
    };
    match said.error() {
        ExpiredToken => {
            Failure::new(Exit::Temporary, "nobody entered the code in time").hint(AGAIN)
        }
        AccessDenied => {
            Failure::new(Exit::Permission, "the login was refused on the issuer's page")
        }
        _ => refused(&issuer.issuer, error),
    }
}

const AGAIN: &str = "begin again: bulla login --device";
/// Whatever the issuer says.
const LONGEST: Duration = Duration::from_secs(30 * 60);
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests;
