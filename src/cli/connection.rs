//! Which server, whom to trust, who is calling: from flags, the environment or a profile file.
//!
//! All of it is addresses and paths. No secret is ever taken from the command line or from the
//! environment, where other processes can read it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::{fs, io};

use bulla_client::{Client, Config};
use serde::Deserialize;

use super::failure::{Exit, Failure};

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
    /// TOML file with server, ca, certificate, key_file and server_name; goes before the
    /// environment (the default one after it) [default: ~/.config/bulla/client.toml]
    #[arg(long, global = true, value_name = "FILE")]
    pub profile: Option<PathBuf>,
    /// The approved proposal that the change is made on; see: bulla proposal
    #[arg(long, global = true, value_name = "ID")]
    pub approval: Option<String>,
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
}

type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

// === impl ConnectionArguments ===

impl ConnectionArguments {
    /// Connects, so that a wrong address is known before any input is read.
    ///
    /// # Errors
    /// What is missing or wrong in the configuration, or why there is no connection.
    pub async fn connect(&self) -> Result<Client, Failure> {
        let environment = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
        let client = Client::connect(self.resolve(&environment)?.config()?).await?;
        Ok(match &self.approval {
            Some(proposal) => client.with_approval(proposal)?,
            None => client,
        })
    }

    fn resolve(&self, environment: Environment<'_>) -> Result<Profile, Failure> {
        let flags = Profile {
            server: self.server.clone(),
            server_name: None,
            ca: self.ca.clone(),
            certificate: self.certificate.clone(),
            key_file: self.key_file.clone(),
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
        let mut profile: Self = toml::from_str(&text).map_err(|error| {
            wrong(error.message().to_owned())
                .hint("a profile has server, ca, certificate, key_file and server_name")
        })?;
        let folder = path.parent().unwrap_or(Path::new(""));
        for file in [&mut profile.ca, &mut profile.certificate, &mut profile.key_file] {
            *file = file.take().map(|file| folder.join(file));
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
        })
    }

    /// What is here, completed by what is there. A server name belongs to its server.
    fn or(self, other: Self) -> Self {
        let server_name = match self.server {
            Some(_) => self.server_name,
            None => other.server_name,
        };
        Self {
            server: self.server.or(other.server),
            server_name,
            ca: self.ca.or(other.ca),
            certificate: self.certificate.or(other.certificate),
            key_file: self.key_file.or(other.key_file),
        }
    }

    fn is_complete(&self) -> bool {
        self.server.is_some()
            && self.ca.is_some()
            && self.certificate.is_some()
            && self.key_file.is_some()
    }

    fn config(self) -> Result<Config, Failure> {
        let missing = |what: &str, flag: &str, variable: &str| {
            Failure::new(Exit::Configuration, format!("no {what} is configured"))
                .hint(format!("give {flag}, or set {variable}, or write it into a profile file"))
        };
        let server = self.server.ok_or_else(|| missing("server", "--server", "BULLA_SERVER"))?;
        let ca = self.ca.ok_or_else(|| missing("certificate authority", "--ca", "BULLA_CA"))?;
        let certificate = self
            .certificate
            .ok_or_else(|| missing("certificate", "--certificate", "BULLA_CERTIFICATE"))?;
        let key_file =
            self.key_file.ok_or_else(|| missing("private key", "--key-file", "BULLA_KEY"))?;
        let config =
            Config::new(server).ca_file(ca).certificate_file(certificate).key_file(key_file);
        Ok(match self.server_name {
            Some(name) => config.server_name(name),
            None => config,
        })
    }
}

fn default_path(environment: Environment<'_>) -> Option<PathBuf> {
    let base = environment("XDG_CONFIG_HOME")
        .map(PathBuf::from)
        .or_else(|| environment("HOME").map(|home| Path::new(&home).join(".config")))?;
    Some(base.join("bulla/client.toml"))
}

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
        let failure = resolved.config().map(|_| ()).unwrap_err();
        assert_eq!(failure.exit(), Exit::Configuration);
        let text = failure.to_string();
        assert!(text.contains("--server") && text.contains("BULLA_SERVER"), "{text}");
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
