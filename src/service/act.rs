//! A use case at work: what it may use and ask, and the record that it completes.

use std::sync::Arc;

use crate::audit::Record;
use crate::crypto::EncryptionContext;
use crate::custody::Custody;
use crate::keys::{KeyId, KeyRef};
use crate::metrics::Happened;
use crate::policy::{
    Action, Denied, GroupName, KeyFacts, Permit, PrincipalId, RoleName, Subject, SubjectRef,
    Target, World,
};

use super::caller::{Caller, Standing};
use super::decision::{Asker, Decided};
use super::perform::{Desk, Office};
use super::refusal::Refusal;

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

// === impl Desk ===

impl Desk {
    pub(super) fn act<'a>(
        &'a self,
        asker: &'a Asker<'a>,
        decided: &'a Decided,
        record: &'a mut Record<'static>,
    ) -> Result<Act<'a>, Refusal> {
        let office = self.office();
        let custody = &*office.custody;
        let permit = decided.permits.first().ok_or(Denied::NoPolicy)?;
        let happened = Happened::default();
        Ok(Act { custody, office, permit, record, happened, asker, decided })
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
            (None, Standing::Internal(program)) => vec![program.role().into()],
            (None, Standing::Remote(_)) => Vec::new(),
        }
    }

    /// SHA-256 of the client certificate of the caller's connection.
    pub fn certificate(&self) -> Option<&[u8; 32]> {
        self.asker.caller.certificate.as_ref()
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
