// error: E0382
use bulla::policy::Permit;

pub fn two(permit: Permit) -> (Permit, Permit) {
    (permit, permit)
}
