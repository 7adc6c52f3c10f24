//! A change that is considered and not made: how a proposal is understood by the very code that would
//! make it, and by what digest it is known again.

use std::sync::Arc;

use bulla_proto::kms;
use bulla_proto::kms::access_server::AccessServer;
use bulla_proto::kms::approvals_server::ApprovalsServer;
use bulla_proto::kms::keys_server::KeysServer;
use bulla_proto::kms::rotation_server::RotationServer;
use bulla_proto::kms::tenants_server::TenantsServer;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::Full;
use parking_lot::Mutex;
use prost::Message;
use sha2::{Digest, Sha256};
use tonic::body::Body;
use tonic::{Request, Status};
use tower_service::Service;

use super::methods::{self, ServiceName, Shape};
use super::{Api, errors};
use crate::policy::Action;
use crate::service::{Considered, Refusal};

/// The request message of a change.
pub(super) trait Asked: Message + Clone + std::fmt::Debug {
    /// The same without the caller's id for it: a request that is made again is the same request.
    fn without_request_id(&self) -> Self;
}

/// In the extensions of a request that is only considered.
#[derive(Clone, Default)]
pub(super) struct Rehearsal(Arc<Mutex<Ended>>);

/// How considering it ended.
#[derive(Default)]
pub(super) enum Ended {
    /// It never got as far as a change.
    #[default]
    Nowhere,
    /// It was refused, and that was recorded.
    Refused(Status),
    /// It could be made, and this is what people read of it.
    Understood(Considered, String),
}

macro_rules! asked {
    ($($message:ident),* $(,)?) => {$(
        impl Asked for kms::$message {
            fn without_request_id(&self) -> Self {
                Self { request_id: String::new(), ..self.clone() }
            }
        }
    )*};
}

asked!(
    AbandonCampaignRequest,
    ApproveRequest,
    BindRoleRequest,
    CancelDestroyRequest,
    CompromiseVersionRequest,
    CreateCampaignRequest,
    CreateCredentialRequest,
    CreateGrantRequest,
    CreateKeyRequest,
    CreateServiceAccountRequest,
    CreateTenantRequest,
    DecideProblemRequest,
    DeleteAliasRequest,
    DeleteApprovalRuleRequest,
    DeletePolicyRequest,
    DeleteServiceAccountRequest,
    DisableKeyRequest,
    EnableKeyRequest,
    PauseCampaignRequest,
    ProposeRequest,
    PutApprovalRuleRequest,
    PutPolicyRequest,
    RegisterStoreRequest,
    RejectRequest,
    ReportRestoreRequest,
    RestrictVersionRequest,
    ResumeCampaignRequest,
    ResumeLadderRequest,
    ResumeTenantRequest,
    ResumeVersionRequest,
    RevokeCredentialRequest,
    RevokeGrantRequest,
    RotateKeyRequest,
    ScheduleDestroyRequest,
    SetAliasRequest,
    SetLadderRequest,
    SuspendTenantRequest,
    SuspendVersionRequest,
    UnbindRoleRequest,
    UnrestrictVersionRequest,
    UpdateKeyRequest,
    UpdateTenantRequest,
    WaiveUnnamedStoreRequest,
    WriteRelationsRequest,
);

macro_rules! asked_without_an_id {
    ($($message:ident),*) => {$(
        impl Asked for kms::$message {
            fn without_request_id(&self) -> Self {
                self.clone()
            }
        }
    )*};
}

asked_without_an_id!(BeginScanRequest, ReportScanRequest);

/// SHA-256 of the action and the request as it was understood: fields that this release does not know
/// are not in it, and neither is the request id.
pub(super) fn digest(action: Action, message: &impl Asked) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(action.name());
    hash.update([0]);
    hash.update(message.without_request_id().encode_to_vec());
    hash.finalize().into()
}

/// The proposal that the caller names. Two of them would leave it open which is meant.
pub(super) fn approval<M>(request: &Request<M>) -> Result<Option<String>, Status> {
    let mut named = request.metadata().get_all(APPROVAL).iter();
    match (named.next(), named.next()) {
        (None, _) => Ok(None),
        // What is no text is no id either, and is refused where an id is asked for.
        (Some(value), None) => Ok(Some(value.to_str().unwrap_or("?").to_owned())),
        (Some(_), Some(_)) => Ok(Some("?".to_owned())),
    }
}

/// What people read of a request: a field a line, without those that say nothing.
pub(super) fn summary(message: &impl Asked) -> String {
    let shown = format!("{:#?}", message.without_request_id());
    let says_nothing = |line: &str| {
        [": None,", ": \"\",", ": 0,", ": false,", ": [],", ": {},"]
            .iter()
            .any(|end| line.ends_with(end))
    };
    let inner = shown.lines().skip(1).filter(|line| *line != "}" && !says_nothing(line));
    let lines: Vec<_> =
        inner.map(|line| line.strip_prefix("    ").unwrap_or(line).trim_end_matches(',')).collect();
    lines.join("\n")
}

// === impl Rehearsal ===

impl Rehearsal {
    pub(super) fn of<M>(request: &Request<M>) -> Option<Self> {
        request.extensions().get::<Self>().cloned()
    }

    /// Keeps how it ended. The status that this gives goes to nobody.
    pub(super) fn ended(&self, considered: Result<Considered, Refusal>, summary: String) -> Status {
        *self.0.lock() = match considered {
            Ok(considered) => Ended::Understood(considered, summary),
            Err(refusal) => Ended::Refused(errors::status(&refusal)),
        };
        Status::aborted("only considered")
    }
}

// === impl Api ===

impl Api {
    /// Has the request of a proposal considered by the method that would make it.
    pub(super) async fn rehearse(&self, request: &Request<kms::ProposeRequest>) -> Ended {
        let asked = request.get_ref();
        let Some(found) = methods::find(&asked.method) else { return Ended::Nowhere };
        if found.method.shape != Shape::Unary || asked.request.len() > REQUEST_BYTES_MAX {
            return Ended::Nowhere;
        }
        let rehearsal = Rehearsal::default();
        let mut message = http::Request::post(found.method.path);
        let content = http::HeaderValue::from_static("application/grpc");
        message = message.header(http::header::CONTENT_TYPE, content);
        let Ok(mut message) = message.body(Body::new(Full::new(framed(&asked.request)))) else {
            return Ended::Nowhere;
        };
        // Who calls is the same; what it may not do is go through with it.
        *message.extensions_mut() = request.extensions().clone();
        message.extensions_mut().insert(rehearsal.clone());
        let api = self.clone();
        let answered = match found.method.service {
            ServiceName::Keys => KeysServer::new(api).call(message).await,
            ServiceName::Rotation => RotationServer::new(api).call(message).await,
            ServiceName::Access => AccessServer::new(api).call(message).await,
            ServiceName::Approvals => ApprovalsServer::new(api).call(message).await,
            ServiceName::Tenants => TenantsServer::new(api).call(message).await,
            ServiceName::Crypto
            | ServiceName::Audit
            | ServiceName::Operator
            | ServiceName::Bench
            | ServiceName::Health
            | ServiceName::Metrics
            | ServiceName::KeySet => return Ended::Nowhere,
        };
        drop(answered);
        std::mem::take(&mut *rehearsal.0.lock())
    }
}

fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(message.len().saturating_add(5));
    framed.put_u8(0);
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.put_slice(message);
    framed.freeze()
}

/// The metadata with which a change names the proposal that it is made on.
const APPROVAL: &str = "bulla-approval";
/// What people are asked to read must be something that they can.
const REQUEST_BYTES_MAX: usize = 16 * 1024;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn asked() -> kms::ScheduleDestroyRequest {
        kms::ScheduleDestroyRequest {
            key: "orders".to_owned(),
            version: 1,
            reason: "a\u{1b}[31m \"quoted\"\nline".to_owned(),
            request_id: "r".to_owned(),
            ..Default::default()
        }
    }

    #[test]
    fn d13_a_digest_is_of_the_action_and_every_field_but_the_request_id() {
        let this = digest(Action::ScheduleDestroy, &asked());
        let again = kms::ScheduleDestroyRequest { request_id: "s".to_owned(), ..asked() };
        assert_eq!(digest(Action::ScheduleDestroy, &again), this);
        let others = [
            kms::ScheduleDestroyRequest { key: "order".to_owned(), ..asked() },
            kms::ScheduleDestroyRequest { version: 2, ..asked() },
            kms::ScheduleDestroyRequest { not_safe: true, ..asked() },
            kms::ScheduleDestroyRequest { reason: String::new(), ..asked() },
        ];
        for other in others {
            assert_ne!(digest(Action::ScheduleDestroy, &other), this);
        }
        assert_ne!(digest(Action::CompromiseVersion, &asked()), this);
    }

    #[test]
    fn d13_what_people_read_is_a_field_a_line_and_cannot_play_another() {
        let text = summary(&asked());
        let lines: Vec<_> = text.lines().collect();
        let reason = r#"reason: "a\u{1b}[31m \"quoted\"\nline""#;
        assert_eq!(lines, [r#"key: "orders""#, "version: 1", reason]);
    }
}
