//! Why a call was not done: one text for the caller, and a class that only the record has.

use crate::approval::{ExecuteRefusal, VoteRefusal};
use crate::campaign::{CampaignState, Held, IllegalCampaignStep, ReportRefusal, TooManyProblems};
use crate::census::Effect;
use crate::crypto::{ContextError, OpenFailure, RewrapFailure, VersionZero, WrapFailure};
use crate::custody::CustodyError;
use crate::keys::{CampaignId, IllegalStep, KeyRefusal, QuotaExceeded, State, StoreNumber};
use crate::limits::Limited;
use crate::policy::{Denied, PrincipalId, RoleName};
use crate::trail::TrailError;

use super::error_reason::ErrorReason;
use super::retire_check::Judged;

/// A refusal or failure. `Display` is what the caller reads.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// Not allowed, or not there: one answer for both (attack C02).
    #[error("not found, or not allowed; ask for a role that gives this action, or check the name")]
    Denied {
        /// For the record.
        class: &'static str,
    },
    /// A field is not what it must be.
    #[error("{field}: {problem}")]
    InvalidArgument {
        /// The proto field.
        field: &'static str,
        /// What it must be.
        problem: String,
    },
    /// The encryption context is over its limits.
    #[error("encryption_context: {0}")]
    ContextTooLarge(ContextError),
    /// The blob did not open. The caller is never told why.
    #[error("the ciphertext does not open with this key and encryption context")]
    InvalidCiphertext {
        /// For the record.
        class: &'static str,
    },
    /// The key is disabled as a whole.
    #[error("the key is disabled; enable it first")]
    KeyDisabled,
    /// The version's state does not allow it.
    #[error("version {version} is {state}, which does not allow this")]
    VersionNotUsable {
        /// Which.
        version: u32,
        /// Where it stands.
        state: State,
    },
    /// The step is not legal from where the version or key stands.
    #[error("{0}")]
    IllegalStep(KeyRefusal),
    /// RetireCheck does not say SAFE.
    #[error("{text}")]
    RetireNotSafe {
        /// What it says, for the record.
        word: &'static str,
        /// The first findings and what to do about them.
        text: String,
    },
    /// The step is not legal from where the campaign stands.
    #[error("{0}")]
    CampaignState(IllegalCampaignStep),
    /// Another campaign has not ended that moves the same key's blobs out of the same store.
    #[error(
        "campaign {campaign} is {state} and moves this key's blobs out of store {store}; wait until \
         it is DONE, or give it up: bulla campaign abandon {campaign} --reason TEXT"
    )]
    CampaignAtWork {
        /// Which.
        campaign: CampaignId,
        /// Where it stands.
        state: CampaignState,
        /// Where both would work.
        store: StoreNumber,
    },
    /// Somebody would hold two roles that exclude each other.
    #[error(
        "{wanted} and {held} exclude each other, and {}; take that away first",
        holding(member.as_ref(), held)
    )]
    SeparationOfDuties {
        /// Who, where it is a member of the group that it is about.
        member: Option<PrincipalId>,
        /// What it holds.
        held: RoleName,
        /// What it was to be given.
        wanted: RoleName,
    },
    /// What the caller has seen elsewhere has not been seen here.
    #[error("this server has not seen that revision yet; try again")]
    StaleReplica,
    /// Another agent has the store.
    #[error("{0}")]
    StoreHeld(Held),
    /// The name is taken.
    #[error("{field}: is taken already; choose another")]
    AlreadyExists {
        /// The proto field.
        field: &'static str,
    },
    /// More people are needed for it.
    #[error("{text}")]
    ApprovalRequired {
        /// What is missing, for the record.
        class: &'static str,
        /// What to do.
        text: String,
    },
    /// The proposal does not stand where this can be done to it.
    #[error("{0}")]
    ProposalState(VoteRefusal),
    /// Another change came first.
    #[error("another change came first; try again")]
    Conflict,
    /// More than a call may carry.
    #[error("{field}: {problem}")]
    TooLarge {
        /// The proto field.
        field: &'static str,
        /// The limit.
        problem: String,
    },
    /// The tenant has as many of these as it may have.
    #[error("{0}")]
    QuotaExceeded(QuotaExceeded),
    /// More calls than the tenant or the principal may make now.
    #[error("{0}")]
    RateLimited(Limited),
    /// The store cannot be read or written now.
    #[error("the store is unavailable; try again")]
    StoreUnavailable {
        /// For the log.
        problem: String,
    },
    /// The record could not be made durable, so nothing was done.
    #[error("the audit log is unavailable; try again")]
    AuditUnavailable {
        /// For the log.
        problem: String,
    },
    /// A defect, or a row that was changed from outside.
    #[error("internal error")]
    Internal {
        /// For the record.
        class: &'static str,
        /// For the log.
        problem: String,
    },
}

// === impl Refusal ===

impl Refusal {
    /// A field is not what it must be.
    pub fn invalid(field: &'static str, problem: impl ToString) -> Self {
        Self::InvalidArgument { field, problem: problem.to_string() }
    }

    /// A version that RetireCheck does not call SAFE: what speaks against it, and the commands that
    /// would supply what is missing.
    pub(super) fn retire_not_safe(judged: &Judged) -> Self {
        let (key, number) = (judged.version.key(), judged.version.number());
        let word = judged.verdict.word.as_str();
        let findings = judged.verdict.findings.iter();
        let mut open = findings.filter(|finding| finding.code.effect() != Effect::For);
        let mut text = format!("version {number} is not SAFE to let go, it is {word}");
        for finding in open.by_ref().take(FINDINGS_TOLD) {
            text.push_str(&format!("; {}", finding.text));
            if !finding.remedy.is_empty() {
                text.push_str(&format!(" (run: {})", finding.remedy));
            }
        }
        let more = match open.count() {
            0 => "all of it".to_owned(),
            more => format!("{more} more"),
        };
        text.push_str(&format!("; see {more} with: bulla key retire-check {key} {number}"));
        Self::RetireNotSafe { word, text }
    }

    /// The name of the stable reason, as it is sent and recorded.
    pub const fn reason(&self) -> &'static str {
        self.error_reason().as_str()
    }

    /// The stable reason of the error's `google.rpc.ErrorInfo`, also in the record.
    pub const fn error_reason(&self) -> ErrorReason {
        match self {
            Self::Denied { .. } => ErrorReason::PermissionDenied,
            Self::InvalidArgument { .. } => ErrorReason::InvalidArgument,
            Self::ContextTooLarge(_) => ErrorReason::ContextTooLarge,
            Self::InvalidCiphertext { .. } => ErrorReason::InvalidCiphertext,
            Self::KeyDisabled => ErrorReason::KeyDisabled,
            Self::IllegalStep(KeyRefusal::Disabled) => ErrorReason::KeyDisabled,
            Self::VersionNotUsable { .. } | Self::IllegalStep(_) => ErrorReason::VersionNotUsable,
            Self::RetireNotSafe { .. } => ErrorReason::RetireNotSafe,
            Self::AlreadyExists { .. } => ErrorReason::AlreadyExists,
            Self::CampaignState(_) | Self::CampaignAtWork { .. } => ErrorReason::CampaignState,
            Self::SeparationOfDuties { .. } => ErrorReason::SeparationOfDuties,
            Self::StaleReplica => ErrorReason::StaleReplica,
            Self::Conflict | Self::StoreHeld(_) => ErrorReason::Conflict,
            Self::TooLarge { .. } => ErrorReason::TooLarge,
            Self::ApprovalRequired { .. } => ErrorReason::ApprovalRequired,
            Self::ProposalState(_) => ErrorReason::ProposalState,
            Self::QuotaExceeded(_) => ErrorReason::QuotaExceeded,
            Self::RateLimited(_) => ErrorReason::RateLimited,
            Self::StoreUnavailable { .. } => ErrorReason::StoreUnavailable,
            Self::AuditUnavailable { .. } => ErrorReason::AuditUnavailable,
            Self::Internal { .. } => ErrorReason::Internal,
        }
    }

    /// The class of failure, for the record only; empty where the reason says all.
    pub const fn class(&self) -> &'static str {
        match self {
            Self::Denied { class }
            | Self::ApprovalRequired { class, .. }
            | Self::InvalidCiphertext { class }
            | Self::Internal { class, .. } => class,
            Self::InvalidArgument { field, .. }
            | Self::AlreadyExists { field }
            | Self::TooLarge { field, .. } => field,
            Self::VersionNotUsable { state, .. } => state.name(),
            Self::RetireNotSafe { word, .. } => word,
            Self::CampaignState(step) => step.state.name(),
            Self::RateLimited(limited) => limited.class,
            Self::QuotaExceeded(exceeded) => exceeded.quota.name(),
            Self::CampaignAtWork { state, .. } => state.name(),
            Self::ContextTooLarge(_)
            | Self::KeyDisabled
            | Self::IllegalStep(_)
            | Self::StoreHeld(_)
            | Self::SeparationOfDuties { .. }
            | Self::StaleReplica
            | Self::ProposalState(_)
            | Self::Conflict
            | Self::StoreUnavailable { .. }
            | Self::AuditUnavailable { .. } => "",
        }
    }

    /// What the log is told of a failure; empty where there is nothing to tell.
    pub fn problem(&self) -> &str {
        match self {
            Self::StoreUnavailable { problem }
            | Self::AuditUnavailable { problem }
            | Self::Internal { problem, .. } => problem,
            _ => "",
        }
    }

    /// Whether the caller was at fault, or its rights: refused. Otherwise the call failed.
    pub const fn is_refused(&self) -> bool {
        match self {
            Self::StoreUnavailable { .. }
            | Self::AuditUnavailable { .. }
            | Self::Internal { .. }
            | Self::StaleReplica
            | Self::Conflict => false,
            Self::Denied { .. }
            | Self::InvalidArgument { .. }
            | Self::ContextTooLarge(_)
            | Self::InvalidCiphertext { .. }
            | Self::KeyDisabled
            | Self::VersionNotUsable { .. }
            | Self::IllegalStep(_)
            | Self::RetireNotSafe { .. }
            | Self::CampaignState(_)
            | Self::SeparationOfDuties { .. }
            | Self::CampaignAtWork { .. }
            | Self::ApprovalRequired { .. }
            | Self::ProposalState(_)
            | Self::StoreHeld(_)
            | Self::AlreadyExists { .. }
            | Self::RateLimited(_)
            | Self::QuotaExceeded(_)
            | Self::TooLarge { .. } => true,
        }
    }
}

/// Who holds a role that stands in the way.
fn holding(member: Option<&PrincipalId>, held: &RoleName) -> String {
    match member {
        Some(member) => format!("the member {member} holds or would hold {held}"),
        None => format!("the subject holds {held}"),
    }
}

impl From<Denied> for Refusal {
    fn from(denied: Denied) -> Self {
        Self::Denied { class: denied.class() }
    }
}

impl From<CustodyError> for Refusal {
    fn from(error: CustodyError) -> Self {
        match error {
            CustodyError::NotFound => Self::Denied { class: "not_found" },
            CustodyError::KeyDisabled => Self::KeyDisabled,
            CustodyError::VersionNotUsable { version, state } => {
                Self::VersionNotUsable { version, state }
            }
            CustodyError::Conflict => Self::Conflict,
            CustodyError::AlreadyExists => Self::AlreadyExists { field: "alias" },
            CustodyError::TenantExists | CustodyError::AccountExists => {
                Self::AlreadyExists { field: "name" }
            }
            CustodyError::MalformedTenantName => Self::invalid("name", error),
            CustodyError::TooManyTenants => {
                Self::TooLarge { field: "name", problem: error.to_string() }
            }
            CustodyError::TooManyCredentials => Self::TooLarge {
                field: "service_account",
                problem: "has two credentials; revoke one with: bulla credential revoke ID".into(),
            },
            CustodyError::QuotaExceeded(exceeded) => Self::QuotaExceeded(exceeded),
            CustodyError::RequestIdReused => {
                Self::invalid("request_id", "was used for another request; draw a new one")
            }
            CustodyError::CursorExpired => {
                Self::invalid("cursor", "is too old; list the keys and start from an empty cursor")
            }
            CustodyError::Context(error) => error.into(),
            CustodyError::Trail(error) => error.into(),
            CustodyError::StoreDefect(error) => internal("store", &error),
            CustodyError::Store(error) => Self::StoreUnavailable { problem: error.to_string() },
            error @ CustodyError::Tampered { .. } => internal("row_tampered", &error),
            error @ CustodyError::VersionDoesNotOpen { .. } => {
                internal("version_does_not_open", &error)
            }
            error @ CustodyError::NewerFormat { .. } => internal("newer_format", &error),
            error @ CustodyError::NotCovered => internal("not_covered", &error),
            error @ CustodyError::Random(_) => internal("random", &error),
            error @ CustodyError::VersionZero(_) => internal("version_zero", &error),
            error @ CustodyError::Wrap(_) => internal("wrap", &error),
        }
    }
}

impl From<ContextError> for Refusal {
    fn from(error: ContextError) -> Self {
        Self::ContextTooLarge(error)
    }
}

impl From<OpenFailure> for Refusal {
    fn from(failure: OpenFailure) -> Self {
        Self::InvalidCiphertext { class: failure.class() }
    }
}

impl From<VersionZero> for Refusal {
    fn from(error: VersionZero) -> Self {
        internal("version_zero", &error)
    }
}

impl From<WrapFailure> for Refusal {
    fn from(failure: WrapFailure) -> Self {
        internal("wrap", &failure)
    }
}

impl From<RewrapFailure> for Refusal {
    fn from(failure: RewrapFailure) -> Self {
        match failure {
            RewrapFailure::Open(failure) => failure.into(),
            other => internal("rewrap", &other),
        }
    }
}

impl From<IllegalStep> for Refusal {
    fn from(step: IllegalStep) -> Self {
        Self::IllegalStep(step.into())
    }
}

impl From<KeyRefusal> for Refusal {
    fn from(refusal: KeyRefusal) -> Self {
        Self::IllegalStep(refusal)
    }
}

impl From<IllegalCampaignStep> for Refusal {
    fn from(step: IllegalCampaignStep) -> Self {
        Self::CampaignState(step)
    }
}

impl From<VoteRefusal> for Refusal {
    fn from(refusal: VoteRefusal) -> Self {
        match refusal {
            VoteRefusal::State(_) | VoteRefusal::Twice => Self::ProposalState(refusal),
            VoteRefusal::Own => Self::Denied { class: "own_proposal" },
            VoteRefusal::Whom => Self::Denied { class: "own_rights" },
            VoteRefusal::NotMember => Self::Denied { class: "not_a_member" },
            VoteRefusal::Digest => Self::invalid("digest", refusal),
        }
    }
}

impl From<ExecuteRefusal> for Refusal {
    fn from(refusal: ExecuteRefusal) -> Self {
        let class = match refusal {
            ExecuteRefusal::State(state) => state.name(),
            ExecuteRefusal::Proposer => "other_proposer",
            ExecuteRefusal::Request => "other_request",
            ExecuteRefusal::Rule => "rule_changed",
            ExecuteRefusal::Members => "members_left",
        };
        let text = format!("{refusal}; see it with: bulla proposal show ID");
        Self::ApprovalRequired { class, text }
    }
}

impl From<Held> for Refusal {
    fn from(held: Held) -> Self {
        Self::StoreHeld(held)
    }
}

impl From<ReportRefusal> for Refusal {
    fn from(refusal: ReportRefusal) -> Self {
        match refusal {
            ReportRefusal::Held(held) => held.into(),
            error @ ReportRefusal::PassNotBegun { .. } => Self::invalid("pass", error),
        }
    }
}

impl From<TooManyProblems> for Refusal {
    fn from(error: TooManyProblems) -> Self {
        Self::TooLarge { field: "problems", problem: error.to_string() }
    }
}

impl From<TrailError> for Refusal {
    fn from(error: TrailError) -> Self {
        Self::AuditUnavailable { problem: error.to_string() }
    }
}

fn internal(class: &'static str, error: &dyn std::error::Error) -> Refusal {
    Refusal::Internal { class, problem: error.to_string() }
}

/// How many findings an error tells.
const FINDINGS_TOLD: usize = 3;
