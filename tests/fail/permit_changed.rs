// error: E0616
use bulla::policy::{Action, Permit};

pub fn widened(mut permit: Permit) -> Permit {
    permit.action = Action::Decrypt;
    permit
}
