// error: E0451
use bulla::policy::{Action, Permit, Principal};

pub fn forged(principal: Principal) -> Permit {
    Permit {
        principal,
        action: Action::Decrypt,
        key: None,
        decided_by: Default::default(),
        reads_encryption_context: false,
    }
}
