//! What a key is: ids, names, versions, their states and the steps between them, schedules.
//!
//! Pure. Everything here is a function of its arguments: never a clock, never I/O, never a secret.

mod id;

pub use id::{KeyId, MalformedId, TenantId, Timestamp};
