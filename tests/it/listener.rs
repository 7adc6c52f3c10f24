//! The listener over real TLS: who gets in, what a hostile client can hold, and how it all ends.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::pin::Pin;
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bulla::auth::{Authenticator, Peer, TrustDomain};
use bulla::clock::SystemClock;
use bulla::keys::TenantId;
use bulla::server::{
    Accept, AuthRefusal, DrainSwitch, Gate, Listen, ListenLimits, Runtimes, TlsIdentity, bind_each,
    cores, drain, provider, server_config,
};
use bytes::Bytes;
use h2::client::SendRequest;
use http::{HeaderMap, Request, Response};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, SanType,
};
use rustls::{ClientConfig, ClientConnection, HandshakeKind, NamedGroup, RootCertStore};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::Notify;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

const APP: &str = "spiffe://demo.bulla/app";
/// Longer than anything here takes; a test that waits this long has failed.
const DEADLINE: Duration = Duration::from_secs(30);

// === certificates ===

struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap().der().clone();
        Self { issuer: Issuer::new(params, key), certificate }
    }

    fn sign(&self, params: CertificateParams) -> (CertificateDer<'static>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().der().clone();
        (certificate, PrivateKeyDer::try_from(key.serialize_der()).unwrap())
    }

    fn server(&self) -> TlsIdentity {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        let (certificate, key) = self.sign(params);
        TlsIdentity { chain: vec![certificate], key }
    }

    /// A client's configuration that trusts this authority and shows a certificate of `signer`.
    fn client(&self, signer: &Self, name: &str) -> ClientConfig {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(name.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        let (certificate, key) = signer.sign(params);
        let mut config =
            self.client_builder().with_client_auth_cert(vec![certificate], key).unwrap();
        config.alpn_protocols = vec![b"h2".to_vec()];
        config
    }

    fn client_builder(
        &self,
    ) -> rustls::ConfigBuilder<ClientConfig, rustls::client::WantsClientCert> {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).unwrap();
        ClientConfig::builder_with_provider(Arc::new(rustls::crypto::aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_root_certificates(roots)
    }
}

// === a service that does as the path says ===

#[derive(Clone, Default)]
struct Service(Arc<ServiceState>);

#[derive(Default)]
struct ServiceState {
    calls: AtomicUsize,
    /// `/held` waits for it.
    release: Notify,
    called: Notify,
}

impl tower_service::Service<Request<Incoming>> for Service {
    type Response = Response<tonic::body::Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Incoming>) -> Self::Future {
        let state = Arc::clone(&self.0);
        Box::pin(async move {
            state.calls.fetch_add(1, Ordering::SeqCst);
            state.called.notify_one();
            let peer = request.extensions().get::<Arc<Peer>>().unwrap();
            let said = format!("{} {}", peer.principal().unwrap().id(), peer.address());
            match request.uri().path() {
                "/held" => state.release.notified().await,
                "/body" => {
                    // The test of unread bodies asks for this one.
                    let _ = request.into_body().collect().await;
                }
                _ => {}
            }
            let body = Full::new(Bytes::from(said)).with_trailers(async {
                let mut trailers = HeaderMap::new();
                trailers.insert("grpc-status", "0".parse().unwrap());
                Some(Ok(trailers))
            });
            Ok(Response::new(tonic::body::Body::new(body)))
        })
    }
}

// === a server, running ===

struct Server {
    address: SocketAddr,
    authority: Authority,
    service: Service,
    gate: Arc<Gate>,
    drain: DrainSwitch,
    refusals: Arc<Mutex<Vec<AuthRefusal>>>,
    refused: Arc<Notify>,
    serving: tokio::task::JoinHandle<()>,
}

impl Server {
    async fn start(change: impl FnOnce(&mut ListenLimits)) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        Self::start_on(listener, address, change)
    }

    fn start_on(
        source: impl Accept + 'static,
        address: SocketAddr,
        change: impl FnOnce(&mut ListenLimits),
    ) -> Self {
        let mut limits = ListenLimits::DEFAULT;
        change(&mut limits);
        let authority = Authority::new();
        let service = Service::default();
        let (refusals, refused) = <(Arc<Mutex<Vec<AuthRefusal>>>, Arc<Notify>)>::default();
        let (switch, watch) = drain();
        let authenticator = authenticator(&authority);
        let listen = Listen {
            tls: server_config(authority.server(), provider(), Arc::clone(&authenticator)).unwrap(),
            authenticator,
            gate: Arc::new(Gate::new(limits)),
            on_refused: Arc::new({
                let (refusals, refused) = (Arc::clone(&refusals), Arc::clone(&refused));
                move |refusal| {
                    refusals.lock().unwrap().push(refusal);
                    refused.notify_one();
                }
            }),
            drain: watch,
        };
        let gate = Arc::clone(&listen.gate);
        let serving = tokio::spawn({
            let service = service.clone();
            async move { listen.serve(source, service).await }
        });
        Self { address, authority, service, gate, drain: switch, refusals, refused, serving }
    }

    fn client(&self) -> ClientConfig {
        self.authority.client(&self.authority, APP)
    }

    async fn tcp(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.unwrap();
        stream.set_nodelay(true).unwrap();
        stream
    }

    async fn tcp_from(&self, last: u8) -> TcpStream {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
        socket.connect(self.address).await.unwrap()
    }

    async fn tls(&self) -> TlsStream<TcpStream> {
        tls(self.tcp().await, self.client()).await.unwrap()
    }

    async fn h2(&self) -> SendRequest<Bytes> {
        h2_over(self.tls().await).await
    }

    /// The class of the next refusal.
    async fn next_refusal(&self) -> &'static str {
        self.refused.notified().await;
        self.refusals.lock().unwrap().pop().unwrap().class
    }

    /// Until the counts are as they should be.
    async fn until(&self, so: impl Fn(&bulla::server::ListenCounts) -> bool) {
        while !so(&self.gate.counts()) {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }

    fn calls(&self) -> usize {
        self.service.0.calls.load(Ordering::SeqCst)
    }
}

fn authenticator(authority: &Authority) -> Arc<Authenticator> {
    let domain = TrustDomain {
        name: "demo.bulla".to_owned(),
        tenant: TenantId::from_bytes([1; 16]),
        authorities: vec![authority.certificate.clone()],
        revocations: vec![],
    };
    Arc::new(Authenticator::new(vec![domain], &provider(), Arc::new(SystemClock)).unwrap())
}

async fn tls(stream: TcpStream, config: ClientConfig) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await
}

async fn h2_over(stream: TlsStream<TcpStream>) -> SendRequest<Bytes> {
    let (sender, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    sender
}

fn request(path: &str) -> Request<()> {
    Request::post(format!("https://localhost{path}")).body(()).unwrap()
}

/// What the service says to one request.
async fn ask(sender: &mut SendRequest<Bytes>, path: &str) -> Result<String, h2::Error> {
    let mut ready = sender.clone().ready().await?;
    let (response, _) = ready.send_request(request(path), true)?;
    read(response).await
}

async fn read(response: h2::client::ResponseFuture) -> Result<String, h2::Error> {
    let mut body = response.await?.into_body();
    let mut said = Vec::new();
    while let Some(data) = body.data().await {
        said.extend_from_slice(&data?);
    }
    assert_eq!(body.trailers().await?.unwrap()["grpc-status"], "0");
    Ok(String::from_utf8(said).unwrap())
}

/// Reads until the server closes, one way or the other.
async fn until_closed(stream: &mut (impl AsyncReadExt + Unpin)) -> Vec<u8> {
    let mut heard = Vec::new();
    // A reset is as good as an end.
    let _ = stream.read_to_end(&mut heard).await;
    heard
}

/// On one thread, as on the data plane, with a deadline.
fn on_a_runtime<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(DEADLINE, test).await.expect("in time") })
}

/// An HTTP/2 frame (RFC 9113, section 4.1).
fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const CONTINUATION: u8 = 9;
const END_HEADERS: u8 = 4;
/// HPACK, all from the static table but the path: POST https localhost /body.
const HEADER_BLOCK: &[u8] = b"\x83\x87\x04\x05/body\x01\x09localhost";

fn preface() -> Vec<u8> {
    [PREFACE, &frame(SETTINGS, 0, 0, &[])].concat()
}

// === who gets in ===

#[test]
fn b02_each_connection_is_its_own_certificates_principal() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        for name in [APP, "spiffe://demo.bulla/other"] {
            let config = server.authority.client(&server.authority, name);
            let stream = tls(server.tcp().await, config).await.unwrap();
            let own = stream.get_ref().0.local_addr().unwrap();
            let mut sender = h2_over(stream).await;
            for _ in 0..3 {
                assert_eq!(ask(&mut sender, "/").await.unwrap(), format!("{name} {own}"));
            }
        }
    });
}

#[test]
fn b02_no_session_is_resumed_and_the_key_exchange_is_post_quantum() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let config = server.client();
        for _ in 0..3 {
            let stream = tls(server.tcp().await, config.clone()).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.handshake_kind(), Some(HandshakeKind::Full));
            assert_eq!(session.protocol_version(), Some(rustls::ProtocolVersion::TLSv1_3));
            let group = session.negotiated_key_exchange_group().unwrap().name();
            assert_eq!(group, NamedGroup::X25519MLKEM768);
            assert_eq!(session.alpn_protocol(), Some(&b"h2"[..]));
            // A ticket would have come before the answer.
            let mut sender = h2_over(stream).await;
            ask(&mut sender, "/").await.unwrap();
        }
    });
}

#[test]
fn b06_without_a_certificate_nobody_gets_in() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut config = server.authority.client_builder().with_no_client_auth();
        config.alpn_protocols = vec![b"h2".to_vec()];
        if let Ok(mut stream) = tls(server.tcp().await, config).await {
            // In TLS 1.3 the client hears of it with the first reading.
            let _ = stream.write_all(&preface()).await;
            until_closed(&mut stream).await;
        }
        assert_eq!(server.next_refusal().await, "no_certificate");
        assert_eq!(server.calls(), 0);
    });
}

#[test]
fn b01_a_strangers_certificate_does_not_get_in() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let stranger = Authority::new();
        for (signer, name, class) in [
            (&stranger, APP, "bad_signature"),
            (&server.authority, "spiffe://other.bulla/app", "unknown_trust_domain"),
            (&server.authority, "spiffe://demo.bulla/../app", "malformed_name"),
        ] {
            let config = server.authority.client(signer, name);
            if let Ok(mut stream) = tls(server.tcp().await, config).await {
                let _ = stream.write_all(&preface()).await;
                until_closed(&mut stream).await;
            }
            assert_eq!(server.next_refusal().await, class);
        }
        assert_eq!(server.calls(), 0);
        assert_eq!(server.gate.counts().handshakes_failed, 3);
    });
}

#[test]
fn plain_http_is_refused() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        for plain in [&b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n"[..], PREFACE, &[0; 64]] {
            let mut stream = server.tcp().await;
            stream.write_all(plain).await.unwrap();
            let heard = until_closed(&mut stream).await;
            assert!(!heard.starts_with(b"HTTP"), "{heard:?}");
            assert_eq!(server.next_refusal().await, "not_tls");
        }
        assert_eq!(server.calls(), 0);
    });
}

#[test]
fn tls_1_2_is_refused() {
    let extensions = [
        &[0x00, 0x0a, 0, 4, 0, 2, 0x00, 0x1d][..], // supported groups: x25519
        &[0x00, 0x0b, 0, 2, 1, 0],                 // point formats: uncompressed
        &[0x00, 0x0d, 0, 4, 0, 2, 0x04, 0x03],     // signatures: ecdsa_secp256r1_sha256
    ]
    .concat();
    let mut hello = vec![3, 3];
    hello.extend([7; 32]);
    hello.extend([0, 0, 4, 0xc0, 0x2b, 0xc0, 0x2c, 1, 0]);
    hello.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
    hello.extend(extensions);
    let mut record = vec![22, 3, 1];
    record.extend(u16::try_from(hello.len() + 4).unwrap().to_be_bytes());
    record.extend([1, 0]);
    record.extend(u16::try_from(hello.len()).unwrap().to_be_bytes());
    record.extend(hello);
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut stream = server.tcp().await;
        stream.write_all(&record).await.unwrap();
        let heard = until_closed(&mut stream).await;
        // A fatal alert: protocol_version.
        assert_eq!(heard, [21, 3, 3, 0, 2, 2, 70]);
        assert_eq!(server.next_refusal().await, "tls_incompatible");
    });
}

#[test]
fn only_http_2_is_spoken() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        for protocols in [vec![], vec![b"http/1.1".to_vec()]] {
            let mut config = server.client();
            config.alpn_protocols = protocols;
            if let Ok(mut stream) = tls(server.tcp().await, config).await {
                until_closed(&mut stream).await;
            }
            assert_eq!(server.next_refusal().await, "not_http2");
        }
    });
}

// === the silent and the slow ===

#[test]
fn j02_a_client_that_is_silent_at_tcp_is_closed_at_the_deadline() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.handshake_ms_max = 100).await;
        let mut stream = server.tcp().await;
        assert!(until_closed(&mut stream).await.is_empty());
        assert_eq!(server.next_refusal().await, "handshake_late");
        server.until(|counts| counts.connections_now == 0).await;
        assert_eq!(server.gate.counts().handshakes_late, 1);
    });
}

#[test]
fn j02_a_handshake_byte_by_byte_is_closed_at_the_deadline() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.handshake_ms_max = 300).await;
        let name = ServerName::try_from("localhost").unwrap();
        let mut session = ClientConnection::new(Arc::new(server.client()), name).unwrap();
        let mut hello = Vec::new();
        session.write_tls(&mut hello).unwrap();
        let mut stream = server.tcp().await;
        let mut sent = 0;
        for byte in &hello {
            if stream.write_all(&[*byte]).await.is_err() {
                break;
            }
            sent += 1;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert!(sent < hello.len(), "the server sat through {sent} bytes");
        assert_eq!(server.next_refusal().await, "handshake_late");
    });
}

#[test]
fn j02_a_client_that_is_silent_after_the_handshake_is_closed_at_the_deadline() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.first_request_ms_max = 100).await;
        let beginnings = [
            vec![],
            PREFACE[..10].to_vec(),
            preface(),
            // A head that never ends.
            [preface(), frame(HEADERS, 0, 1, HEADER_BLOCK)].concat(),
        ];
        for (place, beginning) in beginnings.iter().enumerate() {
            let mut stream = server.tls().await;
            stream.write_all(beginning).await.unwrap();
            until_closed(&mut stream).await;
            server.until(|counts| counts.silent == place as u64 + 1).await;
        }
        assert_eq!(server.calls(), 0);
    });
}

#[test]
fn j02_an_idle_connection_is_closed_gracefully_and_a_busy_one_is_not() {
    on_a_runtime(async {
        let server = Server::start(|limits| {
            limits.first_request_ms_max = 50;
            limits.idle_ms_max = 50;
        })
        .await;
        let mut busy = server.h2().await;
        let mut idle = server.h2().await;
        ask(&mut idle, "/").await.unwrap();
        let mut ready = busy.clone().ready().await.unwrap();
        let (held, _) = ready.send_request(request("/held"), true).unwrap();
        server.until(|counts| counts.connections_now == 1).await;
        assert!(ask(&mut idle, "/").await.is_err(), "closed");
        server.service.0.release.notify_one();
        read(held).await.unwrap();
        ask(&mut busy, "/").await.unwrap();
    });
}

#[test]
fn an_old_connection_is_closed_once_its_requests_have_ended() {
    on_a_runtime(async {
        let server = Server::start(|limits| {
            limits.first_request_ms_max = 20;
            limits.age_ms_max = 100;
        })
        .await;
        let mut sender = server.h2().await;
        let mut ready = sender.clone().ready().await.unwrap();
        let (held, _) = ready.send_request(request("/held"), true).unwrap();
        // Told to go elsewhere: new requests are refused while the old one is still held.
        while ask(&mut sender, "/").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(server.gate.counts().connections_now, 1);
        server.service.0.release.notify_one();
        read(held).await.unwrap();
        server.until(|counts| counts.connections_now == 0).await;
    });
}

#[test]
fn a_client_that_answers_no_ping_is_closed() {
    on_a_runtime(async {
        let server = Server::start(|limits| {
            limits.keep_alive_interval_ms = 50;
            limits.keep_alive_ms_max = 50;
        })
        .await;
        let mut stream = server.tls().await;
        stream.write_all(&preface()).await.unwrap();
        let heard = until_closed(&mut stream).await;
        assert!(heard.windows(4).any(|window| window == [0, 8, PING, 0]), "was asked");
        server.until(|counts| counts.connections_now == 0).await;
    });
}

// === more than there is room for ===

#[test]
fn j10_connections_over_the_cap_in_total_are_closed_before_any_work() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.connections_max = 2).await;
        let mut first = server.h2().await;
        ask(&mut first, "/").await.unwrap();
        let second = server.tcp_from(2).await;
        server.until(|counts| counts.admitted == 2).await;
        let mut third = server.tcp_from(3).await;
        assert!(until_closed(&mut third).await.is_empty());
        assert_eq!(server.gate.counts().refused_by_total, 1);
        drop(second);
        server.until(|counts| counts.connections_now == 1).await;
        ask(&mut server.h2().await, "/").await.unwrap();
        ask(&mut first, "/").await.unwrap();
    });
}

#[test]
fn j10_connections_over_the_cap_per_address_are_closed_and_others_are_not() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.connections_per_address_max = 2).await;
        let mut ours = server.h2().await;
        let second = server.tcp().await;
        server.until(|counts| counts.admitted == 2).await;
        let mut third = server.tcp().await;
        assert!(until_closed(&mut third).await.is_empty());
        assert_eq!(server.gate.counts().refused_by_address, 1);
        let other = tls(server.tcp_from(9).await, server.client()).await.unwrap();
        ask(&mut h2_over(other).await, "/").await.unwrap();
        ask(&mut ours, "/").await.unwrap();
        drop(second);
    });
}

#[test]
fn j10_handshakes_over_the_cap_wait_and_are_not_refused() {
    on_a_runtime(async {
        let server = Server::start(|limits| {
            limits.handshakes_max = 1;
            limits.handshake_ms_max = 200;
        })
        .await;
        let _silent = server.tcp_from(2).await;
        server.until(|counts| counts.handshakes_now == 1).await;
        ask(&mut server.h2().await, "/").await.unwrap();
        assert_eq!(server.gate.counts().handshakes_late, 1, "after the silent one was closed");
    });
}

// === HTTP/2 floods ===

#[test]
fn j01_a_rapid_reset_flood_is_cut() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let (sender, connection) = h2::client::handshake(server.tls().await).await.unwrap();
        let connection = tokio::spawn(connection);
        let mut sent = 0;
        while sent < 100_000 {
            let Ok(mut ready) = sender.clone().ready().await else { break };
            let Ok((_, mut stream)) = ready.send_request(request("/held"), false) else { break };
            stream.send_reset(h2::Reason::CANCEL);
            sent += 1;
            if sent % 10 == 0 {
                tokio::task::yield_now().await;
            }
        }
        assert!(sent < 10_000, "{sent} resets were taken");
        assert!(connection.await.unwrap().is_err());
        server.until(|counts| counts.connections_now == 0).await;
        assert!(server.calls() < 1_000, "{} calls were begun", server.calls());
        ask(&mut server.h2().await, "/").await.unwrap();
    });
}

#[test]
fn j01_requests_cancelled_one_at_a_time_are_cut_too() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.cancelled_max = 128).await;
        let sender = server.h2().await;
        let mut cancelled = 0;
        // Each is let begin before it is cancelled, which no limit of the protocol forbids.
        while cancelled < 10_000 {
            let Ok(mut ready) = sender.clone().ready().await else { break };
            let Ok((_, mut stream)) = ready.send_request(request("/held"), true) else { break };
            tokio::select! {
                () = server.service.0.called.notified() => {}
                () = server.until(|counts| counts.connections_now == 0) => break,
            }
            stream.send_reset(h2::Reason::CANCEL);
            cancelled += 1;
        }
        assert!((128..200).contains(&cancelled), "{cancelled} were cancelled");
        server.until(|counts| counts.cancelling == 1).await;
    });
}

#[test]
fn requests_that_end_make_up_for_those_that_are_cancelled() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.cancelled_max = 128).await;
        let mut sender = server.h2().await;
        for _ in 0..500 {
            let mut ready = sender.clone().ready().await.unwrap();
            let (_, mut stream) = ready.send_request(request("/held"), true).unwrap();
            server.service.0.called.notified().await;
            stream.send_reset(h2::Reason::CANCEL);
            ask(&mut sender, "/").await.unwrap();
            server.service.0.called.notified().await;
        }
        assert_eq!(server.gate.counts().cancelling, 0);
    });
}

#[test]
fn j01_a_head_over_the_limit_never_reaches_the_service() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut sender = server.h2().await;
        let with = |bytes: usize| {
            let mut request = request("/");
            request.headers_mut().insert("x-long", "x".repeat(bytes).parse().unwrap());
            request
        };
        let mut ready = sender.clone().ready().await.unwrap();
        let (response, _) = ready.send_request(with(15_000), true).unwrap();
        read(response).await.unwrap();
        let calls = server.calls();
        let mut ready = sender.clone().ready().await.unwrap();
        let refused = match ready.send_request(with(17_000), true) {
            Ok((response, _)) => response.await.map_or(true, |response| response.status() == 431),
            Err(_) => true,
        };
        assert!(refused);
        assert_eq!(server.calls(), calls);
        let mut other = server.h2().await;
        ask(&mut other, "/").await.unwrap();
        let _ = ask(&mut sender, "/").await;
    });
}

/// Writes `flood` for as long as it is taken; how many bytes were.
async fn pour(stream: &mut TlsStream<TcpStream>, flood: &[u8], bytes_max: usize) -> usize {
    let mut poured = 0;
    while poured < bytes_max {
        // A server that reads no more is as good as one that has closed.
        let write = tokio::time::timeout(
            Duration::from_secs(2),
            stream.write(&flood[poured % flood.len()..]),
        );
        match write.await {
            Ok(Ok(written)) => poured += written,
            Ok(Err(_)) | Err(_) => break,
        }
    }
    poured
}

#[test]
fn j01_floods_of_frames_are_cut_or_held_back_and_others_are_served() {
    let many = |frame: Vec<u8>| frame.repeat(16 * 1024 / frame.len());
    let head = frame(HEADERS, END_HEADERS, 1, HEADER_BLOCK);
    let open = frame(HEADERS, 0, 1, HEADER_BLOCK);
    let floods = [
        ("empty DATA", head.clone(), many(frame(DATA, 0, 1, &[]))),
        ("SETTINGS", vec![], many(frame(SETTINGS, 0, 0, &[0, 3, 0, 0, 0, 9]))),
        ("PING", vec![], many(frame(PING, 0, 0, &[0; 8]))),
        ("empty CONTINUATION", open.clone(), many(frame(CONTINUATION, 0, 1, &[]))),
        ("CONTINUATION", open, many(frame(CONTINUATION, 0, 1, &[0x93; 1000]))),
    ];
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut other = server.h2().await;
        for (name, beginning, flood) in floods {
            let mut stream = server.tls().await;
            stream.write_all(&[preface(), beginning].concat()).await.unwrap();
            let taken = pour(&mut stream, &flood, 64 << 20).await;
            assert!(taken < 48 << 20, "{name}: {taken} bytes were taken");
            ask(&mut other, "/").await.unwrap();
        }
    });
}

#[test]
fn streams_over_the_limit_are_refused() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.streams_max = 4).await;
        let mut stream = server.tls().await;
        let mut sent = preface();
        for id in 0..6 {
            sent.extend(frame(HEADERS, END_HEADERS, id * 2 + 1, HEADER_BLOCK));
        }
        stream.write_all(&sent).await.unwrap();
        let mut heard = Vec::new();
        // REFUSED_STREAM (7) for streams 9 and 11.
        let reset = |id: u8| [0, 0, 4, 3, 0, 0, 0, 0, id, 0, 0, 0, 7];
        let has = |heard: &[u8], id| heard.windows(13).any(|window| window == reset(id));
        while !(has(&heard, 9) && has(&heard, 11)) {
            assert_ne!(stream.read_buf(&mut heard).await.unwrap(), 0, "closed");
        }
        assert!(server.calls() <= 4);
    });
}

// === the end ===

#[test]
fn a_drain_finishes_what_is_in_flight_and_takes_nothing_new() {
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut sender = server.h2().await;
        let mut idle = server.h2().await;
        ask(&mut idle, "/").await.unwrap();
        server.service.0.called.notified().await;
        let mut ready = sender.clone().ready().await.unwrap();
        let (held, _) = ready.send_request(request("/held"), true).unwrap();
        server.service.0.called.notified().await;
        server.drain.request();
        server.until(|counts| counts.connections_now == 1).await;
        assert!(TcpStream::connect(server.address).await.is_err(), "still accepting");
        while ask(&mut sender, "/").await.is_ok() {}
        assert!(!server.serving.is_finished());
        server.service.0.release.notify_one();
        read(held).await.unwrap();
        server.serving.await.unwrap();
        assert_eq!(server.gate.counts().connections_now, 0);
    });
}

#[test]
fn a_drain_gives_up_on_what_does_not_end_in_time() {
    on_a_runtime(async {
        let server = Server::start(|limits| limits.drain_ms_max = 100).await;
        let sender = server.h2().await;
        let mut ready = sender.clone().ready().await.unwrap();
        let (held, _) = ready.send_request(request("/held"), true).unwrap();
        let _silent = server.tcp().await;
        let _silent_after_the_handshake = server.tls().await;
        server.service.0.called.notified().await;
        server.drain.request();
        server.serving.await.unwrap();
        assert!(held.await.is_err());
    });
}

// === out of descriptors ===

/// Fails so many times, as a process out of descriptors does, and then accepts.
struct Exhausted {
    failures: usize,
    calls: Arc<Mutex<Vec<Instant>>>,
    listener: TcpListener,
}

impl Accept for Exhausted {
    async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        let calls = {
            let mut calls = self.calls.lock().unwrap();
            calls.push(Instant::now());
            calls.len()
        };
        match calls <= self.failures {
            // EMFILE, ENFILE, ENOBUFS, ENOMEM and something nobody has heard of.
            true => Err(io::Error::from_raw_os_error([24, 23, 105, 12, 9999][calls % 5])),
            false => self.listener.accept().await,
        }
    }
}

#[test]
fn j03_out_of_descriptors_the_accept_loop_pauses_longer_and_longer_and_then_goes_on() {
    on_a_runtime(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let calls = Arc::<Mutex<Vec<Instant>>>::default();
        let source = Exhausted { failures: 8, calls: Arc::clone(&calls), listener };
        let server = Server::start_on(source, address, |limits| {
            limits.accept_pause_ms_min = 5;
            limits.accept_pause_ms_max = 40;
        });
        ask(&mut server.h2().await, "/").await.unwrap();
        let calls = calls.lock().unwrap().clone();
        let pauses = calls.windows(2).map(|pair| pair[1] - pair[0]);
        let least = [5, 10, 20, 40, 40, 40, 40, 40].map(Duration::from_millis);
        for (pause, least) in pauses.zip(least) {
            assert!(pause >= least, "{pause:?} < {least:?}");
        }
        assert_eq!(server.gate.counts().accepts_failed, 8);
        assert_eq!(calls.len(), 10, "eight failures, one connection, and waiting for the next");
    });
}

#[test]
fn a_drain_is_heard_during_a_pause() {
    on_a_runtime(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let source = Exhausted { failures: usize::MAX, calls: Arc::default(), listener };
        let server = Server::start_on(source, address, |limits| {
            limits.accept_pause_ms_min = 3_600_000;
            limits.accept_pause_ms_max = 3_600_000;
        });
        server.until(|counts| counts.accepts_failed == 1).await;
        server.drain.request();
        server.serving.await.unwrap();
    });
}

const CHILD: &str = "BULLA_TEST_OUT_OF_DESCRIPTORS";

/// As a child of the test below with descriptors really used up; by itself with enough of them.
#[test]
fn a_server_serves_before_and_after_its_descriptors_run_out() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    on_a_runtime(async {
        let server = Server::start(|_| {}).await;
        let mut before = server.h2().await;
        ask(&mut before, "/").await.unwrap();
        let socket = TcpSocket::new_v4().unwrap();
        let lawful = getrlimit(Resource::Nofile);
        if std::env::var_os(CHILD).is_some() {
            setrlimit(Resource::Nofile, Rlimit { current: Some(0), ..lawful }).unwrap();
        }
        let stream = socket.connect(server.address).await.unwrap();
        if std::env::var_os(CHILD).is_some() {
            let begun = Instant::now();
            server.until(|counts| counts.accepts_failed >= 5).await;
            // 10 + 20 + 40 + 80 ms at least lie between five failures.
            assert!(begun.elapsed() >= Duration::from_millis(150), "it spins");
            ask(&mut before, "/").await.unwrap();
            setrlimit(Resource::Nofile, lawful).unwrap();
        }
        let after = tls(stream, server.client()).await.unwrap();
        ask(&mut h2_over(after).await, "/").await.unwrap();
    });
}

#[test]
fn j03_a_process_really_out_of_descriptors_does_not_spin_and_recovers() {
    let child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "listener::a_server_serves_before_and_after_its_descriptors_run_out"])
        .args(["--test-threads", "1"])
        .env(CHILD, "1")
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&child.stdout);
    assert!(child.status.success() && said.contains("1 passed"), "{said}");
}

// === threads ===

#[test]
fn listeners_share_a_port_that_the_first_one_picked() {
    let listeners = bind_each(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 3).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert_ne!(address.port(), 0);
    for listener in &listeners {
        assert_eq!(listener.local_addr().unwrap(), address);
        listener.set_nonblocking(true).unwrap();
    }
    // Each connection goes to one of them, and in the end each has had some.
    let begun = Instant::now();
    let mut accepted = HashMap::<usize, usize>::new();
    while accepted.len() < 3 {
        assert!(begun.elapsed() < DEADLINE, "{accepted:?}");
        let _client = std::net::TcpStream::connect(address).unwrap();
        for (index, listener) in listeners.iter().enumerate() {
            if listener.accept().is_ok() {
                *accepted.entry(index).or_default() += 1;
            }
        }
    }
}

#[test]
fn a_port_that_somebody_listens_on_is_not_shared_by_accident() {
    let listeners = bind_each(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), 1).unwrap();
    let address = listeners[0].local_addr().unwrap();
    assert_eq!(bind_each(address, 2).unwrap_err().kind(), io::ErrorKind::AddrInUse);
    drop(listeners);
    assert_eq!(bind_each(address, 2).unwrap().len(), 2, "once it is free");
}

#[test]
fn each_runtime_stays_on_its_core_and_its_end_is_told() {
    let allowed = cores().unwrap();
    let expected: Vec<usize> = allowed.iter().copied().cycle().take(3).collect();
    let found = Arc::<Mutex<HashMap<usize, Vec<usize>>>>::default();
    let mut runtimes = Runtimes::start(&expected, {
        let found = Arc::clone(&found);
        move |index| {
            let found = Arc::clone(&found);
            async move {
                found.lock().unwrap().insert(index, cores().unwrap());
                assert_ne!(index, 2, "this one fails");
            }
        }
    })
    .unwrap();
    let mut ended = Vec::new();
    on_a_runtime(async {
        while let Some(end) = runtimes.next_ended().await {
            ended.push((end.index, end.panicked));
        }
    });
    ended.sort_unstable();
    assert_eq!(ended, [(0, false), (1, false), (2, true)]);
    for (index, core) in expected.into_iter().enumerate() {
        assert_eq!(found.lock().unwrap()[&index], [core]);
    }
    let absent = Runtimes::start(&[usize::MAX], |_| async {});
    assert!(absent.is_err(), "a core that is not there");
}

#[test]
fn data_plane_runtimes_serve_on_one_address_and_drain() {
    let authority = Authority::new();
    let authenticator = authenticator(&authority);
    let config = authority.client(&authority, APP);
    let (switch, watch) = drain();
    let listen = Listen {
        tls: server_config(authority.server(), provider(), Arc::clone(&authenticator)).unwrap(),
        authenticator,
        gate: Arc::new(Gate::new(ListenLimits::DEFAULT)),
        on_refused: Arc::new(|refusal| panic!("{refusal:?}")),
        drain: watch,
    };
    let allowed = cores().unwrap();
    let listeners =
        bind_each(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0), allowed.len()).unwrap();
    let address = listeners[0].local_addr().unwrap();
    let listeners = Mutex::new(listeners);
    let mut runtimes = Runtimes::start(&allowed, move |_| {
        let listener = listeners.lock().unwrap().pop().unwrap();
        let listen = listen.clone();
        async move {
            listen.serve(TcpListener::from_std(listener).unwrap(), Service::default()).await;
        }
    })
    .unwrap();
    on_a_runtime(async {
        for _ in 0..20 {
            let stream = TcpStream::connect(address).await.unwrap();
            let mut sender = h2_over(tls(stream, config.clone()).await.unwrap()).await;
            assert!(ask(&mut sender, "/").await.unwrap().starts_with(APP));
        }
        switch.request();
        while let Some(end) = runtimes.next_ended().await {
            assert!(!end.panicked);
        }
    });
}
