//! Ids and times: 16 random bytes shown as a UUID, and milliseconds since the Unix epoch.

use std::fmt;
use std::num::NonZeroU32;

use uuid::Uuid;

/// A key's id: random, immutable, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyId([u8; 16]);

/// A tenant's id. [`TenantId::INSTALLATION`] owns the rows that belong to no tenant.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct TenantId([u8; 16]);

/// A campaign's id: random, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CampaignId([u8; 16]);

/// A scan's id: random, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ScanId([u8; 16]);

/// A grant's id: random, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GrantId([u8; 16]);
/// A proposal's id: random, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProposalId([u8; 16]);

/// The id of a service account's credential: random, never reused.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct CredentialId([u8; 16]);

/// The id that an agent or a program drew when it started.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct HolderId([u8; 16]);

/// The number of a registered store, as it stands in the blobs' headers. Never 0, never reused.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoreNumber(NonZeroU32);

/// Milliseconds since the Unix epoch.
#[derive(Clone, Copy, Debug, Default, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Timestamp(i64);

/// The text or bytes are not an id.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a UUID in its canonical form (lower case, with hyphens)")]
pub struct MalformedId;

macro_rules! id {
    ($name:ident) => {
        impl $name {
            /// From 16 bytes that were drawn at random.
            pub const fn from_bytes(bytes: [u8; 16]) -> Self {
                Self(bytes)
            }

            /// From bytes that were stored.
            pub fn from_slice(bytes: &[u8]) -> Result<Self, MalformedId> {
                bytes.try_into().map(Self).map_err(|_| MalformedId)
            }

            /// From its one canonical text form. Braces, upper case and missing hyphens are refused,
            /// so that one id has one name.
            pub fn parse(text: &str) -> Result<Self, MalformedId> {
                let uuid = Uuid::try_parse(text).map_err(|_| MalformedId)?;
                let id = Self(uuid.into_bytes());
                if id.to_string() == text { Ok(id) } else { Err(MalformedId) }
            }

            /// The 16 bytes.
            pub const fn as_bytes(&self) -> &[u8; 16] {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&Uuid::from_bytes(self.0), formatter)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({self})", stringify!($name))
            }
        }
    };
}

id!(KeyId);
id!(TenantId);
id!(CampaignId);
id!(ScanId);
id!(GrantId);
id!(ProposalId);
id!(CredentialId);
id!(HolderId);

// === impl StoreNumber ===

impl StoreNumber {
    /// The number; none for 0, which means that no store was said.
    pub const fn new(number: u32) -> Option<Self> {
        match NonZeroU32::new(number) {
            Some(number) => Some(Self(number)),
            None => None,
        }
    }

    /// As it stands in a header.
    pub const fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl fmt::Display for StoreNumber {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.0, formatter)
    }
}

impl TenantId {
    /// Owns what belongs to the installation itself: its description, root slots, tenants.
    pub const INSTALLATION: Self = Self([0; 16]);
}

// === impl Timestamp ===

impl Timestamp {
    /// The time `unix_ms` milliseconds after the Unix epoch.
    pub const fn from_unix_ms(unix_ms: i64) -> Self {
        Self(unix_ms)
    }

    /// Milliseconds since the Unix epoch.
    pub const fn unix_ms(self) -> i64 {
        self.0
    }

    /// This time and `millis` more; saturates at the end of time.
    pub fn plus_ms(self, millis: u64) -> Self {
        Self(self.0.saturating_add(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    /// This time and `millis` less; saturates at the beginning of time.
    pub fn minus_ms(self, millis: u64) -> Self {
        Self(self.0.saturating_sub(i64::try_from(millis).unwrap_or(i64::MAX)))
    }

    /// The milliseconds from this time until `later`; 0 if that is not later.
    pub fn until_ms(self, later: Self) -> u64 {
        u64::try_from(later.0.saturating_sub(self.0)).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::arithmetic_side_effects)]
    use super::*;

    #[test]
    fn an_id_has_one_text_form() {
        let text = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";
        let id = KeyId::parse(text).unwrap();
        assert_eq!(id.to_string(), text);
        assert_eq!(KeyId::from_slice(id.as_bytes()), Ok(id));
        for other in [
            "A0A1A2A3-A4A5-A6A7-A8A9-AAABACADAEAF",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
            "{a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf}",
            "urn:uuid:a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf",
            "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaea",
            "",
        ] {
            assert_eq!(KeyId::parse(other), Err(MalformedId), "{other:?}");
        }
    }

    #[test]
    fn time_saturates() {
        assert_eq!(Timestamp::from_unix_ms(i64::MAX).plus_ms(1).unix_ms(), i64::MAX);
        assert_eq!(Timestamp::from_unix_ms(5).plus_ms(u64::MAX).unix_ms(), i64::MAX);
    }
}
