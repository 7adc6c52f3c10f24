//! The client of Bulla, a key management service for envelope encryption: it connects with a
//! client certificate, a token or a credential, makes every call of the API, and seals data under
//! data keys of their own. Never holds a key-encryption key, and never sends what it seals.
//!
//! ```no_run
//! use bulla_client::{Client, Config, Envelope};
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! // BULLA_SERVER=https://host:port, and the paths BULLA_CA, BULLA_CERTIFICATE and BULLA_KEY.
//! let client = Client::connect(Config::from_env()?).await?;
//!
//! let envelope = Envelope::new(client, "customers").context([("table", "customers")]);
//! let sealed = envelope.seal(b"jane@example.org").await?;
//! let opened = envelope.open(&sealed).await?;
//! assert_eq!(opened, b"jane@example.org");
//! # Ok(())
//! # }
//! ```

mod approval;
mod bearer;
mod cache;
mod call;
mod client;
mod config;
mod connect;
mod envelope;
mod error;
mod receipts;

// The ways of opening that tests of this crate share with those outside of it name it so.
#[cfg(test)]
extern crate self as bulla_client;

pub use approval::Proposing;
pub use bulla_proof::{ItemProof, Items, Receipt};
pub use bulla_proto::kms;
pub use cache::{Clock, DataKeyCache, MonotonicClock, OpeningLimits, SealingLimits};
pub use call::Retries;
pub use client::{Client, Messages};
pub use config::{Config, ConfigError};
pub use connect::Identity;
pub use envelope::{
    DataFailure, DataKey, DataKeyLength, Envelope, EnvelopeError, Header, Opener, SealedReader,
    Sealer,
};
#[cfg(unix)]
pub use envelope::{FileError, Rewrite, is_header_copy, read_file_header, rewrite_file_header};
pub use error::{Error, FieldViolation, Kind};
pub use tonic::Code;
