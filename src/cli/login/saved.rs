//! Logins in files: one for each issuer, client and server, in a folder that its owner alone may enter.
//!
//! A file is written whole or not at all, mode 0600, and one that others could have read or written is
//! not used. A login belongs to the server that it was made for, and its token goes to no other.

use std::fs::{self, DirBuilder, File, Metadata};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, Mode, OFlags, flock};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use super::{Sends, Settings};
use crate::cli::connection::Environment;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output_file::Unfinished;

/// A login as it is kept. Not `Debug`: there are tokens in it.
#[derive(Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Saved {
    /// The one server that its token goes to.
    pub(super) server: String,
    pub(super) settings: Settings,
    pub(super) subject: Option<String>,
    pub(super) access_token: String,
    /// When the access token ends, in seconds since the Unix epoch, if the issuer said so.
    pub(super) access_expire_time: Option<i64>,
    pub(super) id_token: Option<String>,
    pub(super) id_expire_time: Option<i64>,
    pub(super) refresh_token: Option<String>,
}

/// The folder of all logins.
pub(super) struct Folder(PathBuf);

/// Nobody else changes a login while this is there.
pub(super) struct Locked(#[expect(dead_code, reason = "it is unlocked when it is closed")] File);

// === impl Saved ===

impl Saved {
    /// What is sent to the server, and when it ends.
    pub(super) fn token(&self) -> Option<(&str, Option<i64>)> {
        match self.settings.send {
            Sends::AccessToken => Some((&self.access_token, self.access_expire_time)),
            Sends::IdToken => Some((self.id_token.as_deref()?, self.id_expire_time)),
        }
    }
}

// === impl Folder ===

impl Folder {
    /// `$XDG_STATE_HOME/bulla/tokens`, or `~/.config/bulla/tokens`.
    pub(super) fn find(environment: Environment<'_>) -> Result<Self, Failure> {
        let state = environment("XDG_STATE_HOME").map(PathBuf::from);
        let home = || environment("HOME").map(|home| Path::new(&home).join(".config"));
        let base = state.filter(|path| path.is_absolute()).or_else(home);
        let base = base.ok_or_else(|| {
            Failure::new(Exit::Configuration, "there is no place for logins")
                .hint("set HOME, or XDG_STATE_HOME")
        })?;
        Ok(Self(base.join("bulla/tokens")))
    }

    /// The file of the login at this issuer, as this client, for this server.
    pub(super) fn place(&self, settings: &Settings, server: &str) -> PathBuf {
        let mut digest = Sha256::new();
        for part in [&settings.issuer, &settings.client_id, server] {
            digest.update(part.len().to_be_bytes());
            digest.update(part);
        }
        let (digest, host) = (hex::encode(digest.finalize()), settings.host());
        let short = digest.get(..16).unwrap_or_default();
        self.0.join(format!("{host}-{short}.json"))
    }

    /// The login in this file, if there is one.
    pub(super) fn read(&self, place: &Path) -> Result<Option<Saved>, Failure> {
        let text = match read_private(&self.0, place) {
            Ok(text) => text,
            Err(Fault::Io(error)) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(Fault::Io(error)) => return Err(Failure::input(place, &error)),
            Err(Fault::Open(path, mode)) => {
                let what = format!(
                    "others may read or write {}, or it is not yours (mode {mode:04o})",
                    path.display()
                );
                return Err(Failure::new(Exit::Configuration, what)
                    .hint("whoever read it may have your login: remove it, and log in again"));
            }
        };
        let broken = |_| {
            let what = format!("{} is no login of this program", place.display());
            Failure::new(Exit::Configuration, what).hint("remove it, and log in again")
        };
        serde_json::from_str(&text).map(Some).map_err(broken)
    }

    /// Every login for this server, with its file.
    pub(super) fn all(&self, server: &str) -> Result<Vec<(PathBuf, Saved)>, Failure> {
        let mut found = Vec::new();
        let entries = match fs::read_dir(&self.0) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(found),
            Err(error) => return Err(Failure::input(&self.0, &error)),
        };
        for entry in entries {
            let place = entry.map_err(|error| Failure::input(&self.0, &error))?.path();
            if place.extension().is_some_and(|ending| ending == "json")
                && let Some(saved) = self.read(&place)?
                && saved.server == server
            {
                found.push((place, saved));
            }
        }
        found.sort_by(|(one, _), (other, _)| one.cmp(other));
        Ok(found)
    }

    /// Keeps a login, in the place of an earlier one.
    pub(super) fn write(&self, place: &Path, saved: &Saved) -> Result<(), Failure> {
        self.make()?;
        let text = serde_json::to_vec_pretty(saved)
            .map_err(|error| Failure::new(Exit::Internal, error.to_string()))?;
        let mut file = Unfinished::create(place, true)?;
        file.write_all(&text).map_err(|error| Failure::output(place, &error))?;
        file.finish()
    }

    /// Waits until nobody else changes a login.
    pub(super) fn lock(&self) -> Result<Locked, Failure> {
        self.make()?;
        let place = self.0.join(".lock");
        let flags = OFlags::CREATE | OFlags::RDWR | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::open(&place, flags, Mode::RUSR | Mode::WUSR).map(File::from);
        let locked = file.and_then(|file| {
            flock(&file, FlockOperation::LockExclusive)?;
            Ok(Locked(file))
        });
        locked.map_err(|error| Failure::output(&place, &error.into()))
    }

    fn make(&self) -> Result<(), Failure> {
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&self.0);
        made.map_err(|error| Failure::output(&self.0, &error))
    }
}

enum Fault {
    Io(io::Error),
    Open(PathBuf, u32),
}

impl From<io::Error> for Fault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Judges the file that is read, and the folder that it stands in. Follows no link.
fn read_private(folder: &Path, place: &Path) -> Result<String, Fault> {
    private(folder, &fs::metadata(folder)?)?;
    let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let file = rustix::fs::open(place, flags, Mode::empty()).map_err(io::Error::from)?;
    let file = File::from(file);
    private(place, &file.metadata()?)?;
    let mut text = String::with_capacity(FILE_BYTES_MAX);
    file.take(FILE_BYTES_MAX as u64).read_to_string(&mut text)?;
    Ok(text)
}

fn private(path: &Path, metadata: &Metadata) -> Result<(), Fault> {
    let own = metadata.uid() == rustix::process::geteuid().as_raw();
    let mode = metadata.mode() & 0o7777;
    if own && mode & 0o077 == 0 { Ok(()) } else { Err(Fault::Open(path.to_owned(), mode)) }
}

const FILE_BYTES_MAX: usize = 256 * 1024;

#[cfg(test)]
mod tests;
