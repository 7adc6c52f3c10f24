//! One connection, and everything of an answer that its caller can see.

use std::sync::Arc;

use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::server::TestServer;

/// An open connection, with or without a certificate.
pub(super) struct Wire {
    send: SendRequest<Bytes>,
    /// This end, as records have it.
    pub(super) address: String,
}

/// An answer, whole.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Answer {
    /// The reason of the error, or OK.
    pub(super) reason: String,
    pub(super) code: i32,
    pub(super) message: Vec<u8>,
    /// Every header and trailer but the date, in order.
    pub(super) heads: Vec<(String, Vec<u8>)>,
}

// === impl Wire ===

impl Wire {
    pub(super) async fn connect(server: &TestServer, certificate: Option<&str>) -> Self {
        let mut roots = rustls::RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.path("ca.pem")).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = rustls::ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::pem_file_iter(server.path(&format!("{name}.pem")));
                let chain = chain.unwrap().map(Result::unwrap).collect();
                let key = PrivateKeyDer::from_pem_file(server.path(&format!("{name}.key")));
                builder.with_client_auth_cert(chain, key.unwrap()).unwrap()
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        tcp.set_nodelay(true).unwrap();
        let address = tcp.local_addr().unwrap().to_string();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        let tls = connector.connect(name, tcp).await.unwrap();
        let (send, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        Self { send, address }
    }

    /// Calls with this one message. A stream is not followed once it has begun well.
    pub(super) async fn call(&self, path: &str, message: &[u8], bearer: Option<&str>) -> Answer {
        let mut send = self.send.clone().ready().await.unwrap();
        let mut request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(bearer) = bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let (response, mut body) = send.send_request(request.body(()).unwrap(), false).unwrap();
        // A server that has refused already need not take it.
        let _ = body.send_data(crate::wire::framed(message), true);
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut heads = sorted(&head.headers);
        let mut message = Vec::new();
        let endless =
            ["/WatchKeys", "/TailRecords", "/Watch"].iter().any(|end| path.ends_with(end));
        if let Some(status) = Status::from_header_map(&head.headers) {
            return Answer::of(&status, message, heads);
        }
        if endless {
            return Answer { reason: "OK".into(), code: 0, message, heads };
        }
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            message.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        heads.extend(sorted(&trailers));
        let message = message.get(5..).unwrap_or_default().to_vec();
        Answer::of(&Status::from_header_map(&trailers).unwrap(), message, heads)
    }
}

// === impl Answer ===

impl Answer {
    fn of(status: &Status, message: Vec<u8>, heads: Vec<(String, Vec<u8>)>) -> Self {
        let reason = match status.get_error_details().error_info() {
            _ if status.code() == Code::Ok => "OK".to_owned(),
            Some(info) => info.reason.clone(),
            None => format!("without a reason: {status:?}"),
        };
        Self { reason, code: status.code().into(), message, heads }
    }
}

fn sorted(headers: &HeaderMap) -> Vec<(String, Vec<u8>)> {
    let pairs = headers.iter().map(|(name, value)| (name.to_string(), value.as_bytes().to_vec()));
    let mut pairs: Vec<_> = pairs.filter(|(name, _)| name != "date").collect();
    pairs.sort();
    pairs
}
