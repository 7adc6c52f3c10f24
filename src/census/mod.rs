//! What each version of a key still protects, as far as the audit log and scans of the stores tell,
//! and whether it can be let go.
//!
//! Pure. The audit log is folded into counts ([`VersionCensus`]), scans say what stands in a
//! registered store ([`Scans`]), and [`check`] weighs both. Nothing here reads a log, a row or a
//! clock, and a version is never SAFE because nobody has looked.

mod finding;
mod fold;
mod retire;
mod scan;
mod store;

pub use finding::{Effect, EvidenceLabel, Finding, FindingCode, Verdict, VerdictWord};
pub use fold::{
    PRINCIPALS_MAX, PRINCIPALS_PER_STORE_MAX, PrincipalCensus, STORES_MAX, StoreCensus, UseCount,
    VersionCensus, VersionUse, VersionUseKind, is_spent, uses,
};
pub use retire::{Evidence, MOVE_HELD_MS_MAX, StoreEvidence, Waiver, check};
pub use scan::{FoundBlobs, NotRunning, RunningScan, SAMPLE_BYTES_MAX, SAMPLES_MAX, Scan, Scans};
pub use store::{RegisteredStore, Restore, StoreKind, WriteDelay};
