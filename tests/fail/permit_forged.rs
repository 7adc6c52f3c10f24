// error: E0451
use bulla::policy::{Action, Permit, Principal};

pub fn forged(principal: Principal) -> Permit {
    Permit { principal, action: Action::Decrypt }
}
