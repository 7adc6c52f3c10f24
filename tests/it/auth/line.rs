//! One HTTP/2 connection to a server, with or without a certificate, and `WhoAmI` on it with any headers.

use std::fs;
use std::sync::Arc;

use bulla_client::kms::WhoAmIResponse;
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use prost::Message;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::server::TestServer;

/// Who the server takes the caller for, or the gRPC code and message of a refusal.
pub(crate) type Answer = Result<WhoAmIResponse, (i32, String)>;

/// An open connection.
pub(crate) struct Line(SendRequest<Bytes>);

impl Line {
    /// Connects as the holder of the files `CALLER.pem` and `CALLER.key`, or as nobody.
    pub(crate) async fn open(
        server: &TestServer,
        caller: Option<&str>,
    ) -> Result<Self, Box<dyn std::error::Error>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(server.path("ca.pem"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match caller {
            None => builder.with_no_client_auth(),
            Some(caller) => {
                let chain = fs::read(server.path(&format!("{caller}.pem")))?;
                let chain = CertificateDer::pem_slice_iter(&chain).collect::<Result<_, _>>()?;
                let key = PrivateKeyDer::from_pem_file(server.path(&format!("{caller}.key")))?;
                builder.with_client_auth_cert(chain, key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(server.address()).await?;
        let name = ServerName::try_from("localhost")?;
        let stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(connection);
        Ok(Self(sender.ready().await?))
    }

    /// Asks who the caller is. A connection that breaks is the code -1.
    pub(crate) async fn who_am_i(&mut self, headers: &[(&str, &str)]) -> Answer {
        let answer = self.ask(WHO_AM_I, &[], headers).await;
        answer.map(|message| WhoAmIResponse::decode(&message[..]).unwrap())
    }

    /// Asks anything: the reply's message, or the gRPC code and message of a refusal.
    pub(crate) async fn ask(
        &mut self,
        path: &str,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Vec<u8>, (i32, String)> {
        let answer = self.call(path, message, headers).await;
        answer.unwrap_or_else(|error| Err((-1, error.to_string())))
    }

    /// A page, as anybody may ask for it.
    pub(crate) async fn page(&mut self, path: &str) -> String {
        let request = Request::get(format!("https://localhost{path}")).body(()).unwrap();
        let (response, _) = self.0.send_request(request, true).unwrap();
        let mut body = response.await.unwrap().into_body();
        let mut page = Vec::new();
        while let Some(data) = body.data().await {
            page.extend_from_slice(&data.unwrap());
        }
        String::from_utf8(page).unwrap()
    }

    async fn call(
        &mut self,
        path: &str,
        message: &[u8],
        headers: &[(&str, &str)],
    ) -> Result<Result<Vec<u8>, (i32, String)>, Box<dyn std::error::Error>> {
        let mut request = Request::post(format!("https://localhost{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let (response, mut body) = self.0.send_request(request.body(())?, false)?;
        let mut framed = vec![0];
        framed.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        framed.extend_from_slice(message);
        body.send_data(Bytes::from(framed), true)?;
        let response = response.await?;
        let refused = |headers: &http::HeaderMap| {
            let code = headers.get("grpc-status")?.to_str().ok()?.parse::<i32>().ok()?;
            let text = headers.get("grpc-message").map_or("", |text| text.to_str().unwrap());
            (code != 0).then(|| Err((code, text.to_owned())))
        };
        if let Some(refused) = refused(response.headers()) {
            return Ok(refused);
        }
        let mut body = response.into_body();
        let mut message = Vec::new();
        while let Some(data) = body.data().await {
            let data = data?;
            body.flow_control().release_capacity(data.len())?;
            message.extend_from_slice(&data);
        }
        let trailers = body.trailers().await?.unwrap_or_default();
        if let Some(refused) = refused(&trailers) {
            return Ok(refused);
        }
        Ok(Ok(message.split_off(5)))
    }
}

const WHO_AM_I: &str = "/bulla.kms.v1.Access/WhoAmI";
