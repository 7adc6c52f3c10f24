//! A witness written to C2SP `tlog-witness` and `tlog-cosignature`, for tests: it knows nothing of
//! Bulla's code. Notes are read by `signed_note` and proofs checked by `tlog_tiles`, both somebody else's.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use base64::prelude::{BASE64_STANDARD, Engine};
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use sha2::{Digest, Sha256};
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{Checkpoint, Hash, check_tree};
use tokio::net::TcpListener;

/// A witness of one log, on this machine without TLS.
pub(super) struct Witness {
    pub(super) address: SocketAddr,
    state: Arc<State>,
}

struct State {
    name: String,
    pair: Ed25519KeyPair,
    /// The log's verifier key.
    log: String,
    seen: Mutex<(u64, Hash)>,
    answers: Mutex<Vec<u16>>,
    wait: Mutex<Duration>,
}

// === impl Witness ===

impl Witness {
    pub(super) async fn start(name: &str, seed: u8, log: &str) -> Self {
        let state = Arc::new(State {
            name: name.to_owned(),
            pair: Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap(),
            log: log.to_owned(),
            seen: Mutex::new((0, Hash([0; 32]))),
            answers: Mutex::default(),
            wait: Mutex::default(),
        });
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = Arc::clone(&state);
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let state = Arc::clone(&serving);
                let answering = service_fn(move |request| answer(Arc::clone(&state), request));
                tokio::spawn(async move {
                    let connection = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), answering);
                    let _ = connection.await;
                });
            }
        });
        Self { address, state }
    }

    /// Answers after so long.
    pub(super) fn be_slow(&self, wait: Duration) {
        *self.state.wait.lock() = wait;
    }

    /// How large the log is that it last signed.
    pub(super) fn seen(&self) -> u64 {
        self.state.seen.lock().0
    }

    /// The status of each answer.
    pub(super) fn answers(&self) -> Vec<u16> {
        self.state.answers.lock().clone()
    }

    /// `NAME+ID+KEY`, type 4.
    pub(super) fn verifier_key(&self) -> String {
        let State { name, pair, .. } = &*self.state;
        let key = [&[4], pair.public_key().as_ref()].concat();
        format!("{name}+{}+{}", hex::encode(self.state.id()), BASE64_STANDARD.encode(key))
    }
}

// === impl State ===

impl State {
    fn id(&self) -> [u8; 4] {
        let named = [self.name.as_bytes(), b"\n\x04", self.pair.public_key().as_ref()].concat();
        *Sha256::digest(named).first_chunk().unwrap()
    }

    /// The specification's steps, in its order.
    fn judge(&self, body: &[u8]) -> (StatusCode, String) {
        let bad = |status| (status, String::new());
        let body = std::str::from_utf8(body).unwrap_or_default();
        let Some((head, note)) = body.split_once("\n\n") else {
            return bad(StatusCode::BAD_REQUEST);
        };
        let mut lines = head.split('\n');
        let old = lines.next().and_then(|line| line.strip_prefix("old ")?.parse::<u64>().ok());
        let Some(old) = old else { return bad(StatusCode::BAD_REQUEST) };
        let proof: Vec<Hash> = lines
            .map(|line| Hash(BASE64_STANDARD.decode(line).unwrap().try_into().unwrap()))
            .collect();
        let Ok(note) = Note::from_bytes(note.as_bytes()) else {
            return bad(StatusCode::BAD_REQUEST);
        };
        let Ok(verifier) = StandardVerifier::new(&self.log) else {
            return bad(StatusCode::NOT_FOUND);
        };
        if note.verify(&VerifierList::new(vec![Box::new(verifier)])).is_err() {
            return bad(StatusCode::FORBIDDEN);
        }
        let checkpoint = Checkpoint::from_bytes(note.text()).unwrap();
        let (size, root) = (checkpoint.size(), *checkpoint.hash());
        if old > size {
            return bad(StatusCode::BAD_REQUEST);
        }
        let mut seen = self.seen.lock();
        if old != seen.0 {
            return (StatusCode::CONFLICT, format!("{}\n", seen.0));
        }
        if old == size && root != seen.1 {
            return (StatusCode::CONFLICT, format!("{}\n", seen.0));
        }
        let goes_on = match old {
            0 => proof.is_empty(),
            _ => check_tree(&proof, size, root, old, seen.1).is_ok(),
        };
        if !goes_on {
            return bad(StatusCode::UNPROCESSABLE_ENTITY);
        }
        *seen = (size, root);
        let time = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
        let time = time.unwrap().as_secs();
        let text = String::from_utf8(note.text().to_vec()).unwrap();
        let message = format!("cosignature/v1\ntime {time}\n{text}");
        let signature = self.pair.sign(message.as_bytes());
        let line = [&self.id()[..], &time.to_be_bytes(), signature.as_ref()].concat();
        let line = BASE64_STANDARD.encode(line);
        (StatusCode::OK, format!("\u{2014} {} {line}\n", self.name))
    }
}

async fn answer(
    state: Arc<State>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let path = request.uri().path().to_owned();
    let body = request.into_body().collect().await?.to_bytes();
    let wait = *state.wait.lock();
    tokio::time::sleep(wait).await;
    let (status, said) = match path.as_str() {
        "/w/add-checkpoint" => state.judge(&body),
        _ => (StatusCode::NOT_FOUND, String::new()),
    };
    state.answers.lock().push(status.as_u16());
    let mut response = Response::new(Full::from(said));
    *response.status_mut() = status;
    if status == StatusCode::CONFLICT {
        let size = "text/x.tlog.size".parse().unwrap();
        response.headers_mut().insert(http::header::CONTENT_TYPE, size);
    }
    Ok(response)
}
