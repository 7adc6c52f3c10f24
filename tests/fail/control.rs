// compiles
use bulla::keys::TenantId;
use bulla::policy::{Action, Permit, Principal, PrincipalId, ProgramRole, decide_internal};

pub fn asked() -> Option<Permit> {
    let id = PrincipalId::parse("spiffe://demo.bulla/app").ok()?;
    let principal = Principal::new(id, TenantId::from_bytes([1; 16]));
    decide_internal(&principal, ProgramRole::Scheduler, Action::RotateKey).ok()
}
