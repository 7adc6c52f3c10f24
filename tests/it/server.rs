//! A real server: `bulla init` and `bulla serve` as processes of their own, real TLS, real files.

use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

use bulla_client::{Client, Config};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    KeyUsagePurpose, SanType,
};

use crate::transcripts::Callers;

/// Callers, their roles and their tenants: trust domain `one.test` is tenant `one`, and so on.
pub(crate) const CALLERS: &[(&str, &str, &[&str])] = &[
    ("operator", "one.test", &["key-manager", "operator"]),
    ("app", "one.test", &["key-user"]),
    ("rewrapper", "one.test", &["key-rewrapper"]),
    ("auditor", "one.test", &["auditor"]),
    ("nobody", "one.test", &[]),
    ("granted", "one.test", &[]),
    ("retirer", "one.test", &[]),
    ("related", "one.test", &[]),
    ("member", "one.test", &[]),
    ("revoked", "one.test", &[]),
    ("named", "one.test", &[]),
    ("keeper", "one.test", &["operator"]),
    ("operator2", "two.test", &["key-manager", "operator"]),
    ("app2", "two.test", &["key-user", "key-rewrapper"]),
    ("auditor2", "two.test", &["auditor"]),
    ("approver", "one.test", &["approver"]),
    ("approver1", "one.test", &["approver"]),
    ("landlord", "installation.test", &["tenant-manager", "auditor"]),
];

/// An installation in a folder of its own, and the server process while it runs.
pub(crate) struct TestServer {
    folder: tempfile::TempDir,
    address: SocketAddr,
    program: PathBuf,
    child: Option<Running>,
}

/// The process, and who copies what it says into the file `log`.
struct Running {
    process: Child,
    logging: JoinHandle<()>,
}

impl TestServer {
    /// Installed and serving, on SQLite.
    pub(crate) fn start() -> Self {
        let mut server = Self::install("sqlite", "");
        server.serve();
        server
    }

    /// Serving from a store in memory.
    pub(crate) fn in_memory() -> Self {
        let mut server = Self::prepare("memory", "");
        let key: String = "QkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkJCQkI=\n".into();
        fs::write(server.path("root.key"), key).unwrap();
        restrict(&server.path("root.key"));
        server.serve();
        server
    }

    /// Installed and not serving. `extra` is added to the configuration before its first table.
    pub(crate) fn install(store: &str, extra: &str) -> Self {
        let server = Self::prepare(store, extra);
        let mut init = server.command("init");
        init.arg("--make-key-file");
        server.add_bindings(&mut init);
        let output = init.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        server
    }

    /// Files and configuration, nothing installed.
    pub(crate) fn prepare(store: &str, extra: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free_address();
        let program = env!("CARGO_BIN_EXE_bulla").into();
        let server = Self { folder, address, program, child: None };
        let authority = Authority::new("server authority");
        authority.server_certificate().write(&server.path("server"));
        fs::write(server.path("ca.pem"), authority.pem()).unwrap();
        let mut domains = String::new();
        for domain in ["one.test", "two.test", "installation.test"] {
            let authority = Authority::new(domain);
            fs::write(server.path(&format!("{domain}.pem")), authority.pem()).unwrap();
            let tenant = domain.split('.').next().unwrap();
            domains.push_str(&format!(
                "[[trust_domains]]\nname = \"{domain}\"\nca_file = \"{domain}.pem\"\ntenant = \"{tenant}\"\n"
            ));
            for (name, _, _) in CALLERS.iter().filter(|(_, of, _)| *of == domain) {
                authority.client_certificate(&spiffe_id(name)).write(&server.path(name));
            }
        }
        // What a test says about the audit log goes into its one table.
        let (extra, audit) = match extra.split_once("[audit]\n") {
            Some((extra, audit)) => (extra, audit),
            None => (extra, ""),
        };
        let config = format!(
            "environment = \"development\"\nlisten = \"{address}\"\ndata_directory = \"data\"\n\
             store = \"{store}\"\n{extra}\n[tls]\ncertificate_file = \"server.pem\"\n\
             key_file = \"server.key\"\n[audit]\nsegment_bytes = 1048576\n{audit}\n[seal]\nkey_file = \"root.key\"\n{domains}"
        );
        fs::write(server.path("bulla.toml"), config).unwrap();
        server
    }

    /// Starts the process and waits until it says that it listens.
    pub(crate) fn serve(&mut self) {
        self.serve_with(&[]);
    }

    /// The same with more arguments.
    pub(crate) fn serve_with(&mut self, arguments: &[&str]) {
        let mut serve = self.command("serve");
        serve.args(arguments).env("BULLA_LOG", "info");
        if fs::read_to_string(self.path("bulla.toml")).unwrap().contains("store = \"memory\"") {
            self.add_bindings(&mut serve);
        }
        serve.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = serve.spawn().unwrap();
        let said = BufReader::new(process.stderr.take().unwrap());
        let mut log = fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        let (listens, listening) = mpsc::channel();
        let logging = std::thread::spawn(move || {
            for line in said.lines().map_while(Result::ok) {
                writeln!(log, "{line}").unwrap();
                if line.contains(" listening ") {
                    let _ = listens.send(());
                }
            }
        });
        if listening.recv_timeout(PATIENCE).is_err() {
            process.kill().unwrap();
            let status = process.wait().unwrap();
            logging.join().unwrap();
            panic!("the server never listened, and ended with {status}: {}", self.log());
        }
        self.child = Some(Running { process, logging });
    }

    /// Runs `serve` to its end, for a start that must fail: its exit code and what it said.
    pub(crate) fn serve_refused(&self) -> (i32, String) {
        self.refused(self.command("serve"))
    }

    /// Runs a command that must end by itself: its exit code and what it said.
    pub(crate) fn refused(&self, mut command: Command) -> (i32, String) {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let mut said = process.stderr.take().unwrap();
        let (ended, ending) = mpsc::channel();
        std::thread::spawn(move || {
            let mut text = String::new();
            said.read_to_string(&mut text).unwrap();
            let _ = ended.send(text);
        });
        let text = ending.recv_timeout(PATIENCE);
        if text.is_err() {
            process.kill().unwrap();
        }
        let status = process.wait().unwrap();
        (status.code().unwrap_or(-1), text.expect("it ended by itself"))
    }

    /// Asks the server to end (SIGTERM).
    pub(crate) fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child.as_ref().unwrap().process);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    }

    /// Waits for a server that was asked to end. Its exit code.
    pub(crate) fn ended(&mut self) -> i32 {
        let mut running = self.child.take().unwrap();
        let status = running.process.wait().unwrap();
        running.logging.join().unwrap();
        status.code().unwrap_or(-1)
    }

    /// Asks the server to end (SIGTERM) and waits for it. Its exit code.
    pub(crate) fn stop(&mut self) -> i32 {
        self.terminate();
        self.ended()
    }

    /// `kill -9`.
    pub(crate) fn kill(&mut self) {
        let mut running = self.child.take().unwrap();
        running.process.kill().unwrap();
        running.process.wait().unwrap();
        running.logging.join().unwrap();
    }

    /// Runs this program instead of the one that ships.
    pub(crate) fn run_with(&mut self, program: PathBuf) {
        self.program = program;
    }

    /// The server's process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().unwrap().process.id()
    }

    /// A client that is this caller.
    pub(crate) async fn client(&self, caller: &str) -> Client {
        Client::connect(self.client_config(caller)).await.unwrap()
    }

    /// How to connect as this caller.
    pub(crate) fn client_config(&self, caller: &str) -> Config {
        Config::new(format!("https://localhost:{}", self.address.port()))
            .ca_file(self.path("ca.pem"))
            .certificate_file(self.path(&format!("{caller}.pem")))
            .key_file(self.path(&format!("{caller}.key")))
    }

    /// A file of the installation.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// What the server logged so far.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap_or_default()
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// `bulla SUBCOMMAND --config …`.
    pub(crate) fn command(&self, subcommand: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.arg(subcommand).arg("--config").arg(self.path("bulla.toml"));
        command
    }

    fn add_bindings(&self, command: &mut Command) {
        for (name, _, roles) in CALLERS {
            for role in *roles {
                command.arg("--bind").arg(format!("{}={role}", spiffe_id(name)));
            }
        }
    }
}

impl Drop for TestServer {
    fn drop(&mut self) {
        if self.child.is_some() {
            self.kill();
        }
    }
}

impl Callers for TestServer {
    fn environment(&self, caller: &str) -> Vec<(String, String)> {
        let file = |name: String| self.path(&name).display().to_string();
        vec![
            ("BULLA_SERVER".into(), format!("https://localhost:{}", self.address.port())),
            ("BULLA_CA".into(), file("ca.pem".into())),
            ("BULLA_CERTIFICATE".into(), file(format!("{caller}.pem"))),
            ("BULLA_KEY".into(), file(format!("{caller}.key"))),
        ]
    }
}

/// The SPIFFE id of a caller.
pub(crate) fn spiffe_id(caller: &str) -> String {
    let (name, domain, _) = CALLERS.iter().find(|(name, _, _)| *name == caller).unwrap();
    format!("spiffe://{domain}/{name}")
}

/// Signs certificates.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, in PEM.
pub(crate) struct Identity {
    certificate: String,
    key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = named(name);
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    pub(crate) fn pem(&self) -> &str {
        &self.pem
    }

    pub(crate) fn client_certificate(&self, spiffe_id: &str) -> Identity {
        let mut params = named("client");
        params.subject_alt_names = vec![SanType::URI(spiffe_id.try_into().unwrap())];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params)
    }

    pub(crate) fn server_certificate(&self) -> Identity {
        let mut params = named("localhost");
        params.subject_alt_names = vec![
            SanType::DnsName("localhost".try_into().unwrap()),
            SanType::IpAddress([127, 0, 0, 1].into()),
        ];
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
        self.sign(&params)
    }

    fn sign(&self, params: &CertificateParams) -> Identity {
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Identity { certificate, key: key.serialize_pem() }
    }
}

impl Identity {
    /// Writes `path.pem` and `path.key`.
    pub(crate) fn write(&self, path: &Path) {
        fs::write(path.with_extension("pem"), &self.certificate).unwrap();
        fs::write(path.with_extension("key"), &self.key).unwrap();
        restrict(&path.with_extension("key"));
    }
}

fn restrict(path: &Path) {
    use std::os::unix::fs::PermissionsExt;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn named(name: &str) -> CertificateParams {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, name);
    params
}

/// A port that nobody listens on now, from below those that the system gives to outgoing connections:
/// one of these could take it while a server is restarted.
fn free_address() -> SocketAddr {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = (std::process::id() % 10_000) as u16;
    loop {
        let step = NEXT.fetch_add(1, Ordering::Relaxed);
        let port = 20_000 + start.wrapping_add(step) % 10_000;
        if let Ok(free) = TcpListener::bind(("127.0.0.1", port)) {
            return free.local_addr().unwrap();
        }
    }
}

/// Longer than any process here takes; a test that waits this long has failed.
const PATIENCE: Duration = Duration::from_secs(60);

#[test]
fn the_command_line_is_as_the_transcripts_say() {
    let mut server = TestServer::install("sqlite", "service_accounts = true");
    server.serve();
    crate::transcripts::play_all("server", &server);
}

#[test]
fn the_operators_chapters_on_rotation_do_what_they_say() {
    let server = TestServer::start();
    let chapters = [
        "Who may do what",
        "Tenants",
        "Limits",
        "More than one person",
        "Rotate",
        "Retire a version",
        "A key may have leaked",
    ];
    crate::transcripts::play_page("operations.md", &chapters, &server);
}
