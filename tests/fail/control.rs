// compiles
use bulla::keys::TenantId;
use bulla::policy::{Action, Permit, Principal, PrincipalId, Role, decide};

pub fn asked() -> Option<Permit> {
    let id = PrincipalId::parse("spiffe://demo.bulla/app").ok()?;
    let principal = Principal::new(id, TenantId::from_bytes([1; 16]));
    decide(&principal, Action::Decrypt, &[Role::KeyUser], None).ok()
}
