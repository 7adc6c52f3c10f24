//! Arguments that several commands share, and how they are read.

use std::collections::BTreeMap;
use std::io::Read as _;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::failure::{Exit, Failure};

/// Why a change is made, and an id that makes it happen once.
#[derive(clap::Args, Clone, Debug)]
pub struct Change {
    /// Why; it is kept with the change and in the audit record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: Option<String>,
    #[command(flatten)]
    pub(crate) once: Once,
}

/// The same where the reason must be given.
#[derive(clap::Args, Clone, Debug)]
pub struct Decision {
    /// Why; it is kept with the decision and in the audit record
    #[arg(long, value_name = "TEXT")]
    pub(crate) reason: String,
    #[command(flatten)]
    pub(crate) once: Once,
}

/// An id that makes a change happen once.
#[derive(clap::Args, Clone, Debug)]
pub struct Once {
    /// The same id within 24 hours has the same outcome once (A-Z a-z 0-9 - _) [default: random]
    #[arg(long, value_name = "ID")]
    pub(crate) request_id: Option<String>,
}

/// Pairs that are authenticated with a blob.
#[derive(clap::Args, Clone, Debug, Default)]
pub struct ContextArguments {
    /// Pairs that are authenticated but not secret; decrypting needs the same ones
    #[arg(long = "encryption-context", short = 'c', alias = "context")]
    #[arg(value_name = "NAME=VALUE", value_parser = parse_pair)]
    encryption_context: Vec<(String, String)>,
}

// === impl Change ===

impl Change {
    pub(crate) fn reason(&self) -> String {
        self.reason.clone().unwrap_or_default()
    }

    pub(crate) fn request_id(&self) -> String {
        self.once.request_id()
    }
}

// === impl Once ===

impl Once {
    /// Empty when the client should choose one.
    pub(crate) fn request_id(&self) -> String {
        self.request_id.clone().unwrap_or_default()
    }
}

// === impl ContextArguments ===

impl ContextArguments {
    /// The pairs; a name that is given twice is an error, whatever its values.
    pub(crate) fn pairs(&self) -> Result<BTreeMap<String, String>, Failure> {
        distinct("--encryption-context", &self.encryption_context)
    }
}

/// Reads `name=value`.
pub(crate) fn parse_pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// The pairs as a map.
pub(crate) fn distinct(
    flag: &str,
    pairs: &[(String, String)],
) -> Result<BTreeMap<String, String>, Failure> {
    let mut map = BTreeMap::new();
    for (name, value) in pairs {
        if map.insert(name.clone(), value.clone()).is_some() {
            return Err(Failure::new(Exit::Usage, format!("{flag} gives {name:?} twice")));
        }
    }
    Ok(map)
}

/// A blob from an argument: base64, or `@FILE` with base64 or the blob's own bytes.
pub(crate) fn blob(argument: &str) -> Result<Vec<u8>, Failure> {
    match argument.strip_prefix('@') {
        None => from_base64(argument.as_bytes()).ok_or_else(|| {
            Failure::new(Exit::Data, "the blob is not base64")
                .hint("give base64, or @FILE for a file with the blob")
        }),
        Some(path) => blob_in(Path::new(path)),
    }
}

/// A blob from a file.
pub(crate) fn blob_in(path: &Path) -> Result<Vec<u8>, Failure> {
    let file = std::fs::File::open(path).map_err(|error| Failure::input(path, &error))?;
    let mut bytes = Vec::new();
    file.take(BLOB_FILE_BYTES_MAX)
        .read_to_end(&mut bytes)
        .map_err(|error| Failure::input(path, &error))?;
    if bytes.starts_with(MAGIC) {
        return Ok(bytes);
    }
    from_base64(&bytes).filter(|blob| blob.starts_with(MAGIC)).ok_or_else(|| {
        Failure::new(Exit::Data, format!("{} holds no blob", path.display()))
            .hint("a blob starts with 10JV in base64, or with the bytes D7 42 55")
    })
}

/// Base64 with any white space in it.
fn from_base64(text: &[u8]) -> Option<Vec<u8>> {
    let dense: Vec<u8> = text.iter().copied().filter(|b| !b.is_ascii_whitespace()).collect();
    STANDARD.decode(dense).ok().filter(|bytes| !bytes.is_empty())
}

/// How every format of Bulla begins (docs/format.md).
pub(crate) const MAGIC: &[u8] = &[0xd7, 0x42, 0x55];

/// A blob has at most 4202 bytes; in base64 with line feeds that stays far below this.
const BLOB_FILE_BYTES_MAX: u64 = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_pair_is_split_at_its_first_equals_sign() {
        assert_eq!(parse_pair("a=b=c"), Ok(("a".into(), "b=c".into())));
        assert_eq!(parse_pair("a="), Ok(("a".into(), String::new())));
        assert!(parse_pair("=b").is_err());
        assert!(parse_pair("ab").is_err());
    }

    #[test]
    fn a_name_that_is_given_twice_is_an_error() {
        let pairs = [("a".to_owned(), "1".to_owned()), ("a".to_owned(), "1".to_owned())];
        let failure = distinct("--encryption-context", &pairs).unwrap_err();
        assert_eq!(failure.exit(), Exit::Usage);
    }

    #[test]
    fn a_blob_is_base64_or_a_file_of_base64_or_of_its_own_bytes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("blob");
        let at = format!("@{}", path.display());
        assert_eq!(blob("10JVAQ==").unwrap(), [0xd7, 0x42, 0x55, 1]);
        for content in [&b"10JV\nAQ==\n"[..], &[0xd7, 0x42, 0x55, 1]] {
            std::fs::write(&path, content).unwrap();
            assert_eq!(blob(&at).unwrap(), [0xd7, 0x42, 0x55, 1]);
        }
        std::fs::write(&path, b"not a blob").unwrap();
        assert_eq!(blob(&at).unwrap_err().exit(), Exit::Data);
        assert_eq!(blob("10JVA").unwrap_err().exit(), Exit::Data);
        assert_eq!(blob("").unwrap_err().exit(), Exit::Data);
        assert_eq!(blob("@/nowhere/at/all").unwrap_err().exit(), Exit::NoInput);
    }
}
