//! Makes data keys: in the clear and wrapped, or wrapped only. Bulla keeps none.

use crate::audit::Record;
use crate::crypto::{Binding, BlobKind, EncryptionContext, Header};
use crate::keys::{KeyId, KeyRef, Use};
use crate::policy::Action;

use super::perform::{Act, UseCase};
use super::record::recorded;
use super::refusal::Refusal;

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

    fn describe(&self, record: &mut Record) {
        record.store = self.store;
        record.items = u32::try_from(self.count).unwrap_or(u32::MAX);
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<GeneratedDataKeys, Refusal> {
        let mut key = act.custody.key(act.permit, &self.key).await?;
        act.record.key = Some(key.id());
        let version = act.custody.wrapping_version(act.permit, &mut key).await?;
        act.record.version = version.number();
        let kek = act.custody.material(act.permit, &key, &version, Use::Wrap)?;
        let header =
            Header::new(BlobKind::Client, *key.id().as_bytes(), version.number(), self.store)?;
        let binding = Binding::new(&header, act.permit.tenant().as_bytes(), &self.context);
        let mut data_keys = Vec::with_capacity(self.count);
        let random = act.custody.random();
        kek.generate_data_keys(random, &binding, self.key_bytes, self.count, |plaintext, blob| {
            let plaintext = if PLAINTEXT { plaintext.to_vec() } else { Vec::new() };
            data_keys.push(DataKeyPair { plaintext, ciphertext: blob });
        })?;
        act.record.wrapped_bytes = (self.key_bytes as u64).saturating_mul(self.count as u64);
        Ok(GeneratedDataKeys { data_keys, key: key.id(), version: version.number() })
    }
}
