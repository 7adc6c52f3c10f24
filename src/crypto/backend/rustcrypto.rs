//! The default back end. With `zeroize` it leaves no key behind when its states are dropped.

use aes_gcm::aead::{AeadInOut, KeyInit};
use aes_gcm::{Aes256Gcm, Nonce, Tag};
use hmac::Hmac;
use hmac::block_api::HmacCore;
use hmac::digest::block_api::{Buffer, CoreProxy};
use hmac::digest::{FixedOutput, Update};
use sha2::Sha256;

use super::{Primitives, Refused};

/// `aes-gcm`, `hmac` and `sha2`, which wipe their states.
pub struct RustCrypto;

impl Primitives for RustCrypto {
    const NAME: &'static str = "RustCrypto";

    /// The two half-way hashes alone, 80 bytes, without the buffer for input.
    type MacState = HmacCore<Sha256>;

    fn mac_state(key: &[u8]) -> Self::MacState {
        let Ok(state) = HmacCore::new_from_slice(key) else {
            unreachable!("HMAC takes keys of any length")
        };
        state
    }

    fn mac(state: &Self::MacState, parts: &[&[u8]], tag: &mut [u8; 32]) {
        let mut mac = Hmac::<Sha256>::compose(state.clone(), Buffer::<HmacCore<Sha256>>::default());
        for part in parts {
            mac.update(part);
        }
        mac.finalize_into(tag.into());
    }

    fn seal(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; 16], Refused> {
        let tag = Aes256Gcm::new(key.into())
            .encrypt_inout_detached(Nonce::cast_from_core(iv), aad, buffer.into())
            .map_err(|_| Refused)?;
        Ok(tag.into())
    }

    fn open(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Refused> {
        Aes256Gcm::new(key.into())
            .decrypt_inout_detached(
                Nonce::cast_from_core(iv),
                aad,
                buffer.into(),
                Tag::cast_from_core(tag),
            )
            .map_err(|_| Refused)
    }
}
