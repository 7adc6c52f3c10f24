//! What a key is: ids, names, versions, their states and the steps between them, schedules.
//!
//! Pure. Everything here is a function of its arguments: never a clock, never I/O, never a secret.

mod id;
mod key;
mod ladder;
mod name;
mod present;
mod quota;
mod schedule;
mod state;
mod tenant;
mod version;

pub use id::{
    CampaignId, CredentialId, GrantId, HolderId, KeyId, MalformedId, ProposalId, ScanId,
    StoreNumber, TenantId, Timestamp,
};
pub use key::{Key, KeyRefusal, Succession};
pub use ladder::{Climb, Hit, Ladder, LadderParts, Place, Rung, Standing};
pub use name::{
    Alias, Description, KeyRef, KeyRing, MalformedName, Owner, Reason, RequestId, StoreName,
    StoreRef, Tags,
};
pub use present::{CREDIT_MS_MAX, Present};
pub use quota::{LimitTooHigh, Quota, QuotaExceeded, TenantUsage};
pub use schedule::{DestroyWait, OutOfRange, RotationLimit, RotationPeriod, Trigger};
pub use state::{State, Step, Use};
pub use tenant::{AccountName, TenantLimits, TenantName, TenantRef};
pub use version::{IllegalStep, Inconsistent, Version, VersionParts};
