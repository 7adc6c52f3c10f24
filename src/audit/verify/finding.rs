//! What is wrong with a log, in words.

use std::fmt;

/// The first bad record, and what happened to it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What happened.
    pub what: What,
    /// The first bad record, or the first that can be it.
    pub first: u64,
    /// The last that can be the first bad one, or the last that is gone.
    pub last: u64,
    /// Up to here a signed checkpoint proves the log.
    pub proven: u64,
}

/// What happened to a log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum What {
    /// A record is not as it was written.
    Changed,
    /// A record is not there, and later ones are.
    Missing,
    /// A record is there, and in another place.
    Moved,
    /// Something stands before a record that does not belong there.
    Inserted,
    /// The log's end is not there.
    CutOff,
    /// The log's beginning is not there, and no signed record says that it was deleted.
    CutBeginning,
    /// The log goes on otherwise than the one that was seen elsewhere.
    Forked,
    /// The log and its checkpoints are those of an earlier time.
    RolledBack,
    /// The checkpoints are those of an earlier time, or out of order.
    OldCheckpoint,
    /// A checkpoint is signed with a key that nobody trusted handed over to.
    OtherKey,
    /// A segment's head is damaged, or another's than its name says.
    BadSegment,
    /// It is another installation's.
    OtherLog,
    /// A checkpoint is none, or its signature is wrong.
    BadCheckpoint,
}

// === impl What ===

impl What {
    /// A word for programs.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Changed => "CHANGED",
            Self::Missing => "MISSING",
            Self::Moved => "MOVED",
            Self::Inserted => "INSERTED",
            Self::CutOff => "CUT_OFF",
            Self::CutBeginning => "CUT_BEGINNING",
            Self::Forked => "FORKED",
            Self::RolledBack => "ROLLED_BACK",
            Self::OldCheckpoint => "OLD_CHECKPOINT",
            Self::OtherKey => "OTHER_KEY",
            Self::BadSegment => "BAD_SEGMENT",
            Self::OtherLog => "OTHER_LOG",
            Self::BadCheckpoint => "BAD_CHECKPOINT",
        }
    }
}

// === impl Finding ===

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, first, last, .. } = self;
        let exact = first == last;
        match what {
            What::Changed if exact => write!(formatter, "record {first} was changed"),
            What::Changed => write!(formatter, "a record from {first} to {last} was changed"),
            What::Missing if exact => write!(formatter, "record {first} is missing"),
            What::Missing => write!(formatter, "records {first} to {last} are missing"),
            What::Moved => write!(formatter, "record {first} was moved"),
            What::Inserted => {
                write!(formatter, "something was inserted where record {first} should stand")
            }
            What::CutOff => write!(
                formatter,
                "the log was cut off: records {first} to {last} are missing at its end"
            ),
            What::CutBeginning => write!(
                formatter,
                "the log was cut at its beginning: records {first} to {last} are missing, and no \
                 signed record says that they were deleted"
            ),
            What::Forked if exact => write!(
                formatter,
                "the log was forked: record {first} is another one than was seen elsewhere"
            ),
            What::Forked => write!(
                formatter,
                "the log was forked: from a record from {first} to {last} on it is another one \
                 than was seen elsewhere"
            ),
            What::RolledBack => write!(
                formatter,
                "the log was rolled back: records {first} to {last} were signed once and are gone"
            ),
            What::OldCheckpoint => write!(
                formatter,
                "an old checkpoint was put in the place of a newer one: from record {first} on"
            ),
            What::OtherKey => write!(
                formatter,
                "a checkpoint that covers record {first} is signed with another key"
            ),
            What::BadSegment => write!(
                formatter,
                "the segment where record {first} should stand has a damaged head, or another \
                 segment's"
            ),
            What::OtherLog => write!(
                formatter,
                "the log is another installation's than the key, from record {first} on"
            ),
            What::BadCheckpoint => write!(
                formatter,
                "a checkpoint that covers record {first} is damaged or its signature is wrong"
            ),
        }
    }
}
