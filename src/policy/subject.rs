//! Who asks: the principal, how it proved that, and what that proof says besides.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use crate::keys::{CredentialId, KeyId, KeyRing};
use crate::policy::action::Action;
use crate::policy::principal::{Principal, PrincipalId, shown_as_text};
use crate::policy::question::{KeyFacts, Question, Target};

/// How a caller proved who it is.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub enum CredentialKind {
    /// A client certificate.
    Certificate,
    /// A token of a configured issuer.
    Token,
    /// A credential of a service account.
    ServiceAccount,
    /// A token of this installation's own, exchanged for another proof.
    Exchanged,
    /// None: it is a part of this program, or runs it on the database itself.
    Internal,
}

/// Everything that a decision reads about who asks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Subject {
    /// Who.
    pub principal: Principal,
    /// How that was proved.
    pub kind: CredentialKind,
    /// The groups that the proof asserts, besides those that relations make it a member of.
    pub groups: Vec<GroupName>,
    /// What a token claims, by the names of the configuration's mapping.
    pub claims: BTreeMap<String, String>,
    /// For whom a gateway calls, when the end user's token came along.
    pub end_user: Option<PrincipalId>,
    /// The most that the credential is good for; `None` restricts nothing.
    pub scope: Option<Arc<Scope>>,
    /// The service account's credential that this proof is, or was exchanged for. It gives no right, and
    /// no decision reads it: what it no longer proves, nobody asks about.
    pub credential: Option<CredentialId>,
}

/// A group's name: 1 to 63 of `a-z 0-9 -`, beginning with a letter.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct GroupName(Arc<str>);

/// The text names no group.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("a group's name is 1 to 63 of a-z 0-9 - and begins with a letter")]
pub struct MalformedGroup;

/// The most that a credential is good for. It is looked at before any policy, and never widens
/// anything. Empty lists restrict nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Scope {
    /// Only these actions.
    pub actions: Vec<Action>,
    /// Only these keys, or those in `key_rings`.
    pub keys: Vec<KeyId>,
    /// Only keys in these rings or inside them, or those in `keys`.
    pub key_rings: Vec<KeyRing>,
    /// Pairs that the encryption context must hold.
    pub encryption_context: BTreeMap<String, String>,
    /// Only from these networks.
    pub networks: Vec<Network>,
}

/// A block of addresses (RFC 4632), such as `10.0.0.0/8` or `2001:db8::/32`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Network {
    address: IpAddr,
    prefix_bits: u8,
}

/// The text is no block of addresses.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("not a block of addresses such as 10.0.0.0/8, with every bit after the prefix 0")]
pub struct MalformedNetwork;

// === impl CredentialKind ===

impl CredentialKind {
    /// The name in policies and in the audit log.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Certificate => "certificate",
            Self::Token => "token",
            Self::ServiceAccount => "service_account",
            Self::Exchanged => "exchanged",
            Self::Internal => "internal",
        }
    }
}

// === impl Subject ===

impl Subject {
    /// A principal that proved itself so, and about whom nothing else is known.
    pub fn new(principal: Principal, kind: CredentialKind) -> Self {
        Self {
            principal,
            kind,
            groups: Vec::new(),
            claims: BTreeMap::new(),
            end_user: None,
            scope: None,
            credential: None,
        }
    }
}

// === impl Scope ===

impl Scope {
    /// Whether the credential is good for what is asked.
    pub(super) fn allows(&self, question: &Question<'_>) -> bool {
        let circumstances = question.circumstances;
        let network = self.networks.is_empty()
            || circumstances
                .source
                .is_some_and(|source| self.networks.iter().any(|network| network.contains(source)));
        if question.action.needs_no_policy() {
            return network;
        }
        let action = self.actions.is_empty() || self.actions.contains(&question.action);
        let in_ring = |facts: &KeyFacts| {
            let ring = facts.ring.as_ref();
            ring.is_some_and(|ring| self.key_rings.iter().any(|outer| outer.contains(ring)))
        };
        let named = match question.target {
            Target::Key(facts) => self.keys.contains(&facts.id) || in_ring(facts),
            // What is done to the tenant as a whole is done to no key in particular.
            Target::Tenant => !question.action.is_on_key(),
        };
        let key = named || (self.keys.is_empty() && self.key_rings.is_empty());
        let context = self.encryption_context.iter().all(|(key, value)| {
            let mut pairs = circumstances.encryption_context.iter();
            pairs.any(|(own, held)| own == key && held == value)
        });
        action && key && context && network
    }
}

// === impl GroupName ===

impl GroupName {
    /// Parses the one form.
    pub fn parse(text: &str) -> Result<Self, MalformedGroup> {
        let lawful = (1..=63).contains(&text.len())
            && text.starts_with(|c: char| c.is_ascii_lowercase())
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if lawful { Ok(Self(text.into())) } else { Err(MalformedGroup) }
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

shown_as_text!(GroupName);

// === impl Network ===

impl Network {
    /// Parses `address/prefix`. An address whose bits after the prefix are not 0 is refused: it would
    /// be unclear what was meant.
    pub fn parse(text: &str) -> Result<Self, MalformedNetwork> {
        let (address, prefix) = text.split_once('/').ok_or(MalformedNetwork)?;
        let address: IpAddr = address.parse().map_err(|_| MalformedNetwork)?;
        let lawful = prefix.bytes().all(|b| b.is_ascii_digit())
            && (prefix == "0" || !prefix.starts_with('0'));
        let prefix_bits: u8 = prefix.parse().map_err(|_| MalformedNetwork)?;
        let network = Self { address, prefix_bits };
        let after = match address {
            IpAddr::V4(v4) if prefix_bits <= 32 => {
                u128::from(v4.to_bits()) & !(network.mask() >> 96)
            }
            IpAddr::V6(v6) if prefix_bits <= 128 => v6.to_bits() & !network.mask(),
            _ => return Err(MalformedNetwork),
        };
        let after = if address.is_ipv4() { after & u128::from(u32::MAX) } else { after };
        if lawful && after == 0 { Ok(network) } else { Err(MalformedNetwork) }
    }

    /// Whether the address is in the block. An IPv4 address that is mapped into IPv6 counts as IPv4.
    pub fn contains(&self, address: IpAddr) -> bool {
        match (self.address, address.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(other)) => {
                let differing = u128::from(own.to_bits() ^ other.to_bits()) << 96;
                differing & self.mask() == 0
            }
            (IpAddr::V6(own), IpAddr::V6(other)) => {
                (own.to_bits() ^ other.to_bits()) & self.mask() == 0
            }
            _ => false,
        }
    }

    /// The prefix, at the top of 128 bits.
    fn mask(&self) -> u128 {
        u128::MAX.checked_shl(128_u32.saturating_sub(self.prefix_bits.into())).unwrap_or(0)
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.prefix_bits)
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_of_its_prefix_and_no_other() {
        let cases = [
            ("10.0.0.0/8", "10.255.1.2", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.1.2.3", true),
            ("10.0.0.1/32", "10.0.0.1", true),
            ("10.0.0.1/32", "10.0.0.2", false),
            ("0.0.0.0/0", "203.0.113.9", true),
            ("0.0.0.0/0", "2001:db8::1", false),
            ("2001:db8::/32", "2001:db8:1::1", true),
            ("2001:db8::/32", "2001:db9::1", false),
            ("::/0", "::1", true),
        ];
        for (network, address, inside) in cases {
            let network = Network::parse(network).unwrap();
            assert_eq!(network.contains(address.parse().unwrap()), inside, "{network} {address}");
        }
    }

    #[test]
    fn c01_a_network_has_one_spelling() {
        for bad in [
            "",
            "10.0.0.0",
            "10.0.0.1/8",
            "10.0.0.0/08",
            "10.0.0.0/33",
            "10.0.0.0/+8",
            "::/129",
            "2001:db8::1/32",
            "10.0.0.0/8 ",
            "010.0.0.0/8",
        ] {
            assert_eq!(Network::parse(bad), Err(MalformedNetwork), "{bad:?}");
        }
    }

    #[test]
    fn c01_a_group_has_one_spelling() {
        assert!(GroupName::parse("payments-team").is_ok());
        for bad in ["", "Payments", "payments ", "päyments", "1st", "-a", &"a".repeat(64)] {
            assert_eq!(GroupName::parse(bad), Err(MalformedGroup), "{bad:?}");
        }
    }
}
