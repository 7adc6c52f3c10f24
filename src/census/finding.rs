//! What an answer rests on, as data: each finding has a stable code, a direction and a source.

use std::fmt;

use crate::keys::Timestamp;

use super::store::RegisteredStore;

/// The answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verdict {
    /// In a word.
    pub word: VerdictWord,
    /// What it rests on, what speaks against first.
    pub findings: Vec<Finding>,
}

/// The answer in a word.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum VerdictWord {
    /// Nothing in any registered store depends on the version.
    Safe,
    /// Something does.
    Unsafe,
    /// Nobody can tell yet.
    Unknown,
}

/// One thing that the answer rests on.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Finding {
    /// What it is.
    pub code: FindingCode,
    /// In words.
    pub text: String,
    /// The command that would supply what is missing; empty where there is none.
    pub remedy: String,
    /// The store's number; 0 where it is about none.
    pub store: u32,
    /// The store's name; empty where none is registered.
    pub store_name: String,
    /// Blobs or uses.
    pub count: u64,
    /// Who; empty where nobody is known.
    pub principal: String,
    /// When.
    pub time: Option<Timestamp>,
}

/// Which way a finding points.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Effect {
    /// The version is depended on.
    Against,
    /// It cannot be told.
    Missing,
    /// It is not depended on, in this respect.
    For,
}

/// Where a finding comes from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum EvidenceLabel {
    /// Somebody said so.
    Declared,
    /// A scan found so.
    Scanned,
    /// The audit log and the key's own rows say so.
    Observed,
}

macro_rules! codes {
    ($($(#[doc = $doc:literal])+ $name:ident = $text:literal, $effect:ident, $label:ident;)+) => {
        /// What a finding is.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum FindingCode {
            $($(#[doc = $doc])+ $name,)+
        }

        impl FindingCode {
            /// The stable name.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }

            /// Which way it points.
            pub const fn effect(self) -> Effect {
                match self {
                    $(Self::$name => Effect::$effect,)+
                }
            }

            /// Where it comes from.
            pub const fn label(self) -> EvidenceLabel {
                match self {
                    $(Self::$name => EvidenceLabel::$label,)+
                }
            }
        }
    };
}

codes! {
    /// The version still wraps.
    VersionActive = "VERSION_ACTIVE", Against, Observed;
    /// A scan found blobs of it.
    BlobsFound = "BLOBS_FOUND", Against, Scanned;
    /// A blob was opened after the last scan of its store began.
    OpenedSince = "OPENED_SINCE", Against, Observed;
    /// A use was refused after the last scan of its store began.
    RefusedSince = "REFUSED_SINCE", Against, Observed;
    /// The census has not come to the end of the audit log.
    CensusBehind = "CENSUS_BEHIND", Missing, Observed;
    /// The version was used with more stores than are counted.
    StoresTruncated = "STORES_TRUNCATED", Missing, Observed;
    /// It was used with a store that nobody has registered.
    StoreUnregistered = "STORE_UNREGISTERED", Missing, Observed;
    /// It has blobs that name no store.
    StoreUnnamed = "STORE_UNNAMED", Missing, Observed;
    /// A store was never scanned.
    ScanMissing = "SCAN_MISSING", Missing, Observed;
    /// A store's last scan began too early.
    ScanOutdated = "SCAN_OUTDATED", Missing, Observed;
    /// The version wraps no more.
    VersionStopped = "VERSION_STOPPED", For, Observed;
    /// It has never wrapped anything.
    NothingIssued = "NOTHING_ISSUED", For, Observed;
    /// A scan found nothing left.
    StoreClean = "STORE_CLEAN", For, Scanned;
    /// Somebody answers for the blobs that name no store.
    StoreWaived = "STORE_WAIVED", For, Declared;
}

// === impl Verdict ===

impl Verdict {
    /// Whether it is SAFE.
    pub fn is_safe(&self) -> bool {
        self.word == VerdictWord::Safe
    }
}

// === impl VerdictWord ===

impl VerdictWord {
    /// The word shown to people and programs.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Safe => "SAFE",
            Self::Unsafe => "UNSAFE",
            Self::Unknown => "UNKNOWN",
        }
    }
}

impl fmt::Display for VerdictWord {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.as_str())
    }
}

// === impl Finding ===

impl Finding {
    /// About no store.
    pub(super) fn new(code: FindingCode, text: String) -> Self {
        Self {
            code,
            text,
            remedy: String::new(),
            store: 0,
            store_name: String::new(),
            count: 0,
            principal: String::new(),
            time: None,
        }
    }

    /// About a registered store.
    pub(super) fn of_store(code: FindingCode, store: &RegisteredStore, text: String) -> Self {
        Self {
            store: store.number.as_u32(),
            store_name: store.name.to_string(),
            ..Self::new(code, text)
        }
    }
}
