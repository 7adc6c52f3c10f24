//! The one way in: decide, act, record, reply.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::FutureExt;

use crate::audit::{Outcome, Record};
use crate::clock::Clock;
use crate::crypto::EncryptionContext;
use crate::custody::{Budget, Custody};
use crate::keys::{KeyId, KeyRef, TenantId, Timestamp};
use crate::limits::{Kind, Limited, Limiter, Rates, UnderWay};
use crate::metrics::{Happened, Metrics};
use crate::policy::{
    Action, Circumstances, CredentialKind, Denied, GroupName, KeyFacts, Permit, Principal,
    PrincipalId, Question, Role, RoleName, Subject, SubjectRef, Target, World, decide_internal,
};
use crate::trail::{Lane, Trail};

use super::refusal::Refusal;

/// What every use case works with. One for the whole program.
pub struct Office {
    /// The trusted records.
    pub custody: Arc<Custody>,
    /// The audit log, for reading.
    pub trail: Trail,
    /// What time it is.
    pub clock: Arc<dyn Clock>,
    /// When the program started.
    pub started: Instant,
    /// `production`, `staging` or `development`.
    pub environment: &'static str,
    /// How much may happen by itself in an hour.
    pub budget: Budget,
    /// What the program counts about itself.
    pub metrics: Arc<Metrics>,
    /// How much anybody may ask for.
    pub limiter: Arc<Limiter>,
}

/// An office and the lane on which one runtime's records go out. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    office: Arc<Office>,
    lane: Lane,
}

/// Who calls, and from where.
#[derive(Clone, Debug)]
pub struct Caller {
    subject: Arc<Subject>,
    standing: Standing,
    /// The revision that must have been seen here before it is answered.
    at_least: u64,
    asks: Option<Asks>,
}

/// What is known of a change before it is understood, for the rules on approvals.
#[derive(Clone, Debug)]
pub struct Asks {
    /// SHA-256 of the action and the request, without its request id.
    pub digest: [u8; 32],
    /// The approved proposal that the caller names, as it came.
    pub approval: Option<String>,
}

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

/// Where a caller's roles come from.
#[derive(Clone, Copy, Debug)]
enum Standing {
    /// From rows: it came over the network, from this address.
    Remote(SocketAddr),
    /// It is a part of this program and has this one role.
    Internal(Role),
}

/// Something that a caller can have done and that changes nothing that is stored, or only an account
/// that the same call makes good when it is lost.
pub trait UseCase: Send + Sized {
    /// What it gives.
    type Reply: Send;

    /// What the caller must be allowed to do.
    const ACTION: Action;

    /// To what.
    fn about(&self) -> About<'_>;

    /// Puts what was asked into the record.
    fn describe(&self, record: &mut Record);

    /// Does it. `act` holds the permit, and the record to complete with what is learned.
    fn act(self, act: &mut Act<'_>) -> impl Future<Output = Result<Self::Reply, Refusal>> + Send;
}

/// A use case at work: what it may use, and the record that it completes.
pub struct Act<'a> {
    /// The trusted records.
    pub custody: &'a Custody,
    /// The office, for what is not in custody.
    pub office: &'a Office,
    /// What was decided.
    pub permit: &'a Permit,
    /// What will be recorded.
    pub record: &'a mut Record<'static>,
    /// What will have happened to versions if it is committed, for the metrics.
    pub(super) happened: Happened,
    asker: &'a Asker<'a>,
    decided: &'a Decided,
}

/// Who asks, and everything that the answer is made from but what is asked.
pub(super) struct Asker<'a> {
    caller: &'a Caller,
    /// None for a part of this program, whose role stands in its code.
    world: Option<Arc<World>>,
    now: Timestamp,
    environment: &'static str,
}

/// What was decided before a use case acts.
pub(super) struct Decided {
    /// The first is the one that the use case acts with.
    permits: Vec<Permit>,
    /// The key that it is about.
    facts: Option<Arc<KeyFacts>>,
    /// Of each blob, in the order of the call: its permit's place.
    blobs: Vec<Result<usize, Barred>>,
}

/// Why nothing is done with a blob.
#[derive(Clone)]
enum Barred {
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
    /// A desk of this office whose records go out on `lane`.
    pub fn new(office: Arc<Office>, lane: Lane) -> Self {
        Self { office, lane }
    }

    /// The office.
    pub fn office(&self) -> &Office {
        &self.office
    }

    /// Performs what was asked, or refuses it; either way the record is durable before this returns.
    ///
    /// `asked` is what came out of parsing: a request that did not parse is refused and recorded here
    /// like any other, and only a caller with the right to the action learns what was wrong with it.
    pub async fn perform<U: UseCase>(
        &self,
        caller: &Caller,
        asked: Result<U, Refusal>,
    ) -> Result<U::Reply, Refusal> {
        let mut record = self.draft(caller, U::ACTION.name());
        if let Ok(use_case) = &asked {
            use_case.describe(&mut record);
        }
        let _under_way = match self.admit(caller, U::ACTION, record.items) {
            Ok(under_way) => under_way,
            Err(limited) => return self.turn_away(record, limited).await,
        };
        let work = async {
            let asker = self.asker(caller).await?;
            let about = asked.as_ref().ok().map(UseCase::about);
            let decided = self.decide(&asker, U::ACTION, about, None, &mut record).await?;
            let use_case = asked?;
            let mut act = self.act(&asker, &decided, &mut record)?;
            use_case.act(&mut act).await
        };
        let outcome = caught(work).await;
        self.close(record, outcome).await
    }

    /// Records a call that was refused before it could be understood: `action` says what it was.
    pub async fn refuse(
        &self,
        caller: &Caller,
        action: &'static str,
        reason: &'static str,
    ) -> Result<(), Refusal> {
        let mut record = self.draft(caller, action);
        record.outcome = Outcome::Refused;
        record.reason = reason.into();
        self.lane.append(&record).await?;
        Ok(())
    }

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
        let custody = &self.office.custody;
        if caller.at_least > 0 {
            let reached = tokio::time::timeout(REACH_MAX, custody.reach(caller.at_least)).await;
            reached.map_err(|_| Refusal::StaleReplica)?;
        }
        let world = match caller.standing {
            Standing::Remote(_) => Some(custody.world(caller.principal().tenant()).await?),
            Standing::Internal(_) => None,
        };
        Ok(Asker { caller, world, now: custody.now(), environment: self.office.environment })
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
        Ok(self.office.custody.key_facts(tenant, named).await?)
    }

    pub(super) fn act<'a>(
        &'a self,
        asker: &'a Asker<'a>,
        decided: &'a Decided,
        record: &'a mut Record<'static>,
    ) -> Result<Act<'a>, Refusal> {
        let (office, custody) = (&*self.office, &*self.office.custody);
        let permit = decided.permits.first().ok_or(Denied::NoPolicy)?;
        let happened = Happened::default();
        Ok(Act { custody, office, permit, record, happened, asker, decided })
    }

    pub(super) fn draft(&self, caller: &Caller, action: &'static str) -> Record<'static> {
        let source = match caller.standing {
            Standing::Remote(address) => address.to_string(),
            Standing::Internal(_) => String::new(),
        };
        Record {
            tenant: Some(caller.principal().tenant()),
            principal: caller.principal().id().to_string().into(),
            source_address: source.into(),
            credential_kind: caller.subject.kind.name().into(),
            end_user: caller
                .subject
                .end_user
                .as_ref()
                .map(ToString::to_string)
                .unwrap_or_default()
                .into(),
            ..Record::new(self.office.clock.unix_us(), action, Outcome::Failed)
        }
    }

    /// Lets a call begin, if its tenant and its principal may have one more now. A part of this program
    /// has a budget of its own.
    pub(super) fn admit(
        &self,
        caller: &Caller,
        action: Action,
        items: u32,
    ) -> Result<Option<UnderWay>, Limited> {
        let Standing::Remote(_) = caller.standing else { return Ok(None) };
        let kind = if action.uses().is_empty() { Kind::Management } else { Kind::Use };
        let rates = Rates::default();
        self.office.limiter.begin(caller.principal(), kind, items, rates).map(Some)
    }

    /// Refuses a call that is one too many. Of one caller's refusals in one second the first is
    /// recorded, and says how many there were before it that were not (attack H08).
    pub(super) async fn turn_away<T>(
        &self,
        mut record: Record<'static>,
        limited: Limited,
    ) -> Result<T, Refusal> {
        if !limited.is_first {
            return Err(Refusal::RateLimited(limited));
        }
        record.context.clear();
        record.detail = format!("not_recorded_before={}", limited.untold).into();
        self.close(record, Err(Refusal::RateLimited(limited))).await
    }

    /// Makes the record durable; only then is there an answer.
    pub(super) async fn close<T>(
        &self,
        mut record: Record<'static>,
        outcome: Result<T, Refusal>,
    ) -> Result<T, Refusal> {
        match &outcome {
            Ok(_) => record.outcome = Outcome::Succeeded,
            Err(refusal) => {
                record.outcome =
                    if refusal.is_refused() { Outcome::Refused } else { Outcome::Failed };
                record.reason = refusal.reason().into();
                record.class = refusal.class().into();
            }
        }
        let sequence = self.lane.append(&record).await?;
        if let Err(Refusal::Internal { problem, .. } | Refusal::StoreUnavailable { problem }) =
            &outcome
        {
            tracing::error!(sequence, action = %record.action, problem, "a call failed");
        }
        outcome
    }

    /// Makes durable that something is about to change.
    pub(super) async fn announce(&self, record: &mut Record<'static>) -> Result<(), Refusal> {
        record.outcome = Outcome::Started;
        record.started_sequence = self.lane.append(record).await?;
        Ok(())
    }
}

// === impl Act ===

impl Act<'_> {
    /// A second right that the use case needs, on what it is about.
    pub fn also(&self, action: Action) -> Result<Permit, Refusal> {
        match self.decided.facts.as_deref() {
            Some(facts) => {
                let nothing = EncryptionContext::empty();
                Ok(self.asker.ask(action, Target::Key(facts), None, &nothing)?)
            }
            None => Ok(self.asker.ask_at_all(action)?),
        }
    }

    /// The right that the call has, where it is about somebody besides.
    pub fn also_about(&self, whom: &SubjectRef) -> Result<Permit, Refusal> {
        let nothing = EncryptionContext::empty();
        Ok(self.asker.ask(self.permit.action(), Target::Tenant, Some(whom), &nothing)?)
    }

    /// What the caller's tenant says about who may do what.
    pub async fn world(&self) -> Result<Arc<World>, Refusal> {
        Ok(self.custody.world(self.permit.tenant()).await?)
    }

    /// A right on another key.
    pub async fn also_on(
        &self,
        action: Action,
        key: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<Permit, Refusal> {
        let facts = self.custody.key_facts(self.permit.tenant(), key).await?;
        Ok(self.asker.ask(action, Target::Key(&facts), None, context)?)
    }

    /// The permit for one of the call's blobs. One without a permit is as one that does not open.
    pub fn permit_for(&self, blob: usize) -> Result<&'_ Permit, Refusal> {
        match self.decided.blobs.get(blob) {
            Some(Ok(place)) => Ok(self.decided.permits.get(*place).ok_or(Denied::NoPolicy)?),
            Some(Err(barred)) => Err(barred.clone().into()),
            None => Err(Denied::NoPolicy.into()),
        }
    }

    /// The id of a key that the caller names besides, if the call's action may be done to it.
    pub async fn key_named(
        &self,
        named: &KeyRef,
        context: &EncryptionContext,
    ) -> Result<KeyId, Refusal> {
        let permit = self.also_on(self.permit.action(), named, context).await?;
        Ok(self.custody.key(&permit, named).await?.id())
    }

    /// Whether the caller may see this key, in a list.
    pub fn may_see(&self, key: &KeyFacts) -> bool {
        self.asker.may_see(key)
    }

    /// The last record that is durable now.
    pub fn durable_sequence(&self) -> u64 {
        *self.office.trail.durable().borrow()
    }

    /// The roles that the caller holds.
    pub fn roles(&self) -> Vec<RoleName> {
        let asker = self.asker;
        match (&asker.world, asker.caller.standing) {
            (Some(world), _) => world.roles(asker.caller.subject(), asker.now),
            (None, Standing::Internal(role)) => vec![role.into()],
            (None, Standing::Remote(_)) => Vec::new(),
        }
    }

    /// Who calls.
    pub fn subject(&self) -> &Subject {
        self.asker.caller.subject()
    }

    /// With what else.
    pub(super) fn caller(&self) -> &Caller {
        self.asker.caller
    }

    /// Whether a principal is in a group by relations; the caller also by what its proof asserts.
    pub fn is_member(&self, principal: &PrincipalId, group: &GroupName) -> bool {
        let own = self.subject();
        let asserted = if own.principal.id() == principal { &*own.groups } else { &[] };
        let world = self.asker.world.as_ref();
        world.is_some_and(|world| world.is_member(principal, asserted, group))
    }

    /// The same, by relations alone.
    pub(super) fn is_related(&self, principal: &PrincipalId, group: &GroupName) -> bool {
        let world = self.asker.world.as_ref();
        world.is_some_and(|world| world.is_member(principal, &[], group))
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
    fn ask(
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

// === impl Caller ===

impl Caller {
    /// An authenticated caller on a connection.
    pub fn remote(subject: Arc<Subject>, source: SocketAddr) -> Self {
        Self { subject, standing: Standing::Remote(source), at_least: 0, asks: None }
    }

    /// The same, to be answered only where every change up to this revision was seen.
    #[must_use]
    pub fn at_least(self, revision: u64) -> Self {
        Self { at_least: revision, ..self }
    }

    /// The same caller, with a change.
    #[must_use]
    pub fn asking(self, asks: Asks) -> Self {
        Self { asks: Some(asks), ..self }
    }

    /// The change that it asks for.
    pub(super) fn asks(&self) -> Option<&Asks> {
        self.asks.as_ref()
    }

    /// Whether it is a part of this program or has the key file in hand: no rule on approvals is for
    /// those, whom nobody could keep from anything.
    pub(super) fn is_internal(&self) -> bool {
        matches!(self.standing, Standing::Internal(_))
    }

    /// The program's own scheduler, at work in `tenant`. It has no connection, and that is what gives
    /// it its role: no certificate leads here.
    pub fn scheduler(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::scheduler(), tenant);
        Self::internal(principal, Role::Scheduler)
    }

    /// Whoever runs the program with the key file on the database itself, at work in `tenant`.
    pub fn installer(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::installer(), tenant);
        Self::internal(principal, Role::Installer)
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.subject.principal
    }

    /// Who, and how that is known.
    pub fn subject(&self) -> &Subject {
        &self.subject
    }

    fn internal(principal: Principal, role: Role) -> Self {
        let subject = Arc::new(Subject::new(principal, CredentialKind::Internal));
        Self { subject, standing: Standing::Internal(role), at_least: 0, asks: None }
    }
}

/// How long a call waits for a revision that it must be answered after.
const REACH_MAX: Duration = Duration::from_secs(1);

/// A panic is a defect of this program: it is recorded as such, and the server goes on (attack J05).
pub(super) async fn caught<T>(
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let problem = "a panic; see the log just before this".to_owned();
        Err(Refusal::Internal { class: "panic", problem })
    })
}
