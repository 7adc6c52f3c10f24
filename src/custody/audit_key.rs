//! The key that signs the audit log's checkpoints: one row of the installation, wrapped under the root
//! key. Gives the Ed25519 seed and never signs anything; the public key is nobody's secret.

use zeroize::Zeroizing;

use crate::crypto::{Binding, BlobKind, Header, KeyMaterial, Label};
use crate::keys::TenantId;
use crate::store::{Commit, Expect};

use super::Custody;
use super::error::CustodyError;
use super::rows::{AUDIT_KEY_ROW, AuditKeyRecord, Record};
use super::tenant::context;

/// The seeds of the key that signs checkpoints.
pub struct AuditSeeds {
    /// Of the key that signs now.
    pub current: Zeroizing<[u8; 32]>,
    /// While the key is changed: the next one, and the log's end when that began.
    pub next: Option<(Zeroizing<[u8; 32]>, u64)>,
}

// === impl Custody ===

impl Custody {
    /// The seeds, as the store has them. Makes the key where there is none yet.
    pub async fn audit_seeds(&self) -> Result<AuditSeeds, CustodyError> {
        if let Some((record, _)) = self.audit_key_record().await? {
            return self.open_audit_key(&record);
        }
        let wrapped = self.make_audit_key(FIRST_GENERATION)?;
        let record = AuditKeyRecord { generation: FIRST_GENERATION, wrapped, next: None };
        match self.put_new(vec![self.seal_of_installation(&record)]).await {
            Ok(_) => self.open_audit_key(&record),
            // Another program was first.
            Err(CustodyError::Conflict) => {
                let found = self.audit_key_record().await?;
                self.open_audit_key(&found.ok_or(CustodyError::NotFound)?.0)
            }
            Err(error) => Err(error),
        }
    }

    /// Makes the next key, unless there is one that the log does not speak of yet. `after` is the
    /// log's end.
    pub async fn prepare_audit_key(&self, after: u64) -> Result<AuditSeeds, CustodyError> {
        let found = self.audit_key_record().await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        let next = match record.next.clone() {
            Some(next) => next,
            None => (self.make_audit_key(record.generation.saturating_add(1))?, after),
        };
        let record = AuditKeyRecord { next: Some(next), ..record };
        self.put_audit_key(&record, revision).await?;
        self.open_audit_key(&record)
    }

    /// The next key is the one that signs from now on: the log says so durably.
    pub async fn complete_audit_key(&self) -> Result<AuditSeeds, CustodyError> {
        let found = self.audit_key_record().await?;
        let (record, revision) = found.ok_or(CustodyError::NotFound)?;
        let Some((wrapped, _)) = record.next.clone() else { return self.open_audit_key(&record) };
        let generation = record.generation.saturating_add(1);
        let record = AuditKeyRecord { generation, wrapped, next: None };
        self.put_audit_key(&record, revision).await?;
        self.open_audit_key(&record)
    }

    async fn audit_key_record(&self) -> Result<Option<(AuditKeyRecord, u64)>, CustodyError> {
        self.load_of_installation(AUDIT_KEY_ROW).await
    }

    async fn put_audit_key(
        &self,
        record: &AuditKeyRecord,
        revision: u64,
    ) -> Result<(), CustodyError> {
        let put = self.seal_of_installation(record);
        let expect = vec![Expect { key: put.key.clone(), revision: Some(revision) }];
        self.store.commit(Commit { expect, puts: vec![put], tombstones: Vec::new() }).await?;
        Ok(())
    }

    fn make_audit_key(&self, generation: u32) -> Result<Vec<u8>, CustodyError> {
        let material = KeyMaterial::generate(&*self.random)?;
        let binding = self.audit_key_binding(generation)?;
        let wrapped = self.root.wrap_key(&*self.random, &binding, &material)?;
        // What is written must open, or the log could not be signed any more.
        self.open_generation(generation, &wrapped)?;
        Ok(wrapped)
    }

    fn open_audit_key(&self, record: &AuditKeyRecord) -> Result<AuditSeeds, CustodyError> {
        let current = self.open_generation(record.generation, &record.wrapped)?;
        let next = match &record.next {
            Some((wrapped, after)) => {
                let generation = record.generation.saturating_add(1);
                Some((self.open_generation(generation, wrapped)?, *after))
            }
            None => None,
        };
        Ok(AuditSeeds { current, next })
    }

    fn open_generation(
        &self,
        generation: u32,
        wrapped: &[u8],
    ) -> Result<Zeroizing<[u8; 32]>, CustodyError> {
        let binding = self.audit_key_binding(generation)?;
        let material = self
            .root
            .open_key(&binding, wrapped)
            .map_err(|failure| CustodyError::unopened(AuditKeyRecord::KIND, failure))?;
        Ok(Zeroizing::new(material.mac_key(AUDIT_KEY_LABEL).tag(&[b"ed25519"])))
    }

    fn audit_key_binding(&self, generation: u32) -> Result<Binding, CustodyError> {
        let context = context([("installation_id", hex::encode(self.installation.id))])?;
        let header = Header::new(BlobKind::AuditKey, self.installation.id, generation, 0)?;
        Ok(Binding::new(&header, TenantId::INSTALLATION.as_bytes(), &context))
    }
}

const FIRST_GENERATION: u32 = 1;

/// The KBKDF label of the key that the Ed25519 seed is made with.
const AUDIT_KEY_LABEL: Label = Label::new("bulla-audit-key-v1");
