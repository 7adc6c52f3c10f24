//! How the root key is protected while the program is not running: slots, each one way of opening it.
//!
//! For now one slot, a key file. Another way is another [`Seal`]; nothing else changes.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use zeroize::Zeroizing;

use crate::crypto::{Binding, KeyMaterial, OpenFailure, Random, RandomFailed, WrapFailure};

/// One way of wrapping and opening the root key.
pub trait Seal: Send + Sync {
    /// The kind, as it stands in the slot's row and in status: `key-file`.
    fn kind(&self) -> &'static str;

    /// Wraps the root key for this slot.
    fn wrap(
        &self,
        random: &dyn Random,
        binding: &Binding,
        root: &KeyMaterial,
    ) -> Result<Vec<u8>, SealError>;

    /// Opens what [`Seal::wrap`] made.
    fn open(&self, binding: &Binding, wrapped: &[u8]) -> Result<KeyMaterial, SealError>;
}

/// A file of 32 random bytes in base64, readable by its owner only.
pub struct KeyFile {
    path: PathBuf,
    material: KeyMaterial,
}

/// Why the root key could not be wrapped or opened.
#[derive(Debug, thiserror::Error)]
pub enum SealError {
    /// The file is not there.
    #[error("the key file {0} is missing; put it back, or name it in seal.key_file")]
    Missing(PathBuf),
    /// The file is there, and must not be overwritten.
    #[error(
        "the key file {0} exists already and is not overwritten; name another, or omit --make-key-file to use it"
    )]
    Exists(PathBuf),
    /// Others could read it.
    #[error("the key file {path} can be read by others (mode {mode:03o}); run: chmod 600 {path}")]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
    /// It does not hold 32 bytes in base64.
    #[error("the key file {0} does not hold 32 bytes in base64")]
    Malformed(PathBuf),
    /// It is a key file, but not this store's.
    #[error("the key file {0} is not the one that this store was made with")]
    Wrong(PathBuf),
    /// Reading or writing it failed.
    #[error("cannot use the key file {path}: {source}")]
    Io {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The operating system gave no randomness.
    #[error(transparent)]
    Random(#[from] RandomFailed),
    /// Wrapping failed.
    #[error(transparent)]
    Wrap(#[from] WrapFailure),
}

// === impl KeyFile ===

impl KeyFile {
    /// Makes a new key file (mode 0600). Never overwrites one.
    pub fn create(path: &Path, random: &dyn Random) -> Result<Self, SealError> {
        let io = |source: io::Error| SealError::Io { path: path.to_owned(), source };
        let mut bytes = Zeroizing::new([0_u8; 32]);
        random.fill(bytes.as_mut_slice())?;
        let mut line = Zeroizing::new(BASE64_STANDARD.encode(bytes.as_slice()));
        line.push('\n');
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600);
        let mut file = options.open(path).map_err(|error| match error.kind() {
            io::ErrorKind::AlreadyExists => SealError::Exists(path.to_owned()),
            _ => io(error),
        })?;
        let written = file.write_all(line.as_bytes()).and_then(|()| file.sync_all());
        let written = written.and_then(|()| sync_folder(path));
        if let Err(error) = written {
            // Half a key file would be taken for the key by whoever tries again.
            let _ = fs::remove_file(path);
            return Err(io(error));
        }
        Ok(Self { path: path.to_owned(), material: KeyMaterial::from_bytes(&mut bytes) })
    }

    /// Reads a key file, refusing one that others can read.
    pub fn read(path: &Path) -> Result<Self, SealError> {
        let io = |source: io::Error| SealError::Io { path: path.to_owned(), source };
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => SealError::Missing(path.to_owned()),
            _ => io(error),
        })?;
        let mode = file.metadata().map_err(io)?.mode() & 0o777;
        if mode & 0o077 != 0 {
            return Err(SealError::Exposed { path: path.to_owned(), mode });
        }
        let malformed = || SealError::Malformed(path.to_owned());
        let mut text = Zeroizing::new(Vec::with_capacity(KEY_FILE_BYTES_MAX));
        file.take(KEY_FILE_BYTES_MAX as u64).read_to_end(&mut text).map_err(io)?;
        let line = text.strip_suffix(b"\n").unwrap_or(&text);
        let mut bytes = Zeroizing::new([0_u8; 32]);
        // The decoder wants room for padding that it then does not use.
        let mut room = Zeroizing::new([0_u8; 36]);
        match BASE64_STANDARD.decode_slice(line, room.as_mut_slice()) {
            Ok(32) => {}
            _ => return Err(malformed()),
        }
        bytes.copy_from_slice(room.get(..32).ok_or_else(malformed)?);
        Ok(Self { path: path.to_owned(), material: KeyMaterial::from_bytes(&mut bytes) })
    }

    /// Removes the file again, for an installation that could not be finished.
    pub fn discard(self) -> Result<(), SealError> {
        fs::remove_file(&self.path).map_err(|source| SealError::Io { path: self.path, source })
    }
}

impl Seal for KeyFile {
    fn kind(&self) -> &'static str {
        "key-file"
    }

    fn wrap(
        &self,
        random: &dyn Random,
        binding: &Binding,
        root: &KeyMaterial,
    ) -> Result<Vec<u8>, SealError> {
        Ok(self.material.kek().wrap_key(random, binding, root)?)
    }

    fn open(&self, binding: &Binding, wrapped: &[u8]) -> Result<KeyMaterial, SealError> {
        self.material
            .kek()
            .open_key(binding, wrapped)
            .map_err(|_: OpenFailure| SealError::Wrong(self.path.clone()))
    }
}

/// Makes the file's name durable.
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent().filter(|folder| !folder.as_os_str().is_empty()) {
        Some(folder) => File::open(folder)?.sync_all(),
        None => Ok(()),
    }
}

const KEY_FILE_BYTES_MAX: usize = 256;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::crypto::OsRandom;

    fn failure(result: Result<KeyFile, SealError>) -> String {
        result.err().unwrap().to_string()
    }

    #[test]
    fn l07_a_key_file_that_others_can_read_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        KeyFile::create(&path, &OsRandom).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o600);
        KeyFile::read(&path).unwrap();
        for mode in [0o640, 0o604, 0o660, 0o601] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            assert!(failure(KeyFile::read(&path)).contains("chmod 600"));
        }
    }

    #[test]
    fn f10_two_key_files_differ_and_none_is_overwritten() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("1"), folder.path().join("2"));
        KeyFile::create(&one, &OsRandom).unwrap();
        KeyFile::create(&other, &OsRandom).unwrap();
        let before = fs::read(&one).unwrap();
        assert_ne!(before, fs::read(&other).unwrap());
        assert!(failure(KeyFile::create(&one, &OsRandom)).contains("exists already"));
        assert_eq!(fs::read(&one).unwrap(), before);
    }

    #[test]
    fn a_key_file_holds_32_bytes_in_base64_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("root.key");
        assert!(failure(KeyFile::read(&path)).contains("missing"));
        let encoded = |n: usize| BASE64_STANDARD.encode(vec![7; n]);
        for bad in ["", "short", &encoded(31), &encoded(33), &format!("{}\n\n", encoded(32))] {
            let mut options = OpenOptions::new();
            options.write(true).create(true).truncate(true).mode(0o600);
            options.open(&path).unwrap().write_all(bad.as_bytes()).unwrap();
            assert!(failure(KeyFile::read(&path)).contains("32 bytes"), "{bad:?}");
        }
        fs::write(&path, encoded(32)).unwrap();
        KeyFile::read(&path).unwrap();
    }
}
