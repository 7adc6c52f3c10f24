//! Changes that need more than one person: proposing one in place of making it, and making one that was
//! approved.

use std::fmt;
use std::sync::{Arc, OnceLock};

use bulla_proto::kms;
use tonic::Request;
use tonic::metadata::{Ascii, MetadataValue};

use crate::client::Client;
use crate::error::Error;

/// Whether changes are made or proposed, and the approved proposal that they are made on.
#[derive(Clone, Default)]
pub(crate) struct Approval {
    proposal: Option<MetadataValue<Ascii>>,
    proposing: Option<Proposing>,
}

/// What a client that proposes says besides the request, and the proposal that it made.
#[derive(Clone, Debug, Default)]
pub struct Proposing {
    reason: String,
    break_glass: bool,
    made: Arc<OnceLock<kms::Proposal>>,
}

// === impl Proposing ===

impl Proposing {
    /// For this reason; `break_glass` in an emergency.
    pub fn new(reason: impl Into<String>, break_glass: bool) -> Self {
        Self { reason: reason.into(), break_glass, made: Arc::default() }
    }

    /// The first proposal that was made.
    pub fn made(&self) -> Option<&kms::Proposal> {
        self.made.get()
    }
}

// === impl Client ===

impl Client {
    /// The same client, whose changes are made on an approved proposal.
    ///
    /// # Errors
    /// [`Kind::Config`](crate::Kind::Config) when `proposal_id` cannot be sent.
    pub fn with_approval(&self, proposal_id: &str) -> Result<Self, Error> {
        let proposal = proposal_id.parse();
        let wrong = |_| Error::config("the id of a proposal is a UUID".to_owned());
        let proposal = Some(proposal.map_err(wrong)?);
        Ok(self.with(Approval { proposal, proposing: None }))
    }

    /// The same client, whose changes are proposed and not made: each gives an error of
    /// [`Kind::Proposed`](crate::Kind::Proposed), and `proposing` has the proposal.
    #[must_use]
    pub fn proposing(&self, proposing: &Proposing) -> Self {
        self.with(Approval { proposal: None, proposing: Some(proposing.clone()) })
    }

    /// `None` where changes are made.
    pub(crate) async fn propose_instead(&self, method: String, request: Vec<u8>) -> Option<Error> {
        let proposing = self.approval().proposing.as_ref()?;
        let (reason, break_glass) = (proposing.reason.clone(), proposing.break_glass);
        let request_id = String::new();
        let asked = kms::ProposeRequest { method, request, reason, request_id, break_glass };
        // Boxed: proposing is a change as well, of a client that makes its changes.
        match Box::pin(self.with(Approval::default()).propose(asked)).await {
            Ok(answer) => {
                let id = answer.proposal.as_ref().map(|made| made.proposal_id.clone());
                let _ = proposing.made.set(answer.proposal.unwrap_or_default());
                let id = id.unwrap_or_default();
                Some(Error::proposed(format!("nothing was changed: it was proposed as {id}")))
            }
            Err(error) => Some(error),
        }
    }
}

// === impl Approval ===

impl Approval {
    /// Names the proposal.
    pub(crate) fn mark<M>(&self, mut request: Request<M>) -> Request<M> {
        if let Some(proposal) = &self.proposal {
            request.metadata_mut().insert("bulla-approval", proposal.clone());
        }
        request
    }
}

impl fmt::Debug for Approval {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let proposes = self.proposing.is_some();
        formatter.debug_struct("Approval").field("proposes", &proposes).finish_non_exhaustive()
    }
}
