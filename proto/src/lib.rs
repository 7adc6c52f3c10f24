//! The messages of Bulla: what goes over the wire ([`kms`], [`health`]) and what is put into rows and
//! audit frames ([`stored`]). Generated from the `.proto` files beside `src`, checked in, and proved
//! fresh by a test. Never any behaviour.

use std::fmt;

/// The API: package `bulla.kms.v1`.
#[allow(missing_docs, clippy::all, unused_qualifications, unreachable_pub)]
pub mod kms {
    include!("gen/bulla.kms.v1.rs");
}

/// Bodies of rows and audit records: package `bulla.store.v1`.
#[allow(missing_docs, clippy::all, unused_qualifications, unreachable_pub)]
pub mod stored {
    include!("gen/bulla.store.v1.rs");
}

/// The standard health service: package `grpc.health.v1`.
#[allow(missing_docs, clippy::all, unused_qualifications, unreachable_pub)]
pub mod health {
    include!("gen/grpc.health.v1.rs");
}

/// A serialized `google.protobuf.FileDescriptorSet` of every package, for reflection and for the test
/// that gives each method a row.
pub const DESCRIPTORS: &[u8] = include_bytes!("gen/descriptors.bin");

// === messages that hold a secret say so, and nothing else ===

macro_rules! mute {
    ($($message:ident),*) => {$(
        impl fmt::Debug for kms::$message {
            fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str(concat!(stringify!($message), " { secret }"))
            }
        }
    )*};
}

mute!(
    GenerateDataKeyResponse,
    DataKey,
    EncryptRequest,
    DecryptResponse,
    GenerateRandomResponse,
    CreateCredentialResponse,
    ExchangeTokenResponse
);
