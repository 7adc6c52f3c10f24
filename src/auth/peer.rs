//! The authenticated other end of a connection, as a request carries it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::policy::{CredentialKind, Principal, Subject};

/// Who is at the other end of a connection. An `Arc` of it is in the extensions of every request.
///
/// It holds for as long as the connection does: TLS 1.3 has no renegotiation, and sessions are not
/// resumed, so each connection proves its identity anew.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Peer {
    subject: Arc<Subject>,
    address: SocketAddr,
    connection_id: u64,
}

// === impl Peer ===

impl Peer {
    /// What the handshake found.
    pub fn new(principal: Principal, address: SocketAddr, connection_id: u64) -> Self {
        let subject = Arc::new(Subject::new(principal, CredentialKind::Certificate));
        Self { subject, address, connection_id }
    }

    /// The authenticated caller.
    pub fn principal(&self) -> &Principal {
        &self.subject.principal
    }

    /// The caller, and how it proved who it is.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.subject
    }

    /// The address that the connection comes from. Of whoever connected: no header changes it.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Unique for as long as the process runs.
    pub fn connection_id(&self) -> u64 {
        self.connection_id
    }
}
