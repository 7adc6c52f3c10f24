//! The stable reasons of errors: every one that a caller can get, in one list, so that the documents and
//! the command line can be held to it. Never a text for people; that is the refusal's own.

macro_rules! error_reasons {
    ($($(#[$doc:meta])* $reason:ident = $name:literal,)*) => {
        /// The stable reason of a `google.rpc.ErrorInfo`.
        #[derive(Clone, Copy, Debug, Eq, PartialEq)]
        pub enum ErrorReason {
            $($(#[$doc])* $reason,)*
        }

        impl ErrorReason {
            /// Every reason.
            pub const ALL: &[Self] = &[$(Self::$reason,)*];

            /// The name that is sent and recorded. Never changed once released.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$reason => $name,)*
                }
            }
        }
    };
}

error_reasons! {
    /// Nobody is known to be calling.
    Unauthenticated = "UNAUTHENTICATED",
    /// Not allowed, or not there.
    PermissionDenied = "PERMISSION_DENIED",
    /// A field is not what it must be.
    InvalidArgument = "INVALID_ARGUMENT",
    /// The encryption context is over its limits.
    ContextTooLarge = "CONTEXT_TOO_LARGE",
    /// More than a call may carry.
    TooLarge = "TOO_LARGE",
    /// The tenant has as many as it may have.
    QuotaExceeded = "QUOTA_EXCEEDED",
    /// More calls than the tenant or the principal may make now.
    RateLimited = "RATE_LIMITED",
    /// The blob did not open.
    InvalidCiphertext = "INVALID_CIPHERTEXT",
    /// The key is disabled as a whole.
    KeyDisabled = "KEY_DISABLED",
    /// The version's state does not allow it.
    VersionNotUsable = "VERSION_NOT_USABLE",
    /// RetireCheck does not say SAFE.
    RetireNotSafe = "RETIRE_NOT_SAFE",
    /// Where a campaign stands does not allow it.
    CampaignState = "CAMPAIGN_STATE",
    /// The subject holds a role that excludes the one to be given.
    SeparationOfDuties = "SEPARATION_OF_DUTIES",
    /// What the caller has seen elsewhere has not been seen here.
    StaleReplica = "STALE_REPLICA",
    /// Others have to approve it first.
    ApprovalRequired = "APPROVAL_REQUIRED",
    /// Not from where the proposal stands.
    ProposalState = "PROPOSAL_STATE",
    /// The name is taken.
    AlreadyExists = "ALREADY_EXISTS",
    /// Another came first.
    Conflict = "CONFLICT",
    /// The store cannot be read or written now.
    StoreUnavailable = "STORE_UNAVAILABLE",
    /// The record could not be made durable.
    AuditUnavailable = "AUDIT_UNAVAILABLE",
    /// The server is about to stop.
    Draining = "DRAINING",
    /// The deadline passed.
    DeadlineExceeded = "DEADLINE_EXCEEDED",
    /// There is no such method.
    UnknownMethod = "UNKNOWN_METHOD",
    /// A defect, or a row that was changed from outside.
    Internal = "INTERNAL",
}
