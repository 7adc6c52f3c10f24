//! POST over HTTP/1.1, one request at a time, the connection kept for the next. Never follows a
//! redirect, never unpacks anything, never reads more than [`ANSWER_BYTES_MAX`].

use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::task::JoinHandle;

use super::error::PlaceError;
use super::peer::Peer;

/// A server that is posted to.
pub(super) struct Http {
    peer: Peer,
    path: String,
    connection: Option<Connection>,
}

/// What it answered.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Bytes,
}

struct Connection {
    sender: SendRequest<Full<Bytes>>,
    driver: JoinHandle<()>,
}

// === impl Http ===

impl Http {
    /// Posts to the peer's path, with `below` after it.
    pub(super) fn new(peer: Peer, below: &str) -> Self {
        let path = match below {
            "" => peer.path().to_owned(),
            below => format!("{}/{below}", peer.path().trim_end_matches('/')),
        };
        Self { peer, path, connection: None }
    }

    pub(super) fn is_connected(&self) -> bool {
        self.connection.as_ref().is_some_and(|connection| !connection.driver.is_finished())
    }

    pub(super) async fn connect(&mut self) -> Result<(), PlaceError> {
        let line = self.peer.connect().await?;
        let (sender, connection) = http1::Builder::new()
            .max_headers(HEADERS_MAX)
            .max_buf_size(BUFFER_BYTES_MAX)
            .handshake(TokioIo::new(line))
            .await?;
        // Its failures come out of the request.
        let driver = tokio::spawn(async move { drop(connection.await) });
        self.connection = Some(Connection { sender, driver });
        Ok(())
    }

    /// Returns when the connection has ended.
    pub(super) async fn ended(&mut self) {
        match &mut self.connection {
            // That the driver panicked says the same.
            Some(connection) => drop((&mut connection.driver).await),
            None => std::future::pending().await,
        }
    }

    pub(super) async fn post(
        &mut self,
        content_type: &'static str,
        body: Vec<u8>,
    ) -> Result<Answer, PlaceError> {
        if !self.is_connected() {
            self.connect().await?;
        }
        let mut request = Request::post(&self.path)
            .header(header::HOST, self.peer.authority())
            .header(header::USER_AGENT, concat!("bulla/", env!("CARGO_PKG_VERSION")))
            .header(header::CONTENT_TYPE, content_type);
        if let Some(authorization) = self.peer.authorization() {
            request = request.header(header::AUTHORIZATION, authorization);
        }
        let request = request.body(Full::from(body)).map_err(|_| PlaceError::Answer)?;
        let connection = self.connection.as_mut().ok_or(PlaceError::Lost)?;
        connection.sender.ready().await?;
        let response = connection.sender.send_request(request).await?;
        let status = response.status();
        if response.headers().contains_key(header::CONTENT_ENCODING) {
            return Err(PlaceError::Answer);
        }
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|_| PlaceError::Answer)?.to_bytes();
        Ok(Answer { status, body })
    }

    pub(super) fn give_up(&mut self) {
        if let Some(connection) = self.connection.take() {
            connection.driver.abort();
        }
    }
}

const ANSWER_BYTES_MAX: usize = 64 * 1024;
const HEADERS_MAX: usize = 64;
const BUFFER_BYTES_MAX: usize = 64 * 1024;
