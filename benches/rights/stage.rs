//! A server with two tenants and somebody for each part, in a temporary folder; and a revocation list that
//! grows. The child is only ever ended by its own pid, and always when this is dropped.

use std::fs;
use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla_client::{Client, Config};
use bytes::Bytes;
use h2::client::SendRequest;
use http::Request;
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, ExtendedKeyUsagePurpose,
    IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose, RevokedCertParams, SanType, SerialNumber,
};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tempfile::TempDir;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

use crate::Failure;

/// Who is there, with which roles.
const PEOPLE: &[(&str, &str, &[&str])] = &[
    ("manager", "one", &["key-manager", "operator"]),
    ("app", "one", &["key-user"]),
    ("victim", "one", &[]),
    ("manager2", "two", &["key-manager", "operator"]),
    ("app2", "two", &["key-user"]),
];

/// Everything.
pub(crate) struct Stage {
    folder: TempDir,
    port: u16,
    child: Option<Child>,
    clients: Issuer<'static, KeyPair>,
    next_serial: u64,
    revoked: Vec<u64>,
}

/// A connection on which a refusal is an answer like any other.
#[derive(Clone)]
pub(crate) struct Line {
    sender: SendRequest<Bytes>,
    /// The token or credential that goes with each call.
    pub(crate) bearer: Option<String>,
}

// === impl Stage ===

impl Stage {
    /// Installed, and serving.
    pub(crate) fn set() -> Result<Self, Failure> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let folder = tempfile::tempdir()?;
        let (servers, pem) = authority("servers")?;
        fs::write(folder.path().join("servers.pem"), pem)?;
        let (clients, pem) = authority("clients")?;
        fs::write(folder.path().join("clients.pem"), pem)?;
        let mut stage =
            Self { folder, port, child: None, clients, next_serial: 1, revoked: Vec::new() };
        stage.publish()?;
        let name = SanType::DnsName("localhost".try_into()?);
        stage.sign(&servers, "server", name, ExtendedKeyUsagePurpose::ServerAuth, 1)?;
        let domains = ["one", "two"].map(|tenant| {
            format!(
                "[[trust_domains]]\nname = \"{tenant}.bench\"\nca_file = \"clients.pem\"\n\
                 crl_files = [\"clients.crl\"]\ntenant = \"{tenant}\"\n"
            )
        });
        let config = format!(
            "environment = \"development\"\nlisten = \"127.0.0.1:{port}\"\ndata_directory = \"data\"\n\
             service_accounts = true\n[tls]\ncertificate_file = \"server.pem\"\nkey_file = \"server.key\"\n\
             [seal]\nkey_file = \"root.key\"\n[limits]\ntenant_management_per_second = 0\n{}",
            domains.concat()
        );
        fs::write(stage.file("bulla.toml"), config)?;
        let mut init = stage.program("init")?;
        init.arg("--make-key-file");
        for (name, tenant, roles) in PEOPLE {
            stage.certify(name, tenant)?;
            for role in *roles {
                init.arg("--bind").arg(format!("{}={role}", id(name, tenant)));
            }
        }
        if !init.status()?.success() {
            return Err(stage.log().into());
        }
        stage.child = Some(stage.program("serve")?.spawn()?);
        Ok(stage)
    }

    /// A certificate of this principal, in files of its name. Its serial number.
    pub(crate) fn certify(&mut self, name: &str, tenant: &str) -> Result<u64, Failure> {
        self.next_serial += 1;
        let uri = SanType::URI(id(name, tenant).as_str().try_into()?);
        let usage = ExtendedKeyUsagePurpose::ClientAuth;
        self.sign(&self.clients, name, uri, usage, self.next_serial)?;
        Ok(self.next_serial)
    }

    /// Puts a certificate on the list that the server reads.
    pub(crate) fn revoke(&mut self, serial: u64) -> Result<(), Failure> {
        self.revoked.push(serial);
        self.publish()
    }

    fn publish(&self) -> Result<(), Failure> {
        let revoked = self.revoked.iter().map(|serial| RevokedCertParams {
            serial_number: SerialNumber::from(*serial),
            revocation_time: rcgen::date_time_ymd(2026, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: rcgen::date_time_ymd(2026, 1, 1),
            next_update: rcgen::date_time_ymd(2046, 1, 1),
            crl_number: SerialNumber::from(self.revoked.len() as u64 + 1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        fs::write(self.file("clients.new"), list.signed_by(&self.clients)?.pem()?)?;
        fs::rename(self.file("clients.new"), self.file("clients.crl"))?;
        Ok(())
    }

    fn sign(
        &self,
        issuer: &Issuer<'_, KeyPair>,
        name: &str,
        subject: SanType,
        usage: ExtendedKeyUsagePurpose,
        serial: u64,
    ) -> Result<(), Failure> {
        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![subject];
        params.extended_key_usages = vec![usage];
        params.serial_number = Some(SerialNumber::from(serial));
        let key = KeyPair::generate()?;
        fs::write(self.file(&format!("{name}.pem")), params.signed_by(&key, issuer)?.pem())?;
        let path = self.file(&format!("{name}.key"));
        fs::write(&path, key.serialize_pem())?;
        use std::os::unix::fs::PermissionsExt as _;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(())
    }

    /// A client with the certificate of this name.
    pub(crate) async fn client(&self, name: &str) -> Result<Client, Failure> {
        let config = self
            .config()
            .certificate_file(self.file(&format!("{name}.pem")))
            .key_file(self.file(&format!("{name}.key")));
        let began = Instant::now();
        loop {
            match Client::connect(config.clone()).await {
                Ok(client) => return Ok(client),
                Err(error) if began.elapsed() > READY_WITHIN => {
                    return Err(format!("{error}\n{}", self.log()).into());
                }
                Err(_) => tokio::time::sleep(Duration::from_millis(50)).await,
            }
        }
    }

    /// A connection with the certificate of this name, or with none.
    pub(crate) async fn line(&self, name: Option<&str>) -> Result<Line, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.file("servers.pem"))?)?;
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots);
        let mut config = match name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let chain = CertificateDer::from_pem_file(self.file(&format!("{name}.pem")))?;
                let key = PrivateKeyDer::from_pem_file(self.file(&format!("{name}.key")))?;
                builder.with_client_auth_cert(vec![chain], key)?
            }
        };
        config.alpn_protocols = vec![b"h2".to_vec()];
        let stream = TcpStream::connect(("127.0.0.1", self.port)).await?;
        stream.set_nodelay(true)?;
        let connector = TlsConnector::from(Arc::new(config));
        let stream = connector.connect(ServerName::try_from("localhost")?, stream).await?;
        let (sender, connection) = h2::client::handshake(stream).await?;
        tokio::spawn(async move { drop(connection.await) });
        Ok(Line { sender, bearer: None })
    }

    fn config(&self) -> Config {
        Config::new(format!("https://localhost:{}", self.port)).ca_file(self.file("servers.pem"))
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        fs::read_to_string(self.file("log")).unwrap_or_default()
    }

    fn program(&self, subcommand: &str) -> std::io::Result<Command> {
        let log = fs::File::options().create(true).append(true).open(self.file("log"))?;
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.arg(subcommand).arg("--config").arg(self.file("bulla.toml"));
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        Ok(command)
    }
}

// === impl Line ===

impl Line {
    /// The gRPC status of a call; -1 where the connection has ended.
    pub(crate) async fn call(&self, path: &str, message: &[u8]) -> i32 {
        self.answered(path, message).await.unwrap_or(-1)
    }

    async fn answered(&self, path: &str, message: &[u8]) -> Result<i32, Failure> {
        let mut sender = self.sender.clone().ready().await?;
        let mut request = Request::post(format!("https://localhost/bulla.kms.v1.{path}"))
            .header("content-type", "application/grpc")
            .header("te", "trailers");
        if let Some(bearer) = &self.bearer {
            request = request.header("authorization", format!("Bearer {bearer}"));
        }
        let (response, mut stream) = sender.send_request(request.body(())?, false)?;
        let mut frame = vec![0];
        frame.extend_from_slice(&u32::try_from(message.len())?.to_be_bytes());
        frame.extend_from_slice(message);
        // A server that has refused already need not take it.
        let _ = stream.send_data(frame.into(), true);
        let (head, mut body) = response.await?.into_parts();
        let status =
            |headers: &http::HeaderMap| headers.get("grpc-status")?.to_str().ok()?.parse().ok();
        if let Some(status) = status(&head.headers) {
            return Ok(status);
        }
        while let Some(data) = body.data().await {
            body.flow_control().release_capacity(data?.len())?;
        }
        status(&body.trailers().await?.unwrap_or_default()).ok_or_else(|| "no status".into())
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// The principal of this name.
pub(crate) fn id(name: &str, tenant: &str) -> String {
    format!("spiffe://{tenant}.bench/{name}")
}

fn authority(name: &str) -> Result<(Issuer<'static, KeyPair>, String), Failure> {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(rcgen::DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    let pem = params.self_signed(&key)?.pem();
    Ok((Issuer::new(params, key), pem))
}

const READY_WITHIN: Duration = Duration::from_secs(30);
