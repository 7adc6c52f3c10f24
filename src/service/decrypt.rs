//! Opens blobs. Every failure after authorization is one answer; only the record has the class.

use std::sync::Arc;

use crate::audit::Record;
use crate::crypto::{Binding, BlobKind, EncryptionContext, Header, Kek, Plaintext};
use crate::custody::{CustodyError, TrustedKey, TrustedVersion};
use crate::keys::{KeyId, KeyRef, Use};
use crate::policy::{Action, Permit};

use super::perform::{About, Act, BlobOf, UseCase};
use super::record::{Tally, recorded};
use super::refusal::Refusal;

/// A blob to open.
pub struct Decrypt {
    /// The blob.
    pub ciphertext: Vec<u8>,
    /// The context that it was wrapped with.
    pub context: EncryptionContext,
    /// When given, a blob of another key is refused.
    pub key: Option<KeyRef>,
}

/// 1 to 1000 blobs to open, each with a result of its own. An item that did not parse stands as its
/// refusal.
pub struct DecryptMany(pub Vec<Result<Decrypt, Refusal>>);

/// What a blob held.
pub struct Opened {
    /// Wiped when dropped.
    pub plaintext: Plaintext,
    /// The key it was under.
    pub key: KeyId,
    /// Its version.
    pub version: u32,
    /// The store in its header.
    pub store: u32,
}

/// A blob whose key and version were found.
#[derive(Clone)]
pub(super) struct Found {
    pub(super) header: Header,
    pub(super) key: Arc<TrustedKey>,
    pub(super) version: Arc<TrustedVersion>,
}

// === impl Decrypt ===

impl Decrypt {
    fn blob(&self) -> BlobOf<'_> {
        BlobOf { key: key_of(&self.ciphertext), context: &self.context }
    }

    /// Opens it, the call's blob of this number.
    async fn open(&self, act: &mut Act<'_>, number: usize) -> Result<Opened, Refusal> {
        let header = client_header(&self.ciphertext)?;
        act.record.key = Some(KeyId::from_bytes(*header.key_id()));
        act.record.version = header.version();
        act.record.store = header.store();
        if let Some(wanted) = &self.key {
            // Named, a key that may not be used is as one that is not there.
            let wanted = act.key_named(wanted, &self.context).await?;
            if wanted.as_bytes() != header.key_id() {
                return Err(Refusal::InvalidCiphertext { class: "other_key" });
            }
        }
        let permit = act.permit_for(number)?;
        let found = Found::of(act, permit, header).await?;
        let kek = found.material(act, permit, Use::Decrypt)?;
        let binding = Binding::new(&found.header, permit.tenant().as_bytes(), &self.context);
        Ok(Opened {
            plaintext: kek.open(&binding, &self.ciphertext)?,
            key: found.key.id(),
            version: found.version.number(),
            store: found.header.store(),
        })
    }
}

impl UseCase for Decrypt {
    type Reply = Opened;

    const ACTION: Action = Action::Decrypt;

    fn about(&self) -> About<'_> {
        About::Blobs(vec![self.blob()])
    }

    fn describe(&self, record: &mut Record) {
        record.items = 1;
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Opened, Refusal> {
        self.open(act, 0).await
    }
}

// === impl DecryptMany ===

impl UseCase for DecryptMany {
    type Reply = Vec<Result<Opened, Refusal>>;

    const ACTION: Action = Action::Decrypt;

    fn about(&self) -> About<'_> {
        About::Blobs(each_blob(&self.0, Decrypt::blob))
    }

    fn describe(&self, record: &mut Record) {
        record.items = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let mut results = Vec::with_capacity(self.0.len());
        let mut tally = Tally::default();
        for (number, item) in self.0.into_iter().enumerate() {
            let result = match item {
                Ok(item) => item.open(act, number).await,
                Err(refusal) => Err(refusal),
            };
            tally.count(act.record, result.as_ref().err());
            results.push(result);
        }
        act.record.item_details = tally.into_items();
        Ok(results)
    }
}

// === impl Found ===

impl Found {
    /// The key and version that a header names, in the permit's tenant; never found by trying.
    pub(super) async fn of(
        act: &Act<'_>,
        permit: &Permit,
        header: Header,
    ) -> Result<Self, Refusal> {
        let missing = |class: &'static str| {
            move |error: CustodyError| match error {
                CustodyError::NotFound => Refusal::InvalidCiphertext { class },
                other => other.into(),
            }
        };
        let id = KeyId::from_bytes(*header.key_id());
        let key = act.custody.key_by_id(permit, id).await.map_err(missing("unknown_key"))?;
        let version = act
            .custody
            .version(permit, id, header.version())
            .await
            .map_err(missing("unknown_version"))?;
        Ok(Self { header, key, version })
    }

    pub(super) fn material(
        &self,
        act: &Act<'_>,
        permit: &Permit,
        wanted: Use,
    ) -> Result<&Kek, Refusal> {
        Ok(act.custody.material(permit, &self.key, &self.version, wanted)?)
    }
}

/// The key that a blob's header names.
pub(super) fn key_of(blob: &[u8]) -> Option<KeyId> {
    client_header(blob).ok().map(|header| KeyId::from_bytes(*header.key_id()))
}

/// What is decided about each item of a batch. One that did not parse is about no key.
pub(super) fn each_blob<'a, I>(
    items: &'a [Result<I, Refusal>],
    blob: impl Fn(&'a I) -> BlobOf<'a>,
) -> Vec<BlobOf<'a>> {
    static NOTHING: EncryptionContext = EncryptionContext::empty();
    let nothing = || BlobOf { key: None, context: &NOTHING };
    items.iter().map(|item| item.as_ref().map_or_else(|_| nothing(), &blob)).collect()
}

/// The header of a blob that a client may hold: a KEK's row or a backup is none (attack F06).
pub(super) fn client_header(blob: &[u8]) -> Result<Header, Refusal> {
    let header = Header::parse(blob)?;
    match header.kind() {
        BlobKind::Client => Ok(header),
        _ => Err(Refusal::InvalidCiphertext { class: "type" }),
    }
}
