//! `bulla login` against a real provider, with somebody at a browser who does what a person would; and
//! against what is anything but.

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Output, Stdio};

use serde_json::Value;

use super::add;
use super::provider::Provider;
use crate::server::TestServer;

/// A server, a provider that it believes, and a person's home.
struct Desk {
    server: TestServer,
    provider: Provider,
}

/// A login under way.
struct Begun {
    process: Child,
    says: BufReader<ChildStderr>,
}

impl Desk {
    fn new(token_type: &str) -> Self {
        let mut server = TestServer::install("sqlite", "");
        let provider = Provider::start(server.path("bulla.toml").parent().unwrap());
        let configuration = provider.configuration("");
        add(&server, &configuration.replace("token_type = \"at+jwt\"\n", token_type));
        server.serve();
        fs::create_dir(server.path("home")).unwrap();
        Self { server, provider }
    }

    fn believing_access_tokens() -> Self {
        Self::new("token_type = \"at+jwt\"\n")
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(arguments).env_clear().env("HOME", self.server.path("home"));
        command.env("BULLA_SERVER", format!("https://localhost:{}", self.server.address().port()));
        command.env("BULLA_CA", self.server.path("ca.pem"));
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).stdin(Stdio::null()).output().unwrap()
    }

    fn login(&self, more: &[&str]) -> Begun {
        let (issuer, ca) = (self.provider.issuer(), self.server.path("provider.pem"));
        let ca = ca.display().to_string();
        let scope = "openid offline_access call";
        let resource = "urn:test:ES256:bulla-test";
        let mut given =
            vec!["login", "--issuer", &issuer, "--client-id", "cli", "--issuer-ca", &ca];
        given.extend(["--scope", scope, "--resource", resource]);
        given.extend(more);
        let mut command = self.command(&given);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut process = command.spawn().unwrap();
        let says = BufReader::new(process.stderr.take().unwrap());
        Begun { process, says }
    }

    /// The one file with a login.
    fn file(&self) -> PathBuf {
        let folder = self.server.path("home/.config/bulla/tokens");
        let files = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
        let mut files: Vec<_> = files.filter(|path| path.extension().is_some()).collect();
        assert_eq!(files.len(), 1, "{files:?}");
        files.remove(0)
    }

    fn saved(&self) -> Value {
        serde_json::from_str(&fs::read_to_string(self.file()).unwrap()).unwrap()
    }

    /// Sets a field of the saved login.
    fn change(&self, field: &str, value: Value) {
        let mut saved = self.saved();
        saved[field] = value;
        fs::write(self.file(), saved.to_string()).unwrap();
    }
}

impl Begun {
    /// The first line that it says with this in it.
    fn until(&mut self, what: &str) -> String {
        loop {
            let mut line = String::new();
            assert!(self.says.read_line(&mut line).unwrap() > 0, "it ended without {what:?}");
            if line.contains(what) {
                return line.trim_end().to_owned();
            }
        }
    }

    /// Its exit code, what it wrote to stdout, and what else it said.
    fn ended(mut self) -> (i32, String, String) {
        let mut said = String::new();
        self.says.read_to_string(&mut said).unwrap();
        let output = self.process.wait_with_output().unwrap();
        (output.status.code().unwrap(), String::from_utf8(output.stdout).unwrap(), said)
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o7777
}

fn text(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

#[test]
fn a_person_logs_in_by_browser_is_renewed_and_logs_out() {
    let desk = Desk::believing_access_tokens();
    let mut begun = desk.login(&[]);
    let address = begun.until("https://");
    for part in ["code_challenge_method=S256", "code_challenge=", "state=", "nonce=", "127.0.0.1"] {
        assert!(address.contains(part), "{part}: {address}");
    }
    let page = desk.provider.ask(&format!("browse {address}"));
    assert!(page.starts_with("200 Go back to the terminal"), "{page}");
    let (code, shown, _) = begun.ended();
    assert!(code == 0 && shown.contains("alice") && shown.contains("access-token"), "{shown}");
    assert_eq!((mode(&desk.file()), mode(desk.file().parent().unwrap())), (0o600, 0o700));
    let who = text(&desk.run(&["whoami"]));
    assert!(who.contains("oidc://login/alice") && who.contains("payments"), "{who}");

    let before = desk.saved();
    let secrets =
        ["access_token", "id_token", "refresh_token"].map(|name| before[name].as_str().unwrap());
    let listed = text(&desk.run(&["login", "--show"]));
    assert!(listed.contains("alice") && secrets.iter().all(|secret| !listed.contains(secret)));

    // Near its end it is renewed by whatever comes next.
    desk.change("access_expire_time", 1.into());
    assert!(text(&desk.run(&["whoami"])).contains("oidc://login/alice"));
    let after = desk.saved();
    assert_ne!(after["access_token"], before["access_token"]);
    assert_eq!(mode(&desk.file()), 0o600);

    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o644)).unwrap();
    let open = desk.run(&["whoami"]);
    assert!(
        open.status.code() == Some(78) && text(&open).contains("mode 0644"),
        "B09: {}",
        text(&open)
    );
    fs::set_permissions(desk.file(), fs::Permissions::from_mode(0o600)).unwrap();

    let refresh = after["refresh_token"].as_str().unwrap().to_owned();
    assert_eq!(desk.provider.ask(&format!("active {refresh}")), "true");
    let file = desk.file();
    assert!(desk.run(&["logout"]).status.success());
    assert!(!file.exists());
    assert_eq!(desk.provider.ask(&format!("active {refresh}")), "false", "it was revoked");
    assert_eq!(desk.run(&["whoami"]).status.code(), Some(78));
}

#[test]
fn a_person_logs_in_on_another_device_and_a_login_that_ended_says_so() {
    let desk = Desk::believing_access_tokens();
    let mut begun = desk.login(&["--device"]);
    let line = begun.until("enter the code");
    assert!(line.contains("/device and enter") && !line.contains("user_code="), "{line}");
    let code = line.rsplit(' ').next().unwrap();
    assert_eq!(desk.provider.ask(&format!("enter {code}")), "entered");
    let (code, shown, said) = begun.ended();
    assert!(code == 0 && shown.contains("alice"), "{said}");
    assert!(text(&desk.run(&["whoami"])).contains("oidc://login/alice"));
    desk.change("access_expire_time", 1.into());
    desk.change("refresh_token", "gone".into());
    let ended = desk.run(&["whoami"]);
    assert_eq!(ended.status.code(), Some(77), "{}", text(&ended));
    assert!(text(&ended).contains("log in again"), "{}", text(&ended));
}

#[test]
fn b09_a_login_that_is_refused_on_either_page_keeps_nothing() {
    let desk = Desk::believing_access_tokens();
    let mut begun = desk.login(&[]);
    let address = begun.until("https://");
    desk.provider.ask(&format!("refuse {address}"));
    let (code, shown, said) = begun.ended();
    assert!(code == 77 && shown.is_empty() && said.contains("access_denied"), "{said}");
    let mut begun = desk.login(&["--device"]);
    let line = begun.until("enter the code");
    desk.provider.ask(&format!("abort {}", line.rsplit(' ').next().unwrap()));
    let (code, _, said) = begun.ended();
    assert!(code == 77 && said.contains("refused on the issuer's page"), "{said}");
    assert!(!desk.server.path("home/.config/bulla/tokens").exists());
}

#[test]
fn b09_a_callback_that_this_terminal_did_not_ask_for_is_waited_past() {
    let desk = Desk::believing_access_tokens();
    let mut begun = desk.login(&[]);
    let address = begun.until("https://");
    let query = address.split_once("redirect_uri=").unwrap().1;
    let back = query.split('&').next().unwrap().replace("%3A", ":").replace("%2F", "/");
    let forged = format!("{}?code=stolen&state=guessed", back.trim_start_matches("http://"));
    let (host, path) = forged.split_once('/').unwrap();
    let mut stream = std::net::TcpStream::connect(host).unwrap();
    let request = format!("GET /{path} HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
    std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
    let mut page = String::new();
    stream.read_to_string(&mut page).unwrap();
    assert!(page.starts_with("HTTP/1.1 400") && !page.contains("stolen"), "{page}");
    begun.until("no question of this login");
    desk.provider.ask(&format!("browse {address}"));
    assert_eq!(begun.ended().0, 0, "the person's own login goes on");
}

#[test]
fn a05_an_id_token_is_sent_only_where_that_was_said() {
    let desk = Desk::believing_access_tokens();
    let mut begun = desk.login(&["--send", "id-token"]);
    let address = begun.until("https://");
    desk.provider.ask(&format!("browse {address}"));
    let (_, shown, _) = begun.ended();
    assert!(shown.contains("id-token"), "{shown}");
    // This server asks for the type at+jwt and its own audience, and an ID token has neither.
    assert_eq!(desk.run(&["whoami"]).status.code(), Some(77));
}

#[test]
fn a09_an_issuer_that_is_not_what_it_was_asked_to_be_is_refused() {
    let desk = Desk::believing_access_tokens();
    let ca = desk.server.path("provider.pem").display().to_string();
    let issuer = desk.provider.issuer();
    let slash = format!("{issuer}/");
    let by_address = issuer.replace("localhost", "127.0.0.1");
    let plain = issuer.replace("https", "http");
    for (bad, code, why) in [
        (slash.as_str(), 69, "its discovery document is that of"),
        (by_address.as_str(), 69, "its discovery document is that of"),
        (plain.as_str(), 64, "is no https address"),
        ("file:///etc/passwd", 64, "is no https address"),
        ("https://user@localhost", 64, "is no https address"),
    ] {
        let output =
            desk.run(&["login", "--issuer", bad, "--client-id", "cli", "--issuer-ca", &ca]);
        assert_eq!(output.status.code(), Some(code), "{bad}: {}", text(&output));
        assert!(text(&output).contains(why), "{bad}: {}", text(&output));
    }
    // Vouched for by somebody else.
    let other = desk.server.path("ca.pem").display().to_string();
    let output =
        desk.run(&["login", "--issuer", &issuer, "--client-id", "cli", "--issuer-ca", &other]);
    assert!(text(&output).contains("cannot connect"), "{}", text(&output));
}
