//! Everything that one tenant has said about who may do what, at one revision.
//!
//! Immutable: a change makes a new one, which shares the parsed policies of the one before and none of the
//! answers that it kept. Pure: it reads no row, no clock and no request's text.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::keys::{TenantId, Timestamp};
use crate::policy::action::Action;
use crate::policy::action_set::ActionSet;
use crate::policy::builtin::built_in_policies;
use crate::policy::condition::Condition;
use crate::policy::grant;
use crate::policy::index::Index;
use crate::policy::material::{HeldRole, Material, PolicyId, PolicySource, SubjectRef};
use crate::policy::memory::{Memory, MemoryKey};
use crate::policy::parsed::{ParsedPolicy, validate_policy};
use crate::policy::permit::Denied;
use crate::policy::principal::PrincipalId;
use crate::policy::problem::PolicyProblem;
use crate::policy::relation::{Graph, Relation};
use crate::policy::role::RoleName;
use crate::policy::slice::Slice;
use crate::policy::standing::Standing;
use crate::policy::subject::{GroupName, Subject};

/// One tenant's policies, role bindings, relations and grants.
pub struct World {
    pub(super) tenant: TenantId,
    pub(super) suspended: bool,
    pub(super) graph: Graph,
    pub(super) index: Index,
    pub(super) rules: Vec<Rule>,
    /// Policies whose text this program cannot parse: what they forbid is not known.
    pub(super) broken: Arc<[Arc<str>]>,
    pub(super) slices: Memory<Arc<Slice>>,
    pub(super) answers: Memory<Answer>,
    bindings: HashMap<SubjectRef, Vec<HeldRole>>,
    policies: BTreeMap<PolicyId, Arc<ParsedPolicy>>,
    pub(super) material: Material,
    standings: Memory<Arc<Standing>>,
    numbers: AtomicU64,
}

/// A policy or a grant, as a decision sees it.
pub(super) struct Rule {
    pub(super) id: Arc<str>,
    pub(super) permits: bool,
    pub(super) condition: Option<Arc<Condition>>,
    pub(super) expire_time: Option<Timestamp>,
}

/// The policies that allow, or why not.
pub(super) type Answer = Result<Arc<[Arc<str>]>, Denied>;

// === impl World ===

impl World {
    /// The world of `tenant`.
    pub fn new(tenant: TenantId, material: Material) -> Self {
        Self::build(tenant, material, &BTreeMap::new())
    }

    /// The world that follows on this one. Policies that did not change are not parsed again.
    #[must_use]
    pub fn next(&self, material: Material) -> Self {
        Self::build(self.tenant, material, &self.policies)
    }

    /// The same world with other policies: what would be decided if they were put and deleted.
    pub fn with_policies(
        &self,
        put: Vec<PolicySource>,
        delete: &[PolicyId],
    ) -> Result<Self, PolicyProblem> {
        let mut material = self.material.clone();
        for source in &put {
            validate_policy(&source.id, &source.text)?;
        }
        for id in delete {
            if !material.policies.iter().any(|policy| policy.id == *id) {
                let help = "look at the ids: bulla policy list";
                return Err(PolicyProblem::new(id.as_str(), "there is no such policy", help));
            }
        }
        let gone = |id: &PolicyId| delete.contains(id) || put.iter().any(|one| one.id == *id);
        material.policies.retain(|policy| !gone(&policy.id));
        material.policies.extend(put);
        Ok(self.next(material))
    }

    fn build(
        tenant: TenantId,
        material: Material,
        known: &BTreeMap<PolicyId, Arc<ParsedPolicy>>,
    ) -> Self {
        let built_in =
            built_in_policies().iter().map(|policy| (policy.id().clone(), policy.clone()));
        let mut policies: BTreeMap<_, _> = built_in.collect();
        let mut broken = Vec::new();
        for PolicySource { id, text } in &material.policies {
            let same = known.get(id).filter(|policy| policy.text() == text).cloned();
            match same.map_or_else(|| ParsedPolicy::parse(id, text.clone()).map(Arc::new), Ok) {
                Ok(policy) => drop(policies.insert(id.clone(), policy)),
                Err(_) => broken.push(id.shared().clone()),
            }
        }
        let graph = Graph::new(&material.relations);
        let mut index = Index::default();
        index.name_keys(graph.keys());
        let rules = rules(&policies, &material, &mut index, tenant);
        let mut bindings: HashMap<SubjectRef, Vec<HeldRole>> = HashMap::new();
        for (subject, roles) in &material.bindings {
            bindings.entry(subject.clone()).or_default().extend(roles.iter().cloned());
        }
        Self {
            tenant,
            suspended: material.suspended,
            graph,
            index,
            rules,
            broken: broken.into(),
            slices: Memory::new(),
            answers: Memory::new(),
            bindings,
            policies,
            material,
            standings: Memory::new(),
            numbers: AtomicU64::new(0),
        }
    }

    /// Its relation tuples.
    pub(super) fn relations(&self) -> &[Relation] {
        &self.material.relations
    }

    /// The roles that are bound to exactly this subject, ended ones included.
    pub(super) fn bound(&self, subject: &SubjectRef) -> &[HeldRole] {
        self.bindings.get(subject).map(Vec::as_slice).unwrap_or_default()
    }

    /// The store's revision that it stands for.
    pub fn revision(&self) -> u64 {
        self.material.revision
    }

    /// Whose it is.
    pub fn tenant(&self) -> TenantId {
        self.tenant
    }

    /// Every policy, built-in ones that the tenant has not replaced included, by id.
    pub fn policies(&self) -> impl Iterator<Item = &Arc<ParsedPolicy>> {
        self.policies.values()
    }

    /// The policy with this id.
    pub fn policy(&self, id: &PolicyId) -> Option<&Arc<ParsedPolicy>> {
        self.policies.get(id)
    }

    /// The roles that a subject holds at `now`, itself or by a group.
    pub fn roles(&self, subject: &Subject, now: Timestamp) -> Vec<RoleName> {
        self.standing(subject, now).roles.clone()
    }

    /// The groups that a subject is in: those of its token, by relations, and those that these are in.
    pub fn groups(&self, subject: &Subject, now: Timestamp) -> Vec<GroupName> {
        self.standing(subject, now).groups().to_vec()
    }

    /// Whether a principal is a member of a group, however deep it is nested; `asserted` are groups that
    /// its proof asserts. Of whoever is in too many groups it is not known, and so not said.
    pub fn is_member(
        &self,
        principal: &PrincipalId,
        asserted: &[GroupName],
        group: &GroupName,
    ) -> bool {
        self.graph.groups_of(principal, asserted).is_ok_and(|groups| groups.contains(group))
    }

    /// Where a subject stands at `now`.
    pub(super) fn standing(&self, subject: &Subject, now: Timestamp) -> Arc<Standing> {
        let mut key = MemoryKey::new();
        key.bytes(subject.principal.id().as_str().as_bytes());
        subject.groups.iter().for_each(|group| key.bytes(group.as_str().as_bytes()));
        if let Some(standing) = self.standings.get(&key)
            && standing.window.holds(now)
        {
            return standing;
        }
        let held = |of: &SubjectRef| self.bound(of);
        let groups = self.graph.groups_of(subject.principal.id(), &subject.groups);
        let standing = Standing::new(self.number(), subject, groups, held, now);
        let standing = Arc::new(standing);
        self.standings.keep(key, Arc::clone(&standing));
        standing
    }

    /// A number that nothing else in this world has.
    pub(super) fn number(&self) -> u64 {
        self.numbers.fetch_add(1, Ordering::Relaxed)
    }

    /// The actions that manage access and that this tenant has.
    pub(super) fn managing(&self) -> ActionSet {
        ActionSet::all(|action| action.manages_access() && self.has(action))
    }

    /// Whether this tenant has the action at all.
    pub(super) fn has(&self, action: Action) -> bool {
        !action.is_of_the_installation() || self.material.is_installation
    }
}

/// Every policy and grant as a rule, each in its place of the index.
fn rules(
    policies: &BTreeMap<PolicyId, Arc<ParsedPolicy>>,
    material: &Material,
    index: &mut Index,
    tenant: TenantId,
) -> Vec<Rule> {
    let mut rules = Vec::with_capacity(policies.len().saturating_add(material.grants.len()));
    for policy in policies.values() {
        index.add_policy(policy, tenant, rules.len());
        let (id, condition) = (policy.id().shared().clone(), policy.condition.clone());
        rules.push(Rule { id, permits: policy.permits, condition, expire_time: None });
    }
    for one in &material.grants {
        index.add_grant(one, rules.len());
        let condition = (!one.encryption_context.is_empty())
            .then(|| Arc::new(Condition::of_grant(one.clone())));
        let (id, expire_time) = (grant::id(one).into(), one.expire_time);
        rules.push(Rule { id, permits: true, condition, expire_time });
    }
    rules
}
