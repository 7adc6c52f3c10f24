//! Where a subject stands at a moment: its groups and roles, and until when that is so.

use crate::keys::Timestamp;
use crate::policy::material::{HeldRole, SubjectRef};
use crate::policy::reach::Whose;
use crate::policy::relation::{Related, RelationName, TooManyGroups};
use crate::policy::role::{Role, RoleName};
use crate::policy::subject::{GroupName, Subject};

/// A subject's groups and roles.
pub(super) struct Standing {
    /// Of its own, so that what is kept about it is found by it.
    pub(super) number: u64,
    /// All groups that it is in.
    pub(super) groups: Result<Vec<GroupName>, TooManyGroups>,
    /// The roles that it holds, each once.
    pub(super) roles: Vec<RoleName>,
    /// Whom a scope can name so that it is about the subject.
    pub(super) whose: Vec<Whose>,
    /// While all of this is so.
    pub(super) window: Window,
}

/// A span of time in which nothing ends: from the first moment to just before the second.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Window {
    from: Option<Timestamp>,
    until: Option<Timestamp>,
}

// === impl Standing ===

impl Standing {
    /// Of a subject in these groups, with the bindings of it and of each group.
    pub(super) fn new<'a>(
        number: u64,
        subject: &Subject,
        groups: Result<Vec<GroupName>, TooManyGroups>,
        held: impl Fn(&SubjectRef) -> &'a [HeldRole],
        now: Timestamp,
    ) -> Self {
        let mut window = Window::ALWAYS;
        let mut roles = Vec::new();
        let own = SubjectRef::Principal(subject.principal.id().clone());
        let of_groups = groups.iter().flatten().cloned().map(SubjectRef::Members);
        for subject in of_groups.chain([own]) {
            for HeldRole { role, expire_time } in held(&subject) {
                if window.lasts(*expire_time, now) {
                    roles.push(role.clone());
                }
            }
        }
        roles.sort_unstable();
        roles.dedup();
        let mut whose =
            vec![Whose::Anyone, Whose::Principal(subject.principal.id().as_str().into())];
        let of_groups = groups.iter().flatten();
        whose.extend(of_groups.map(|group| Whose::Group(group.as_str().into())));
        whose.extend(roles.iter().map(|role| Whose::Role(role.as_str().into())));
        Self { number, groups, roles, whose, window }
    }

    /// The groups; none, where they are too many.
    pub(super) fn groups(&self) -> &[GroupName] {
        self.groups.as_deref().unwrap_or_default()
    }

    /// Whether what is about `whom` is about the subject itself.
    pub(super) fn is(&self, subject: &Subject, whom: &SubjectRef) -> bool {
        match whom {
            SubjectRef::Principal(id) => id == subject.principal.id(),
            SubjectRef::Members(group) => self.groups().contains(group),
        }
    }

    /// Whether the roles, and the relations to a key, are for duties that one principal must not have
    /// together: managing keys and using or moving what they seal, using them and reading what was done.
    pub(super) fn is_torn(&self, related: Related) -> bool {
        let duty = |role: Role, relation: Option<RelationName>| {
            self.roles.iter().any(|held| held.as_str() == role.name())
                || relation.is_some_and(|relation| related.holds(relation))
        };
        let manages = duty(Role::KeyManager, Some(RelationName::Manager));
        let uses = duty(Role::KeyUser, Some(RelationName::User));
        let moves = duty(Role::KeyRewrapper, Some(RelationName::Rewrapper));
        (manages && (uses || moves)) || (uses && duty(Role::Auditor, None))
    }
}

// === impl Window ===

impl Window {
    /// Nothing ever ends.
    pub(super) const ALWAYS: Self = Self { from: None, until: None };

    /// Whether something that ends then goes on at `now`. Either way the window becomes one in which that
    /// answer stays: clocks are set back, too.
    pub(super) fn lasts(&mut self, end: Option<Timestamp>, now: Timestamp) -> bool {
        match end {
            Some(end) if end <= now => {
                self.from = self.from.max(Some(end));
                false
            }
            Some(end) => {
                self.until = Some(self.until.map_or(end, |until| until.min(end)));
                true
            }
            None => true,
        }
    }

    /// The part that lies in both.
    pub(super) fn and(self, other: Self) -> Self {
        let until = match (self.until, other.until) {
            (Some(one), Some(two)) => Some(one.min(two)),
            (one, two) => one.or(two),
        };
        Self { from: self.from.max(other.from), until }
    }

    /// Whether `now` lies in it.
    pub(super) fn holds(self, now: Timestamp) -> bool {
        self.from.is_none_or(|from| from <= now) && self.until.is_none_or(|until| now < until)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn d11_a_window_ends_where_the_next_thing_ends_and_begins_where_the_last_ended() {
        let at = Timestamp::from_unix_ms;
        let mut window = Window::ALWAYS;
        assert!(window.holds(at(i64::MIN)) && window.holds(at(i64::MAX)));
        assert!(window.lasts(None, at(10)));
        assert_eq!(window, Window::ALWAYS);
        for (end, lasts) in
            [(20, true), (15, true), (30, true), (5, false), (10, false), (7, false)]
        {
            assert_eq!(window.lasts(Some(at(end)), at(10)), lasts, "{end}");
        }
        for (now, inside) in [(9, false), (10, true), (14, true), (15, false)] {
            assert_eq!(window.holds(at(now)), inside, "{now}");
        }
    }
}
