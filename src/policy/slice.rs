//! What can decide an action of one subject at one spot: the policies whose scope holds, and what must be
//! known to evaluate their conditions.

use std::sync::Arc;

use crate::keys::Timestamp;
use crate::policy::action::Action;
use crate::policy::action_set::ActionSet;
use crate::policy::condition::Reads;
use crate::policy::index::{Spot, Whom};
use crate::policy::memory::MemoryKey;
use crate::policy::pairs::Pairs;
use crate::policy::permit::Denied;
use crate::policy::principal::PrincipalId;
use crate::policy::question::KeyFacts;
use crate::policy::relation::Related;
use crate::policy::standing::{Standing, Window};
use crate::policy::world::{Answer, Rule, World};

/// The policies that can decide.
pub(super) struct Slice {
    /// Of its own, so that answers are found by it.
    pub(super) number: u64,
    pub(super) action: Action,
    /// How the subject stands to the key.
    pub(super) related: Related,
    /// Policies without conditions that permit, and that forbid.
    pub(super) permits: Vec<Arc<str>>,
    pub(super) forbids: Vec<Arc<str>>,
    /// Policies with conditions, by their place among the rules.
    pub(super) conditional: Vec<usize>,
    /// Whether the subject has duties that nobody may have together.
    pub(super) torn: bool,
    /// What could let the subject manage access, where that rules this action out.
    pub(super) powers: Powers,
    /// What its own conditions read, and what they and those of its powers read together.
    pub(super) own_reads: Reads,
    pub(super) reads: Reads,
    /// Which pairs of the encryption context all of them read.
    pub(super) pairs: Pairs,
    /// While no grant in it begins or ends.
    window: Window,
    /// The answer, where no condition has a say.
    pub(super) answer: Option<Answer>,
}

/// Whether a subject may manage access.
pub(super) enum Powers {
    /// No policy permits it.
    None,
    /// That depends: each is a way to it.
    Some(Vec<Arc<Slice>>),
}

// === impl World ===

impl World {
    /// What can decide `action` on a key, or on the tenant where there is none.
    pub(super) fn slice(
        &self,
        standing: &Standing,
        principal: &PrincipalId,
        action: Action,
        key: Option<&KeyFacts>,
        now: Timestamp,
    ) -> Arc<Slice> {
        // Keys about which nothing is said are all decided alike, by their ring.
        let named = key.map(|key| key.id).filter(|id| self.index.names(*id));
        let ring = key.and_then(|key| key.ring.as_ref()).map(|ring| ring.as_str());
        let mut memory_key = MemoryKey::new();
        memory_key.number(standing.number);
        memory_key.number(action as u64);
        memory_key.maybe(named.as_ref().map(|id| id.as_bytes().as_slice()));
        memory_key.maybe(ring.map(str::as_bytes));
        if let Some(slice) = self.slices.get(&memory_key)
            && slice.window.holds(now)
        {
            return slice;
        }
        let related = key
            .map(|key| self.graph.related(principal, standing.groups(), key))
            .unwrap_or_default();
        let spot = Spot { key: named, ring };
        let managing = if action.uses_keys() { self.managing() } else { ActionSet::EMPTY };
        let whom = Whom { whose: &standing.whose, related };
        let wanted = ActionSet::of(action).or(managing);
        let found = self.index.find(&whom, spot, wanted);
        let mut slice = Slice::new(self.number(), action, related);
        slice.take(&self.rules, &found, now);
        slice.torn = standing.is_torn(related);
        slice.powers = self.powers(&mut slice, &found, managing, now);
        slice.settle();
        let slice = Arc::new(slice);
        self.slices.keep(memory_key, Arc::clone(&slice));
        slice
    }

    /// The ways in which the subject could manage access, by the policies found for it.
    fn powers(
        &self,
        slice: &mut Slice,
        found: &[(usize, ActionSet)],
        managing: ActionSet,
        now: Timestamp,
    ) -> Powers {
        let permitting =
            found.iter().filter(|(rule, _)| self.rules.get(*rule).is_some_and(|rule| rule.permits));
        let possible = permitting.fold(ActionSet::EMPTY, |set, (_, actions)| set.or(*actions));
        let possible = possible.and(managing);
        if possible.is_empty() {
            return Powers::None;
        }
        let ways = possible.each().map(|action| {
            // Nobody stands in a relation to the tenant.
            let related = if action.is_on_key() { slice.related } else { Related::default() };
            let mut way = Slice::new(self.number(), action, related);
            way.take(&self.rules, found, now);
            way.settle();
            slice.window = slice.window.and(way.window);
            slice.reads = slice.reads.or(way.reads);
            slice.pairs = std::mem::replace(&mut slice.pairs, Pairs::All).and(&way.pairs);
            Arc::new(way)
        });
        Powers::Some(ways.collect())
    }
}

// === impl Slice ===

impl Slice {
    fn new(number: u64, action: Action, related: Related) -> Self {
        Self {
            number,
            action,
            related,
            permits: Vec::new(),
            forbids: Vec::new(),
            conditional: Vec::new(),
            torn: false,
            powers: Powers::None,
            own_reads: Reads::NOTHING,
            reads: Reads::NOTHING,
            pairs: Pairs::NONE,
            window: Window::ALWAYS,
            answer: None,
        }
    }

    /// Takes the rules that are about its action and have not ended.
    fn take(&mut self, rules: &[Rule], found: &[(usize, ActionSet)], now: Timestamp) {
        for (place, _) in found.iter().filter(|(_, actions)| actions.holds(self.action)) {
            let Some(rule) = rules.get(*place) else { continue };
            if !self.window.lasts(rule.expire_time, now) {
                continue;
            }
            match (&rule.condition, rule.permits) {
                (Some(condition), _) => {
                    self.conditional.push(*place);
                    self.own_reads = self.own_reads.or(condition.reads());
                    self.pairs =
                        std::mem::replace(&mut self.pairs, Pairs::All).and(condition.pairs());
                }
                (None, true) => self.permits.push(Arc::clone(&rule.id)),
                (None, false) => self.forbids.push(Arc::clone(&rule.id)),
            }
        }
        self.reads = self.own_reads;
    }

    /// Answers at once what no condition can change.
    fn settle(&mut self) {
        let powers = match &self.powers {
            Powers::None => Some(false),
            Powers::Some(ways) => {
                // One way that is open is enough; all must be known to be closed.
                let is_open = ways.iter().any(|way| matches!(way.answer, Some(Ok(_))));
                let is_known = is_open || ways.iter().all(|way| way.answer.is_some());
                is_known.then_some(is_open)
            }
        };
        if let (true, Some(powers)) = (self.conditional.is_empty(), powers) {
            self.answer = Some(self.answer(Vec::new(), Vec::new(), || powers));
        }
    }

    /// The answer, given which conditional policies hold and whether the subject may manage access.
    pub(super) fn answer(
        &self,
        permitting: Vec<Arc<str>>,
        forbidding: Vec<Arc<str>>,
        manages_access: impl FnOnce() -> bool,
    ) -> Answer {
        let forbids: Vec<_> = self.forbids.iter().cloned().chain(forbidding).collect();
        if !forbids.is_empty() {
            return Err(Denied::Forbidden { policies: few(forbids) });
        }
        let permits: Vec<_> = self.permits.iter().cloned().chain(permitting).collect();
        if permits.is_empty() && !self.action.needs_no_policy() {
            return Err(Denied::NoPolicy);
        }
        if self.torn && !self.action.needs_no_policy() {
            return Err(Denied::SeparationOfDuties);
        }
        if self.action.uses_keys() && manages_access() {
            return Err(Denied::NoGod);
        }
        Ok(few(permits))
    }
}

/// The first ids: a record has room for so many.
pub(super) fn few(mut ids: Vec<Arc<str>>) -> Arc<[Arc<str>]> {
    ids.sort_unstable();
    ids.truncate(MAX_NAMED);
    ids.into()
}

/// How many deciding policies are named.
pub(super) const MAX_NAMED: usize = 8;
