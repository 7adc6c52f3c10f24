//! Who is calling, with everything real: `bulla serve` as a process, certificates and revocation lists
//! made by openssl, tokens of a real OpenID Connect provider, and providers that are anything but.

mod certificates;
mod credentials;
mod exchange;
mod hostile;
mod line;
mod login;
mod openssl;
mod provider;
mod tokens;

use std::fs;
use std::time::{Duration, Instant};

use crate::server::TestServer;
use line::{Answer, Line};

/// Adds to the end of the configuration.
pub(crate) fn add(server: &TestServer, more: &str) {
    let path = server.path("bulla.toml");
    let text = fs::read_to_string(&path).unwrap();
    fs::write(path, format!("{text}\n{more}\n")).unwrap();
}

/// What a call without a certificate and with this token gets.
pub(crate) async fn with_token(server: &TestServer, token: &str) -> Answer {
    let mut line = Line::open(server, None).await.unwrap();
    line.who_am_i(&[("authorization", &format!("Bearer {token}"))]).await
}

/// Every refusal says the same, whatever was wrong.
pub(crate) fn is_unknown(answer: &Answer) -> bool {
    let Err((code, text)) = answer else { return false };
    assert_eq!(*code, 16, "{text}");
    assert_eq!(
        text,
        "present%20one%20client%20certificate,%20token%20or%20credential%20that%20this%20server%20accepts"
    );
    true
}

/// Until the audit log holds this text. Refusals of those who are nobody are recorded behind the answer,
/// so that a flood of them holds nobody up.
pub(crate) async fn recorded(server: &TestServer, text: &str) {
    let begun = Instant::now();
    while !has_recorded(server, text) {
        assert!(begun.elapsed() < Duration::from_secs(10), "{text} is not recorded");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

/// Whether the audit log holds this text now.
pub(crate) fn has_recorded(server: &TestServer, class: &str) -> bool {
    fs::read(server.path("data/audit/segments/00000000000000000001-0000.seg"))
        .unwrap()
        .windows(class.len())
        .any(|window| window == class.as_bytes())
}
