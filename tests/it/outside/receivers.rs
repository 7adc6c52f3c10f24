//! Receivers of our own: syslog over TLS (RFC 5425), a collector of OTLP over HTTP, a plain HTTP server.
//! Each can be told to be slow, to refuse, to break off in the middle, and to be away.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use opentelemetry_proto::tonic::collector::logs::v1::{
    ExportLogsServiceRequest, ExportLogsServiceResponse,
};
use opentelemetry_proto::tonic::common::v1::any_value::Value;
use parking_lot::Mutex;
use prost::Message;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, AsyncWrite, BufReader};
use tokio::net::{TcpListener, TcpSocket};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// What a receiver speaks.
#[derive(Clone, Copy, PartialEq)]
pub(super) enum Speaks {
    Syslog,
    Otlp,
    /// Keeps each body.
    Http,
}

/// What it does with what it gets.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Mood {
    Takes,
    /// Answers after so long.
    Slow(Duration),
    /// Says no, or hangs up where there is no way to say it.
    Refuses,
    /// Hangs up in the middle.
    Resets,
    /// Says that it will never take what has this in it.
    Rejects(&'static str),
}

/// A receiver and all that it got.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    speaks: Speaks,
    acceptor: Option<TlsAcceptor>,
    shared: Arc<Shared>,
    listening: Mutex<Option<JoinHandle<()>>>,
}

struct Shared {
    mood: Mutex<Mood>,
    /// Lines of JSON, or bodies.
    got: Mutex<Vec<String>>,
    raw: Mutex<Vec<u8>>,
    connections: Mutex<Vec<JoinHandle<()>>>,
}

// === impl Receiver ===

impl Receiver {
    /// Listens with the certificate in `identity`.pem and .key, or without TLS.
    pub(super) async fn start(speaks: Speaks, identity: Option<&Path>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shared = Shared {
            mood: Mutex::new(Mood::Takes),
            got: Mutex::default(),
            raw: Mutex::default(),
            connections: Mutex::default(),
        };
        let receiver = Self {
            address,
            speaks,
            acceptor: identity.map(acceptor),
            shared: Arc::new(shared),
            listening: Mutex::new(None),
        };
        receiver.listen(listener);
        receiver
    }

    pub(super) fn set(&self, mood: Mood) {
        *self.shared.mood.lock() = mood;
    }

    /// Uses another certificate from now on.
    pub(super) fn use_identity(&mut self, identity: &Path) {
        self.acceptor = Some(acceptor(identity));
    }

    /// Closes everything; nobody listens.
    pub(super) async fn go_away(&self) {
        let listening = self.listening.lock().take();
        if let Some(listening) = listening {
            listening.abort();
            let _ = listening.await;
        }
        self.hang_up();
    }

    /// Closes the connections.
    pub(super) fn hang_up(&self) {
        self.shared.connections.lock().drain(..).for_each(|connection| connection.abort());
    }

    /// Listens where it did before.
    pub(super) async fn come_back(&self) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.set_reuseaddr(true).unwrap();
        socket.bind(self.address).unwrap();
        self.listen(socket.listen(64).unwrap());
    }

    pub(super) fn got(&self) -> Vec<String> {
        self.shared.got.lock().clone()
    }

    /// Every byte, as it came out of TLS.
    pub(super) fn raw(&self) -> Vec<u8> {
        self.shared.raw.lock().clone()
    }

    fn listen(&self, listener: TcpListener) {
        let (speaks, acceptor, shared) =
            (self.speaks, self.acceptor.clone(), Arc::clone(&self.shared));
        let listening = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, serving) = (acceptor.clone(), Arc::clone(&shared));
                let connection = tokio::spawn(async move {
                    match acceptor {
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(speaks, serving, stream).await;
                            }
                        }
                        None => serve(speaks, serving, stream).await,
                    }
                });
                shared.connections.lock().push(connection);
            }
        });
        *self.listening.lock() = Some(listening);
    }
}

async fn serve(
    speaks: Speaks,
    shared: Arc<Shared>,
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
) {
    match speaks {
        Speaks::Syslog => syslog(shared, stream).await,
        Speaks::Otlp | Speaks::Http => {
            let answering = service_fn(move |request| answer(speaks, Arc::clone(&shared), request));
            let connection = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), answering);
            // A connection that was broken off is what some of these tests are about.
            let _ = connection.await;
        }
    }
}

/// `LENGTH SP MESSAGE`, again and again.
async fn syslog(shared: Arc<Shared>, stream: impl AsyncRead + Unpin) {
    let mut stream = BufReader::new(stream);
    loop {
        let mut length = Vec::new();
        if stream.read_until(b' ', &mut length).await.unwrap_or(0) == 0 {
            return;
        }
        let length: usize =
            std::str::from_utf8(&length).unwrap().trim_end().parse().expect("a length");
        let mood = *shared.mood.lock();
        let whole = if mood == Mood::Resets { length / 2 } else { length };
        let mut message = vec![0; whole];
        if stream.read_exact(&mut message).await.is_err() || whole < length {
            return;
        }
        match mood {
            Mood::Refuses => return,
            Mood::Slow(wait) => tokio::time::sleep(wait).await,
            Mood::Takes | Mood::Resets | Mood::Rejects(_) => {}
        }
        shared.raw.lock().extend_from_slice(&message);
        let message = String::from_utf8(message).unwrap();
        let fields: Vec<&str> = message.splitn(8, ' ').collect();
        assert!(fields[0].starts_with('<') && fields[0].ends_with(">1"), "{message}");
        shared.got.lock().push(fields[7].to_owned());
    }
}

async fn answer(
    speaks: Speaks,
    shared: Arc<Shared>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, std::io::Error> {
    let said = |status: StatusCode, body: Vec<u8>| {
        Ok(Response::builder().status(status).body(Full::from(body)).unwrap())
    };
    let body = request.into_body().collect().await.map_err(std::io::Error::other)?.to_bytes();
    let mood = *shared.mood.lock();
    match mood {
        Mood::Refuses => return said(StatusCode::SERVICE_UNAVAILABLE, Vec::new()),
        Mood::Resets => return Err(std::io::Error::other("broken off")),
        Mood::Slow(wait) => tokio::time::sleep(wait).await,
        Mood::Rejects(what) if String::from_utf8_lossy(&body).contains(what) => {
            return said(StatusCode::BAD_REQUEST, Vec::new());
        }
        Mood::Takes | Mood::Rejects(_) => {}
    }
    shared.raw.lock().extend_from_slice(&body);
    if speaks == Speaks::Http {
        shared.got.lock().push(String::from_utf8(body.to_vec()).unwrap());
        return said(StatusCode::OK, Vec::new());
    }
    let asked = ExportLogsServiceRequest::decode(body).unwrap();
    let scopes = asked.resource_logs.into_iter().flat_map(|resource| resource.scope_logs);
    for record in scopes.flat_map(|scope| scope.log_records) {
        let Some(Value::StringValue(line)) = record.body.unwrap().value else { panic!("no text") };
        shared.got.lock().push(line);
    }
    said(StatusCode::OK, ExportLogsServiceResponse::default().encode_to_vec())
}

fn acceptor(identity: &Path) -> TlsAcceptor {
    let chain = CertificateDer::pem_file_iter(identity.with_extension("pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(identity.with_extension("key")).unwrap();
    let config = rustls::ServerConfig::builder_with_provider(bulla::server::provider())
        .with_protocol_versions(&[&rustls::version::TLS13])
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain.map(Result::unwrap).collect(), key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}
