//! Which server, whom to trust, who is calling: from flags, the environment or a profile file.
//!
//! All of it is addresses and paths. No secret is ever taken from the command line or from the
//! environment, where other processes can read it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use bulla_client::{Client, Config};
use serde::Deserialize;

use super::audit;
use super::failure::{Exit, Failure};
use super::login::{self, Settings};

/// The flags that every command takes. What a flag does not say is looked up in the profile given
/// by `--profile`, then in the environment, then in the default profile.
#[derive(clap::Args, Clone, Debug, Default)]
#[command(next_help_heading = "Connection")]
pub struct ConnectionArguments {
    /// The server, as https://host:port [env: BULLA_SERVER]
    #[arg(long, global = true, value_name = "URL")]
    pub server: Option<String>,
    /// PEM file with the certificate authority that the server's certificate must come from
    /// [env: BULLA_CA]
    #[arg(long, global = true, value_name = "FILE")]
    pub ca: Option<PathBuf>,
    /// PEM file with your certificate [env: BULLA_CERTIFICATE]
    #[arg(long, global = true, value_name = "FILE")]
    pub certificate: Option<PathBuf>,
    /// PEM file with the private key of your certificate [env: BULLA_KEY]
    #[arg(long, global = true, value_name = "FILE")]
    pub key_file: Option<PathBuf>,
    /// File with your token or a service account's credential, in place of a certificate; it is read
    /// again when it changes [env: BULLA_TOKEN_FILE]
    #[arg(long, global = true, value_name = "FILE")]
    pub token_file: Option<PathBuf>,
    /// TOML file with server, ca, certificate, key_file, token_file, server_name and a table login;
    /// goes before the environment (the default one after it) [default: ~/.config/bulla/client.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The approved proposal that the change is made on; see: bulla proposal
    #[arg(long, global = true, value_name = "ID")]
    pub approval: Option<String>,
    /// Add the receipt of each call to this file, for bulla audit verify --receipts
    #[arg(long, global = true, value_name = "FILE")]
    pub keep_receipts: Option<PathBuf>,
}

/// The same in a file. Relative paths are relative to the file.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Profile {
    /// `https://host:port`.
    server: Option<String>,
    /// The name in the server's certificate, where it is not the host of `server`.
    server_name: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key_file: Option<PathBuf>,
    token_file: Option<PathBuf>,
    /// How `bulla login` logs in, and which login is used where nothing else proves the caller.
    login: Option<Settings>,
}

pub(super) type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

// === impl ConnectionArguments ===

impl ConnectionArguments {
    /// Connects, so that a wrong address is known before any input is read.
    ///
    /// # Errors
    /// What is missing or wrong in the configuration, or why there is no connection.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let profile = self.resolve(&environment)?;
        let token = match &profile.server {
            Some(server) if !profile.has_proof() => {
                login::token_for(server, profile.login.as_ref(), &environment).await?
            }
            _ => None,
        };
        let client = Client::connect(profile.config(token)?).await?;
        let client = match &self.approval {
            Some(proposal) => client.with_approval(proposal)?,
            None => client,
        };
        match &self.keep_receipts {
            Some(path) => audit::kept(&client, path),
            None => Ok(client),
        }
    }

    /// The server that a login is for, and how to log in.
    pub(super) fn login(&self) -> Result<(String, Option<Settings>), Failure> {
        let profile = self.resolve(&environment)?;
        Ok((profile.server.ok_or_else(no_server)?, profile.login))
    }

    fn resolve(&self, environment: Environment<'_>) -> Result<Profile, Failure> {
        let flags = Profile {
            server: self.server.clone(),
            server_name: None,
            ca: self.ca.clone(),
            certificate: self.certificate.clone(),
            key_file: self.key_file.clone(),
            token_file: self.token_file.clone(),
            login: None,
        };
        let mut merged = flags;
        if let Some(path) = &self.profile {
            merged = merged.or(Profile::read(path)?);
        }
        merged = merged.or(Profile::from_environment(environment)?);
        if self.profile.is_none()
            && !merged.is_complete()
            && let Some(path) = default_path(environment).filter(|path| path.exists())
        {
            merged = merged.or(Profile::read(&path)?);
        }
        Ok(merged)
    }
}

// === impl Profile ===

impl Profile {
    /// Reads a profile file.
    pub(crate) fn read(path: &Path) -> Result<Self, Failure> {
        let wrong = |why: String| {
            Failure::new(Exit::Configuration, format!("profile {}: {why}", path.display()))
        };
        let text = fs::read_to_string(path).map_err(|error: io::Error| wrong(error.to_string()))?;
        let mut profile: Self = toml::from_str(&text)
            .map_err(|error| wrong(error.message().to_owned()).hint(PROFILE_HINT))?;
        let folder = path.parent().unwrap_or(Path::new(""));
        let Self { ca, certificate, key_file, token_file, .. } = &mut profile;
        for file in [ca, certificate, key_file, token_file] {
            *file = file.take().map(|file| folder.join(file));
        }
        if let Some(login) = &mut profile.login {
            login.relative_to(folder);
        }
        Ok(profile)
    }

    fn from_environment(environment: Environment<'_>) -> Result<Self, Failure> {
        let server = environment("BULLA_SERVER").map(OsString::into_string).transpose();
        let server =
            server.map_err(|_| Failure::new(Exit::Configuration, "BULLA_SERVER is not UTF-8"))?;
        let file = |name| environment(name).map(PathBuf::from);
        Ok(Self {
            server,
            server_name: None,
            ca: file("BULLA_CA"),
            certificate: file("BULLA_CERTIFICATE"),
            key_file: file("BULLA_KEY"),
            token_file: file("BULLA_TOKEN_FILE"),
            login: None,
        })
    }

    /// What is here, completed by what is there. A server name belongs to its server. What proves
    /// the caller here is not joined by another kind of proof there: two may be two callers.
    fn or(self, other: Self) -> Self {
        let server_name = match self.server {
            Some(_) => self.server_name,
            None => other.server_name,
        };
        let (by_certificate, by_token) =
            (self.certificate.is_some() || self.key_file.is_some(), self.token_file.is_some());
        Self {
            server: self.server.or(other.server),
            server_name,
            ca: self.ca.or(other.ca),
            certificate: self.certificate.or(other.certificate.filter(|_| !by_token)),
            key_file: self.key_file.or(other.key_file.filter(|_| !by_token)),
            token_file: self.token_file.or(other.token_file.filter(|_| !by_certificate)),
            login: self.login.or(other.login),
        }
    }

    fn is_complete(&self) -> bool {
        let by_certificate = self.certificate.is_some() && self.key_file.is_some();
        self.server.is_some() && self.ca.is_some() && (by_certificate || self.token_file.is_some())
    }

    fn has_proof(&self) -> bool {
        self.certificate.is_some() || self.key_file.is_some() || self.token_file.is_some()
    }

    /// `token` is that of a login, where there is one.
    fn config(self, token: Option<String>) -> Result<Config, Failure> {
        let has_proof = self.has_proof();
        let server = self.server.ok_or_else(no_server)?;
        let ca = self.ca.ok_or_else(|| missing("certificate authority", "--ca", "BULLA_CA"))?;
        let mut config = Config::new(server).ca_file(ca);
        if let Some(name) = self.server_name {
            config = config.server_name(name);
        }
        if let Some(token_file) = self.token_file {
            config = config.token_file(token_file);
            if self.certificate.is_none() && self.key_file.is_none() {
                return Ok(config);
            }
        }
        if let Some(token) = token.filter(|_| !has_proof) {
            return Ok(config.token(token));
        }
        let certificate = self.certificate.ok_or_else(|| {
            missing("certificate", "--certificate", "BULLA_CERTIFICATE").hint(PROOF_HINT)
        })?;
        let key_file =
            self.key_file.ok_or_else(|| missing("private key", "--key-file", "BULLA_KEY"))?;
        Ok(config.certificate_file(certificate).key_file(key_file))
    }
}

/// A variable of the environment that is set to something.
pub(super) fn environment(name: &str) -> Option<OsString> {
    std::env::var_os(name).filter(|value| !value.is_empty())
}

fn no_server() -> Failure {
    missing("server", "--server", "BULLA_SERVER")
}

fn missing(what: &str, flag: &str, variable: &str) -> Failure {
    Failure::new(Exit::Configuration, format!("no {what} is configured"))
        .hint(format!("give {flag}, or set {variable}, or write it into a profile file"))
}

fn default_path(environment: Environment<'_>) -> Option<PathBuf> {
    let base = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("bulla/client.toml"))
}

const PROFILE_HINT: &str =
    "a profile has server, ca, certificate, key_file, token_file, server_name and a table login";
const PROOF_HINT: &str =
    "give --certificate and --key-file, or --token-file, or log in: bulla login";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn nothing(_: &str) -> Option<OsString> {
        None
    }

    fn everything(name: &str) -> Option<OsString> {
        name.starts_with("BULLA_").then(|| format!("from-{name}").into())
    }

    #[test]
    fn flags_go_before_the_environment() {
        let flags = ConnectionArguments {
            server: Some("https://flag:1".into()),
            ..ConnectionArguments::default()
        };
        let merged = flags.resolve(&everything).unwrap();
        assert_eq!(merged.server.as_deref(), Some("https://flag:1"));
        assert_eq!(merged.key_file.as_deref(), Some(Path::new("from-BULLA_KEY")));
    }

    #[test]
    fn a_profile_that_is_asked_for_goes_before_the_environment_and_is_relative_to_itself() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.toml");
        fs::write(&path, "server = \"https://p:1\"\nca = \"ca.pem\"\nkey_file = \"/k\"\n").unwrap();
        let asked = ConnectionArguments { profile: Some(path), ..ConnectionArguments::default() };
        let merged = asked.resolve(&everything).unwrap();
        assert_eq!(merged.server.as_deref(), Some("https://p:1"));
        assert_eq!(merged.ca, Some(folder.path().join("ca.pem")));
        assert_eq!(merged.key_file.as_deref(), Some(Path::new("/k")));
        assert_eq!(merged.certificate.as_deref(), Some(Path::new("from-BULLA_CERTIFICATE")));
    }

    #[test]
    fn the_default_profile_fills_what_is_left() {
        let home = tempfile::tempdir().unwrap();
        fs::create_dir_all(home.path().join(".config/bulla")).unwrap();
        let profile = "server = \"https://home:1\"\nserver_name = \"kms\"\n";
        fs::write(home.path().join(".config/bulla/client.toml"), profile).unwrap();
        let environment = |name: &str| match name {
            "HOME" => Some(home.path().as_os_str().to_owned()),
            "BULLA_CA" => Some("ca".into()),
            _ => None,
        };
        let merged = ConnectionArguments::default().resolve(&environment).unwrap();
        assert_eq!(merged.server.as_deref(), Some("https://home:1"));
        assert_eq!(merged.server_name.as_deref(), Some("kms"));
        assert_eq!(merged.ca.as_deref(), Some(Path::new("ca")));
    }

    #[test]
    fn a_server_name_never_goes_with_another_server() {
        let flags = Profile { server: Some("https://flag:1".into()), ..Profile::default() };
        let file = Profile { server_name: Some("kms".into()), ..Profile::default() };
        assert_eq!(flags.or(file).server_name, None);
    }

    #[test]
    fn what_is_missing_is_named_with_its_flag_and_variable() {
        let resolved = ConnectionArguments::default().resolve(&nothing).unwrap();
        let failure = resolved.config(None).map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        let text = failure.to_string();
        assert!(text.contains("--server") && text.contains("BULLA_SERVER"), "{text}");
    }

    #[test]
    fn a_token_file_and_a_certificate_of_different_places_are_not_joined() {
        let token = || Profile { token_file: Some("t".into()), ..Profile::default() };
        let certificate = || Profile {
            certificate: Some("c".into()),
            key_file: Some("k".into()),
            ..Profile::default()
        };
        let merged = token().or(certificate());
        assert!(merged.certificate.is_none() && merged.key_file.is_none());
        assert!(certificate().or(token()).token_file.is_none());
        let both = Profile { token_file: Some("t".into()), ..certificate() };
        assert!(both.or(Profile::default()).token_file.is_some());
        let flags = ConnectionArguments { token_file: Some("t".into()), ..Default::default() };
        assert!(flags.resolve(&everything).unwrap().certificate.is_none());
    }

    #[test]
    fn b09_a_profile_with_anything_else_in_it_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.toml");
        fs::write(&path, "key = \"-----BEGIN PRIVATE KEY-----\"\n").unwrap();
        let failure = Profile::read(&path).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        assert!(!failure.to_string().contains("BEGIN"), "{failure}");
    }
}
