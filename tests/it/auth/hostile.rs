//! Providers that are anything but: what a fetch of their keys makes of it (attack A09).

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bulla::auth::{FetchError, FetchKeys, Fetcher, KeySet};
use bulla::server::provider;
use rustls::ServerConfig;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::server::Authority;

const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

/// What is answered to the path `/.well-known/openid-configuration`, and to any other.
struct Answers {
    document: String,
    keys: String,
    /// Bytes are sent one by one, a tenth of a second apart.
    slowly: bool,
}

struct Hostile {
    port: u16,
    authority: Authority,
    connections: Arc<AtomicUsize>,
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n{body}", body.len())
}

impl Hostile {
    /// Serves what `answers` makes of the port.
    async fn start(answers: impl FnOnce(u16) -> Answers) -> Self {
        let authority = Authority::new("provider");
        let folder = tempfile::tempdir().unwrap();
        authority.server_certificate().write(&folder.path().join("tls"));
        let chain = vec![CertificateDer::from_pem_file(folder.path().join("tls.pem")).unwrap()];
        let key = PrivateKeyDer::from_pem_file(folder.path().join("tls.key")).unwrap();
        let tls = ServerConfig::builder_with_provider(provider())
            .with_protocol_versions(&[&rustls::version::TLS13])
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(chain, key)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let answers = Arc::new(answers(port));
        let connections = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&connections);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::SeqCst);
                let (acceptor, answers) = (acceptor.clone(), Arc::clone(&answers));
                tokio::spawn(async move {
                    let Ok(mut stream) = acceptor.accept(stream).await else { return };
                    let mut head = vec![0; 4_096];
                    let length = stream.read(&mut head).await.unwrap_or(0);
                    let head = String::from_utf8_lossy(&head[..length]).into_owned();
                    let answer = if head.contains("/.well-known/") {
                        &answers.document
                    } else {
                        &answers.keys
                    };
                    if answers.slowly {
                        for byte in answer.as_bytes() {
                            if stream.write_all(&[*byte]).await.is_err() {
                                return;
                            }
                            let _ = stream.flush().await;
                            tokio::time::sleep(Duration::from_millis(100)).await;
                        }
                    } else {
                        let _ = stream.write_all(answer.as_bytes()).await;
                    }
                    let _ = stream.shutdown().await;
                });
            }
        });
        Self { port, authority, connections }
    }

    fn issuer(&self) -> String {
        format!("https://localhost:{}", self.port)
    }

    fn fetcher(&self, issuer: &str, allow_private: bool) -> Fetcher {
        let authority = CertificateDer::from_pem_slice(self.authority.pem().as_bytes()).unwrap();
        Fetcher::new(issuer, vec![authority], allow_private, provider()).unwrap()
    }

    async fn fetched(&self) -> Result<KeySet, FetchError> {
        self.fetcher(&self.issuer(), true).fetch().await
    }
}

fn document(issuer: &str, keys: &str) -> String {
    format!(r#"{{"issuer":"{issuer}","jwks_uri":"{keys}"}}"#)
}

fn lawful(port: u16) -> Answers {
    let issuer = format!("https://localhost:{port}");
    let document = ok(&document(&issuer, &format!("{issuer}/keys")));
    Answers { document, keys: ok(KEYS), slowly: false }
}

/// What a fetch says of a provider that is lawful but for a change.
async fn said(change: impl FnOnce(u16, &mut Answers)) -> FetchError {
    let hostile = Hostile::start(|port| {
        let mut answers = lawful(port);
        change(port, &mut answers);
        answers
    })
    .await;
    hostile.fetched().await.unwrap_err()
}

#[tokio::test]
async fn a_lawful_provider_is_fetched_from() {
    let hostile = Hostile::start(lawful).await;
    assert!(hostile.fetched().await.unwrap().has("k"));
    assert_eq!(hostile.connections.load(Ordering::SeqCst), 2);
}

#[tokio::test]
async fn a09_a_redirect_is_not_followed() {
    for status in ["301 Moved Permanently", "302 Found", "307 Temporary Redirect"] {
        let target = Hostile::start(lawful).await;
        let to = format!("{}/.well-known/openid-configuration", target.issuer());
        let moved = format!("HTTP/1.1 {status}\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n");
        let document = said(|_, answers| answers.document.clone_from(&moved)).await;
        assert!(matches!(document, FetchError::Status(_)), "{document}");
        let keys = said(|_, answers| answers.keys.clone_from(&moved)).await;
        assert!(matches!(keys, FetchError::Status(_)), "{keys}");
        assert_eq!(target.connections.load(Ordering::SeqCst), 0);
    }
}

#[tokio::test]
async fn a09_a_document_of_another_issuer_is_refused() {
    let other = |port: u16| {
        let own = format!("https://localhost:{port}");
        [
            document("https://login.example", &format!("{own}/keys")),
            document(&format!("{own}/"), &format!("{own}/keys")),
            document(&own.to_uppercase(), &format!("{own}/keys")),
            format!(r#"{{"issuer":["{own}"],"jwks_uri":"{own}/keys"}}"#),
            format!(r#"{{"issuer":"x","issuer":"{own}","jwks_uri":"{own}/keys"}}"#),
            format!(r#"{{"issuer":"{own}"}}"#),
            format!(r#"{{"jwks_uri":"{own}/keys"}}"#),
            "[]".to_owned(),
            "<html>".to_owned(),
            String::new(),
        ]
    };
    for place in 0..other(1).len() {
        let error = said(|port, answers| answers.document = ok(&other(port)[place])).await;
        assert!(matches!(error, FetchError::Document), "{place}: {error}");
    }
}

#[tokio::test]
async fn a09_keys_that_are_not_behind_plain_https_are_not_fetched() {
    for keys in [
        "http://localhost/keys",
        "https://user@localhost/keys",
        "https://localhost/keys?x=1",
        "file:///etc/passwd",
        "https://[fe80::1%25eth0]/keys",
        "/keys",
        "",
    ] {
        let error = said(|port, answers| {
            answers.document = ok(&document(&format!("https://localhost:{port}"), keys));
        })
        .await;
        assert!(matches!(error, FetchError::Place(_)), "{keys}: {error}");
    }
}

#[tokio::test]
async fn a09_an_address_inside_is_not_connected_to_however_it_is_written() {
    let hostile = Hostile::start(lawful).await;
    let port = hostile.port;
    for host in [
        "localhost",
        "127.0.0.1",
        "127.1",
        "2130706433",
        "0x7f000001",
        "0177.0.0.1",
        "0",
        "0.0.0.0",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "[::]",
        "169.254.169.254",
        "10.0.0.1",
    ] {
        let fetcher = hostile.fetcher(&format!("https://{host}:{port}"), false);
        let error = fetcher.fetch().await.unwrap_err();
        // A name that this system's resolver does not take for an address is no way in either.
        let refused = matches!(error, FetchError::Address(_) | FetchError::Connect(_));
        assert!(refused, "{host}: {error}");
    }
    assert_eq!(hostile.connections.load(Ordering::SeqCst), 0);
}

#[tokio::test]
async fn a09_an_answer_that_is_too_long_packed_or_incomplete_is_refused() {
    let long = "x".repeat(100_000);
    let chunked = {
        let chunk = format!("1000\r\n{}\r\n", "y".repeat(0x1000));
        format!(
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n",
            chunk.repeat(20)
        )
    };
    let packed = ok(KEYS).replace("\r\n\r\n", "\r\ncontent-encoding: gzip\r\n\r\n");
    let short = format!("HTTP/1.1 200 OK\r\ncontent-length: 5000\r\n\r\n{KEYS}");
    for answer in [ok(&long), chunked, packed, short] {
        let error = said(|_, answers| answers.keys.clone_from(&answer)).await;
        assert!(matches!(error, FetchError::Body), "{error}");
        let error = said(|_, answers| answers.document.clone_from(&answer)).await;
        assert!(matches!(error, FetchError::Body), "{error}");
    }
    let headers =
        format!("HTTP/1.1 200 OK\r\n{}content-length: 2\r\n\r\n{{}}", "a: b\r\n".repeat(200));
    let wide = format!("HTTP/1.1 200 OK\r\na: {}\r\n\r\n", "b".repeat(100_000));
    for answer in [headers, wide, "\0\u{1}\u{2}garbage\r\n\r\n".to_owned(), String::new()] {
        let error = said(|_, answers| answers.document.clone_from(&answer)).await;
        assert!(matches!(error, FetchError::Http(_)), "{error}");
    }
}

#[tokio::test]
async fn a09_a_provider_that_dribbles_is_given_up() {
    let begun = Instant::now();
    let error = said(|_, answers| answers.slowly = true).await;
    assert!(matches!(error, FetchError::Late), "{error}");
    assert!(begun.elapsed() < Duration::from_secs(8));
}

#[tokio::test]
async fn a10_a_provider_that_cannot_prove_its_name_is_not_believed() {
    let hostile = Hostile::start(lawful).await;
    let other = Authority::new("other");
    let authority = CertificateDer::from_pem_slice(other.pem().as_bytes()).unwrap();
    let fetcher = Fetcher::new(&hostile.issuer(), vec![authority], true, provider()).unwrap();
    assert!(matches!(fetcher.fetch().await.unwrap_err(), FetchError::Connect(_)));
    // Another address of the same machine, which the certificate does not name.
    let fetcher = hostile.fetcher(&format!("https://127.0.0.2:{}", hostile.port), true);
    assert!(matches!(fetcher.fetch().await.unwrap_err(), FetchError::Connect(_)));
    // A server that does not speak TLS at all.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(ok(KEYS).as_bytes()).await;
        }
    });
    let fetcher = hostile.fetcher(&format!("https://localhost:{port}"), true);
    assert!(matches!(fetcher.fetch().await.unwrap_err(), FetchError::Connect(_)));
}

#[tokio::test]
async fn a08_keys_that_cannot_be_used_are_no_keys() {
    for keys in ["{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","kid":"k","k":"AAAA"}]}"#, "[]"] {
        let error = said(|_, answers| answers.keys = ok(keys)).await;
        assert!(matches!(error, FetchError::KeySet(_)), "{keys}: {error}");
    }
    let error = said(|_, answers| answers.keys = ok(KEYS).replace("200 OK", "503 Busy")).await;
    assert!(matches!(error, FetchError::Status(_)), "{error}");
}
