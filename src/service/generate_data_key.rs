//! Makes data keys: in the clear and wrapped, or wrapped only. Bulla keeps none.

use crate::audit::{Items, Record};
use crate::crypto::EncryptionContext;
use crate::keys::{KeyId, KeyRef};
use crate::policy::Action;

use super::perform::{About, Act, UseCase};
use super::record::recorded;
use super::refusal::Refusal;
use super::wrapping::Wrapping;

/// One to a thousand data keys under one key and one encryption context. `PLAINTEXT` says whether
/// they also leave in the clear.
pub struct GenerateDataKeys<const PLAINTEXT: bool> {
    /// The key to wrap under.
    pub key: KeyRef,
    /// Bound to each blob.
    pub context: EncryptionContext,
    /// 16 to 64.
    pub key_bytes: usize,
    /// 0: not said.
    pub store: u32,
    /// 1 to 1000.
    pub count: usize,
}

/// A data key and its wrapped form. Deliberately mute: no `Debug`.
pub struct DataKeyPair {
    /// Empty where the plaintext was not asked for.
    pub plaintext: Vec<u8>,
    /// The blob.
    pub ciphertext: Vec<u8>,
}

/// What was made.
pub struct GeneratedDataKeys {
    /// As many as were asked for.
    pub data_keys: Vec<DataKeyPair>,
    /// The key they are wrapped under.
    pub key: KeyId,
    /// Its version.
    pub version: u32,
}

// === impl GenerateDataKeys ===

impl<const PLAINTEXT: bool> UseCase for GenerateDataKeys<PLAINTEXT> {
    type Reply = GeneratedDataKeys;

    const ACTION: Action =
        if PLAINTEXT { Action::GenerateDataKey } else { Action::GenerateDataKeyWithoutPlaintext };

    fn about(&self) -> About<'_> {
        About::Wrap(self.key.clone(), &self.context)
    }

    fn describe(&self, record: &mut Record) {
        record.store = self.store;
        record.items = u32::try_from(self.count).unwrap_or(u32::MAX);
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<GeneratedDataKeys, Refusal> {
        let wrapping = Wrapping::of(act, act.permit, &self.key).await?;
        act.record.key = Some(wrapping.key());
        act.record.version = wrapping.version();
        let kek = wrapping.material(act, act.permit)?;
        let binding = wrapping.binding(act.permit, self.store, &self.context)?;
        let mut data_keys = Vec::with_capacity(self.count);
        let random = act.custody.random();
        kek.generate_data_keys(random, &binding, self.key_bytes, self.count, |plaintext, blob| {
            let plaintext = if PLAINTEXT { plaintext.to_vec() } else { Vec::new() };
            data_keys.push(DataKeyPair { plaintext, ciphertext: blob });
        })?;
        let blobs = data_keys.iter().map(|pair| pair.ciphertext.as_slice());
        act.record.items_root = Some(Items::of(blobs).root());
        act.record.wrapped_bytes = (self.key_bytes as u64).saturating_mul(self.count as u64);
        Ok(GeneratedDataKeys { data_keys, key: wrapping.key(), version: wrapping.version() })
    }
}
