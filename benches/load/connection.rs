//! One client connection: TLS 1.3, HTTP/2, and gRPC frames that were built beforehand.
//!
//! Decodes nothing while under load: a reply is right when its grpc-status is 0, its one message is
//! whole, and it is as long as the first one, which was decoded.

use std::net::SocketAddr;
use std::sync::Arc;

use bytes::{BufMut as _, Bytes, BytesMut};
use h2::client::SendRequest;
use http::{HeaderMap, HeaderValue, Request};
use prost::Message;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;
use crate::folder::Folder;

/// Opens connections.
#[derive(Clone)]
pub(crate) struct Dialler {
    tls: TlsConnector,
    server: SocketAddr,
}

/// A connection; clones are further streams of the same one.
#[derive(Clone)]
pub(crate) struct Connection {
    sender: SendRequest<Bytes>,
}

/// A call that can be made any number of times.
#[derive(Clone)]
pub(crate) struct Prepared {
    head: Request<()>,
    frame: Bytes,
    /// Bytes of the reply's message; `None` until it is known.
    pub(crate) reply_bytes: Option<usize>,
}

// === impl Dialler ===

impl Dialler {
    /// With a certificate of the folder.
    pub(crate) fn new(folder: &Folder, caller: &str) -> Result<Self, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(folder.file("server-ca.pem"))?)?;
        let certificate = CertificateDer::from_pem_file(folder.file(&format!("{caller}.pem")))?;
        let key = PrivateKeyDer::from_pem_file(folder.file(&format!("{caller}.key")))?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_client_auth_cert(vec![certificate], key)?;
        config.alpn_protocols = vec![b"h2".to_vec()];
        Ok(Self { tls: TlsConnector::from(Arc::new(config)), server: folder.listen() })
    }

    /// A new connection.
    pub(crate) async fn dial(&self) -> Result<Connection, Failure> {
        let stream = TcpStream::connect(self.server).await?;
        stream.set_nodelay(true)?;
        let stream = self.tls.connect(ServerName::from(self.server.ip()), stream).await?;
        let (sender, connection) = h2::client::Builder::new()
            .initial_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .enable_push(false)
            .handshake::<_, Bytes>(stream)
            .await?;
        // A connection that fails is told by every stream on it.
        tokio::spawn(async move { drop(connection.await) });
        Ok(Connection { sender: sender.ready().await? })
    }
}

// === impl Connection ===

impl Connection {
    /// Makes the call and checks the reply.
    pub(crate) async fn call(&mut self, prepared: &Prepared) -> Result<(), Failure> {
        let bytes = self.exchange(prepared, |_| {}).await?;
        match prepared.reply_bytes {
            Some(expected) if expected != bytes => {
                Err(format!("a reply of {bytes} bytes instead of {expected}").into())
            }
            _ => Ok(()),
        }
    }

    /// Makes the call. Whether it was done, and not refused for want of room.
    pub(crate) async fn try_call(&mut self, prepared: &Prepared) -> Result<bool, Failure> {
        match self.call(prepared).await {
            Ok(()) => Ok(true),
            Err(failure) if failure.to_string().starts_with(RESOURCE_EXHAUSTED) => Ok(false),
            Err(failure) => Err(failure),
        }
    }

    /// Makes the call, decodes the reply, and expects further replies to be as long.
    pub(crate) async fn call_decoded<M: Message + Default>(
        &mut self,
        prepared: &mut Prepared,
    ) -> Result<M, Failure> {
        let mut whole = BytesMut::new();
        let bytes = self.exchange(prepared, |data| whole.extend_from_slice(data)).await?;
        prepared.reply_bytes = Some(bytes);
        Ok(M::decode(&whole[FRAME_HEAD_BYTES..])?)
    }

    /// Gives the number of bytes of the one message that came, and hands its frame on as it comes.
    async fn exchange(
        &mut self,
        prepared: &Prepared,
        mut each: impl FnMut(&[u8]),
    ) -> Result<usize, Failure> {
        std::future::poll_fn(|context| self.sender.poll_ready(context)).await?;
        let (response, mut stream) = self.sender.send_request(prepared.head.clone(), false)?;
        stream.send_data(prepared.frame.clone(), true)?;
        let (head, mut body) = response.await?.into_parts();
        if head.status != http::StatusCode::OK {
            return Err(format!("HTTP status {}", head.status).into());
        }
        if head.headers.contains_key(GRPC_STATUS) {
            check(&head.headers)?;
        }
        let (mut received, mut announced) = (0, None);
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            if announced.is_none() {
                let length = data.get(1..FRAME_HEAD_BYTES).ok_or("a torn frame head")?;
                announced = Some(usize::try_from(u32::from_be_bytes(length.try_into()?))?);
            }
            received += data.len();
            each(&data);
        }
        let trailers = body.trailers().await?.ok_or("no trailers")?;
        check(&trailers)?;
        match announced {
            Some(bytes) if bytes + FRAME_HEAD_BYTES == received => Ok(bytes),
            _ => Err(format!("{received} bytes are not one message").into()),
        }
    }
}

// === impl Prepared ===

impl Prepared {
    /// `path` is `/package.Service/Method`.
    pub(crate) fn new(path: &str, message: &impl Message) -> Result<Self, Failure> {
        let head = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers")
            .body(())?;
        let mut frame = BytesMut::new();
        frame.put_u8(0);
        frame.put_u32(u32::try_from(message.encoded_len())?);
        message.encode(&mut frame)?;
        Ok(Self { head, frame: frame.freeze(), reply_bytes: None })
    }

    /// The same call, of which a server of the bench's own build makes no record.
    pub(crate) fn unrecorded(&self) -> Self {
        let mut unrecorded = self.clone();
        let yes = HeaderValue::from_static("1");
        unrecorded.head.headers_mut().insert("bulla-bench-unrecorded", yes);
        unrecorded
    }
}

fn check(headers: &HeaderMap) -> Result<(), Failure> {
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    match text(GRPC_STATUS) {
        Some("0") => Ok(()),
        Some(status) => {
            let message = text("grpc-message").unwrap_or_default();
            Err(format!("grpc-status {status}: {message}").into())
        }
        None => Err("a reply without grpc-status".into()),
    }
}

const GRPC_STATUS: &str = "grpc-status";
const RESOURCE_EXHAUSTED: &str = "grpc-status 8:";
/// gRPC over HTTP/2, "Length-Prefixed-Message": a flag and four bytes of length.
const FRAME_HEAD_BYTES: usize = 5;
const STREAM_WINDOW_BYTES: u32 = 1 << 20;
const CONNECTION_WINDOW_BYTES: u32 = 16 << 20;
