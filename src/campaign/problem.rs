//! A blob that does not open, and what a person has decided about it.

use std::fmt;

use crate::keys::{Reason, Timestamp};

/// Something that stands where a blob should, and does not open.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Problem {
    /// Where it stands, by which it is known: one problem for each place.
    pub place: ProblemPlace,
    /// What stands there. A decision is about that and nothing else.
    pub digest: BlobDigest,
    /// The version in its header; 0 where there is no header.
    pub version: u32,
    /// What was wrong.
    pub reason: ProblemReason,
    /// When it was first reported, or again after it was to be tried again.
    pub report_time: Timestamp,
    /// The last report that told of it: said again, that report is no news.
    pub told_by: ReportDigest,
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

/// SHA-256 of everything that an agent said in one report.
pub type ReportDigest = [u8; 32];

/// SHA-256 of what stands in the place of a blob.
#[derive(Clone, Copy, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct BlobDigest([u8; 32]);

/// The primary key, file or line, as a person would write it: 1 to 512 bytes. Shown, never interpreted.
#[derive(Clone, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub struct ProblemPlace(String);

/// A stable name, such as `INVALID_CIPHERTEXT`, and more after a colon where there is more to say: 1 to
/// 128 bytes without control characters.
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

    /// Whether `found` is the same bytes in the same place.
    pub fn is_same_as(&self, found: &Self) -> bool {
        (&self.place, self.digest) == (&found.place, found.digest)
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

    /// From its text form: 64 of `0-9 a-f`.
    pub fn parse(text: &str) -> Result<Self, MalformedProblem> {
        let malformed = || MalformedProblem("64 hexadecimal digits in lower case");
        let mut bytes = [0; 32];
        for (at, byte) in (0_usize..).step_by(2).zip(&mut bytes) {
            let digits = text.get(at..at.saturating_add(2)).ok_or_else(malformed)?;
            *byte = u8::from_str_radix(digits, 16).map_err(|_| malformed())?;
        }
        let digest = Self(bytes);
        if digest.to_string() == text { Ok(digest) } else { Err(malformed()) }
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
    /// Takes the text as it is.
    pub fn parse(text: &str) -> Result<Self, MalformedProblem> {
        let lawful = (1..=128).contains(&text.len()) && !text.chars().any(char::is_control);
        if lawful {
            Ok(Self(text.to_owned()))
        } else {
            Err(MalformedProblem("1 to 128 bytes without control characters"))
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_digest_has_one_text_form() {
        let digest = BlobDigest::from_slice(&[0xa1; 32]).unwrap();
        assert_eq!(BlobDigest::parse(&digest.to_string()), Ok(digest));
        for bad in ["", "a1", &"A1".repeat(32), &"a1".repeat(33), &"+1".repeat(32), "\u{e9}"] {
            assert!(BlobDigest::parse(bad).is_err(), "{bad:?}");
        }
        assert!(BlobDigest::from_slice(&[0; 31]).is_err());
    }

    #[test]
    fn what_is_said_of_a_problem_is_bounded() {
        assert!(ProblemPlace::parse(&"x".repeat(512)).is_ok());
        for bad in ["", &"x".repeat(513)] {
            assert!(ProblemPlace::parse(bad).is_err());
        }
        assert!(ProblemReason::parse("CONTEXT_IS_NULL: region").is_ok());
        for bad in ["", "a\u{1b}[31m", &"X".repeat(129)] {
            assert!(ProblemReason::parse(bad).is_err(), "{bad:?}");
        }
    }
}
