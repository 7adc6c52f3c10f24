//! The token of a login that is used now: renewed with the refresh token (RFC 6749, section 6) when its
//! end is near, and taken back at the end (RFC 7009).

use std::path::Path;

use oauth2::{
    AccessToken, AsyncHttpClient, RefreshToken, RequestTokenError, RevocationErrorResponseType,
    StandardRevocableToken, TokenResponse,
};

use super::claims::Claims;
use super::https::Https;
use super::issuer::{Granted, Issuer, refused};
use super::saved::{Folder, Saved};
use super::{Sends, Settings};
use crate::cli::connection::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::time::unix_now;

/// The token for this server, of the login that the profile names or else of the only one.
///
/// # Errors
/// There is none, there are several, or it has ended.
pub(in crate::cli) async fn token_for(
    server: &str,
    settings: Option<&Settings>,
    environment: Environment<'_>,
) -> Result<Option<String>, Failure> {
    let folder = Folder::find(environment)?;
    let place = match settings {
        Some(settings) => folder.place(settings, server),
        None => {
            let mut all = folder.all(server)?;
            match (all.pop(), all.is_empty()) {
                (None, _) => return Ok(None),
                (Some((place, _)), true) => place,
                (Some(_), false) => {
                    let what = "you are logged in for this server in more than one way";
                    return Err(Failure::new(Exit::Configuration, what).hint(
                        "name one in the profile's table [login], or end one: bulla logout",
                    ));
                }
            }
        }
    };
    let Some(saved) = folder.read(&place)? else { return Ok(None) };
    // Whatever the name of the file says.
    if saved.server != server {
        return Ok(None);
    }
    let now = unix_now();
    if let Some((token, end)) = saved.token()
        && end.is_none_or(|end| end.saturating_sub(NEAR_SECONDS) > now)
    {
        return Ok(Some(token.to_owned()));
    }
    let _locked = folder.lock()?;
    // Somebody else may have renewed it meanwhile, and a refresh token is good once.
    let saved = folder.read(&place)?.unwrap_or(saved);
    let https = Https::new(saved.settings.ca.as_deref())?;
    renewed(&https, &folder, &place, saved, now).await.map(Some)
}

/// The token, renewed if it has to be.
async fn renewed<H>(
    http: &H,
    folder: &Folder,
    place: &Path,
    saved: Saved,
    now: i64,
) -> Result<String, Failure>
where
    H: for<'c> AsyncHttpClient<'c>,
{
    let left = saved.token().map(|(token, end)| (token.to_owned(), end.unwrap_or(i64::MAX)));
    if let Some((token, end)) = &left
        && end.saturating_sub(NEAR_SECONDS) > now
    {
        return Ok(token.clone());
    }
    let refreshed = match &saved.refresh_token {
        Some(refresh) => refresh_at_issuer(http, &saved.settings, refresh).await,
        None => Err(Failure::new(Exit::Permission, "your login has ended")),
    };
    match (refreshed, left) {
        (Ok(granted), _) => {
            let login = login_of(
                &granted,
                &saved.settings,
                &saved.server,
                None,
                Some(saved.refresh_token),
                now,
            )?;
            folder.write(place, &login)?;
            let ended = || Failure::new(Exit::Permission, "your login has ended").hint(AGAIN);
            Ok(login.token().ok_or_else(ended)?.0.to_owned())
        }
        // What is still good is used while the issuer cannot be asked.
        (Err(_), Some((token, end))) if end > now => Ok(token),
        (Err(failure), _) if failure.exit() == Exit::Permission => Err(failure.hint(AGAIN)),
        (Err(failure), _) => Err(failure),
    }
}

async fn refresh_at_issuer<H>(
    http: &H,
    settings: &Settings,
    refresh: &str,
) -> Result<Granted, Failure>
where
    H: for<'c> AsyncHttpClient<'c>,
{
    let issuer = Issuer::discover(http, &settings.issuer).await?;
    let oauth = issuer.client(&settings.client_id)?;
    let refresh = RefreshToken::new(refresh.to_owned());
    let mut asked = oauth.exchange_refresh_token(&refresh);
    for (name, value) in settings.parameters().filter(|(name, _)| *name == "resource") {
        asked = asked.add_extra_param(name, value);
    }
    asked.request_async(http).await.map_err(|error| refused(&settings.issuer, error))
}

/// What is kept of a grant. `earlier` is the refresh token that it came from; it stays good where the
/// issuer gives no other.
pub(super) fn login_of(
    granted: &Granted,
    settings: &Settings,
    server: &str,
    nonce: Option<&str>,
    earlier: Option<Option<String>>,
    now: i64,
) -> Result<Saved, Failure> {
    let id_token = granted.extra_fields().id_token.clone();
    let claims = id_token
        .as_deref()
        .map(|token| Claims::of(token, &settings.issuer, &settings.client_id, nonce))
        .transpose()?;
    if settings.send == Sends::IdToken && id_token.is_none() {
        let what = format!("the issuer {} gave no ID token", settings.issuer);
        return Err(Failure::new(Exit::Unavailable, what).hint("ask for the scope openid"));
    }
    let lasts = granted.expires_in().and_then(|lasts| i64::try_from(lasts.as_secs()).ok());
    let refresh_token = granted.refresh_token().map(|token| token.secret().clone());
    Ok(Saved {
        server: server.to_owned(),
        settings: settings.clone(),
        subject: claims.as_ref().map(|claims| claims.sub.clone()),
        access_token: granted.access_token().secret().clone(),
        access_expire_time: lasts.map(|lasts| now.saturating_add(lasts)),
        id_expire_time: claims.map(|claims| claims.exp),
        id_token,
        refresh_token: refresh_token.or_else(|| earlier.flatten()),
    })
}

/// Has the issuer forget the tokens of a login. False where it has no way to.
pub(super) async fn revoke<H>(http: &H, saved: &Saved) -> Result<bool, Failure>
where
    H: for<'c> AsyncHttpClient<'c>,
{
    let issuer = Issuer::discover(http, &saved.settings.issuer).await?;
    if !issuer.revokes() {
        return Ok(false);
    }
    let oauth = issuer.client(&saved.settings.client_id)?;
    let refresh = saved.refresh_token.clone().map(RefreshToken::new);
    let access = AccessToken::new(saved.access_token.clone());
    let tokens = refresh.map(StandardRevocableToken::from);
    for token in tokens.into_iter().chain([StandardRevocableToken::from(access)]) {
        let asked = oauth.revoke_token(token);
        let asked = asked.map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        match asked.request_async(http).await {
            Ok(()) => {}
            // An access token that is verified by its signature cannot be taken back, and ends soon.
            Err(RequestTokenError::ServerResponse(said)) if is_unsupported(said.error()) => {}
            Err(error) => return Err(refused(&saved.settings.issuer, error)),
        }
    }
    Ok(true)
}

fn is_unsupported(error: &RevocationErrorResponseType) -> bool {
    matches!(error, RevocationErrorResponseType::UnsupportedTokenType)
}

/// A token this near to its end is renewed first.
const NEAR_SECONDS: i64 = 60;
const AGAIN: &str = "log in again: bulla login";
