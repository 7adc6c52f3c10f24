//! Policies, relation tuples and grants: reading them, and changing them.
//!
//! What they mean is not decided here; [`super::world`] makes a decision's material of them.

use std::fmt;

use crate::keys::{GrantId, Quota};
use crate::policy::{Permit, PolicyId, Relation};

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::records::{GrantEntry, PolicyEntry};
use super::rows::{Record, RelationRecord};
use super::stores::Read;

/// A place in the list of relation tuples.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct RelationPlace([u8; 32]);

// === impl Custody ===

impl Custody {
    /// The policy of the tenant's own with this id, if there is one.
    pub async fn policy(
        &self,
        permit: &Permit,
        id: &PolicyId,
    ) -> Result<Read<Option<PolicyEntry>>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<PolicyEntry>(&tenant, id.as_str().as_bytes().to_vec()).await?;
        Ok(Read::or_default(found.map(|(entry, revision)| (Some(entry), revision))))
    }

    /// Policies of the tenant's own in the order of their ids, after `after`, at most `limit`.
    pub async fn policies(
        &self,
        permit: &Permit,
        after: Option<&PolicyId>,
        limit: usize,
    ) -> Result<Vec<PolicyEntry>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_str().as_bytes().to_vec());
        let found = self.records::<PolicyEntry>(&tenant, Vec::new(), after, limit).await?;
        Ok(found.into_iter().map(|(entry, _)| entry).collect())
    }

    /// Relation tuples in an order of their own, after `after`, at most `limit`.
    pub async fn relations(
        &self,
        permit: &Permit,
        after: Option<&RelationPlace>,
        limit: usize,
    ) -> Result<Vec<Relation>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|place| place.0.to_vec());
        let found = self.records::<RelationRecord>(&tenant, Vec::new(), after, limit).await?;
        Ok(found.into_iter().map(|(record, _)| record.0).collect())
    }

    /// The grant with this id.
    pub async fn grant(
        &self,
        permit: &Permit,
        id: GrantId,
    ) -> Result<Read<GrantEntry>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let found = self.load::<GrantEntry>(&tenant, id.as_bytes().to_vec()).await?;
        found.map(Read::of).ok_or(CustodyError::NotFound)
    }

    /// Grants in the order of their ids, after `after`, at most `limit`.
    pub async fn grants(
        &self,
        permit: &Permit,
        after: Option<GrantId>,
        limit: usize,
    ) -> Result<Vec<GrantEntry>, CustodyError> {
        let tenant = self.tenant(permit.tenant())?;
        let after = after.map(|id| id.as_bytes().to_vec());
        let found = self.records::<GrantEntry>(&tenant, Vec::new(), after, limit).await?;
        Ok(found.into_iter().map(|(entry, _)| entry).collect())
    }

    /// A new grant's id.
    pub fn new_grant_id(&self) -> Result<GrantId, CustodyError> {
        Ok(GrantId::from_bytes(self.draw_id()?))
    }

    /// Waits until every change up to `revision` was seen here, for as long as the future is polled.
    pub async fn reach(&self, revision: u64) {
        let mut followed = self.followed.subscribe();
        // The sender is this custody's own, and lives as long as this call.
        let _ = followed.wait_for(|followed| *followed >= revision).await;
    }
}

// === impl Changes ===

impl Changes<'_> {
    /// A policy, in place of the one that was there.
    pub fn put_policy(&mut self, policy: &PolicyEntry, was: &Read<Option<PolicyEntry>>) {
        if was.revision.is_none() {
            self.counted.add(Quota::Policies);
        }
        self.put(policy, was.revision);
    }

    /// Removes a policy that is there.
    pub fn remove_policy(&mut self, id: &PolicyId, was: &Read<Option<PolicyEntry>>) {
        let row = self.row_key::<PolicyEntry>(id.as_str().as_bytes().to_vec());
        self.counted.remove(Quota::Policies);
        self.remove(row, was.revision);
    }

    /// Adds a tuple, or removes it. One that is there, or not there, already stays so.
    pub async fn write_relation(
        &mut self,
        relation: &Relation,
        is_to_be: bool,
    ) -> Result<(), CustodyError> {
        let row_id = RelationRecord::row_id_of(relation);
        let row = self.row_key::<RelationRecord>(row_id.clone());
        let revision = self.revision_of::<RelationRecord>(row_id).await?;
        match (revision, is_to_be) {
            (None, true) => {
                self.counted.add(Quota::Relations);
                self.put(&RelationRecord(relation.clone()), None);
            }
            (Some(_), false) => {
                self.counted.remove(Quota::Relations);
                self.remove(row, revision);
            }
            (None, false) | (Some(_), true) => self.expect(row, revision),
        }
        Ok(())
    }

    /// A grant that is new.
    pub fn put_new_grant(&mut self, grant: &GrantEntry) {
        self.counted.add(Quota::Grants);
        self.put(grant, None);
    }

    /// Removes a grant.
    pub fn remove_grant(&mut self, was: &Read<GrantEntry>) {
        self.counted.remove(Quota::Grants);
        let row = self.row_key::<GrantEntry>(was.record.row_id());
        self.remove(row, was.revision);
    }
}

// === impl RelationPlace ===

impl RelationPlace {
    /// The place of this tuple.
    pub fn of(relation: &Relation) -> Self {
        let mut place = [0; 32];
        place.copy_from_slice(&RelationRecord::row_id_of(relation));
        Self(place)
    }

    /// From its text.
    pub fn parse(text: &str) -> Option<Self> {
        let bytes = hex::decode(text).ok()?;
        bytes.try_into().ok().map(Self)
    }
}

impl fmt::Display for RelationPlace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&hex::encode(self.0))
    }
}
