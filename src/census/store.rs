//! A registered store: a place where blobs are kept, and what its owner has promised about it.

use crate::keys::{OutOfRange, Owner, StoreName, StoreNumber, Timestamp};

/// A place where blobs are kept.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RegisteredStore {
    /// For the blobs' headers.
    pub number: StoreNumber,
    /// Never reused.
    pub name: StoreName,
    /// Who answers for it.
    pub owner: Owner,
    /// What it is.
    pub kind: StoreKind,
    /// How long a writer may hold what it was given.
    pub write_delay: WriteDelay,
    /// When it was registered.
    pub create_time: Timestamp,
    /// The last restore that was reported.
    pub restore: Option<Restore>,
}

/// A store was restored from a backup, or blobs were copied into it from elsewhere.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Restore {
    /// When that was reported.
    pub time: Timestamp,
    /// The last audit record before the report.
    pub sequence: u64,
}

/// What sort of place it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum StoreKind {
    /// A table of a PostgreSQL database.
    PostgreSql,
    /// A table of an SQLite database.
    Sqlite,
    /// A directory of sealed files.
    Files,
    /// A file of JSON lines.
    JsonLines,
    /// Anything else.
    Other,
}

/// The longest that a writer may hold a data key before its blob is in the store: 0 to 30 days.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct WriteDelay(u64);

// === impl StoreKind ===

impl StoreKind {
    /// Every kind.
    pub const ALL: [Self; 5] =
        [Self::PostgreSql, Self::Sqlite, Self::Files, Self::JsonLines, Self::Other];

    /// As it is stored and sent.
    pub const fn number(self) -> u32 {
        match self {
            Self::PostgreSql => 1,
            Self::Sqlite => 2,
            Self::Files => 3,
            Self::JsonLines => 4,
            Self::Other => 5,
        }
    }

    /// The kind with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

// === impl WriteDelay ===

impl WriteDelay {
    /// 1 hour.
    pub const DEFAULT: Self = Self(60 * 60 * 1_000);
    /// 30 days.
    pub const MAX_MS: u64 = 30 * 24 * 60 * 60 * 1_000;

    /// From 0 (writers write before they do anything else) to 30 days.
    pub fn from_ms(millis: u64) -> Result<Self, OutOfRange> {
        if millis <= Self::MAX_MS {
            Ok(Self(millis))
        } else {
            Err(OutOfRange::new("from 0 to 30 days"))
        }
    }

    /// The milliseconds.
    pub const fn as_ms(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_kind_survives_its_number_and_a_delay_its_limits() {
        for kind in StoreKind::ALL {
            assert_eq!(StoreKind::from_number(kind.number()), Some(kind));
        }
        assert_eq!((StoreKind::from_number(0), StoreKind::from_number(6)), (None, None));
        assert_eq!(WriteDelay::from_ms(0).unwrap().as_ms(), 0);
        assert_eq!(WriteDelay::from_ms(WriteDelay::MAX_MS).unwrap().as_ms(), WriteDelay::MAX_MS);
        assert!(WriteDelay::from_ms(WriteDelay::MAX_MS.saturating_add(1)).is_err());
    }
}
