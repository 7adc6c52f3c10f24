//! A server for tests: real TLS 1.3 and HTTP/2 on the loopback, answers by a closure over the path
//! and the message. Knows gRPC's frames, and nothing of Bulla.

#![allow(dead_code)]

use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex};

use bulla_client::Config;
use bytes::{BufMut, Bytes, BytesMut};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use prost::Message;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, SanType};
use rustls::NamedGroup;
use rustls::crypto::aws_lc_rs;
use rustls::server::WebPkiClientVerifier;
use rustls_pki_types::PrivateKeyDer;
use rustls_pki_types::pem::PemObject;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tonic::Status;

/// An authority that certificates of servers and clients come from.
pub(crate) struct Authority {
    pub(crate) pem: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate and its key, both PEM.
#[derive(Clone)]
pub(crate) struct Leaf {
    pub(crate) certificate: String,
    pub(crate) key: String,
}

/// One call as the server saw it.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) path: String,
    pub(crate) message: Bytes,
    pub(crate) headers: HeaderMap,
    /// How many calls came before it.
    pub(crate) number: usize,
}

pub(crate) enum Reply {
    Messages(Vec<Vec<u8>>),
    /// Messages, then a failure.
    Broken(Vec<Vec<u8>>, Status),
    Status(Status),
    /// Never answers.
    Silence,
    /// Drops the whole connection.
    HangUp,
}

pub(crate) struct Fake {
    pub(crate) address: SocketAddr,
    pub(crate) authority: Authority,
    calls: Arc<Mutex<Vec<Call>>>,
    groups: Arc<Mutex<Vec<NamedGroup>>>,
    task: JoinHandle<()>,
}

type Answer = Arc<dyn Fn(&Call) -> Reply + Send + Sync>;

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("test authority")
    }

    pub(crate) fn named(name: &str) -> Self {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let pem = params.self_signed(&key).unwrap().pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    pub(crate) fn server(&self, name: &str) -> Leaf {
        self.leaf(CertificateParams::new(vec![name.to_owned()]).unwrap())
    }

    pub(crate) fn client(&self, id: &str) -> Leaf {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.subject_alt_names = vec![SanType::URI(id.try_into().unwrap())];
        self.leaf(params)
    }

    fn leaf(&self, params: CertificateParams) -> Leaf {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Leaf { certificate, key: key.serialize_pem() }
    }
}

impl Reply {
    pub(crate) fn message(message: &impl Message) -> Self {
        Self::Messages(vec![message.encode_to_vec()])
    }
}

impl Fake {
    pub(crate) async fn start(answer: impl Fn(&Call) -> Reply + Send + Sync + 'static) -> Self {
        let authority = Authority::new();
        let leaf = authority.server("localhost");
        Self::start_with(authority, &leaf, Some(b"h2"), answer).await
    }

    pub(crate) async fn start_with(
        authority: Authority,
        leaf: &Leaf,
        protocol: Option<&[u8]>,
        answer: impl Fn(&Call) -> Reply + Send + Sync + 'static,
    ) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let tls = TlsAcceptor::from(Arc::new(tls(&authority, leaf, protocol)));
        let (calls, groups) = (Arc::default(), Arc::default());
        let task = tokio::spawn(accept(
            listener,
            tls,
            Arc::new(answer),
            Arc::clone(&calls),
            Arc::clone(&groups),
        ));
        Self { address, authority, calls, groups, task }
    }

    pub(crate) fn config(&self) -> Config {
        self.config_of(&self.authority.client("spiffe://test/client"))
    }

    pub(crate) fn config_of(&self, client: &Leaf) -> Config {
        Config::new(format!("https://{}", self.address))
            .server_name("localhost")
            .ca_pem(self.authority.pem.clone())
            .certificate_pem(client.certificate.clone())
            .key_pem(client.key.clone())
    }

    pub(crate) fn calls(&self) -> Vec<Call> {
        self.calls.lock().unwrap().clone()
    }

    pub(crate) fn count(&self, method: &str) -> usize {
        self.calls().iter().filter(|call| call.path.ends_with(&format!("/{method}"))).count()
    }

    /// The key exchange of each connection.
    pub(crate) fn groups(&self) -> Vec<NamedGroup> {
        self.groups.lock().unwrap().clone()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn tls(authority: &Authority, leaf: &Leaf, protocol: Option<&[u8]>) -> rustls::ServerConfig {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(PemObject::from_pem_slice(authority.pem.as_bytes()).unwrap()).unwrap();
    let verifier =
        WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
            .allow_unauthenticated()
            .build()
            .unwrap();
    let chain = vec![PemObject::from_pem_slice(leaf.certificate.as_bytes()).unwrap()];
    let key = PrivateKeyDer::from_pem_slice(leaf.key.as_bytes()).unwrap();
    let mut config = rustls::ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(chain, key)
        .unwrap();
    config.alpn_protocols = protocol.into_iter().map(<[u8]>::to_vec).collect();
    config
}

async fn accept(
    listener: TcpListener,
    tls: TlsAcceptor,
    answer: Answer,
    calls: Arc<Mutex<Vec<Call>>>,
    groups: Arc<Mutex<Vec<NamedGroup>>>,
) {
    loop {
        let (tcp, _) = listener.accept().await.unwrap();
        let (tls, answer) = (tls.clone(), Arc::clone(&answer));
        let (calls, groups) = (Arc::clone(&calls), Arc::clone(&groups));
        tokio::spawn(async move {
            let stream = match tls.accept(tcp).into_fallible().await {
                Ok(stream) => stream,
                Err((_, mut tcp)) => {
                    // Read on, or a reset could overtake the alert.
                    let _ = tokio::io::copy(&mut tcp, &mut tokio::io::sink()).await;
                    return;
                }
            };
            let group = stream.get_ref().1.negotiated_key_exchange_group().unwrap().name();
            groups.lock().unwrap().push(group);
            let hang_up = Arc::new(tokio::sync::Notify::new());
            let service = {
                let hang_up = Arc::clone(&hang_up);
                service_fn(move |request| {
                    serve(request, Arc::clone(&answer), Arc::clone(&calls), Arc::clone(&hang_up))
                })
            };
            let connection = hyper::server::conn::http2::Builder::new(TokioExecutor::new())
                .serve_connection(TokioIo::new(stream), service);
            tokio::select! {
                _ = connection => {}
                () = hang_up.notified() => {}
            }
        });
    }
}

type Body = BoxBody<Bytes, Infallible>;

async fn serve(
    request: Request<Incoming>,
    answer: Answer,
    calls: Arc<Mutex<Vec<Call>>>,
    hang_up: Arc<tokio::sync::Notify>,
) -> Result<Response<Body>, Infallible> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map(http_body_util::Collected::to_bytes).unwrap_or_default();
    let call = {
        let mut calls = calls.lock().unwrap();
        let message = if body.len() >= 5 { body.slice(5..) } else { Bytes::new() };
        let path = parts.uri.path().to_owned();
        let number = calls.len();
        calls.push(Call { path, message, headers: parts.headers, number });
        calls.last().unwrap().clone()
    };
    let (messages, status) = match answer(&call) {
        Reply::Messages(messages) => (messages, Status::ok("")),
        Reply::Broken(messages, status) => (messages, status),
        Reply::Status(status) => (Vec::new(), status),
        Reply::Silence => std::future::pending().await,
        Reply::HangUp => {
            hang_up.notify_one();
            std::future::pending().await
        }
    };
    let mut trailers = HeaderMap::new();
    status.add_header(&mut trailers).unwrap();
    let frames = messages.into_iter().map(frame).map(Frame::data);
    let frames = frames.chain([Frame::trailers(trailers)]).map(Ok::<_, Infallible>);
    let stream: Pin<Box<dyn tokio_stream::Stream<Item = _> + Send + Sync>> =
        Box::pin(tokio_stream::iter(frames.collect::<Vec<_>>()));
    let response = Response::builder().header("content-type", "application/grpc");
    Ok(response.body(BodyExt::boxed(StreamBody::new(stream))).unwrap())
}

fn frame(message: Vec<u8>) -> Bytes {
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.len()).unwrap());
    frame.extend_from_slice(&message);
    frame.freeze()
}
