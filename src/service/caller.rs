//! Who calls, from where, and what is known of the connection.

use std::net::SocketAddr;
use std::sync::Arc;

use parking_lot::Mutex;

use crate::audit::Receipt;
use crate::keys::TenantId;
use crate::policy::{CredentialKind, Principal, PrincipalId, ProgramRole, Subject};

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    pub(super) subject: Arc<Subject>,
    pub(super) standing: Standing,
    /// The revision that must have been seen here before it is answered.
    pub(super) at_least: u64,
    asks: Option<Asks>,
    /// SHA-256 of the client certificate of its connection.
    pub(super) certificate: Option<[u8; 32]>,
    /// Where the receipt goes, if the caller wants one.
    pub(super) wants_receipt: Option<ReceiptSlot>,
    /// Its calls have no record: what `make bench` compares with, and in no other build.
    #[cfg(feature = "bench-echo")]
    pub(super) unrecorded: bool,
}

/// Where the receipt of a call goes: that of its last record. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct ReceiptSlot(Arc<Mutex<Option<Receipt>>>);

/// What is known of a change before it is understood, for the rules on approvals.
#[derive(Clone, Debug)]
pub struct Asks {
    /// SHA-256 of the action and the request, without its request id.
    pub digest: [u8; 32],
    /// The approved proposal that the caller names, as it came.
    pub approval: Option<String>,
}

/// Where a caller's roles come from.
#[derive(Clone, Copy, Debug)]
pub(super) enum Standing {
    /// From rows: it came over the network, from this address.
    Remote(SocketAddr),
    /// It is a part of this program and has its one role.
    Internal(ProgramRole),
}

// === impl Caller ===

impl Caller {
    /// An authenticated caller on a connection.
    pub fn remote(subject: Arc<Subject>, source: SocketAddr) -> Self {
        Self {
            subject,
            standing: Standing::Remote(source),
            at_least: 0,
            asks: None,
            certificate: None,
            wants_receipt: None,
            #[cfg(feature = "bench-echo")]
            unrecorded: false,
        }
    }

    /// The same, on a connection with this client certificate.
    #[must_use]
    pub fn with_certificate(self, certificate: Option<[u8; 32]>) -> Self {
        Self { certificate, ..self }
    }

    /// The same, who wants a receipt.
    #[must_use]
    pub fn wanting_receipt(self, slot: ReceiptSlot) -> Self {
        Self { wants_receipt: Some(slot), ..self }
    }

    /// The same, whose calls have no record.
    #[cfg(feature = "bench-echo")]
    #[must_use]
    pub fn unrecorded(self) -> Self {
        Self { unrecorded: true, ..self }
    }

    /// The same, to be answered only where every change up to this revision was seen.
    #[must_use]
    pub fn at_least(self, revision: u64) -> Self {
        Self { at_least: revision, ..self }
    }

    /// The same caller, with a change.
    #[must_use]
    pub fn asking(self, asks: Asks) -> Self {
        Self { asks: Some(asks), ..self }
    }

    /// The change that it asks for.
    pub(super) fn asks(&self) -> Option<&Asks> {
        self.asks.as_ref()
    }

    /// Whether it is a part of this program or has the key file in hand: no rule on approvals is for
    /// those, whom nobody could keep from anything.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.standing, Standing::Internal(_))
    }

    /// The program's own scheduler, at work in `tenant`. It has no connection, and that is what gives
    /// it its role: no certificate leads here.
    pub fn scheduler(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::scheduler(), tenant);
        Self::internal(principal, ProgramRole::Scheduler)
    }

    /// Whoever runs the program with the key file on the database itself, at work in `tenant`.
    pub fn installer(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::installer(), tenant);
        Self::internal(principal, ProgramRole::Installer)
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.subject.principal
    }

    /// Who, and how that is known.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    fn internal(principal: Principal, role: ProgramRole) -> Self {
        let subject = Arc::new(Subject::new(principal, CredentialKind::Internal));
        Self {
            subject,
            standing: Standing::Internal(role),
            at_least: 0,
            asks: None,
            certificate: None,
            wants_receipt: None,
            #[cfg(feature = "bench-echo")]
            unrecorded: false,
        }
    }
}

// === impl ReceiptSlot ===

impl ReceiptSlot {
    /// The receipt, once there is a record.
    pub fn receipt(&self) -> Option<Receipt> {
        *self.0.lock()
    }

    pub(super) fn put(&self, receipt: Receipt) {
        *self.0.lock() = Some(receipt);
    }
}
