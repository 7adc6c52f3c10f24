//! Whether a change that was announced in the audit log was committed: told by a row of the same commit.

use crate::keys::TenantId;

use super::Custody;
use super::changes::Changes;
use super::error::CustodyError;
use super::rows::{OutboxRecord, REQUEST_KEPT_MS};

// === impl Changes ===

impl Changes<'_> {
    /// The audit record that announced this change: its sequence and its time in microseconds. A
    /// change of nothing stays one.
    pub fn announced_by(&mut self, started_sequence: u64, started_time_us: i64) {
        let due_time = self.custody().now().plus_ms(REQUEST_KEPT_MS);
        self.put_beside(&OutboxRecord { started_sequence, started_time_us, due_time });
    }
}

// === impl Custody ===

impl Custody {
    /// Whether the change that this audit record announced was committed. Known for 24 hours.
    ///
    /// # Errors
    /// The store cannot be read, or the row is not one that this program wrote.
    pub async fn was_committed(
        &self,
        tenant: TenantId,
        started_sequence: u64,
        started_time_us: i64,
    ) -> Result<bool, CustodyError> {
        let tenant = self.tenant(tenant)?;
        let row_id = OutboxRecord::row_id_of(started_sequence);
        let found = self.load::<OutboxRecord>(&tenant, row_id).await?;
        Ok(found.is_some_and(|(record, _)| record.started_time_us == started_time_us))
    }
}
