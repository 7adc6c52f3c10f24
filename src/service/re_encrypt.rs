//! Moves blobs to the Active version of a key. The plaintext never leaves, and the new blob is opened
//! once more and compared before it is given.

use std::sync::Arc;

use crate::audit::{self, Items, Record};
use crate::crypto::{BLOB_OVERHEAD_BYTES, Binding, Drawn, EncryptionContext, Header};
use crate::keys::{KeyId, KeyRef, Use};
use crate::policy::{Action, Permit};

use super::decrypt::{Found, client_header, each_blob, key_of};
use super::perform::{About, Act, BlobOf, UseCase};
use super::record::{Tally, recorded};
use super::refusal::Refusal;
use super::wrapping::Wrapping;

/// A blob to move.
pub struct ReEncrypt {
    /// The blob.
    pub ciphertext: Vec<u8>,
    /// The context that it was wrapped with.
    pub context: EncryptionContext,
    /// Where it goes.
    pub destination: Destination,
}

/// What the new blob is bound to.
pub struct Destination {
    /// Absent: the key that the blob is already under.
    pub key: Option<KeyRef>,
    /// Absent: the source's.
    pub context: Option<EncryptionContext>,
    /// Absent: the source's.
    pub store: Option<u32>,
}

/// 1 to 1000 blobs to move, each with a result of its own. An item that did not parse stands as its
/// refusal.
pub struct ReEncryptMany(pub Vec<Result<ReEncrypt, Refusal>>);

/// A blob that was moved.
pub struct Moved {
    /// The new blob.
    pub ciphertext: Vec<u8>,
    /// The key it was under.
    pub source_key: KeyId,
    /// That key's version.
    pub source_version: u32,
    /// The key it is under.
    pub key: KeyId,
    /// That key's version.
    pub version: u32,
}

// === impl ReEncrypt ===

impl ReEncrypt {
    fn blob(&self) -> BlobOf<'_> {
        BlobOf { key: key_of(&self.ciphertext), context: &self.context }
    }

    /// Moves it, the call's blob of this number. Needs two rights: to move from the source key, and to
    /// move to the destination.
    async fn carry(
        &self,
        act: &mut Act<'_>,
        number: usize,
        way: &mut Way<'_>,
    ) -> Result<Moved, Refusal> {
        let header = client_header(&self.ciphertext)?;
        act.record.key = Some(KeyId::from_bytes(*header.key_id()));
        act.record.version = header.version();
        act.record.store = header.store();
        let from = act.permit_for(number)?;
        let source = way.from(act, from, header).await?;
        let tenant = from.tenant();
        let from_kek = source.material(act, from, Use::ReEncryptFrom)?;
        let from_binding = Binding::new(&source.header, tenant.as_bytes(), &self.context);

        let to_key = match &self.destination.key {
            Some(named) => named.clone(),
            None => KeyRef::Id(source.key.id()),
        };
        let context = self.destination.context.as_ref().unwrap_or(&self.context);
        let destined = way.to(act, to_key, context).await?;
        let Destined { permit: to, wrapping, .. } = &*destined;
        let kek = wrapping.material(act, to)?;
        let store = self.destination.store.unwrap_or(source.header.store());
        let binding = wrapping.binding(to, store, context)?;
        let drawn = &mut way.drawn;
        let ciphertext = from_kek.rewrap(&from_binding, &self.ciphertext, kek, &binding, drawn)?;
        let (key, version) = (wrapping.key(), wrapping.version());
        act.record.destination = Some(audit::Destination { key, version, store });
        act.record.wrapped_bytes = ciphertext.len().saturating_sub(BLOB_OVERHEAD_BYTES) as u64;
        Ok(Moved {
            ciphertext,
            source_key: source.key.id(),
            source_version: source.version.number(),
            key,
            version,
        })
    }
}

impl UseCase for ReEncrypt {
    type Reply = Moved;

    const ACTION: Action = Action::ReEncryptFrom;

    fn about(&self) -> About<'_> {
        About::Blobs(vec![self.blob()])
    }

    fn describe(&self, record: &mut Record) {
        record.items = 1;
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Moved, Refusal> {
        let mut way = Way::new(act, 1);
        let moved = self.carry(act, 0, &mut way).await?;
        act.record.items_root = Some(Items::of([moved.ciphertext.as_slice()]).root());
        act.office.metrics.moved(1);
        Ok(moved)
    }
}

// === impl ReEncryptMany ===

impl UseCase for ReEncryptMany {
    type Reply = Vec<Result<Moved, Refusal>>;

    const ACTION: Action = Action::ReEncryptFrom;

    fn about(&self) -> About<'_> {
        About::Blobs(each_blob(&self.0, ReEncrypt::blob))
    }

    fn describe(&self, record: &mut Record) {
        record.items = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let mut results = Vec::with_capacity(self.0.len());
        let mut tally = Tally::default();
        let mut way = Way::new(act, self.0.len());
        for (number, item) in self.0.into_iter().enumerate() {
            let result = match item {
                Ok(item) => item.carry(act, number, &mut way).await,
                Err(refusal) => Err(refusal),
            };
            tally.count(act.record, result.as_ref().err());
            results.push(result);
        }
        act.record.item_details = tally.into_items();
        let moved: Vec<_> = results.iter().flatten().map(|it| it.ciphertext.as_slice()).collect();
        if !moved.is_empty() {
            act.record.items_root = Some(Items::of(moved.iter().copied()).root());
        }
        act.office.metrics.moved(u64::try_from(moved.len()).unwrap_or(u64::MAX));
        Ok(results)
    }
}

/// Where the last blob came from and went to: most blobs of a batch take the same way.
///
/// Kept for one call and no longer, so that a step of a version is seen by the next call.
struct Way<'c> {
    drawn: Drawn<'c>,
    from: Option<Found>,
    to: Option<Arc<Destined>>,
}

/// Where a blob goes, and the right to move it there.
struct Destined {
    key: KeyRef,
    context: EncryptionContext,
    permit: Permit,
    wrapping: Wrapping,
}

// === impl Way ===

impl<'c> Way<'c> {
    fn new(act: &Act<'c>, blobs: usize) -> Self {
        Self { drawn: Drawn::new(act.custody.random(), blobs), from: None, to: None }
    }

    async fn from(
        &mut self,
        act: &Act<'_>,
        permit: &Permit,
        header: Header,
    ) -> Result<Found, Refusal> {
        let known = self.from.as_ref().filter(|known| {
            (known.header.key_id(), known.header.version()) == (header.key_id(), header.version())
        });
        if let Some(Found { key, version, .. }) = known {
            return Ok(Found { header, key: Arc::clone(key), version: Arc::clone(version) });
        }
        let found = Found::of(act, permit, header).await?;
        Ok(self.from.insert(found).clone())
    }

    async fn to(
        &mut self,
        act: &Act<'_>,
        key: KeyRef,
        context: &EncryptionContext,
    ) -> Result<Arc<Destined>, Refusal> {
        let known = self.to.as_ref().filter(|known| {
            let reads = known.permit.reads_encryption_context();
            known.key == key && (!reads || known.context == *context)
        });
        if let Some(known) = known {
            return Ok(Arc::clone(known));
        }

        let permit = act.also_on(Action::ReEncryptTo, &key, context).await?;
        let wrapping = Wrapping::of(act, &permit, &key).await?;
        let destined = Destined { key, context: context.clone(), permit, wrapping };
        Ok(Arc::clone(self.to.insert(Arc::new(destined))))
    }
}
