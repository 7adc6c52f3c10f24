//! A credential that is encrypted to whom it is for, before it leaves the server.
//!
//! The recipient is an X25519 key of age (<https://age-encryption.org/v1>, type `age1`) and nothing else: no
//! passphrase, no SSH key, and no plugin, whose name would be a program to run (RUSTSEC-2024-0433).

use age::x25519::Recipient;

use crate::service::Refusal;

/// Who a credential is for.
#[derive(Clone)]
pub(super) struct AgeRecipient(Recipient);

// === impl AgeRecipient ===

impl AgeRecipient {
    /// Reads `age1...`; empty is none. Refuses a point of low order, for which age panics (attack J05).
    pub(super) fn parse(text: &str) -> Result<Option<Self>, Refusal> {
        if text.is_empty() {
            return Ok(None);
        }
        let usable = point_in(text).is_some_and(|point| !is_of_low_order(point));
        let lawful = usable.then(|| text.parse().ok().map(Self)).flatten();
        let problem =
            "must be an age recipient of X25519, which begins with age1 and has 62 characters";
        lawful.map(Some).ok_or_else(|| Refusal::invalid("age_recipient", problem))
    }

    /// An armored age file of this text.
    pub(super) fn seal(&self, text: &str) -> Option<String> {
        age::encrypt_and_armor(&self.0, text.as_bytes()).ok()
    }
}

/// The public key in a recipient, whose checksum is left to age (Bech32, BIP 173).
fn point_in(text: &str) -> Option<[u8; 32]> {
    let rest = text.strip_prefix("age1")?;
    let (data, checksum) = rest.split_at_checked(DATA_CHARACTERS)?;
    if checksum.len() != CHECKSUM_CHARACTERS {
        return None;
    }
    let (mut point, mut filled) = (Vec::with_capacity(32), 0_u32);
    let mut bits = 0_u32;
    for character in data.bytes() {
        let value = ALPHABET.iter().position(|known| *known == character)?;
        bits = (bits << 5) | u32::try_from(value).ok()?;
        filled = filled.saturating_add(5);
        if filled >= 8 {
            filled = filled.saturating_sub(8);
            point.push(u8::try_from((bits >> filled) & 0xff).ok()?);
            bits &= 0xff;
        }
    }
    point.try_into().ok()
}

/// Whether every agreement with this point is zero (RFC 7748, section 6.1). The highest bit does not
/// count.
fn is_of_low_order(mut point: [u8; 32]) -> bool {
    let [.., last] = &mut point;
    *last &= 0x7f;
    LOW_ORDER.contains(&point)
}

const ALPHABET: &[u8; 32] = b"qpzry9x8gf2tvdw0s3jn54khce6mua7l";
const DATA_CHARACTERS: usize = 52;
const CHECKSUM_CHARACTERS: usize = 6;

/// 0, 1, p - 1, p, p + 1 and the two points of order 8, least significant byte first.
const LOW_ORDER: [[u8; 32]; 7] = [
    [0; 32],
    ends(0x01, 0x00, 0x00),
    ends(0xec, 0xff, 0x7f),
    ends(0xed, 0xff, 0x7f),
    ends(0xee, 0xff, 0x7f),
    [
        0xe0, 0xeb, 0x7a, 0x7c, 0x3b, 0x41, 0xb8, 0xae, 0x16, 0x56, 0xe3, 0xfa, 0xf1, 0x9f, 0xc4,
        0x6a, 0xda, 0x09, 0x8d, 0xeb, 0x9c, 0x32, 0xb1, 0xfd, 0x86, 0x62, 0x05, 0x16, 0x5f, 0x49,
        0xb8, 0x00,
    ],
    [
        0x5f, 0x9c, 0x95, 0xbc, 0xa3, 0x50, 0x8c, 0x24, 0xb1, 0xd0, 0xb1, 0x55, 0x9c, 0x83, 0xef,
        0x5b, 0x04, 0x44, 0x5c, 0xc4, 0x58, 0x1c, 0x8e, 0x86, 0xd8, 0x22, 0x4e, 0xdd, 0xd0, 0x9f,
        0x11, 0x57,
    ],
];

/// A number by its lowest byte, those between, and its highest.
const fn ends(lowest: u8, between: u8, highest: u8) -> [u8; 32] {
    let mut bytes = [between; 32];
    let [first, .., last] = &mut bytes;
    *first = lowest;
    *last = highest;
    bytes
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]
    use age::x25519::Identity;

    use super::*;

    #[test]
    fn what_is_sealed_opens_for_its_recipient_and_for_nobody_else() {
        let (own, other) = (Identity::generate(), Identity::generate());
        let recipient = AgeRecipient::parse(&own.to_public().to_string()).unwrap().unwrap();
        let sealed = recipient.seal("bulla_secret").unwrap();
        assert!(sealed.starts_with("-----BEGIN AGE ENCRYPTED FILE-----\n"));
        assert_eq!(age::decrypt(&own, sealed.as_bytes()).unwrap(), b"bulla_secret");
        assert!(age::decrypt(&other, sealed.as_bytes()).is_err());
    }

    /// A recipient of these bytes, with its checksum (BIP 173).
    fn recipient_of(point: [u8; 32]) -> String {
        let bits: String = point.iter().map(|byte| format!("{byte:08b}")).collect();
        let bits = format!("{bits}0000");
        let mut data: Vec<usize> = (0..52)
            .map(|at| usize::from_str_radix(&bits[at * 5..at * 5 + 5], 2).unwrap())
            .collect();
        let polymod = |values: &[usize]| {
            let generators = [0x3b6a_57b2, 0x2650_8e6d, 0x1ea1_19fa, 0x3d42_33dd, 0x2a14_62b3];
            values.iter().fold(1, |sum: usize, value| {
                let next = ((sum & 0x1ff_ffff) << 5) ^ value;
                let tops =
                    generators.iter().enumerate().filter(|(bit, _)| sum >> (25 + bit) & 1 == 1);
                tops.fold(next, |next, (_, generator)| next ^ generator)
            })
        };
        let mut whole: Vec<usize> = "age".bytes().map(|byte| usize::from(byte >> 5)).collect();
        whole.push(0);
        whole.extend("age".bytes().map(|byte| usize::from(byte & 31)));
        whole.extend(&data);
        whole.extend([0; 6]);
        let sum = polymod(&whole) ^ 1;
        data.extend((0..6).map(|at| sum >> (5 * (5 - at)) & 31));
        let text: String = data.iter().map(|value| char::from(ALPHABET[*value])).collect();
        format!("age1{text}")
    }

    #[test]
    fn j05_a_recipient_of_low_order_is_refused_and_panics_nothing() {
        let own = Identity::generate().to_public().to_string();
        assert_eq!(recipient_of(point_in(&own).unwrap()), own, "the tests' own encoding is right");
        for mut point in LOW_ORDER {
            for highest_bit in [0, 0x80] {
                point[31] |= highest_bit;
                let text = recipient_of(point);
                assert!(text.parse::<Recipient>().is_ok(), "age itself takes it: {text}");
                assert!(AgeRecipient::parse(&text).is_err(), "{text}");
            }
        }
    }

    #[test]
    fn b09_what_is_no_x25519_recipient_is_refused_plugins_above_all() {
        let good = Identity::generate().to_public().to_string();
        assert!(AgeRecipient::parse("").unwrap().is_none());
        let last = if good.ends_with('q') { "p" } else { "q" };
        let damaged = format!("{}{last}", &good[..61]);
        for bad in [
            "age1",
            "age1../../../../bin/sh1qqqq",
            "age1yubikey1qwt50d05nh5vutpdzmlg5wn80xq5negm4uj9ghv0snvdd3yysf5yw3rhl3t",
            "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIIxX5Qf0c0dYfJ1rVw8Z0m3o4n1n3b8s6y8x2k1v9j0q",
            "AGE-SECRET-KEY-1QQQQ",
            &format!("{good} "),
            &format!("{good}\n"),
            &damaged,
            &"a".repeat(1_000_000),
        ] {
            assert!(AgeRecipient::parse(bad).is_err(), "{bad:.80}");
        }
    }
}
