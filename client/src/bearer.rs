//! What proves the caller besides a certificate: a token (RFC 6750) or a service account's credential,
//! sent with every call; and the token of whoever a gateway acts for.
//!
//! Comes from a file or from the program itself, never from the environment or a command line. It is
//! never printed, and its memory is wiped when nobody sends it any more.

use std::fmt;
use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use sha2::{Digest, Sha256};
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};
use zeroize::Zeroizing;

use crate::client::Client;
use crate::config::ConfigError;
use crate::error::Error;

/// A token by path or by value, as it was configured.
#[derive(Clone)]
pub(crate) enum TokenSource {
    File(PathBuf),
    Value(Zeroizing<String>),
}

/// Where the token of each call comes from.
pub(crate) enum Bearer {
    /// A file, which is read again whenever it is another one or has changed.
    File {
        path: PathBuf,
        last: Mutex<Option<(Stamp, Sent)>>,
    },
    Value(Sent),
}

/// What goes out with one call.
#[derive(Clone, Default)]
pub(crate) struct Proof {
    pub(crate) authorization: Option<Sent>,
    pub(crate) on_behalf_of: Option<Sent>,
}

/// A header's value, marked as sensitive.
pub(crate) type Sent = MetadataValue<Ascii>;

/// Tells whether a file is still the one that was read.
#[derive(Clone, Copy, Eq, PartialEq)]
pub(crate) struct Stamp([i64; 6]);

// === impl Client ===

impl Client {
    /// The same client for a gateway: it stays who it is, and each call says that it is made for the
    /// holder of `token`, which the server verifies as well. What is cached for one holder is never
    /// used for another.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) when `token` is no token.
    pub fn with_on_behalf_of(&self, token: &str) -> Result<Self, Error> {
        let sent = sent("", token.as_bytes(), "the token of the end user")?;
        let digest = Sha256::new().chain_update(self.identity().fingerprint());
        let digest = digest.chain_update(b"on behalf of").chain_update(token.trim_end());
        Ok(self.acting_for(sent, digest.finalize().into()))
    }
}

// === impl TokenSource ===

impl TokenSource {
    /// Reads it once, so that what cannot be sent is known before anything is.
    pub(crate) fn open(&self) -> Result<Bearer, ConfigError> {
        match self {
            Self::Value(token) => {
                Ok(Bearer::Value(sent(SCHEME, token.as_bytes(), "the given token")?))
            }
            Self::File(path) => {
                let bearer = Bearer::File { path: path.clone(), last: Mutex::new(None) };
                bearer.current()?;
                Ok(bearer)
            }
        }
    }

    /// What tells one caller from another. A file is one caller, however often its token changes.
    pub(crate) fn digest(&self) -> [u8; 32] {
        let (kind, content) = match self {
            Self::File(path) => (&b"token file "[..], path.as_os_str().as_encoded_bytes()),
            Self::Value(token) => (&b"token "[..], token.as_bytes()),
        };
        Sha256::new().chain_update(kind).chain_update(content).finalize().into()
    }
}

// === impl Bearer ===

impl Bearer {
    /// The value of `authorization` now.
    pub(crate) fn current(&self) -> Result<Sent, ConfigError> {
        let (path, last) = match self {
            Self::Value(sent) => return Ok(sent.clone()),
            Self::File { path, last } => (path, last),
        };
        let place = || path.display().to_string();
        let unreadable = |error: io::Error| ConfigError::Unreadable {
            what: WHAT,
            path: place(),
            why: error.to_string().to_lowercase(),
        };
        // A lock that was held by a thread that ended: what it guards is written in one step.
        let mut last = last.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Stamp::of(&std::fs::metadata(path).map_err(unreadable)?);
        if let Some((stamp, sent)) = &*last
            && *stamp == now
        {
            return Ok(sent.clone());
        }
        let (stamp, text) = read(path).map_err(|fault| match fault {
            Fault::Io(error) => unreadable(error),
            Fault::Written(mode) => ConfigError::TokenFileOpen { path: place(), mode },
        })?;
        let sent = sent(SCHEME, &text, &place())?;
        if text.starts_with(CREDENTIAL.as_bytes()) {
            stamp.refuse_if_read_by_others(&place())?;
        }
        *last = Some((stamp, sent.clone()));
        Ok(sent)
    }
}

// === impl Proof ===

impl Proof {
    pub(crate) fn mark<M>(&self, mut request: Request<M>) -> Request<M> {
        let metadata = request.metadata_mut();
        if let Some(token) = &self.authorization {
            metadata.insert("authorization", token.clone());
        }
        if let Some(token) = &self.on_behalf_of {
            metadata.insert("bulla-on-behalf-of", token.clone());
        }
        request
    }
}

impl fmt::Debug for Proof {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Proof").finish_non_exhaustive()
    }
}

// === impl Stamp ===

#[cfg(unix)]
impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        use std::os::unix::fs::MetadataExt;

        let size = i64::try_from(metadata.size()).unwrap_or(i64::MAX);
        let changed = (metadata.ctime(), metadata.ctime_nsec());
        let owner = i64::from(metadata.uid()).saturating_mul(MODES);
        let owner_and_mode = owner.saturating_add(i64::from(metadata.mode()));
        let inode = metadata.ino().cast_signed();
        Self([inode, size, changed.0, changed.1, metadata.mtime(), owner_and_mode])
    }

    /// A service account's credential lives for weeks, and Bulla writes it for its owner alone. As
    /// ssh does: a file of somebody else, such as one that an orchestrator mounts, is theirs to guard.
    fn refuse_if_read_by_others(self, path: &str) -> Result<(), ConfigError> {
        let [.., owner_and_mode] = self.0;
        let (owner, mode) = (owner_and_mode.div_euclid(MODES), owner_and_mode.rem_euclid(MODES));
        let own = owner == i64::from(rustix::process::geteuid().as_raw());
        if own && mode & 0o077 != 0 {
            let mode = u32::try_from(mode & 0o7777).unwrap_or_default();
            return Err(ConfigError::TokenFileOpen { path: path.to_owned(), mode });
        }
        Ok(())
    }
}

#[cfg(not(unix))]
impl Stamp {
    fn of(metadata: &Metadata) -> Self {
        let size = i64::try_from(metadata.len()).unwrap_or(i64::MAX);
        let changed = metadata.modified().ok();
        let changed = changed.and_then(|time| time.duration_since(std::time::UNIX_EPOCH).ok());
        let changed = changed.map_or(0, |since| since.as_nanos() as i64);
        Self([size, changed, 0, 0, 0, 0])
    }

    fn refuse_if_read_by_others(self, _: &str) -> Result<(), ConfigError> {
        Ok(())
    }
}

enum Fault {
    Io(io::Error),
    /// Others may write to it.
    Written(u32),
}

/// Judges the file that is read, not whatever has its name a moment later. Others may read a token
/// (Kubernetes projects it so), but whoever could write to it would choose who this caller is.
fn read(path: &Path) -> Result<(Stamp, Zeroizing<Vec<u8>>), Fault> {
    let file = File::open(path).map_err(Fault::Io)?;
    let metadata = file.metadata().map_err(Fault::Io)?;
    if metadata.is_dir() {
        return Err(Fault::Io(io::ErrorKind::IsADirectory.into()));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;

        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o022 != 0 {
            return Err(Fault::Written(mode));
        }
    }
    // Room for all of it at once, so that no half-grown copy is left behind; one more tells too long.
    let mut text = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX));
    file.take(FILE_BYTES_MAX as u64).read_to_end(&mut text).map_err(Fault::Io)?;
    while text.last().is_some_and(u8::is_ascii_whitespace) {
        text.pop();
    }
    Ok((Stamp::of(&metadata), text))
}

/// The header's value, if this is a token (RFC 6750, section 2.1) of a length that a server reads.
fn sent(scheme: &str, token: &[u8], place: &str) -> Result<Sent, ConfigError> {
    let token = token.trim_ascii_end();
    let bad = |why: String| ConfigError::Content { what: WHAT, place: place.to_owned(), why };
    if token.is_empty() {
        return Err(bad("it is empty".to_owned()));
    }
    if token.len() > TOKEN_BYTES_MAX {
        return Err(bad(format!("it is longer than {TOKEN_BYTES_MAX} bytes")));
    }
    let lawful = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/=".contains(byte);
    if !token.iter().all(lawful) {
        let why =
            "it holds something else than A-Z a-z 0-9 - . _ ~ + / =, such as a space or a line";
        return Err(bad(why.to_owned()));
    }
    let mut value = Zeroizing::new(Vec::with_capacity(scheme.len().saturating_add(token.len())));
    value.extend_from_slice(scheme.as_bytes());
    value.extend_from_slice(token);
    let value = Bytes::from_owner(value);
    let mut sent = Sent::try_from(value).map_err(|_| bad("it cannot be sent".to_owned()))?;
    sent.set_sensitive(true);
    Ok(sent)
}

const WHAT: &str = "token";
const SCHEME: &str = "Bearer ";
const CREDENTIAL: &str = "bulla_";
/// As the server has it.
const TOKEN_BYTES_MAX: usize = 8 * 1024;
const FILE_BYTES_MAX: usize = TOKEN_BYTES_MAX + 64;
/// More than any mode is.
#[cfg(unix)]
const MODES: i64 = 1 << 20;

#[cfg(test)]
mod tests;
