//! `bulla whoami` and `bulla status`: who the server takes you for, and how it stands.

use bulla_client::kms;

use super::failure::Failure;
use super::table::record;
use super::{Session, time};

/// Who the server takes the caller for.
pub(crate) async fn whoami(session: &Session) -> Result<(), Failure> {
    let response = session.client().await?.who_am_i(kms::WhoAmIRequest {}).await?;
    session.printer.message(&response, |_| {
        record(&[
            ("principal", response.principal.clone()),
            ("tenant", response.tenant.clone()),
            ("roles", response.roles.join(", ")),
            ("groups", response.groups.join(", ")),
            ("credential_kind", response.credential_kind.clone()),
            ("end_user", response.end_user.clone()),
        ])
    })
}

/// How the server stands.
pub(crate) async fn status(session: &Session) -> Result<(), Failure> {
    let response = session.client().await?.status(kms::StatusRequest {}).await?;
    let scheduler = response.scheduler.unwrap_or_default();
    session.printer.message(&response, |now| {
        record(&[
            ("program_version", response.program_version.clone()),
            ("environment", response.environment.clone()),
            ("uptime", time::span(response.uptime.as_ref())),
            ("store_kind", response.store_kind.clone()),
            ("store_revision", response.store_revision.to_string()),
            ("audit_sequence", response.audit_sequence.to_string()),
            ("connections", response.connections.to_string()),
            ("seal_slot", response.seal_slot.clone()),
            ("holds_lease", scheduler.holds_lease.to_string()),
            ("last_turn_time", time::shown(scheduler.last_turn_time.as_ref(), now)),
            ("rotations", scheduler.rotations.to_string()),
            ("due", scheduler.due.to_string()),
            ("deferred", scheduler.deferred.to_string()),
        ])
    })
}
