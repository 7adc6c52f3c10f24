//! The other end of a connection, as a request carries it.

use std::net::SocketAddr;

use super::Certified;
use crate::policy::Principal;

/// Who is at the other end of a connection. An `Arc` of it is in the extensions of every request.
///
/// A certificate is proved once for each connection: TLS 1.3 has no renegotiation, and sessions are not
/// resumed. Whether it still counts is asked for every call.
#[derive(Debug)]
pub struct Peer {
    certified: Option<Certified>,
    address: SocketAddr,
    connection_id: u64,
}

// === impl Peer ===

impl Peer {
    /// What the handshake found; without a certificate, nobody.
    pub fn new(certified: Option<Certified>, address: SocketAddr, connection_id: u64) -> Self {
        Self { certified, address, connection_id }
    }

    /// The holder of the client certificate, if there is one.
    pub fn certified(&self) -> Option<&Certified> {
        self.certified.as_ref()
    }

    /// Whom the certificate names. Not yet the caller: a call may bring another proof, and a certificate
    /// may have been revoked since.
    pub fn principal(&self) -> Option<&Principal> {
        self.certified.as_ref().map(|certified| &certified.subject().principal)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_without_a_certificate_is_nobodys_and_keeps_its_number_and_address() {
        let address = SocketAddr::from(([192, 0, 2, 7], 4711));
        let peer = Peer::new(None, address, 42);
        assert_eq!((peer.connection_id(), peer.address()), (42, address));
        assert!(peer.certified().is_none() && peer.principal().is_none());
    }
}
