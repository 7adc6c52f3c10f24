//! The one way in: decide, act, record, reply.

use std::net::SocketAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Instant;

use futures_util::FutureExt;

use crate::audit::{Outcome, Record};
use crate::clock::Clock;
use crate::custody::{Budget, Custody};
use crate::keys::TenantId;
use crate::metrics::{Happened, Metrics};
use crate::policy::{Action, Permit, Principal, PrincipalId, Role, decide};
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
    principal: Principal,
    standing: Standing,
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
    caller: &'a Caller,
    roles: &'a [Role],
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
        let work = async {
            let (permit, roles) = self.decide(caller, U::ACTION, None).await?;
            let use_case = asked?;
            let mut act = self.act(caller, &permit, &roles, &mut record);
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
        Ok(self.decide(caller, action, None).await?.0)
    }

    pub(super) async fn decide(
        &self,
        caller: &Caller,
        action: Action,
        whom: Option<&PrincipalId>,
    ) -> Result<(Permit, Arc<[Role]>), Refusal> {
        let roles = match caller.standing {
            Standing::Remote(_) => self.office.custody.roles(&caller.principal).await?,
            Standing::Internal(role) => Arc::from([role]),
        };
        let permit = decide(&caller.principal, action, &roles, whom)?;
        Ok((permit, roles))
    }

    pub(super) fn act<'a>(
        &'a self,
        caller: &'a Caller,
        permit: &'a Permit,
        roles: &'a [Role],
        record: &'a mut Record<'static>,
    ) -> Act<'a> {
        let (office, custody) = (&*self.office, &*self.office.custody);
        let happened = Happened::default();
        Act { custody, office, permit, record, happened, caller, roles }
    }

    pub(super) fn draft(&self, caller: &Caller, action: &'static str) -> Record<'static> {
        let source = match caller.standing {
            Standing::Remote(address) => address.to_string(),
            Standing::Internal(_) => String::new(),
        };
        Record {
            tenant: Some(caller.principal.tenant()),
            principal: caller.principal.id().to_string().into(),
            source_address: source.into(),
            ..Record::new(self.office.clock.unix_us(), action, Outcome::Failed)
        }
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
    /// A second right that the use case needs.
    pub fn also(&self, action: Action) -> Result<Permit, Refusal> {
        Ok(decide(&self.caller.principal, action, self.roles, None)?)
    }

    /// The last record that is durable now.
    pub fn durable_sequence(&self) -> u64 {
        *self.office.trail.durable().borrow()
    }

    /// The roles that the caller holds.
    pub fn roles(&self) -> &[Role] {
        self.roles
    }
}

// === impl Caller ===

impl Caller {
    /// An authenticated caller on a connection.
    pub fn remote(principal: Principal, source: SocketAddr) -> Self {
        Self { principal, standing: Standing::Remote(source) }
    }

    /// The program's own scheduler, at work in `tenant`. It has no connection, and that is what gives
    /// it its role: no certificate leads here.
    pub fn scheduler(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::scheduler(), tenant);
        Self { principal, standing: Standing::Internal(Role::Scheduler) }
    }

    /// Whoever runs the program with the key file on the database itself, at work in `tenant`.
    pub fn installer(tenant: TenantId) -> Self {
        let principal = Principal::new(PrincipalId::installer(), tenant);
        Self { principal, standing: Standing::Internal(Role::Installer) }
    }

    /// Who.
    pub fn principal(&self) -> &Principal {
        &self.principal
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
