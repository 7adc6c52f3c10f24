//! A service account's credential as it is shown once and presented ever after:
//! `bulla_` ‖ base64url(tenant 16 ‖ credential id 16 ‖ secret 32 ‖ CRC-32 4), 97 characters.
//!
//! The prefix and the checksum let scanners find one that leaked (deploy/gitleaks.toml) and let a damaged
//! one be refused without a look at any row. Whether it is anybody's is not known here.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use zeroize::Zeroizing;

use super::AuthError;
use crate::keys::TenantId;

/// What every credential begins with.
pub const CREDENTIAL_PREFIX: &str = "bulla_";

/// A credential that somebody presents. Not yet anybody's. Its secret is wiped when it is dropped.
pub struct PresentedCredential {
    tenant: TenantId,
    id: [u8; 16],
    secret: Zeroizing<[u8; 32]>,
}

// === impl PresentedCredential ===

impl PresentedCredential {
    /// Reads the one form.
    ///
    /// # Errors
    /// It is of another length or alphabet, or its checksum is wrong.
    pub fn parse(text: &str) -> Result<Self, AuthError> {
        let encoded = text.strip_prefix(CREDENTIAL_PREFIX).ok_or(AuthError::MalformedCredential)?;
        let mut whole = Zeroizing::new([0; WHOLE_BYTES]);
        let read = URL_SAFE_NO_PAD.decode_slice(encoded, &mut whole[..]);
        if read != Ok(WHOLE_BYTES) {
            return Err(AuthError::MalformedCredential);
        }
        let parts = whole.split_first_chunk::<16>().and_then(|(tenant, rest)| {
            let (id, rest) = rest.split_first_chunk::<16>()?;
            let (secret, checksum) = rest.split_first_chunk::<32>()?;
            Some((tenant, id, secret, checksum))
        });
        let Some((tenant, id, secret, checksum)) = parts else {
            return Err(AuthError::MalformedCredential);
        };
        if checksum != crc(tenant, id, secret) {
            return Err(AuthError::MalformedCredential);
        }
        let tenant = TenantId::from_bytes(*tenant);
        Ok(Self { tenant, id: *id, secret: Zeroizing::new(*secret) })
    }

    /// The text of a credential that was just made. It is to be shown once and kept nowhere.
    pub fn render(tenant: TenantId, id: &[u8; 16], secret: &[u8; 32]) -> Zeroizing<String> {
        let checksum = crc(tenant.as_bytes(), id, secret);
        let mut whole = Zeroizing::new(Vec::with_capacity(WHOLE_BYTES));
        for part in [&tenant.as_bytes()[..], id, secret, &checksum] {
            whole.extend_from_slice(part);
        }
        let mut text = Zeroizing::new(String::with_capacity(TEXT_BYTES));
        text.push_str(CREDENTIAL_PREFIX);
        URL_SAFE_NO_PAD.encode_string(&whole[..], &mut text);
        text
    }

    /// The tenant that it says it is of.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Its id.
    pub fn id(&self) -> &[u8; 16] {
        &self.id
    }

    /// What proves it. To be compared with a stored hash in constant time, and with nothing else.
    pub fn secret(&self) -> &[u8; 32] {
        &self.secret
    }
}

fn crc(tenant: &[u8], id: &[u8], secret: &[u8]) -> [u8; 4] {
    let mut crc = crc32fast::Hasher::new();
    for part in [tenant, id, secret] {
        crc.update(part);
    }
    crc.finalize().to_be_bytes()
}

const WHOLE_BYTES: usize = 16 + 16 + 32 + 4;
const TEXT_BYTES: usize = 97;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use super::*;

    fn made() -> Zeroizing<String> {
        PresentedCredential::render(TenantId::from_bytes([1; 16]), &[2; 16], &[3; 32])
    }

    #[test]
    fn a_credential_comes_back_as_it_was_made() {
        let text = made();
        assert_eq!(text.len(), TEXT_BYTES);
        let read = PresentedCredential::parse(&text).unwrap();
        assert_eq!(read.tenant(), TenantId::from_bytes([1; 16]));
        assert_eq!((read.id(), read.secret()), (&[2; 16], &[3; 32]));
    }

    #[test]
    fn c01_a_credential_has_one_spelling_and_a_damaged_one_is_refused() {
        let text = made();
        for position in 0..text.len() {
            for other in ["A", "B", "+", "/", "=", " "] {
                let mut damaged = text.to_string();
                damaged.replace_range(position..=position, other);
                if damaged != *text {
                    let refused = PresentedCredential::parse(&damaged).err();
                    assert_eq!(refused, Some(AuthError::MalformedCredential), "{damaged}");
                }
            }
        }
        for bad in ["", "bulla_", &text[..96], &format!("{}A", *text), &format!(" {}", *text)] {
            assert!(PresentedCredential::parse(bad).is_err(), "{bad:?}");
        }
    }

    /// The one regular expression of the rule file, as simple as it must be to be checked here.
    #[test]
    fn the_leak_scanners_rule_finds_every_credential_and_nothing_shorter() {
        let rule = include_str!("../../deploy/gitleaks.toml");
        assert!(rule.contains(r#"regex = '''bulla_[A-Za-z0-9_-]{91}'''"#));
        assert!(rule.contains(r#"keywords = ["bulla_"]"#));
        let text = made();
        let (prefix, rest) = text.split_at(CREDENTIAL_PREFIX.len());
        assert_eq!((prefix, rest.len()), ("bulla_", 91));
        assert!(rest.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b)));
    }
}
