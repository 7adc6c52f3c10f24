//! Says what a blob's header claims, and where that version stands. Opens nothing.

use crate::audit::Record;
use crate::crypto::{BLOB_OVERHEAD_BYTES, EncryptionContext};
use crate::custody::CustodyError;
use crate::keys::{Alias, KeyId, State, Use};
use crate::policy::Action;

use super::decrypt::{client_header, key_of};
use super::perform::{About, Act, BlobOf, UseCase};
use super::refusal::Refusal;

/// A blob to look at.
pub struct Inspect {
    /// The blob.
    pub ciphertext: Vec<u8>,
}

/// What its header says. Only `Decrypt` can tell whether that is true.
pub struct Inspected {
    /// The suite.
    pub suite: u8,
    /// The key it claims.
    pub key: KeyId,
    /// The version it claims.
    pub version: u32,
    /// The store it claims.
    pub store: u32,
    /// How long the plaintext is.
    pub plaintext_bytes: usize,
    /// Where that version stands; `None` if the tenant has no such key or version.
    pub state: Option<State>,
    /// Whether that state and the key let it be decrypted.
    pub decryptable: bool,
    /// The key's aliases.
    pub aliases: Vec<Alias>,
}

// === impl Inspect ===

impl UseCase for Inspect {
    type Reply = Inspected;

    const ACTION: Action = Action::Inspect;

    fn about(&self) -> About<'_> {
        static NOTHING: EncryptionContext = EncryptionContext::empty();
        About::Blobs(vec![BlobOf { key: key_of(&self.ciphertext), context: &NOTHING }])
    }

    fn describe(&self, record: &mut Record) {
        record.items = 1;
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Inspected, Refusal> {
        let header = client_header(&self.ciphertext)?;
        let id = KeyId::from_bytes(*header.key_id());
        act.record.key = Some(id);
        act.record.version = header.version();
        act.record.store = header.store();
        let mut inspected = Inspected {
            suite: header.suite(),
            key: id,
            version: header.version(),
            store: header.store(),
            plaintext_bytes: self.ciphertext.len().saturating_sub(BLOB_OVERHEAD_BYTES),
            state: None,
            decryptable: false,
            aliases: Vec::new(),
        };
        let key = match act.custody.key_by_id(act.permit, id).await {
            Ok(key) => key,
            Err(CustodyError::NotFound) => return Ok(inspected),
            Err(other) => return Err(other.into()),
        };
        inspected.aliases.clone_from(&key.key().aliases);
        match act.custody.version(act.permit, id, header.version()).await {
            Ok(version) => {
                inspected.state = Some(version.version().state());
                inspected.decryptable =
                    !key.key().disabled && version.version().allows(Use::Decrypt);
                Ok(inspected)
            }
            Err(CustodyError::NotFound) => Ok(inspected),
            Err(other) => Err(other.into()),
        }
    }
}
