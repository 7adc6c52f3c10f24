//! Names and texts that people give: each has one canonical form, and what is not in it is refused,
//! never repaired (attack C01).

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use crate::keys::{KeyId, StoreNumber};

/// A name that points at a key: 1 to 128 of `a-z 0-9 - _ . /`, beginning with a letter, segments
/// between slashes not empty. May not look like a UUID.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct Alias(Arc<str>);

/// A path such as `payments/cards`: 1 to 8 segments of 1 to 63 of `a-z 0-9 - _ .`.
#[derive(Clone, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct KeyRing(Arc<str>);

/// What a key is for, in words: at most 1024 bytes, no control characters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Description(String);

/// Why somebody did something, in words: at most 512 bytes, no control characters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Reason(String);

/// At most 50 tags: a key of 1 to 128 bytes, a value of at most 256, no control characters.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Tags(BTreeMap<String, String>);

/// A caller's id for one mutation: 1 to 64 of `A-Z a-z 0-9 - _`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RequestId(String);

/// How a caller names a key: by its id or by an alias.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum KeyRef {
    /// By id.
    Id(KeyId),
    /// By alias.
    Alias(Alias),
}

/// The name of a place where blobs are kept, such as `orders-db/customers.dek`: 1 to 128 of
/// `a-z 0-9 - _ . /`, beginning with a letter, segments between slashes not empty.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct StoreName(Arc<str>);

/// Who answers for something: 1 to 128 bytes, no control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Owner(String);

/// How a caller names a store: by its number or by its name.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum StoreRef {
    /// By number.
    Number(StoreNumber),
    /// By name.
    Name(StoreName),
}

/// The text is not in its canonical form.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be {0}")]
pub struct MalformedName(pub(super) &'static str);

// === impl StoreName ===

impl StoreName {
    /// Parses the canonical form.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = (1..=128).contains(&text.len())
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.split('/').all(is_segment);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedName(STORE_NAME_FORM)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

// === impl Owner ===

impl Owner {
    /// Takes the text as it is.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
        if lawful {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedName("1 to 128 bytes without control characters"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl StoreRef ===

impl StoreRef {
    /// A number in decimal without leading zeros, or a name.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        if text.starts_with(|first: char| first.is_ascii_digit()) {
            let number = text.parse().ok().and_then(StoreNumber::new);
            let canonical = number.filter(|number| number.to_string() == text);
            return canonical.map(Self::Number).ok_or(MalformedName("a store's name or number"));
        }
        StoreName::parse(text).map(Self::Name)
    }
}

impl fmt::Display for StoreRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Number(number) => fmt::Display::fmt(number, formatter),
            Self::Name(name) => fmt::Display::fmt(name, formatter),
        }
    }
}

// === impl Alias ===

impl Alias {
    /// Parses the canonical form.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = (1..=128).contains(&text.len())
            && text.as_bytes().first().is_some_and(u8::is_ascii_lowercase)
            && text.split('/').all(is_segment)
            && !looks_like_uuid(text);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedName(ALIAS_FORM)) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl KeyRing ===

impl KeyRing {
    /// Parses the canonical form.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        let lawful = text.split('/').count() <= 8
            && text.split('/').all(|segment| is_segment(segment) && segment.len() <= 63);
        if lawful { Ok(Self(text.into())) } else { Err(MalformedName(KEY_RING_FORM)) }
    }

    /// Whether `other` is this ring or lies inside it.
    pub fn contains(&self, other: &Self) -> bool {
        match other.0.strip_prefix(&*self.0) {
            Some(rest) => rest.is_empty() || rest.starts_with('/'),
            None => false,
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Description ===

impl Description {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        if is_prose(text, 1024) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedName("at most 1024 bytes without control characters"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Reason ===

impl Reason {
    /// No reason given.
    pub fn none() -> Self {
        Self::default()
    }

    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        if is_prose(text, 512) {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedName("at most 512 bytes without control characters"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Tags ===

impl Tags {
    /// Parses them.
    pub fn parse(pairs: BTreeMap<String, String>) -> Result<Self, MalformedName> {
        let lawful = pairs.len() <= 50
            && pairs
                .iter()
                .all(|(key, value)| !key.is_empty() && is_prose(key, 128) && is_prose(value, 256));
        if lawful { Ok(Self(pairs)) } else { Err(MalformedName(TAGS_FORM)) }
    }

    /// The pairs, by key.
    pub fn pairs(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}

// === impl RequestId ===

impl RequestId {
    /// Parses it. The empty text means that none was given.
    pub fn parse(text: &str) -> Result<Option<Self>, MalformedName> {
        if text.is_empty() {
            return Ok(None);
        }
        let lawful = text.len() <= 64
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_".contains(&b));
        if lawful {
            Ok(Some(Self(text.to_owned())))
        } else {
            Err(MalformedName("1 to 64 of A-Z a-z 0-9 - _"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl KeyRef ===

impl KeyRef {
    /// Parses a UUID or an alias.
    pub fn parse(text: &str) -> Result<Self, MalformedName> {
        if let Ok(id) = KeyId::parse(text) {
            return Ok(Self::Id(id));
        }
        Alias::parse(text)
            .map(Self::Alias)
            .map_err(|_| MalformedName("a key's UUID in lower case with hyphens, or an alias"))
    }
}

/// A name shows as its text.
macro_rules! shown_as_text {
    ($($name:ident),*) => {$(
        impl fmt::Display for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(formatter, "{}({:?})", stringify!($name), &*self.0)
            }
        }
    )*};
}

pub(super) use shown_as_text;

shown_as_text!(Alias, KeyRing);

impl fmt::Display for KeyRef {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => fmt::Display::fmt(id, formatter),
            Self::Alias(alias) => fmt::Display::fmt(alias, formatter),
        }
    }
}

fn is_segment(text: &str) -> bool {
    !matches!(text, "" | "." | "..")
        && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_.".contains(&b))
}

fn is_prose(text: &str, bytes_max: usize) -> bool {
    text.len() <= bytes_max && !text.chars().any(char::is_control)
}

/// Anything that a person or a parser might take for a UUID, in any of its spellings.
pub(super) fn looks_like_uuid(text: &str) -> bool {
    let hex = text.bytes().filter(u8::is_ascii_hexdigit).count();
    hex == 32 && text.bytes().all(|b| b.is_ascii_hexdigit() || b == b'-')
}

const STORE_NAME_FORM: &str =
    "1 to 128 of a-z 0-9 - _ . /, beginning with a letter, no empty segment";
const ALIAS_FORM: &str =
    "1 to 128 of a-z 0-9 - _ . / beginning with a letter, and may not look like a UUID";
const KEY_RING_FORM: &str =
    "a path such as payments/cards: at most 8 segments of 1 to 63 of a-z 0-9 - _ .";
const TAGS_FORM: &str =
    "at most 50 tags, a key of 1 to 128 bytes, a value of at most 256, no control characters";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn c01_an_alias_has_one_canonical_form() {
        for good in ["a", "orders", "orders/customers.dek", "a-b_c.d", &"a".repeat(128)] {
            assert_eq!(Alias::parse(good).unwrap().as_str(), good);
        }
        for bad in [
            "",
            "A",
            "orders ",
            " orders",
            "1st",
            "a//b",
            "a/",
            "/a",
            "a/../b",
            "a b",
            "caf\u{e9}",
            "cafe\u{301}",
            "a\u{200b}",
            "a\n",
            &"a".repeat(129),
            "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf",
            "a0a1a2a3a4a5a6a7a8a9aaabacadaeaf",
        ] {
            assert!(Alias::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn a_key_is_named_by_id_or_by_alias() {
        let id = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";
        assert!(matches!(KeyRef::parse(id), Ok(KeyRef::Id(_))));
        assert!(matches!(KeyRef::parse("orders"), Ok(KeyRef::Alias(_))));
        assert!(KeyRef::parse(&id.to_uppercase()).is_err());
        assert!(KeyRef::parse("").is_err());
    }

    #[test]
    fn rings_nest_by_segment() {
        let ring = |text| KeyRing::parse(text).unwrap();
        assert!(ring("payments").contains(&ring("payments")));
        assert!(ring("payments").contains(&ring("payments/cards")));
        assert!(!ring("payments").contains(&ring("payments-old")));
        assert!(!ring("payments/cards").contains(&ring("payments")));
        for bad in ["", "/a", "a/", "a//b", "A", "a/../b", "1/2/3/4/5/6/7/8/9"] {
            assert!(KeyRing::parse(bad).is_err(), "{bad:?}");
        }
    }

    #[test]
    fn texts_are_limited_and_hold_no_control_characters() {
        assert!(Description::parse(&"x".repeat(1024)).is_ok());
        assert!(Description::parse(&"x".repeat(1025)).is_err());
        assert!(Reason::parse(&"x".repeat(512)).is_ok());
        assert!(Reason::parse(&"x".repeat(513)).is_err());
        assert!(Reason::parse("a\u{1b}[31m").is_err());
        let tags = |n: usize| (0..n).map(|i| (format!("k{i}"), String::new())).collect();
        assert!(Tags::parse(tags(50)).is_ok());
        assert!(Tags::parse(tags(51)).is_err());
        assert!(Tags::parse([(String::new(), String::new())].into()).is_err());
        assert!(Tags::parse([("k".into(), "x".repeat(257))].into()).is_err());
    }

    #[test]
    fn a_request_id_is_short_and_plain() {
        assert_eq!(RequestId::parse(""), Ok(None));
        assert!(RequestId::parse(&"r".repeat(64)).unwrap().is_some());
        assert!(RequestId::parse(&"r".repeat(65)).is_err());
        assert!(RequestId::parse("a b").is_err());
    }
}
