//! What the agent asks of the server: six calls, behind two traits so that the whole engine can be
//! tried against a server that fails on purpose.

use std::fmt;

use async_trait::async_trait;
use bulla_client::{Client, Code, Kind, kms};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

/// Where a campaign is kept, and where scans are reported.
#[async_trait]
pub trait Board: Send + Sync {
    /// Says how far the agent is, and learns how to go on.
    async fn report_progress(
        &self,
        report: kms::ReportProgressRequest,
    ) -> Result<kms::ReportProgressResponse, ServerError>;

    /// Begins a scan: what is read from now on counts.
    async fn begin_scan(
        &self,
        begin: kms::BeginScanRequest,
    ) -> Result<kms::BeginScanResponse, ServerError>;

    /// Ends a scan.
    async fn report_scan(
        &self,
        report: kms::ReportScanRequest,
    ) -> Result<kms::ReportScanResponse, ServerError>;

    /// The UUID of a key that is named by its alias or its UUID.
    async fn key_id(&self, key: &str) -> Result<String, ServerError>;
}

/// The answers of one stream, in the order of its requests.
pub type Replies = BoxStream<'static, Result<kms::ReEncryptStreamResponse, ServerError>>;

/// Re-wraps blobs.
#[async_trait]
pub trait Mover: Send + Sync {
    /// Opens a stream both ways. It ends when the sender of the requests is gone.
    async fn open(
        &self,
        requests: mpsc::Receiver<kms::ReEncryptStreamRequest>,
    ) -> Result<Replies, ServerError>;
}

/// A real server.
pub struct Remote(pub Client);

/// A call that failed.
#[derive(Clone, Debug)]
pub struct ServerError {
    /// The stable reason, such as CONFLICT; empty where the server gave none.
    pub reason: String,
    /// What happened, in words.
    pub text: String,
    /// Whether the same may succeed later without anybody doing anything.
    pub passes: bool,
    /// As the client has it; absent where there was no call.
    pub source: Option<bulla_client::Error>,
}

// === impl ServerError ===

impl ServerError {
    /// What one blob of a batch was refused for.
    pub(super) fn refused(refusal: kms::Refusal) -> Self {
        let passes = PASSING.contains(&refusal.reason.as_str());
        Self { reason: refusal.reason, text: refusal.message, passes, source: None }
    }

    /// The stream ended before it was done, as when a server drains.
    pub(super) fn cut_off() -> Self {
        let text = "the server ended the stream".to_owned();
        Self { reason: String::new(), text, passes: true, source: None }
    }

    /// The answer was there, and was written too late.
    pub(super) fn too_late() -> Self {
        let text =
            "re-wrapped blobs waited too long to be written, and were thrown away".to_owned();
        Self { reason: String::new(), text, passes: true, source: None }
    }

    pub(super) fn is_conflict(&self) -> bool {
        self.reason == "CONFLICT"
    }
}

impl fmt::Display for ServerError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, self.reason.as_str()) {
            (Some(source), _) => source.fmt(formatter),
            (None, "") => formatter.write_str(&self.text),
            (None, reason) => write!(formatter, "{} ({reason})", self.text),
        }
    }
}

impl std::error::Error for ServerError {}

impl From<bulla_client::Error> for ServerError {
    fn from(error: bulla_client::Error) -> Self {
        let stream_cut = error.kind() == Kind::Refused
            && matches!(error.code(), Code::Cancelled | Code::Unknown)
            && error.reason().is_empty();
        let passes = error.is_retryable() || stream_cut || PASSING.contains(&error.reason());
        Self {
            reason: error.reason().to_owned(),
            text: error.message().to_owned(),
            passes: passes && error.reason() != "CONFLICT",
            source: Some(error),
        }
    }
}

// === impl Remote ===

#[async_trait]
impl Board for Remote {
    async fn report_progress(
        &self,
        report: kms::ReportProgressRequest,
    ) -> Result<kms::ReportProgressResponse, ServerError> {
        Ok(self.0.report_progress(report).await?)
    }

    async fn begin_scan(
        &self,
        begin: kms::BeginScanRequest,
    ) -> Result<kms::BeginScanResponse, ServerError> {
        Ok(self.0.begin_scan(begin).await?)
    }

    async fn report_scan(
        &self,
        report: kms::ReportScanRequest,
    ) -> Result<kms::ReportScanResponse, ServerError> {
        Ok(self.0.report_scan(report).await?)
    }

    async fn key_id(&self, key: &str) -> Result<String, ServerError> {
        let found = self.0.get_key(kms::GetKeyRequest { key: key.to_owned() }).await?;
        Ok(found.key.unwrap_or_default().key_id)
    }
}

#[async_trait]
impl Mover for Remote {
    async fn open(
        &self,
        requests: mpsc::Receiver<kms::ReEncryptStreamRequest>,
    ) -> Result<Replies, ServerError> {
        let replies = self.0.re_encrypt_stream(ReceiverStream::new(requests)).await?;
        Ok(replies.map(|reply| reply.map_err(ServerError::from)).boxed())
    }
}

/// Reasons that pass by themselves.
const PASSING: [&str; 6] = [
    "RATE_LIMITED",
    "STALE_REPLICA",
    "AUDIT_UNAVAILABLE",
    "STORE_UNAVAILABLE",
    "SEALED",
    "DRAINING",
];
