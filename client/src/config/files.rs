//! The files of a configuration: certificates and keys in PEM. Never reads a key that others can read.

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;

use rustls_pki_types::pem::{self, PemObject};
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use zeroize::Zeroizing;

use super::{ConfigError, KEY, Pem};

pub(super) fn read(
    pem: Option<&Pem>,
    (what, variable): (&'static str, &'static str),
) -> Result<(Zeroizing<Vec<u8>>, String), ConfigError> {
    match pem {
        None => Err(ConfigError::Missing { what, variable }),
        Some(Pem::Bytes(bytes)) => Ok((bytes.clone(), "the given bytes".to_owned())),
        Some(Pem::File(path)) => {
            let place = path.display().to_string();
            let bytes = read_file(path, what == KEY.0).map_err(|fault| match fault {
                FileFault::Open(mode) => ConfigError::KeyFileOpen { path: place.clone(), mode },
                FileFault::Size => ConfigError::Content {
                    what,
                    place: place.clone(),
                    why: format!("it is larger than {FILE_BYTES_MAX} bytes"),
                },
                FileFault::Io(error) => ConfigError::Unreadable {
                    what,
                    path: place.clone(),
                    why: error.to_string().to_lowercase(),
                },
            })?;
            Ok((bytes, place))
        }
    }
}

enum FileFault {
    Open(u32),
    Size,
    Io(io::Error),
}

impl From<io::Error> for FileFault {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Judges the permissions of the file that is read, not of whatever has its name a moment later.
fn read_file(path: &Path, secret: bool) -> Result<Zeroizing<Vec<u8>>, FileFault> {
    let file = File::open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if secret {
        refuse_if_open(&metadata)?;
    }
    // Room for all of it at once, so that no half-grown copy of a key is left behind.
    let mut bytes = Zeroizing::new(Vec::with_capacity(FILE_BYTES_MAX.saturating_add(1)));
    file.take(FILE_BYTES_MAX.saturating_add(1) as u64).read_to_end(&mut bytes)?;
    if bytes.len() > FILE_BYTES_MAX { Err(FileFault::Size) } else { Ok(bytes) }
}

#[cfg(unix)]
fn refuse_if_open(metadata: &std::fs::Metadata) -> Result<(), FileFault> {
    use std::os::unix::fs::PermissionsExt;

    let mode = metadata.permissions().mode() & 0o7777;
    if mode & 0o077 == 0 { Ok(()) } else { Err(FileFault::Open(mode)) }
}

#[cfg(not(unix))]
fn refuse_if_open(_: &std::fs::Metadata) -> Result<(), FileFault> {
    Ok(())
}

pub(super) fn certificates(
    pem: &[u8],
    what: &'static str,
    place: String,
) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let found: Result<Vec<_>, pem::Error> = CertificateDer::pem_slice_iter(pem).collect();
    let why = match found {
        Ok(found) if !found.is_empty() => return Ok(found),
        Ok(_) => "it holds no PEM block CERTIFICATE".to_owned(),
        Err(error) => error.to_string(),
    };
    Err(ConfigError::Content { what, place, why })
}

pub(super) fn private_key(
    pem: &[u8],
    place: String,
) -> Result<PrivateKeyDer<'static>, ConfigError> {
    let why = match PrivateKeyDer::from_pem_slice(pem) {
        Ok(key) => return Ok(key),
        Err(_) if pem.windows(ENCRYPTED.len()).any(|at| at == ENCRYPTED) => {
            "it is protected by a passphrase; give it as an unencrypted PKCS #8 file of mode 0600"
        }
        Err(_) => "it holds no PEM block PRIVATE KEY",
    };
    Err(ConfigError::Content { what: KEY.0, place, why: why.to_owned() })
}

const ENCRYPTED: &[u8] = b"ENCRYPTED";
pub(super) const FILE_BYTES_MAX: usize = 256 * 1024;
