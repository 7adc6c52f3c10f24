//! The real provider: `oidc-provider` under node (tests/oidc), as a process that can be stopped, started
//! and told to rotate its keys. Without node a test fails and says what to run.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Mutex;

use crate::server::Authority;

/// A provider on a port of its own.
pub(crate) struct Provider {
    folder: PathBuf,
    port: u16,
    running: Option<Running>,
}

struct Running {
    process: Child,
    pipes: Mutex<(ChildStdin, BufReader<ChildStdout>)>,
}

impl Provider {
    /// Starts one whose files are in this folder; `provider.pem` there vouches for its server.
    pub(crate) fn start(folder: &Path) -> Self {
        let authority = Authority::new("provider authority");
        authority.server_certificate().write(&folder.join("provider-tls"));
        std::fs::write(folder.join("provider.pem"), authority.pem()).unwrap();
        // Nobody else asks for it in the meantime: it is from below the outgoing ones.
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut provider = Self { folder: folder.to_owned(), port, running: None };
        provider.comes_up();
        provider
    }

    pub(crate) fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    /// The table of the configuration, with more lines.
    pub(crate) fn configuration(&self, more: &str) -> String {
        format!(
            "[[issuers]]\nname = \"login\"\nissuer = \"{}\"\naudience = \"bulla-test\"\ntenant = \"one\"\n\
             algorithms = [\"RS256\", \"PS256\", \"ES256\", \"ES384\", \"EdDSA\"]\nca_file = \"provider.pem\"\n\
             allow_private_addresses = true\ntoken_type = \"at+jwt\"\ngroups_claim = \"groups\"\n{more}",
            self.issuer()
        )
    }

    pub(crate) fn goes_down(&mut self) {
        if let Some(mut running) = self.running.take() {
            running.process.kill().unwrap();
            running.process.wait().unwrap();
        }
    }

    pub(crate) fn comes_up(&mut self) {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oidc");
        assert!(script.join("node_modules").exists(), "run .ci/oidc, which makes tests/oidc ready");
        let file = |name: &str| self.folder.join(name).display().to_string();
        let config = serde_json::json!({
            "port": self.port, "issuer": self.issuer(), "tls": file("provider-tls"),
            "ca": file("provider.pem"), "keys": file("provider-keys.json"),
        });
        let mut process = Command::new("node")
            .arg(script.join("provider.mjs"))
            .arg(config.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("run .ci/oidc, which installs node");
        let input = process.stdin.take().unwrap();
        let mut output = BufReader::new(process.stdout.take().unwrap());
        let mut line = String::new();
        while line != "ready\n" {
            line.clear();
            assert!(output.read_line(&mut line).unwrap() > 0, "the provider ended by itself");
        }
        self.running = Some(Running { process, pipes: Mutex::new((input, output)) });
    }

    /// Gives a command, and gets its answer.
    pub(crate) fn ask(&self, command: &str) -> String {
        let mut pipes = self.running.as_ref().unwrap().pipes.lock().unwrap();
        let (input, output) = &mut *pipes;
        writeln!(input, "{command}").unwrap();
        loop {
            let mut line = String::new();
            assert!(output.read_line(&mut line).unwrap() > 0, "the provider ended by itself");
            // The library says things of its own.
            if !line.starts_with("oidc-provider ") {
                assert!(!line.starts_with("error"), "{command}: {line}");
                return line.trim_end().to_owned();
            }
        }
    }

    /// A token of its machine client, for this server.
    pub(crate) fn token(&self, algorithm: &str) -> String {
        self.ask(&format!("token {algorithm} bulla-test"))
    }
}

impl Drop for Provider {
    fn drop(&mut self) {
        self.goes_down();
    }
}
