// error: E0599
use bulla::policy::Permit;

pub fn two(permit: Permit) -> (Permit, Permit) {
    (permit.clone(), permit)
}
