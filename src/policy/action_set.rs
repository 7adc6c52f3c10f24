//! Sets of actions, as small as a number: what a policy's scope says about actions.

use crate::policy::action::Action;

/// Some of the actions.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub(super) struct ActionSet(u128);

const _: () = assert!(Action::ALL.len() <= 128, "a set of actions has 128 places");

// === impl ActionSet ===

impl ActionSet {
    /// None.
    pub(super) const EMPTY: Self = Self(0);

    /// Just this one.
    pub(super) const fn of(action: Action) -> Self {
        match 1_u128.checked_shl(action as u32) {
            Some(bit) => Self(bit),
            None => Self(0),
        }
    }

    /// Every action that passes the test.
    pub(super) fn all(test: impl Fn(Action) -> bool) -> Self {
        Action::ALL
            .iter()
            .filter(|action| test(**action))
            .fold(Self::EMPTY, |set, action| set.or(Self::of(*action)))
    }

    pub(super) const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    pub(super) const fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }

    pub(super) const fn holds(self, action: Action) -> bool {
        self.0 & Self::of(action).0 != 0
    }

    pub(super) const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// Each of them, in the order of the table.
    pub(super) fn each(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |action| self.holds(*action))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_holds_what_was_put_in_and_nothing_else() {
        let set = ActionSet::of(Action::Decrypt).or(ActionSet::of(Action::Status));
        for action in Action::ALL {
            let inside = matches!(action, Action::Decrypt | Action::Status);
            assert_eq!(set.holds(*action), inside, "{action:?}");
            assert_eq!(!set.and(ActionSet::of(*action)).is_empty(), inside, "{action:?}");
        }
        assert_eq!(set.each().collect::<Vec<_>>(), [Action::Decrypt, Action::Status]);
        assert!(ActionSet::EMPTY.is_empty() && !set.is_empty());
        assert_eq!(ActionSet::all(|_| true).each().count(), Action::ALL.len());
        assert_eq!(ActionSet::all(|action| action == Action::Status).each().count(), 1);
    }
}
