//! Moves blobs to the Active version of a key. The plaintext never leaves, and the new blob is opened
//! once more and compared before it is given.

use std::sync::Arc;

use crate::audit::{self, Record};
use crate::crypto::{BLOB_OVERHEAD_BYTES, Binding, Drawn, EncryptionContext, Header};
use crate::keys::{KeyId, KeyRef, Use};
use crate::policy::{Action, Permit};

use super::decrypt::{Found, client_header};
use super::perform::{Act, UseCase};
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
    /// Needs two rights: to move from the source key (the permit), and `to` move to the destination.
    async fn carry(
        &self,
        act: &mut Act<'_>,
        to: &Permit,
        way: &mut Way<'_>,
    ) -> Result<Moved, Refusal> {
        let header = client_header(&self.ciphertext)?;
        act.record.key = Some(KeyId::from_bytes(*header.key_id()));
        act.record.version = header.version();
        act.record.store = header.store();
        let source = way.from(act, header).await?;
        let tenant = act.permit.tenant();
        let from_kek = source.material(act, act.permit, Use::ReEncryptFrom)?;
        let from_binding = Binding::new(&source.header, tenant.as_bytes(), &self.context);

        let to_key = match &self.destination.key {
            Some(named) => named.clone(),
            None => KeyRef::Id(source.key.id()),
        };
        let wrapping = way.to(act, to, to_key).await?;
        let kek = wrapping.material(act, to)?;
        let store = self.destination.store.unwrap_or(source.header.store());
        let context = self.destination.context.as_ref().unwrap_or(&self.context);
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

    fn describe(&self, record: &mut Record) {
        record.items = 1;
        record.context = recorded(&self.context);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Moved, Refusal> {
        let to = act.also(Action::ReEncryptTo)?;
        let mut way = Way::new(act, 1);
        let moved = self.carry(act, &to, &mut way).await?;
        act.office.metrics.moved(1);
        Ok(moved)
    }
}

// === impl ReEncryptMany ===

impl UseCase for ReEncryptMany {
    type Reply = Vec<Result<Moved, Refusal>>;

    const ACTION: Action = Action::ReEncryptFrom;

    fn describe(&self, record: &mut Record) {
        record.items = u32::try_from(self.0.len()).unwrap_or(u32::MAX);
    }

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let to = act.also(Action::ReEncryptTo)?;
        let mut results = Vec::with_capacity(self.0.len());
        let mut tally = Tally::default();
        let mut way = Way::new(act, self.0.len());
        for item in self.0 {
            let result = match item {
                Ok(item) => item.carry(act, &to, &mut way).await,
                Err(refusal) => Err(refusal),
            };
            tally.count(act.record, result.as_ref().err());
            results.push(result);
        }
        act.record.item_details = tally.into_items();
        let moved = results.iter().filter(|result| result.is_ok()).count();
        act.office.metrics.moved(u64::try_from(moved).unwrap_or(u64::MAX));
        Ok(results)
    }
}

/// Where the last blob came from and went to: most blobs of a batch take the same way.
///
/// Kept for one call and no longer, so that a step of a version is seen by the next call.
struct Way<'c> {
    drawn: Drawn<'c>,
    from: Option<Found>,
    to: Option<(KeyRef, Wrapping)>,
}

// === impl Way ===

impl<'c> Way<'c> {
    fn new(act: &Act<'c>, blobs: usize) -> Self {
        Self { drawn: Drawn::new(act.custody.random(), blobs), from: None, to: None }
    }

    async fn from(&mut self, act: &Act<'_>, header: Header) -> Result<Found, Refusal> {
        let known = self.from.as_ref().filter(|known| {
            (known.header.key_id(), known.header.version()) == (header.key_id(), header.version())
        });
        if let Some(Found { key, version, .. }) = known {
            return Ok(Found { header, key: Arc::clone(key), version: Arc::clone(version) });
        }
        let found = Found::of(act, act.permit, header).await?;
        Ok(self.from.insert(found).clone())
    }

    async fn to(&mut self, act: &Act<'_>, to: &Permit, key: KeyRef) -> Result<Wrapping, Refusal> {
        if let Some((_, wrapping)) = self.to.as_ref().filter(|(known, _)| *known == key) {
            return Ok(wrapping.clone());
        }
        let wrapping = Wrapping::of(act, to, &key).await?;
        self.to = Some((key, wrapping.clone()));
        Ok(wrapping)
    }
}
