//! Where the browser comes back to: a page of this process on the loopback (RFC 8252, section 7.3), for
//! one answer to the one question that this terminal asked.
//!
//! What does not carry this login's `state` ends nothing and begins nothing, whoever sent the browser
//! here (OpenBao CVE-2026-33757). Never shows anything that it was sent.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use oauth2::url::form_urlencoded;
use sha2::{Digest as _, Sha256};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::issuer::wrong;
use crate::cli::failure::{Exit, Failure};
use crate::cli::output::note;

/// The page, before its address is known to anybody.
pub(super) struct Callback {
    listener: TcpListener,
    address: SocketAddr,
}

/// What an answer must carry.
pub(super) struct Expected {
    /// Drawn for this login.
    pub(super) state: String,
    pub(super) issuer: String,
    /// The issuer says in its answers who it is (RFC 9207).
    pub(super) names_itself: bool,
}

/// What the browser brought with the right state: a code, or why there is none.
type Brought = Result<String, Failure>;

// === impl Callback ===

impl Callback {
    /// Takes a port that is free.
    pub(super) async fn open() -> Result<Self, Failure> {
        let cannot = |error| Failure::midway("cannot wait for the browser", &error);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.map_err(cannot)?;
        let address = listener.local_addr().map_err(cannot)?;
        Ok(Self { listener, address })
    }

    /// The `redirect_uri`.
    pub(super) fn address(&self) -> String {
        format!("http://{}{PATH}", self.address)
    }

    /// Waits for the answer. Whatever else comes is refused and waited past.
    pub(super) async fn wait(self, expected: Expected) -> Brought {
        let (brings, mut brought) = mpsc::channel(1);
        let gate = Arc::new(Gate { host: self.address.to_string(), expected });
        let serving = async {
            loop {
                // One that cannot be accepted is not the browser's last try.
                let Ok((stream, _)) = self.listener.accept().await else { continue };
                let (gate, brings) = (Arc::clone(&gate), brings.clone());
                tokio::spawn(async move {
                    let service = service_fn(|request: Request<Incoming>| {
                        let (page, answer) = gate.judge(&request);
                        if let Some(answer) = answer {
                            // A second answer finds nobody waiting.
                            let _ = brings.try_send(answer);
                        }
                        async { Ok::<_, Infallible>(page) }
                    });
                    let connection = http1::Builder::new()
                        .keep_alive(false)
                        .max_buf_size(BUFFER_BYTES_MAX)
                        .serve_connection(TokioIo::new(stream), service);
                    let _ = timeout(CONNECTION_LASTS, connection).await;
                });
            }
        };
        tokio::select! {
            Some(answer) = brought.recv() => {
                // Long enough for the browser to show that it can be closed.
                tokio::time::sleep(LINGER).await;
                answer
            }
            () = serving => Err(late()),
            () = tokio::time::sleep(PATIENCE) => Err(late()),
        }
    }
}

/// Judges what comes to the page.
struct Gate {
    /// `127.0.0.1:PORT`: a name that leads here is somebody else's (DNS rebinding).
    host: String,
    expected: Expected,
}

// === impl Gate ===

impl Gate {
    fn judge<B>(&self, request: &Request<B>) -> (Response<Full<Bytes>>, Option<Brought>) {
        if request.uri().path() != PATH {
            return (page(StatusCode::NOT_FOUND, "There is nothing here."), None);
        }
        let brought = is_a_visit(request, &self.host)
            .then(|| self.answer(request.uri().query().unwrap_or_default()))
            .flatten();
        let Some(brought) = brought else {
            note(
                "the browser was sent here with an answer to no question of this login; waiting on",
            );
            let text = "This is no answer to the login that is under way. Nothing was done.";
            return (page(StatusCode::BAD_REQUEST, text), None);
        };
        (
            page(StatusCode::OK, "Go back to the terminal: it says how the login went."),
            Some(brought),
        )
    }

    /// None where it is not the answer to this login.
    fn answer(&self, query: &str) -> Option<Brought> {
        let given: Vec<_> = form_urlencoded::parse(query.as_bytes()).collect();
        let of = |name: &str| {
            let mut found = given.iter().filter(|(key, _)| key == name).map(|(_, value)| value);
            match (found.next(), found.next()) {
                (found, None) => Ok(found),
                _ => Err(()),
            }
        };
        // By their digests, so that how long it takes says nothing of the state.
        let state = Sha256::digest(of("state").ok()??.as_bytes());
        if state != Sha256::digest(self.expected.state.as_bytes()) {
            return None;
        }
        let issuer = &self.expected.issuer;
        let by_another = || wrong(issuer, &"its answer names another issuer, or none");
        match of("iss").ok()? {
            Some(named) if named != issuer => return Some(Err(by_another())),
            None if self.expected.names_itself => return Some(Err(by_another())),
            Some(_) | None => {}
        }
        if let Some(error) = of("error").ok()? {
            let said = of("error_description").ok()?.map(|said| format!(": {said}"));
            let what = format!("the issuer {issuer} refused: {error}{}", said.unwrap_or_default());
            return Some(Err(Failure::new(Exit::Permission, what)));
        }
        of("code").ok()?.map(|code| Ok(code.to_string()))
    }
}

/// Whether somebody looks at the page, in a browser that has it from no frame, image or script of a page
/// of somebody else's (Fetch Metadata; older browsers do not say).
fn is_a_visit<B>(request: &Request<B>, host: &str) -> bool {
    let headers = request.headers();
    let only = |name: &str, value: &str| {
        let mut given = headers.get_all(name).iter();
        given.next().is_none_or(|given| given == value) && given.next().is_none()
    };
    *request.method() == Method::GET
        && headers.contains_key(header::HOST)
        && only("host", host)
        && only("sec-fetch-mode", "navigate")
        && only("sec-fetch-dest", "document")
        && !has_origin(headers)
}

/// A visit has none; a request by a script or a form does.
fn has_origin(headers: &HeaderMap) -> bool {
    headers.contains_key(header::ORIGIN)
}

fn page(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(text));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    for (name, value) in [
        ("content-type", "text/plain; charset=utf-8"),
        ("cache-control", "no-store"),
        ("content-security-policy", "default-src 'none'; frame-ancestors 'none'"),
        ("referrer-policy", "no-referrer"),
        ("x-content-type-options", "nosniff"),
    ] {
        headers.insert(name, http::HeaderValue::from_static(value));
    }
    response
}

fn late() -> Failure {
    Failure::new(Exit::Temporary, "nobody logged in within 10 minutes")
        .hint("begin again: bulla login")
}

const PATH: &str = "/callback";
const BUFFER_BYTES_MAX: usize = 16 * 1024;
const CONNECTION_LASTS: Duration = Duration::from_secs(10);
const LINGER: Duration = Duration::from_millis(200);
const PATIENCE: Duration = Duration::from_secs(600);

#[cfg(test)]
mod tests;
