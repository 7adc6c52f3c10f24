//! The one place that speaks gRPC codes. Every error carries a `google.rpc.ErrorInfo` with a stable
//! reason in the domain `bulla`; nothing in it is a secret or an internal.

use std::collections::HashMap;
use std::time::Duration;

use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::service::{ErrorReason, Refusal};

/// The status that tells a caller of `refusal`.
pub fn status(refusal: &Refusal) -> Status {
    let mut details = info(refusal.error_reason());
    match refusal {
        Refusal::InvalidArgument { field, problem } => {
            details.add_bad_request_violation(*field, problem.clone());
        }
        Refusal::ContextTooLarge(error) => {
            details.add_bad_request_violation("encryption_context", error.to_string());
        }
        Refusal::Conflict
        | Refusal::StaleReplica
        | Refusal::StoreUnavailable { .. }
        | Refusal::AuditUnavailable { .. } => {
            details.set_retry_info(Some(RETRY_AFTER));
        }
        // Asking again before the store can be free helps nobody (attack J09).
        Refusal::StoreHeld(held) => {
            details.set_retry_info(Some(Duration::from_millis(held.free_in_ms)));
        }
        Refusal::RateLimited(limited) => {
            let wait = Duration::from_millis(limited.retry_after_ms);
            details.set_retry_info(Some(wait));
        }
        Refusal::Denied { .. }
        | Refusal::InvalidCiphertext { .. }
        | Refusal::KeyDisabled
        | Refusal::CampaignState(_)
        | Refusal::CampaignAtWork { .. }
        | Refusal::SeparationOfDuties { .. }
        | Refusal::ApprovalRequired { .. }
        | Refusal::ProposalState(_)
        | Refusal::VersionNotUsable { .. }
        | Refusal::IllegalStep(_)
        | Refusal::RetireNotSafe { .. }
        | Refusal::AlreadyExists { .. }
        | Refusal::TooLarge { .. }
        | Refusal::QuotaExceeded(_)
        | Refusal::Internal { .. } => {}
    }
    Status::with_error_details(code(refusal), refusal.to_string(), details)
}

/// Nobody is known to be calling.
pub(super) fn unauthenticated() -> Status {
    plain(
        Code::Unauthenticated,
        ErrorReason::Unauthenticated,
        "present one client certificate, token or credential that this server accepts",
    )
}

/// There is no such method.
pub(super) fn unknown_method() -> Status {
    plain(Code::Unimplemented, ErrorReason::UnknownMethod, "the server has no such method")
}

/// The server is about to stop.
pub(super) fn draining() -> Status {
    plain(
        Code::Unavailable,
        ErrorReason::Draining,
        "the server is about to stop; go on with another",
    )
}

/// The caller's deadline passed, or the method's own.
pub(super) fn deadline_exceeded() -> Status {
    plain(
        Code::DeadlineExceeded,
        ErrorReason::DeadlineExceeded,
        "the deadline passed; a change may still be made, so repeat it with the same request_id",
    )
}

/// The request is longer than its method allows.
pub(super) fn too_large(bytes_max: usize) -> Status {
    let message = format!("the request is longer than the {bytes_max} bytes of this method");
    plain(Code::ResourceExhausted, ErrorReason::TooLarge, &message)
}

/// The request is not a message of its type.
pub(super) fn malformed() -> Status {
    plain(Code::InvalidArgument, ErrorReason::InvalidArgument, "the request is not a valid message")
}

fn plain(code: Code, reason: ErrorReason, message: &str) -> Status {
    Status::with_error_details(code, message, info(reason))
}

fn info(reason: ErrorReason) -> ErrorDetails {
    ErrorDetails::with_error_info(reason.as_str(), DOMAIN, HashMap::new())
}

const fn code(refusal: &Refusal) -> Code {
    match refusal {
        Refusal::Denied { .. } => Code::PermissionDenied,
        Refusal::InvalidArgument { .. }
        | Refusal::ContextTooLarge(_)
        | Refusal::InvalidCiphertext { .. } => Code::InvalidArgument,
        Refusal::KeyDisabled
        | Refusal::VersionNotUsable { .. }
        | Refusal::IllegalStep(_)
        | Refusal::RetireNotSafe { .. }
        | Refusal::CampaignState(_)
        | Refusal::SeparationOfDuties { .. }
        | Refusal::CampaignAtWork { .. }
        | Refusal::ApprovalRequired { .. }
        | Refusal::ProposalState(_) => Code::FailedPrecondition,
        Refusal::AlreadyExists { .. } => Code::AlreadyExists,
        Refusal::Conflict | Refusal::StoreHeld(_) => Code::Aborted,
        Refusal::TooLarge { .. } | Refusal::QuotaExceeded(_) | Refusal::RateLimited(_) => {
            Code::ResourceExhausted
        }
        Refusal::StaleReplica
        | Refusal::StoreUnavailable { .. }
        | Refusal::AuditUnavailable { .. } => Code::Unavailable,
        Refusal::Internal { .. } => Code::Internal,
    }
}

const DOMAIN: &str = "bulla";
const RETRY_AFTER: Duration = Duration::from_millis(100);
