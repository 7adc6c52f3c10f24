//! Whose a service account's credential is, by the rows in custody. Never says why it is nobody's.

use std::net::IpAddr;
use std::sync::Arc;

use async_trait::async_trait;

use crate::auth::{AuthError, CredentialDirectory, PresentedCredential};
use crate::custody::{Custody, CustodyError};
use crate::keys::{CredentialId, TenantId};
use crate::policy::Subject;

/// The credentials of every tenant.
pub(super) struct Directory(pub(super) Arc<Custody>);

#[async_trait]
impl CredentialDirectory for Directory {
    async fn subject_of(
        &self,
        credential: &PresentedCredential,
        source: IpAddr,
    ) -> Result<Arc<Subject>, AuthError> {
        let (tenant, id) = (credential.tenant(), CredentialId::from_bytes(*credential.id()));
        let found = self.0.subject_of_credential(tenant, id, credential.secret(), source).await;
        found.map_err(unknown)
    }

    async fn still(&self, tenant: TenantId, id: CredentialId) -> Result<(), AuthError> {
        self.0.still_credential(tenant, id).await.map_err(unknown)
    }
}

fn unknown(error: CustodyError) -> AuthError {
    match error {
        CustodyError::NotFound => AuthError::UnknownCredential,
        error => {
            tracing::error!(%error, "a credential cannot be looked up");
            AuthError::Unavailable
        }
    }
}
