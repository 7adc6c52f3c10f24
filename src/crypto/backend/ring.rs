//! The second back end, which must agree with the first.
//!
//! Its states leave key bytes behind when they are dropped. Those of long life are in locked
//! pages, which are wiped; those of a single message are wiped with the stack.

use ring::aead::{AES_256_GCM, Aad, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::hmac::{Context, HMAC_SHA256, Key};

use super::{Primitives, Refused};

/// `ring`: code of BoringSSL's descent.
pub struct Ring;

impl Primitives for Ring {
    const NAME: &'static str = "ring";

    type MacState = Key;

    fn mac_state(key: &[u8]) -> Self::MacState {
        Key::new(HMAC_SHA256, key)
    }

    fn mac(state: &Self::MacState, parts: &[&[u8]], tag: &mut [u8; 32]) {
        let mut mac = Context::with_key(state);
        for part in parts {
            mac.update(part);
        }
        for (to, from) in tag.iter_mut().zip(mac.sign().as_ref()) {
            *to = *from;
        }
    }

    fn seal(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
    ) -> Result<[u8; 16], Refused> {
        let tag = aead_key(key)?
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(*iv), Aad::from(aad), buffer)
            .map_err(|_| Refused)?;
        tag.as_ref().try_into().map_err(|_| Refused)
    }

    fn open(
        key: &[u8; 32],
        iv: &[u8; 12],
        aad: &[u8],
        buffer: &mut [u8],
        tag: &[u8; 16],
    ) -> Result<(), Refused> {
        let nonce = Nonce::assume_unique_for_key(*iv);
        aead_key(key)?
            .open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(*tag), buffer, 0..)
            .map_err(|_| Refused)?;
        Ok(())
    }
}

fn aead_key(key: &[u8; 32]) -> Result<LessSafeKey, Refused> {
    UnboundKey::new(&AES_256_GCM, key).map(LessSafeKey::new).map_err(|_| Refused)
}
