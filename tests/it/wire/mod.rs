//! Bulla as its callers see it: real processes, real TLS, every rule of the API on every store.

mod access;
mod audit;
mod campaigns;
mod census;
mod isolation;
mod lifecycle;
mod limits;
mod metrics;
mod people;
mod quotas;
mod rates;
mod receipts;
mod schedule;
mod watch;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use bulla_client::{Client, Error};
use bulla_proto::kms;
use bytes::{Bytes, BytesMut};
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use crate::server::TestServer;

/// Each test of the list on each store.
macro_rules! on_both_stores {
    ($($test:ident),* $(,)?) => {
        mod sqlite {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(crate::wire::on_sqlite()).await; })*
        }
        mod memory {
            $(#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $test() { super::$test(crate::wire::in_memory()).await; })*
        }
    };
}
use on_both_stores;

/// A server that is shared while a test holds it, and ends with the last of them.
pub(super) type Shared = Arc<TestServer>;

pub(super) fn on_sqlite() -> Shared {
    static SERVER: Mutex<Weak<TestServer>> = Mutex::new(Weak::new());
    share(&SERVER, TestServer::start)
}

pub(super) fn in_memory() -> Shared {
    static SERVER: Mutex<Weak<TestServer>> = Mutex::new(Weak::new());
    share(&SERVER, TestServer::in_memory)
}

fn share(slot: &Mutex<Weak<TestServer>>, start: fn() -> TestServer) -> Shared {
    let mut slot = slot.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if let Some(server) = slot.upgrade() {
        return server;
    }
    let server = Arc::new(start());
    *slot = Arc::downgrade(&server);
    server
}

/// A name that no other test of this process uses.
pub(super) fn fresh(stem: &str) -> String {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    format!("{stem}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

pub(super) fn pairs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

/// Makes a key. Its id.
pub(super) async fn new_key(manager: &Client) -> String {
    let made = manager.create_key(kms::CreateKeyRequest::default()).await.unwrap();
    made.key.unwrap().key_id
}

pub(super) async fn rotate(manager: &Client, key: &str) -> Result<u32, Error> {
    let asked = kms::RotateKeyRequest { key: key.to_owned(), ..Default::default() };
    Ok(manager.rotate_key(asked).await?.version.unwrap().version)
}

/// A blob of a new data key of this key.
pub(super) async fn blob(user: &Client, key: &str, context: &[(&str, &str)]) -> Blob {
    let asked = kms::GenerateDataKeyRequest {
        key: key.to_owned(),
        encryption_context: pairs(context),
        ..Default::default()
    };
    let made = user.generate_data_key(asked).await.unwrap();
    Blob { plaintext: made.plaintext, ciphertext: made.ciphertext }
}

pub(super) struct Blob {
    pub(super) plaintext: Vec<u8>,
    pub(super) ciphertext: Vec<u8>,
}

pub(super) fn decrypt_of(ciphertext: &[u8], context: &[(&str, &str)]) -> kms::DecryptRequest {
    kms::DecryptRequest {
        ciphertext: ciphertext.to_vec(),
        encryption_context: pairs(context),
        key: String::new(),
    }
}

/// The code and reason of a refusal.
#[track_caller]
pub(super) fn refused<T>(outcome: Result<T, Error>) -> (Code, String) {
    match outcome {
        Ok(_) => panic!("was allowed"),
        Err(error) => (error.code(), error.reason().to_owned()),
    }
}

/// The sequence of the last durable record.
pub(super) async fn audit_end(server: &TestServer) -> u64 {
    let operator = server.client("operator").await;
    operator.status(kms::StatusRequest {}).await.unwrap().audit_sequence
}

/// Every record after `after` that this auditor may see.
pub(super) async fn records(server: &TestServer, auditor: &str, after: u64) -> Vec<kms::Record> {
    let auditor = server.client(auditor).await;
    let mut after_sequence = after;
    let mut records = Vec::new();
    loop {
        let asked = kms::ListRecordsRequest { after_sequence, page_size: 1000, filter: None };
        let page = auditor.list_records(asked).await.unwrap();
        records.extend(page.records);
        after_sequence = page.next_after_sequence;
        if page.end {
            return records;
        }
    }
}

// === what no client of ours would send ===

/// A connection on which any path and any bytes can be sent.
#[derive(Clone)]
pub(super) struct Raw {
    send: h2::client::SendRequest<Bytes>,
    /// This end.
    pub(super) address: SocketAddr,
}

/// An answer that has begun.
struct Begun {
    headers: http::HeaderMap,
    body: h2::RecvStream,
}

/// An answer to what was not gRPC.
pub(super) struct Plain {
    pub(super) status: http::StatusCode,
    /// The content type.
    pub(super) kind: String,
    /// The gRPC status in the headers.
    pub(super) grpc: Option<Status>,
    pub(super) body: Bytes,
}

fn tls_config(
    server: &TestServer,
) -> rustls::ConfigBuilder<rustls::ClientConfig, rustls::client::WantsClientCert> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(server.path("ca.pem")).unwrap()).unwrap();
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let versions = rustls::ClientConfig::builder_with_provider(provider);
    versions.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots)
}

impl Raw {
    pub(super) async fn connect(server: &TestServer, caller: &str) -> Self {
        let chain = CertificateDer::pem_file_iter(server.path(&format!("{caller}.pem"))).unwrap();
        let chain = chain.map(Result::unwrap).collect();
        let key = PrivateKeyDer::from_pem_file(server.path(&format!("{caller}.key"))).unwrap();
        let config = tls_config(server).with_client_auth_cert(chain, key).unwrap();
        let tls = Self::tls(server, config).await;
        let address = tls.get_ref().0.local_addr().unwrap();
        let (send, connection) = h2::client::handshake(tls).await.unwrap();
        tokio::spawn(connection);
        Self { send, address }
    }

    /// TLS as its client sees it, before it hears that it needs a certificate.
    pub(super) async fn tls_without_certificate(server: &TestServer) -> TlsStream<TcpStream> {
        Self::tls(server, tls_config(server).with_no_client_auth()).await
    }

    async fn tls(server: &TestServer, mut config: rustls::ClientConfig) -> TlsStream<TcpStream> {
        config.alpn_protocols = vec![b"h2".to_vec()];
        let tcp = TcpStream::connect(server.address()).await.unwrap();
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        let name = ServerName::try_from("localhost").unwrap();
        connector.connect(name, tcp).await.unwrap()
    }

    /// A request that is not gRPC, as a browser or a scraper sends it.
    pub(super) async fn plain(&self, method: http::Method, path: &str, body: Bytes) -> Plain {
        let mut send = self.send.clone().ready().await.unwrap();
        let uri = format!("https://localhost{path}");
        let request = http::Request::builder().method(method).uri(uri).body(()).unwrap();
        let (response, mut stream) = send.send_request(request, body.is_empty()).unwrap();
        if !body.is_empty() {
            // A server that has refused already need not take it.
            let _ = stream.send_data(body, true);
        }
        let (head, mut body) = response.await.unwrap().into_parts();
        let mut gathered = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            gathered.extend_from_slice(&data);
        }
        let kind = head.headers.get("content-type").and_then(|kind| kind.to_str().ok());
        Plain {
            status: head.status,
            kind: kind.unwrap_or_default().to_owned(),
            grpc: Status::from_header_map(&head.headers),
            body: gathered.freeze(),
        }
    }

    async fn begin(&self, path: &str, body: Bytes) -> Begun {
        let mut send = self.send.clone().ready().await.unwrap();
        let request = http::Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())
            .unwrap();
        let (response, mut stream) = send.send_request(request, false).unwrap();
        // A server that has refused already need not take the rest.
        let _ = stream.send_data(body, true);
        let (head, body) = response.await.unwrap().into_parts();
        Begun { headers: head.headers, body }
    }

    /// Sends these bytes as the whole body. What came back, and the end of it.
    pub(super) async fn bytes(&self, path: &str, body: Bytes) -> (Bytes, Status) {
        let Begun { headers, mut body } = self.begin(path, body).await;
        if let Some(status) = Status::from_header_map(&headers) {
            return (Bytes::new(), status);
        }
        let mut gathered = BytesMut::new();
        while let Some(data) = body.data().await {
            let data = data.unwrap();
            body.flow_control().release_capacity(data.len()).unwrap();
            gathered.extend_from_slice(&data);
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        (gathered.freeze(), Status::from_header_map(&trailers).unwrap())
    }

    /// Sends one message whose encoding is `message`.
    pub(super) async fn message(&self, path: &str, message: &[u8]) -> (Bytes, Status) {
        self.bytes(path, framed(message)).await
    }

    /// A unary call: what it gave, or why not.
    pub(super) async fn call(&self, path: &str, message: &impl Message) -> Result<Bytes, Status> {
        let (body, status) = self.message(path, &message.encode_to_vec()).await;
        if status.code() == Code::Ok { Ok(body.slice(5..)) } else { Err(status) }
    }

    /// Whether the call is let in. A stream is not followed to its end, which it may not have.
    pub(super) async fn is_let_in(&self, path: &str, message: &[u8]) -> Result<(), Status> {
        let Begun { headers, mut body } = self.begin(path, framed(message)).await;
        if let Some(status) = Status::from_header_map(&headers) {
            return if status.code() == Code::Ok { Ok(()) } else { Err(status) };
        }
        if ["/WatchKeys", "/TailRecords", "/Watch"].iter().any(|name| path.ends_with(name)) {
            return Ok(());
        }
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data.unwrap().len()).unwrap();
        }
        let trailers = body.trailers().await.unwrap().unwrap_or_default();
        let status = Status::from_header_map(&trailers).unwrap();
        if status.code() == Code::Ok { Ok(()) } else { Err(status) }
    }
}

pub(super) fn framed(message: &[u8]) -> Bytes {
    let mut bytes = vec![0];
    bytes.extend_from_slice(&u32::try_from(message.len()).unwrap().to_be_bytes());
    bytes.extend_from_slice(message);
    bytes.into()
}

/// The reason of the error's `ErrorInfo`, which every error must have in the domain `bulla`.
#[track_caller]
pub(super) fn reason(status: &Status) -> String {
    let details = status.get_error_details();
    let info = details.error_info().unwrap_or_else(|| panic!("no ErrorInfo: {status:?}"));
    assert_eq!(info.domain, "bulla");
    info.reason.clone()
}

/// The field that the error's `BadRequest` names.
pub(super) fn field(status: &Status) -> Option<String> {
    let details = status.get_error_details();
    let violation = details.bad_request()?.field_violations.first()?;
    Some(violation.field.clone())
}
