//! `bulla login` and `bulla logout`: a person's token from an issuer (OpenID Connect), kept in a file of
//! theirs and sent to one server.
//!
//! Never prints a token, never takes one from the command line or the environment, and never completes
//! a login that was not begun in this terminal.

mod callback;
mod claims;
mod code;
mod device;
mod https;
mod issuer;
mod saved;
mod token;

use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::Session;
use super::failure::{Exit, Failure};
use super::json::Json;
use super::output::note;
use super::table::record;
use super::time::{rfc3339, unix_now};

use https::Https;
use issuer::Issuer;
use saved::{Folder, Saved};
pub(super) use token::token_for;

/// Where and as whom to log in. What is not given is looked up in the profile's table `[login]`.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct IssuerArguments {
    /// The URL of the issuer, exactly as its tokens name it
    #[arg(long, value_name = "URL")]
    issuer: Option<String>,
    /// The id that this program has at the issuer: a public client
    #[arg(long, value_name = "ID")]
    client_id: Option<String>,
}

/// `bulla login`.
#[derive(clap::Args, Debug)]
pub struct LoginArguments {
    #[command(flatten)]
    issuer: IssuerArguments,
    /// Scopes to ask for [default: openid offline_access]
    #[arg(long, value_name = "SCOPES")]
    scope: Option<String>,
    /// The audience to ask for, where the issuer takes one so (parameter audience)
    #[arg(long, value_name = "TEXT")]
    audience: Option<String>,
    /// The same where it takes one as a resource (RFC 8707)
    #[arg(long, value_name = "URI")]
    resource: Option<String>,
    /// PEM file with who vouches for the issuer's server [default: the system's authorities]
    #[arg(long, value_name = "FILE")]
    issuer_ca: Option<PathBuf>,
    /// Which token goes to the server [default: access-token]
    #[arg(long, value_enum, value_name = "TOKEN")]
    send: Option<Sends>,
    /// Log in on another device: a code to type there, in place of a browser here
    #[arg(long)]
    device: bool,
    /// Show the logins for the server, without their tokens
    #[arg(long, conflicts_with_all = ["device", "scope", "audience", "resource", "send"])]
    show: bool,
}

/// `bulla logout`.
#[derive(clap::Args, Debug)]
pub struct LogoutArguments {
    #[command(flatten)]
    issuer: IssuerArguments,
}

/// Which token goes to the server.
#[derive(clap::ValueEnum, Clone, Copy, Debug, Default, Deserialize, Eq, PartialEq, Serialize)]
#[serde(rename_all = "kebab-case")]
// The variants have no documentation of their own, so that the help stays short.
#[allow(missing_docs)]
pub enum Sends {
    #[default]
    AccessToken,
    IdToken,
}

/// How to log in; the table `[login]` of a profile.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Settings {
    issuer: String,
    client_id: String,
    #[serde(default = "scopes")]
    scopes: Vec<String>,
    #[serde(default)]
    audience: Option<String>,
    #[serde(default)]
    resource: Option<String>,
    #[serde(default)]
    ca: Option<PathBuf>,
    #[serde(default)]
    send: Sends,
}

// === impl Settings ===

impl Settings {
    /// A profile's paths are relative to it.
    pub(super) fn relative_to(&mut self, folder: &Path) {
        self.ca = self.ca.take().map(|file| folder.join(file));
    }

    /// What is asked for besides scopes, in every grant.
    fn parameters(&self) -> impl Iterator<Item = (&'static str, &str)> {
        // Without it an issuer must not give a refresh token (OpenID Connect Core, section 11).
        let offline = self.scopes.iter().any(|scope| scope == "offline_access");
        let pairs = [
            ("audience", self.audience.as_deref()),
            ("resource", self.resource.as_deref()),
            ("prompt", offline.then_some("consent")),
        ];
        pairs.into_iter().filter_map(|(name, value)| Some((name, value?)))
    }

    /// The issuer's host, for the name of a file.
    fn host(&self) -> String {
        let url = issuer::plain_https(&self.issuer);
        let host = url.as_ref().and_then(|url| url.host_str()).unwrap_or_default();
        host.chars().filter(|c| c.is_ascii_alphanumeric() || ".-".contains(*c)).take(100).collect()
    }
}

// === impl IssuerArguments ===

impl IssuerArguments {
    /// What is given here, completed by the profile.
    fn complete(self, profile: Option<&Settings>) -> Option<Settings> {
        // What belongs to one issuer is of no use at another.
        let known = profile.filter(|known| self.issuer.as_ref().is_none_or(|i| *i == known.issuer));
        let issuer = self.issuer.or_else(|| known.map(|known| known.issuer.clone()))?;
        let client_id = self.client_id.or_else(|| known.map(|known| known.client_id.clone()))?;
        let rest = known.cloned().unwrap_or_else(|| Settings {
            issuer: issuer.clone(),
            client_id: client_id.clone(),
            scopes: scopes(),
            audience: None,
            resource: None,
            ca: None,
            send: Sends::default(),
        });
        Some(Settings { issuer, client_id, ..rest })
    }
}

// === impl LoginArguments ===

impl LoginArguments {
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (server, profile) = session.connection.login()?;
        let folder = Folder::find(&super::connection::environment)?;
        if self.show {
            return show(session, &folder, &server);
        }
        let device = self.device;
        let settings = self.settings(profile.as_ref())?;
        let https = Https::new(settings.ca.as_deref())?;
        let issuer = Issuer::discover(&https, &settings.issuer).await?;
        let oauth = issuer.client(&settings.client_id)?;
        let (granted, nonce) = if device {
            let sleep = tokio::time::sleep;
            (device::run(&https, &issuer, &oauth, &settings, sleep).await?, None)
        } else {
            let (granted, nonce) = code::run(&https, &issuer, oauth, &settings).await?;
            (granted, Some(nonce))
        };
        let now = unix_now();
        let saved = token::login_of(&granted, &settings, &server, nonce.as_deref(), None, now)?;
        let place = folder.place(&settings, &server);
        let _locked = folder.lock()?;
        folder.write(&place, &saved)?;
        shown(session, &[(place, saved)])
    }

    fn settings(self, profile: Option<&Settings>) -> Result<Settings, Failure> {
        let Some(mut settings) = self.issuer.complete(profile) else {
            return Err(Failure::new(Exit::Configuration, "no issuer and client are configured")
                .hint("give --issuer and --client-id, or write a table [login] into a profile"));
        };
        issuer::must_be_an_address(&settings.issuer)?;
        if let Some(scope) = self.scope {
            settings.scopes = scope.split_ascii_whitespace().map(str::to_owned).collect();
        }
        settings.audience = self.audience.or(settings.audience);
        settings.resource = self.resource.or(settings.resource);
        // As it has to be found from any folder later.
        let given = self.issuer_ca.map(std::path::absolute).transpose();
        let given = given.map_err(|error| Failure::midway("--issuer-ca", &error))?;
        settings.ca = given.or(settings.ca);
        settings.send = self.send.unwrap_or(settings.send);
        Ok(settings)
    }
}

// === impl LogoutArguments ===

impl LogoutArguments {
    /// Ends the logins for the server, or the one at this issuer. They are gone here even where the
    /// issuer cannot be told.
    pub(super) async fn run(self, session: &Session) -> Result<(), Failure> {
        let (server, profile) = session.connection.login()?;
        let folder = Folder::find(&super::connection::environment)?;
        let _locked = folder.lock()?;
        let asked = (self.issuer.issuer.clone(), self.issuer.client_id.clone());
        let one = match asked {
            (None, None) => None,
            _ => self.issuer.complete(profile.as_ref()),
        };
        let mut ended = folder.all(&server)?;
        if let Some(one) = &one {
            ended.retain(|(place, _)| *place == folder.place(one, &server));
        }
        let mut untold = None;
        for (place, saved) in &ended {
            std::fs::remove_file(place).map_err(|error| Failure::output(place, &error))?;
            let told = match Https::new(saved.settings.ca.as_deref()) {
                Ok(https) => token::revoke(&https, saved).await,
                Err(failure) => Err(failure),
            };
            match told {
                Ok(true) => {}
                Ok(false) => {
                    note("the issuer has no way to take tokens back; they end by themselves")
                }
                Err(failure) => untold = Some(failure),
            }
        }
        if let Some(failure) = untold {
            return Err(failure.during("logged out here, but the issuer was not told"));
        }
        session
            .printer
            .answer(&Json::object([("logged_out", Json::Integer(ended.len() as i128))]), || {
                record(&[("logged_out", ended.len().to_string())])
            })
    }
}

fn show(session: &Session, folder: &Folder, server: &str) -> Result<(), Failure> {
    let all = folder.all(server)?;
    if all.is_empty() {
        return Err(Failure::new(Exit::Permission, format!("there is no login for {server}"))
            .hint("log in: bulla login"));
    }
    shown(session, &all)
}

fn shown(session: &Session, logins: &[(PathBuf, Saved)]) -> Result<(), Failure> {
    let field = |place: &Path, saved: &Saved| {
        let end = saved.token().and_then(|(_, end)| end);
        let end = end.and_then(|seconds| rfc3339(&prost_types::Timestamp { seconds, nanos: 0 }));
        let sends = match saved.settings.send {
            Sends::AccessToken => "access-token",
            Sends::IdToken => "id-token",
        };
        [
            ("server", saved.server.clone()),
            ("issuer", saved.settings.issuer.clone()),
            ("client_id", saved.settings.client_id.clone()),
            ("subject", saved.subject.clone().unwrap_or_default()),
            ("sends", sends.to_owned()),
            ("expires", end.unwrap_or_default()),
            ("renewed", if saved.refresh_token.is_some() { "yes" } else { "no" }.to_owned()),
            ("file", place.display().to_string()),
        ]
    };
    let fields: Vec<_> = logins.iter().map(|(place, saved)| field(place, saved)).collect();
    let json = fields
        .iter()
        .map(|fields| Json::object(fields.clone().map(|(name, value)| (name, Json::text(value)))));
    session.printer.answer(&Json::List(json.collect()), || {
        fields.iter().map(|fields| record(fields)).collect::<Vec<_>>().join("\n")
    })
}

fn scopes() -> Vec<String> {
    ["openid", "offline_access"].map(str::to_owned).to_vec()
}
