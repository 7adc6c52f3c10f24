//! A temporary folder with all that a server and one caller need: two authorities, a certificate for
//! each side, and a configuration with one data-plane thread. Gone when dropped.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use rcgen::{
    BasicConstraints, CertificateParams, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};
use tempfile::TempDir;

/// The one caller of the benchmark.
pub(crate) const CALLER: &str = "spiffe://bench.bulla/load";
/// Makes the keys: whoever manages keys uses none.
pub(crate) const MANAGER: &str = "spiffe://bench.bulla/manager";
/// The same two of another tenant, which asks for much.
pub(crate) const FLOOD: &str = "spiffe://flood.bulla/load";
pub(crate) const FLOOD_MANAGER: &str = "spiffe://flood.bulla/manager";

/// Who may do what: make the keys; use them, and move blobs between them.
pub(crate) const ROLES: [(&str, &str); 5] = [
    (MANAGER, "key-manager"),
    (CALLER, "key-user"),
    (CALLER, "key-rewrapper"),
    (FLOOD_MANAGER, "key-manager"),
    (FLOOD, "key-user"),
];

/// The folder and the address in its configuration.
pub(crate) struct Folder {
    directory: TempDir,
    listen: SocketAddr,
}

// === impl Folder ===

impl Folder {
    /// Makes everything.
    pub(crate) fn create() -> Result<Self, Box<dyn Error>> {
        let listen = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let folder = Self { directory: tempfile::tempdir()?, listen };
        let server = SanType::IpAddress([127, 0, 0, 1].into());
        folder.sign("server", server, ExtendedKeyUsagePurpose::ServerAuth)?;
        for (name, id) in [
            ("client", CALLER),
            ("manager", MANAGER),
            ("flood", FLOOD),
            ("flood-manager", FLOOD_MANAGER),
        ] {
            let id = SanType::URI(id.try_into()?);
            folder.sign(name, id, ExtendedKeyUsagePurpose::ClientAuth)?;
        }
        fs::write(folder.configuration(), CONFIGURATION.replace("LISTEN", &listen.to_string()))?;
        Ok(folder)
    }

    /// Where the server listens.
    pub(crate) fn listen(&self) -> SocketAddr {
        self.listen
    }

    /// A file of the folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    /// The server's configuration file.
    pub(crate) fn configuration(&self) -> PathBuf {
        self.file("bulla.toml")
    }

    /// What the server said last, for when it fails.
    pub(crate) fn log_tail(&self) -> String {
        let log = fs::read_to_string(self.file("server.log")).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(LOG_LINES_SHOWN)..].join("\n")
    }

    /// `NAME-ca.pem`, `NAME.pem` and `NAME.key`.
    fn sign(
        &self,
        name: &str,
        subject: SanType,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<(), Box<dyn Error>> {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign];
        let key = KeyPair::generate()?;
        fs::write(self.file(&format!("{name}-ca.pem")), params.self_signed(&key)?.pem())?;
        let issuer = Issuer::new(params, key);

        let mut params = CertificateParams::default();
        params.subject_alt_names = vec![subject];
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        params.use_authority_key_identifier_extension = true;
        let key = KeyPair::generate()?;
        let certificate = params.signed_by(&key, &issuer)?;
        fs::write(self.file(&format!("{name}.pem")), certificate.pem())?;
        write_private(&self.file(&format!("{name}.key")), &key.serialize_pem())?;
        Ok(())
    }
}

fn write_private(path: &Path, text: &str) -> std::io::Result<()> {
    use std::io::Write as _;
    use std::os::unix::fs::OpenOptionsExt as _;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(0o600).open(path)?.write_all(text.as_bytes())
}

const LOG_LINES_SHOWN: usize = 20;

const CONFIGURATION: &str = r#"environment = "development"
listen = "LISTEN"
data_directory = "data"

[limits]
data_plane_threads = 1

[tls]
certificate_file = "server.pem"
key_file = "server.key"

[seal]
key_file = "root.key"

[[trust_domains]]
name = "bench.bulla"
ca_files = ["client-ca.pem", "manager-ca.pem"]
tenant = "bench"

[[trust_domains]]
name = "flood.bulla"
ca_files = ["flood-ca.pem", "flood-manager-ca.pem"]
tenant = "flood"
"#;
