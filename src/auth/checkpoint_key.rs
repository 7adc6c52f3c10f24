//! The installation's Ed25519 key (RFC 8032) that signs checkpoints of its audit log, and nothing else.

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};

use crate::audit::{Sign, VerifyingKey, origin};

/// Signs checkpoints of one installation's log.
pub struct CheckpointKey {
    pair: Ed25519KeyPair,
    public: VerifyingKey,
}

/// The library refuses the seed.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the key that signs checkpoints cannot be used")]
pub struct CheckpointKeyError;

// === impl CheckpointKey ===

impl CheckpointKey {
    /// The key that this seed is of.
    ///
    /// # Errors
    /// The library refuses the seed.
    pub fn new(installation_id: [u8; 16], seed: &[u8; 32]) -> Result<Self, CheckpointKeyError> {
        let pair = Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| CheckpointKeyError)?;
        let public = pair.public_key().as_ref().try_into().map_err(|_| CheckpointKeyError)?;
        let public = VerifyingKey::new(&origin(installation_id), public);
        Ok(Self { pair, public: public.map_err(|_| CheckpointKeyError)? })
    }
}

impl Sign for CheckpointKey {
    fn key(&self) -> &VerifyingKey {
        &self.public
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        let mut bytes = [0; 64];
        // An Ed25519 signature has this length and no other.
        bytes.iter_mut().zip(self.pair.sign(message).as_ref()).for_each(|(to, from)| *to = *from);
        bytes
    }
}
