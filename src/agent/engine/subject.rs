//! What a run is about: which blobs are to be moved, and how the server wants it.

use std::collections::HashSet;
use std::sync::Arc;

use bulla_client::kms::{self, CampaignState};
use sha2::{Digest as _, Sha256};

use crate::agent::error::AgentError;
use crate::agent::header::Header;
use crate::agent::store::Entry;

/// The blobs of a campaign: those of some versions of a key.
pub(super) struct Subject {
    pub(super) key_id: String,
    key: [u8; 16],
    source_versions: Vec<u32>,
}

/// What stands in a place, as far as anybody can tell without opening it.
#[derive(Debug, Eq, PartialEq)]
pub(super) enum Content {
    /// A blob of the key, of this version.
    Ours(u32, Vec<u8>),
    /// A blob of another key.
    Foreign,
    /// No blob, and why.
    NoBlob(&'static str),
}

/// How the server wants the work done, as of its last answer.
#[derive(Clone, Debug, Default)]
pub(super) struct Orders {
    pub(super) paused: bool,
    /// Blobs a second; 0: as fast as it goes.
    pub(super) rate_per_second: u32,
    /// The store's number, for the new blobs' headers.
    pub(super) store: u32,
    /// What a person has decided to abandon, as [`mark`] has it.
    abandoned: Arc<HashSet<[u8; 32]>>,
}

// === impl Subject ===

impl Subject {
    pub(super) fn new(key_id: &str, source_versions: &[u32]) -> Result<Self, AgentError> {
        let key = uuid::Uuid::try_parse(key_id).map_err(|_| AgentError::Answer("no key id"))?;
        Ok(Self {
            key_id: key_id.to_owned(),
            key: key.into_bytes(),
            source_versions: source_versions.to_vec(),
        })
    }

    pub(super) fn look(&self, entry: &Entry) -> Content {
        let Ok(blob) = entry.held.blob() else { return Content::NoBlob("NOT_BASE64") };
        match Header::parse(&blob) {
            None => Content::NoBlob("NOT_A_BLOB"),
            Some(header) if header.key_id == self.key => {
                Content::Ours(header.version, blob.into_owned())
            }
            Some(_) => Content::Foreign,
        }
    }

    /// Whether blobs of this version are to be moved.
    pub(super) fn moves(&self, version: u32) -> bool {
        self.source_versions.contains(&version)
    }

    /// Whether a person may want to know where blobs of this version are; without a campaign, any.
    pub(super) fn is_sought(&self, version: u32) -> bool {
        self.source_versions.is_empty() || self.moves(version)
    }

    /// How many blobs a scan found that are still to be moved.
    pub(super) fn left(&self, scan: &kms::Scan) -> u64 {
        let of_sources = |counts: &[kms::VersionCount]| -> u64 {
            let counts = counts.iter().filter(|count| self.moves(count.version));
            counts.fold(0, |sum, count| sum.saturating_add(count.count))
        };
        of_sources(&scan.versions).saturating_sub(of_sources(&scan.abandoned))
    }
}

// === impl Orders ===

impl Orders {
    pub(super) fn of(answer: &kms::ReportProgressResponse) -> Self {
        let abandoned = answer.abandoned.iter();
        let abandoned = abandoned.filter_map(|mark| mark.as_slice().try_into().ok()).collect();
        Self {
            paused: answer.state() == CampaignState::Paused,
            rate_per_second: answer.rate_per_second,
            store: answer.progress.as_ref().map_or(0, |progress| progress.store),
            abandoned: Arc::new(abandoned),
        }
    }

    /// How many blobs go together: a quarter of a second's worth, so that a low rate is a steady one.
    pub(super) fn batch(&self) -> usize {
        match self.rate_per_second {
            0 => BATCH_MAX,
            rate => {
                let quarter = usize::try_from(rate.div_ceil(4)).unwrap_or(BATCH_MAX);
                quarter.clamp(1, BATCH_MAX)
            }
        }
    }

    /// Whether a person has decided that what stands there is lost.
    pub(super) fn abandons(&self, entry: &Entry) -> bool {
        !self.abandoned.is_empty() && self.abandoned.contains(&mark(entry))
    }
}

/// By what the server calls an abandoned blob: what stands there, and where, as it was reported.
fn mark(entry: &Entry) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(entry.held.digest());
    hash.update(&entry.name);
    hash.finalize().into()
}

/// As many as the server takes in one message.
const BATCH_MAX: usize = 1000;
