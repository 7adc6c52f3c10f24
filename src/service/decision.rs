//! What is decided before anything is done: about the tenant, a key, or each blob of a call by itself.

use std::sync::Arc;
use std::time::Duration;

use crate::audit::Record;
use crate::crypto::EncryptionContext;
use crate::keys::{KeyId, KeyRef, Timestamp};
use crate::policy::{
    Action, Circumstances, Denied, KeyFacts, Permit, Question, SubjectRef, Target, World,
    decide_internal,
};

use super::caller::{Caller, Standing};
use super::perform::Desk;
use super::refusal::Refusal;

/// What a call is about, and so what is decided before it is done.
pub enum About<'a> {
    /// The caller's tenant as a whole.
    Tenant,
    /// One key, by a name of the caller's.
    Key(KeyRef),
    /// One key that wraps, and the encryption context.
    Wrap(KeyRef, &'a EncryptionContext),
    /// Blobs, in the order of the call. Each is decided about by itself.
    Blobs(Vec<BlobOf<'a>>),
}

/// What a decision about a blob reads of it.
pub struct BlobOf<'a> {
    /// What its header says; `None` where it has no header.
    pub key: Option<KeyId>,
    /// What it is said to be bound to.
    pub context: &'a EncryptionContext,
}

/// Who asks, and everything that the answer is made from but what is asked.
pub(super) struct Asker<'a> {
    pub(super) caller: &'a Caller,
    /// None for a part of this program, whose role stands in its code.
    pub(super) world: Option<Arc<World>>,
    pub(super) now: Timestamp,
    pub(super) environment: &'static str,
}

/// What was decided before a use case acts.
pub(super) struct Decided {
    /// The first is the one that the use case acts with.
    pub(super) permits: Vec<Permit>,
    /// The key that it is about.
    pub(super) facts: Option<Arc<KeyFacts>>,
    /// Of each blob, in the order of the call: its permit's place.
    pub(super) blobs: Vec<Result<usize, Barred>>,
}

/// Why nothing is done with a blob.
#[derive(Clone)]
pub(super) enum Barred {
    Denied(Denied),
    /// Its key cannot be read: the blob's affair, and not the call's.
    Internal {
        class: &'static str,
        problem: String,
    },
    StoreUnavailable {
        problem: String,
    },
}

// === impl Desk ===

impl Desk {
    /// The permit for `action` now, for a stream that goes on: rights may have changed since it began.
    pub async fn still_may(&self, caller: &Caller, action: Action) -> Result<Permit, Refusal> {
        Ok(self.asker(caller).await?.ask_at_all(action)?)
    }

    /// The same, on one key.
    pub async fn still_may_on(
        &self,
        caller: &Caller,
        action: Action,
        key: KeyId,
    ) -> Result<Permit, Refusal> {
        let asker = self.asker(caller).await?;
        let facts = self.facts(&asker, &KeyRef::Id(key)).await?;
        Ok(asker.ask(action, Target::Key(&facts), None, &EncryptionContext::empty())?)
    }

    pub(super) async fn asker<'a>(&self, caller: &'a Caller) -> Result<Asker<'a>, Refusal> {
        let custody = &self.office().custody;
        if caller.at_least > 0 {
            let reached = tokio::time::timeout(REACH_MAX, custody.reach(caller.at_least)).await;
            reached.map_err(|_| Refusal::StaleReplica)?;
        }
        let world = match caller.standing {
            Standing::Remote(_) => Some(custody.world(caller.principal().tenant()).await?),
            Standing::Internal(_) => None,
        };
        Ok(Asker { caller, world, now: custody.now(), environment: self.office().environment })
    }

    /// Decides about everything that a call is about, and notes in its record what decided. What did
    /// not parse is about nothing: only who may do it at all learns what was wrong with it.
    pub(super) async fn decide(
        &self,
        asker: &Asker<'_>,
        action: Action,
        about: Option<About<'_>>,
        whom: Option<&SubjectRef>,
        record: &mut Record<'static>,
    ) -> Result<Decided, Refusal> {
        record.policy_revision = asker.world.as_ref().map_or(0, |world| world.revision());
        let of_key = async |named: KeyRef, context: &EncryptionContext| {
            let facts = self.facts(asker, &named).await?;
            let permit = asker.ask(action, Target::Key(&facts), whom, context)?;
            Ok::<_, Refusal>(Decided { permits: vec![permit], facts: Some(facts), blobs: vec![] })
        };
        let no_context = EncryptionContext::empty();
        let decided = match about {
            None => Decided::whole(asker.ask_at_all(action)?),
            Some(About::Tenant) => {
                Decided::whole(asker.ask(action, Target::Tenant, whom, &no_context)?)
            }
            Some(About::Key(named)) => of_key(named, &no_context).await?,
            Some(About::Wrap(named, context)) => of_key(named, context).await?,
            Some(About::Blobs(blobs)) => self.decide_blobs(asker, action, blobs).await?,
        };
        if let Some(permit) = decided.permits.first() {
            record.policies = Arc::clone(permit.decided_by());
        }
        Ok(decided)
    }

    /// Decides about each blob by itself. Refused is a caller who may do it to none of them, nor to a
    /// key that nothing was said about.
    async fn decide_blobs(
        &self,
        asker: &Asker<'_>,
        action: Action,
        blobs: Vec<BlobOf<'_>>,
    ) -> Result<Decided, Refusal> {
        let mut decided = Decided { permits: vec![], facts: None, blobs: vec![] };
        let mut last: Option<(BlobOf<'_>, Result<usize, Barred>)> = None;
        for blob in blobs {
            let known = last.as_ref().filter(|(known, place)| {
                let reads = |place: &usize| {
                    decided.permits.get(*place).is_none_or(Permit::reads_encryption_context)
                };
                known.key == blob.key
                    && (known.context == blob.context
                        || place.as_ref().is_ok_and(|place| !reads(place)))
            });
            let place = match known {
                Some((_, place)) => place.clone(),
                None => match self.permit_on_blob(asker, action, &blob).await {
                    Ok(permit) => {
                        decided.permits.push(permit);
                        Ok(decided.permits.len().saturating_sub(1))
                    }
                    Err(barred) => Err(barred),
                },
            };
            decided.blobs.push(place.clone());
            last = Some((blob, place));
        }
        if decided.permits.is_empty() {
            decided.permits.push(asker.ask_at_all(action)?);
        }
        Ok(decided)
    }

    async fn permit_on_blob(
        &self,
        asker: &Asker<'_>,
        action: Action,
        blob: &BlobOf<'_>,
    ) -> Result<Permit, Barred> {
        let facts = match blob.key {
            Some(key) => match self.facts(asker, &KeyRef::Id(key)).await {
                Ok(facts) => facts,
                Err(Refusal::StoreUnavailable { problem }) => {
                    return Err(Barred::StoreUnavailable { problem });
                }
                Err(other) => {
                    let (class, problem) = (other.class(), other.problem().to_owned());
                    return Err(Barred::Internal { class, problem });
                }
            },
            None => Arc::new(KeyFacts::none()),
        };
        asker.ask(action, Target::Key(&facts), None, blob.context).map_err(Barred::Denied)
    }

    async fn facts(&self, asker: &Asker<'_>, named: &KeyRef) -> Result<Arc<KeyFacts>, Refusal> {
        let tenant = asker.caller.principal().tenant();
        Ok(self.office().custody.key_facts(tenant, named).await?)
    }
}

// === impl Barred ===

impl From<Barred> for Refusal {
    /// A blob that nothing may be done with is as one that does not open.
    fn from(barred: Barred) -> Self {
        match barred {
            Barred::Denied(denied) => Self::InvalidCiphertext { class: denied.class() },
            Barred::Internal { class, problem } => Self::Internal { class, problem },
            Barred::StoreUnavailable { problem } => Self::StoreUnavailable { problem },
        }
    }
}

// === impl Decided ===

impl Decided {
    fn whole(permit: Permit) -> Self {
        Self { permits: vec![permit], facts: None, blobs: Vec::new() }
    }
}

// === impl Asker ===

impl Asker<'_> {
    pub(super) fn ask(
        &self,
        action: Action,
        target: Target<'_>,
        whom: Option<&SubjectRef>,
        context: &EncryptionContext,
    ) -> Result<Permit, Denied> {
        let subject = self.caller.subject();
        let (world, source) = match (&self.world, self.caller.standing) {
            (_, Standing::Internal(role)) => {
                return decide_internal(&subject.principal, role, action);
            }
            (Some(world), Standing::Remote(source)) => (world, source.ip()),
            (None, Standing::Remote(_)) => return Err(Denied::NoPolicy),
        };
        let circumstances = Circumstances {
            now: self.now,
            source: Some(source),
            environment: self.environment,
            encryption_context: context.as_slice(),
        };
        world.decide(&Question { subject, action, target, whom, circumstances: &circumstances })
    }

    /// Whether the caller may see this key, in a list.
    pub(super) fn may_see(&self, key: &KeyFacts) -> bool {
        let nothing = EncryptionContext::empty();
        self.ask(Action::GetKey, Target::Key(key), None, &nothing).is_ok()
    }

    /// Whether it may be done in the tenant, or to a key that nothing was said about.
    pub(super) fn ask_at_all(&self, action: Action) -> Result<Permit, Denied> {
        let (nothing, no_key) = (EncryptionContext::empty(), KeyFacts::none());
        let target = if action.is_on_key() { Target::Key(&no_key) } else { Target::Tenant };
        self.ask(action, target, None, &nothing)
    }
}

/// How long a call waits for a revision that it must be answered after.
const REACH_MAX: Duration = Duration::from_secs(1);
