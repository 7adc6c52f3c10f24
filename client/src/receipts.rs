//! Receipts: each call of a client that wants them is told by what its record is found in the server's
//! audit log again. A receipt proves nothing by itself; it is checked against a signed checkpoint
//! (`bulla audit verify --receipts`).

use std::fmt;
use std::sync::Arc;

use bulla_proof::Receipt;
use tonic::metadata::{AsciiMetadataValue, MetadataMap};
use tonic::{Request, Response, Status};

use crate::client::Client;

/// What receipts go to, if they are wanted.
#[derive(Clone, Default)]
pub(crate) struct Receipts(Option<Arc<Keep>>);

/// Must not block: it is called between the answer and the caller.
type Keep = dyn Fn(&'static str, Receipt) + Send + Sync;

// === impl Client ===

impl Client {
    /// The same client, whose calls ask for receipts: `keep` is told the method and the receipt of each
    /// answer, of refusals as well, and of each try where a call was repeated. Streams have none.
    #[must_use]
    pub fn with_receipts(
        &self,
        keep: impl Fn(&'static str, Receipt) + Send + Sync + 'static,
    ) -> Self {
        self.keeping(Receipts(Some(Arc::new(keep))))
    }
}

// === impl Receipts ===

impl Receipts {
    /// Asks for one.
    pub(crate) fn mark<M>(&self, mut request: Request<M>) -> Request<M> {
        if self.0.is_some() {
            request.metadata_mut().insert(RECEIPT, AsciiMetadataValue::from_static("1"));
        }
        request
    }

    /// Keeps the one that came, if one did.
    pub(crate) fn keep<T>(&self, method: &'static str, answered: &Result<Response<T>, Status>) {
        let Some(keep) = &self.0 else { return };
        let metadata = match answered {
            Ok(response) => response.metadata(),
            Err(status) => status.metadata(),
        };
        if let Some(receipt) = receipt(metadata) {
            keep(method, receipt);
        }
    }
}

impl fmt::Debug for Receipts {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_tuple("Receipts").field(&self.0.is_some()).finish()
    }
}

fn receipt(metadata: &MetadataMap) -> Option<Receipt> {
    Receipt::parse(metadata.get(RECEIPT)?.to_str().ok()?).ok()
}

const RECEIPT: &str = "bulla-receipt";
