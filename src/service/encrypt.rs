//! Wraps a small payload of the caller's.

use zeroize::Zeroizing;

use crate::audit::{Items, Record};
use crate::crypto::EncryptionContext;
use crate::keys::{KeyId, KeyRef};
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::record::recorded;
use super::refusal::Refusal;
use super::wrapping::Wrapping;

/// 1 to 4096 bytes to wrap.
pub struct Encrypt {
    /// The key to wrap under.
    pub key: KeyRef,
    /// Wiped when this is dropped.
    pub plaintext: Zeroizing<Vec<u8>>,
    /// Bound to the blob.
    pub context: EncryptionContext,
    /// 0: not said.
    pub store: u32,
}

/// A blob and what it is under.
pub struct Wrapped {
    /// The blob.
    pub ciphertext: Vec<u8>,
    /// The key.
    pub key: KeyId,
    /// Its version.
    pub version: u32,
}

// === impl Encrypt ===

impl UseCase for Encrypt {
    type Reply = Wrapped;

    const ACTION: Action = Action::Encrypt;

    fn about(&self) -> About<'_> {
        About::Wrap(self.key.clone(), &self.context)
    }

    fn describe(&self, record: &mut Record) {
        record.store = self.store;
        record.items = 1;
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Wrapped, Refusal> {
        let wrapping = Wrapping::of(act, act.permit, &self.key).await?;
        act.record.key = Some(wrapping.key());
        act.record.version = wrapping.version();
        let kek = wrapping.material(act, act.permit)?;
        let binding = wrapping.binding(act.permit, self.store, &self.context)?;
        let ciphertext = kek.wrap(act.custody.random(), &binding, &self.plaintext)?;
        act.record.items_root = Some(Items::of([ciphertext.as_slice()]).root());
        act.record.wrapped_bytes = self.plaintext.len() as u64;
        Ok(Wrapped { ciphertext, key: wrapping.key(), version: wrapping.version() })
    }
}
