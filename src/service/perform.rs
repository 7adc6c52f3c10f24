//! The one way in: decide, act, record, reply.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use crate::audit::{Outcome, Record};
use crate::clock::Clock;
use crate::custody::{Budget, Custody};
use crate::limits::{Kind, Limited, Limiter, Rates, UnderWay};
use crate::metrics::Metrics;
use crate::policy::Action;
use crate::trail::{Lane, Notarized, Purpose, Trail, TrailError};

pub use super::act::Act;
pub use super::caller::{Asks, Caller, ReceiptSlot};
pub(super) use super::decision::{About, BlobOf};

use super::caller::Standing;
use super::exchange_token::TokenSigner;
use super::outbox::Unended;
use super::record::HashedKeys;
use super::refusal::Refusal;

/// What every use case works with. One for the whole program.
pub struct Office {
    /// The trusted records.
    pub custody: Arc<Custody>,
    /// The audit log, for reading.
    pub trail: Trail,
    /// What is signed about it, where a notary follows it.
    pub notarized: Option<Arc<Notarized>>,
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
    /// Signs this installation's own tokens, where it has any.
    pub tokens: Option<Arc<dyn TokenSigner>>,
    /// The keys of encryption contexts whose values are recorded as hashes.
    pub hashed_keys: HashedKeys,
    /// Ends of changes that wait for the audit log to take records again.
    pub unended: Unended,
}

/// An office and the lane on which one runtime's records go out. Cheap to clone.
#[derive(Clone)]
pub struct Desk {
    office: Arc<Office>,
    lane: Lane,
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

// === impl Desk ===

impl Desk {
    /// A desk of this office whose records go out on `lane`.
    pub fn new(office: Arc<Office>, lane: Lane) -> Self {
        Self { office, lane }
    }

    pub(super) fn lane(&self) -> &Lane {
        &self.lane
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
        self.can_record(U::ACTION)?;
        let mut record = self.draft(caller, U::ACTION.name());
        if let Ok(use_case) = &asked {
            use_case.describe(&mut record);
            self.office.hash_values(&mut record);
        }
        let _under_way = match self.admit(caller, U::ACTION, record.items) {
            Ok(under_way) => under_way,
            Err(limited) => return self.turn_away(caller, record, limited).await,
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
        self.close(caller, record, outcome).await
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
        self.append(caller, &record).await?;
        Ok(())
    }

    /// Makes a call's last record durable, and keeps its receipt for a caller who wants one.
    async fn append(&self, caller: &Caller, record: &Record<'_>) -> Result<u64, TrailError> {
        #[cfg(feature = "bench-echo")]
        if caller.unrecorded {
            return Ok(0);
        }
        let Some(slot) = &caller.wants_receipt else { return self.lane.append(record).await };
        let receipt = self.lane.append_for_receipt(record).await?;
        slot.put(receipt);
        Ok(receipt.sequence)
    }

    /// Refuses a call of which no record could be made: before anything is decided, opened or changed
    /// (attack H02).
    pub(super) fn can_record(&self, action: Action) -> Result<(), Refusal> {
        let purpose = if action.uses().is_empty() { Purpose::Manage } else { Purpose::Use };
        Ok(self.lane.ready(purpose)?)
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
        let own = self.office.custody.tenant_limits(caller.principal().tenant());
        let own = Rates {
            uses_per_second: own.uses_per_second,
            principal_uses_per_second: own.principal_uses_per_second,
            management_per_second: own.management_per_second,
        };
        self.office.limiter.begin(caller.principal(), kind, items, own).map(Some)
    }

    /// Refuses a call that is one too many. Of one caller's refusals in one second the first is
    /// recorded, and says how many there were before it that were not (attack H08).
    pub(super) async fn turn_away<T>(
        &self,
        caller: &Caller,
        mut record: Record<'static>,
        limited: Limited,
    ) -> Result<T, Refusal> {
        if !limited.is_first {
            return Err(Refusal::RateLimited(limited));
        }
        record.context.clear();
        record.detail = format!("not_recorded_before={}", limited.untold).into();
        self.close(caller, record, Err(Refusal::RateLimited(limited))).await
    }

    /// Makes the record durable; only then is there an answer.
    pub(super) async fn close<T>(
        &self,
        caller: &Caller,
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
        record.latency_us = self.latency_us(&record);
        let sequence = match self.append(caller, &record).await {
            Ok(sequence) => sequence,
            Err(error) => {
                if record.started_sequence != 0 {
                    self.office.unended.keep(record);
                }
                return Err(error.into());
            }
        };
        self.office.unended.hand_over(&self.lane).await;
        if let Err(Refusal::Internal { problem, .. } | Refusal::StoreUnavailable { problem }) =
            &outcome
        {
            tracing::error!(sequence, action = %record.action, problem, "a call failed");
        }
        outcome
    }

    /// Since the call was admitted, by the clock that the record's time is of.
    fn latency_us(&self, record: &Record<'_>) -> u64 {
        let now = self.office.clock.unix_us();
        u64::try_from(now.saturating_sub(record.time_us)).unwrap_or(0)
    }

    /// Makes durable that something is about to change.
    pub(super) async fn announce(&self, record: &mut Record<'static>) -> Result<(), Refusal> {
        record.outcome = Outcome::Started;
        record.latency_us = self.latency_us(record);
        record.started_sequence = self.lane.append(record).await?;
        Ok(())
    }
}

/// A panic is a defect of this program: it is recorded as such, and the server goes on (attack J05).
pub(super) async fn caught<T>(
    work: impl Future<Output = Result<T, Refusal>>,
) -> Result<T, Refusal> {
    AssertUnwindSafe(work).catch_unwind().await.unwrap_or_else(|_| {
        let problem = "a panic; see the log just before this".to_owned();
        Err(Refusal::Internal { class: "panic", problem })
    })
}
