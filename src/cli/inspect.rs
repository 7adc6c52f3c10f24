//! `bulla inspect`: what the header of a blob claims, and where its version stands. Opens nothing.

use std::path::Path;

use bulla_client::kms;

use super::Session;
use super::arguments::{MAGIC, blob, blob_in};
use super::failure::{Exit, Failure};
use super::table::{record, unless_zero, yes_or_no};
use super::version::state_name;

/// What to look at.
#[derive(clap::Args, Debug)]
pub struct InspectArguments {
    /// A blob in base64, @FILE with a blob, or a file that `bulla encrypt` made
    blob: String,
}

// === impl InspectArguments ===

impl InspectArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let ciphertext = wrapped_blob(self.read()?)?;
        let request = kms::InspectRequest { ciphertext };
        let response = session.client().await?.inspect(request).await?;
        session.printer.message(&response, |_| {
            record(&[
                ("suite", format!("{:02x}", response.suite)),
                ("key_id", response.key_id.clone()),
                ("version", response.version.to_string()),
                ("store", unless_zero(response.store)),
                ("plaintext_bytes", response.plaintext_bytes.to_string()),
                ("state", state_name(response.state)),
                ("decryptable", yes_or_no(response.decryptable)),
                ("aliases", response.aliases.join(", ")),
            ])
        })
    }

    /// What is neither marked as a file nor a blob in base64 is the name of a file.
    fn read(&self) -> Result<Vec<u8>, Failure> {
        match blob(&self.blob) {
            Ok(bytes) if self.blob.starts_with('@') || bytes.starts_with(MAGIC) => Ok(bytes),
            Err(failure) if self.blob.starts_with('@') => Err(failure),
            given => {
                let path = Path::new(&self.blob);
                if path.exists() { blob_in(path) } else { given }
            }
        }
    }
}

/// The blob itself, or the one in the header of sealed data (docs/format.md), whatever follows it
/// there: magic, suite, zero, u16 length, wrapped blob.
fn wrapped_blob(bytes: Vec<u8>) -> Result<Vec<u8>, Failure> {
    let Some(rest) = bytes.strip_prefix(DATA_MAGIC) else { return Ok(bytes) };
    let cut = || Failure::new(Exit::Data, "the sealed data ends within its header");
    let (head, rest) = rest.split_first_chunk::<4>().ok_or_else(cut)?;
    let [suite, zero, high, low] = *head;
    if !matches!((suite, zero), (1 | 2, 0)) {
        return Err(Failure::new(Exit::Data, format!("sealed data of unknown suite {suite:02x}")));
    }
    let length = usize::from(u16::from_be_bytes([high, low]));
    rest.get(..length).map(<[u8]>::to_vec).ok_or_else(cut)
}

/// How sealed data begins.
const DATA_MAGIC: &[u8] = &[0xd7, 0x42, 0x55, 0x02];

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing)]
    use super::*;

    #[test]
    fn of_sealed_data_the_wrapped_key_is_inspected() {
        for suite in [1, 2] {
            let sealed = [&[0xd7, 0x42, 0x55, 2, suite, 0, 0, 3][..], b"abc", b"chunks"].concat();
            assert_eq!(wrapped_blob(sealed.clone()).unwrap(), b"abc");
            for cut in 4..11 {
                assert_eq!(wrapped_blob(sealed[..cut].to_vec()).unwrap_err().exit(), Exit::Data);
            }
        }
        let unknown = [0xd7, 0x42, 0x55, 2, 9, 0, 0, 0];
        assert!(wrapped_blob(unknown.to_vec()).unwrap_err().to_string().contains("suite 09"));
        assert_eq!(wrapped_blob(b"other".to_vec()).unwrap(), b"other");
    }

    #[test]
    fn an_argument_is_a_blob_or_else_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("notes.txt.bulla");
        std::fs::write(&path, [0xd7, 0x42, 0x55, 2]).unwrap();
        let of = |blob: &str| InspectArguments { blob: blob.to_owned() }.read();
        assert_eq!(of("10JVAQ==").unwrap(), [0xd7, 0x42, 0x55, 1]);
        assert_eq!(of(path.to_str().unwrap()).unwrap(), [0xd7, 0x42, 0x55, 2]);
        assert_eq!(of(&format!("@{}", path.display())).unwrap(), [0xd7, 0x42, 0x55, 2]);
        assert_eq!(of("no such file").unwrap_err().exit(), Exit::Data);
    }
}
