//! A blob that does not open, and what a person has decided about it.

use std::fmt;

use crate::keys::{Reason, Timestamp};

/// Something that stands where a blob should, and does not open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// What it is known by: one problem for each content.
    pub digest: BlobDigest,
    /// Where it stands.
    pub place: ProblemPlace,
    /// The version in its header; 0 where there is no header.
    pub version: u32,
    /// What was wrong.
    pub reason: ProblemReason,
    /// When it was first reported, or again after it was to be tried again.
    pub report_time: Timestamp,
    /// What was decided, if anybody did.
    pub decided: Option<Decided>,
}

/// A person's decision.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decided {
    /// What.
    pub decision: Decision,
    /// Who.
    pub principal: String,
    /// Why.
    pub reason: Reason,
}

/// What can be decided about a problem.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Decision {
    /// The blob is lost, and counts no more.
    Abandoned,
    /// It was mended: it is to be tried again.
    Retry,
}

/// SHA-256 of what stands in the place of a blob.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobDigest([u8; 32]);

/// The primary key, file or line, as a person would write it: 1 to 512 bytes. Shown, never interpreted.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProblemPlace(String);

/// A stable name such as `INVALID_CIPHERTEXT`: 1 to 32 of `A-Z a-z 0-9 _ -`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ProblemReason(String);

/// A part of a problem is not what it must be.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("must be {0}")]
pub struct MalformedProblem(&'static str);

// === impl Problem ===

impl Problem {
    /// Whether it stands in the way of the end.
    pub fn is_undecided(&self) -> bool {
        self.decided.is_none()
    }

    /// Whether it was decided so.
    pub fn is(&self, decision: Decision) -> bool {
        self.decided.as_ref().is_some_and(|decided| decided.decision == decision)
    }
}

// === impl BlobDigest ===

impl BlobDigest {
    /// From a message or a row.
    pub fn from_slice(bytes: &[u8]) -> Result<Self, MalformedProblem> {
        bytes.try_into().map(Self).map_err(|_| MalformedProblem("32 bytes: a SHA-256"))
    }

    /// The 32 bytes.
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }
}

impl fmt::Display for BlobDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|byte| write!(formatter, "{byte:02x}"))
    }
}

impl fmt::Debug for BlobDigest {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "BlobDigest({self})")
    }
}

// === impl ProblemPlace ===

impl ProblemPlace {
    /// Takes the text as it is.
    pub fn parse(text: &str) -> Result<Self, MalformedProblem> {
        let lawful = (1..=512).contains(&text.len());
        if lawful { Ok(Self(text.to_owned())) } else { Err(MalformedProblem("1 to 512 bytes")) }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl ProblemReason ===

impl ProblemReason {
    /// Parses it.
    pub fn parse(text: &str) -> Result<Self, MalformedProblem> {
        let lawful = (1..=32).contains(&text.len())
            && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"_-".contains(&b));
        if lawful {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedProblem("1 to 32 of A-Z a-z 0-9 _ -, such as INVALID_CIPHERTEXT"))
        }
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

// === impl Decision ===

impl Decision {
    /// The name that people and records see.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Abandoned => "ABANDONED",
            Self::Retry => "RETRY",
        }
    }

    /// The number in a stored row; 0 is for none.
    pub const fn number(self) -> u8 {
        match self {
            Self::Abandoned => 1,
            Self::Retry => 2,
        }
    }

    /// The decision with this number.
    pub fn from_number(number: u32) -> Option<Self> {
        [Self::Abandoned, Self::Retry].into_iter().find(|one| u32::from(one.number()) == number)
    }
}
