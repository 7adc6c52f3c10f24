//! Who stands in which relation to what: groups and their members, rings and keys.

use crate::audit::{MAX_DETAIL_BYTES, Record, clip};
use crate::custody::{Custody, Past, RelationPlace, RequestKey};
use crate::policy::{Action, Object, Permit, Relation, RelationName, SubjectRef};
use crate::service::change::{Change, Changed};
use crate::service::perform::{About, Act, UseCase};
use crate::service::refusal::Refusal;

use super::{duties, own};

/// Adds tuples and removes tuples, all or none. Cycles of groups are lawful.
pub struct WriteRelations {
    /// To be there. Those that are there already stay.
    pub add: Vec<Relation>,
    /// To be gone.
    pub remove: Vec<Relation>,
    /// The caller's id for this request.
    pub request: Option<RequestKey>,
}

/// Tuples, in an order of their own.
pub struct ListRelations {
    /// Only of this object.
    pub object: Option<Object>,
    /// Only this relation.
    pub relation: Option<RelationName>,
    /// Only of this subject.
    pub subject: Option<SubjectRef>,
    /// After this one.
    pub after: Option<RelationPlace>,
    /// 1 to 1000.
    pub page_size: usize,
}

// === impl WriteRelations ===

impl WriteRelations {
    fn tuples(&self) -> impl Iterator<Item = (&Relation, bool)> {
        let added = self.add.iter().map(|tuple| (tuple, true));
        added.chain(self.remove.iter().map(|tuple| (tuple, false)))
    }
}

impl Change for WriteRelations {
    type Reply = u64;

    fn action(&self) -> Action {
        Action::WriteRelations
    }

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn request(&self) -> Option<&RequestKey> {
        self.request.as_ref()
    }

    fn whom(&self) -> Option<&SubjectRef> {
        self.tuples().next().map(|(tuple, _)| &tuple.subject)
    }

    fn describe(&self, record: &mut Record) {
        let told = self.tuples().map(|(tuple, is_to_be)| {
            format!("{} {tuple}", if is_to_be { "add" } else { "remove" })
        });
        let told = told.collect::<Vec<_>>().join(", ");
        record.items = u32::try_from(self.tuples().count()).unwrap_or(u32::MAX);
        record.detail = clip(&told, MAX_DETAIL_BYTES).into_owned().into();
    }

    async fn change<'c>(&self, act: &mut Act<'c>) -> Result<Changed<'c>, Refusal> {
        own::unconfined(act)?;
        let mut changes = act.custody.change(act.permit)?;
        for (tuple, is_to_be) in self.tuples() {
            // Each of them is decided about (attack D06), and one refusal refuses all.
            act.also_about(&tuple.subject)?;
            changes.write_relation(tuple, is_to_be).await?;
        }
        duties::keep_members_apart(act, &self.add, &self.remove).await?;
        Ok(Changed { changes, past: Past::default() })
    }

    async fn reply(&self, _: &Custody, _: &Permit, past: Past) -> Result<u64, Refusal> {
        Ok(past.revision)
    }
}

// === impl ListRelations ===

impl UseCase for ListRelations {
    type Reply = (Vec<Relation>, Option<RelationPlace>);

    const ACTION: Action = Action::ListRelations;

    fn about(&self) -> About<'_> {
        About::Tenant
    }

    fn describe(&self, _: &mut Record) {}

    async fn act(self, act: &mut Act<'_>) -> Result<Self::Reply, Refusal> {
        let mut wanted = Vec::new();
        let mut after = self.after.clone();
        // What a filter wants is looked for tuple by tuple, a bounded number of them in one call.
        for _ in 0..SCANS_MAX {
            let found = act.custody.relations(act.permit, after.as_ref(), SCAN).await?;
            let at_end = found.len() < SCAN;
            for tuple in found {
                after = Some(RelationPlace::of(&tuple));
                if !self.wants(&tuple) {
                    continue;
                }
                wanted.push(tuple);
                if wanted.len() == self.page_size {
                    return Ok((wanted, after));
                }
            }
            if at_end {
                return Ok((wanted, None));
            }
        }
        Ok((wanted, after))
    }
}

impl ListRelations {
    fn wants(&self, tuple: &Relation) -> bool {
        self.object.as_ref().is_none_or(|object| *object == tuple.object)
            && self.relation.is_none_or(|relation| relation == tuple.name)
            && self.subject.as_ref().is_none_or(|subject| *subject == tuple.subject)
    }
}

/// The most tuples that one call may write.
pub const RELATIONS_MAX: usize = 100;
const SCAN: usize = 1_000;
const SCANS_MAX: usize = 20;
