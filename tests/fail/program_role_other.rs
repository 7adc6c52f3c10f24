// error: E0308
use bulla::keys::TenantId;
use bulla::policy::{Action, Permit, Principal, PrincipalId, Role, decide_internal};

pub fn asked() -> Option<Permit> {
    let id = PrincipalId::parse("spiffe://demo.bulla/app").ok()?;
    let principal = Principal::new(id, TenantId::from_bytes([1; 16]));
    decide_internal(&principal, Role::KeyUser, Action::Decrypt).ok()
}
