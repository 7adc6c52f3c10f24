//! `bulla check`: whether an installation would start here, without starting it.

use crate::config::Config;
use crate::crypto::memory::{self, Locked};
use crate::trail::{Trail, TrailError};

use super::assemble;
use super::error::ServerError;
use super::serve;
use super::trust::Files;

/// One thing that was looked at.
pub struct Finding {
    /// What.
    pub subject: &'static str,
    /// What was found, or what is wrong and what to do.
    pub result: Result<String, ServerError>,
}

/// Looks at everything that a start needs, in the order of a start. Changes nothing.
pub async fn check(config: &Config) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut found = |subject, result| findings.push(Finding { subject, result });
    found("cryptography", assemble::harden(config).map(|()| "self-tests passed".to_owned()));
    found("memory", Ok(memory_locking()));
    found("tls", serve::tls_identity(config).map(|_| "certificate and key are read".to_owned()));
    found("identity", Files::read(config).map(|_| identity(config)));
    found("store", open(config).await);
    findings
}

async fn open(config: &Config) -> Result<String, ServerError> {
    let store = assemble::open_store(config)?;
    let custody = assemble::open_custody(config, &store).await?;
    let (trail, recovery) = assemble::open_trail(config, &custody, false)?;
    let verified = verify(&trail, recovery.sequence).await;
    trail.close().await;
    verified.map_err(|source| ServerError::Trail { path: config.audit_directory(), source })?;
    let status = custody.store_status().await?;
    store.close().await?;
    Ok(format!(
        "opens at revision {}; the audit log verifies up to record {}",
        status.head, recovery.sequence
    ))
}

/// Reads the whole log, from its first record.
async fn verify(trail: &Trail, sequence: u64) -> Result<(), TrailError> {
    let mut frames = trail.segments().frames(0);
    let verifying = tokio::task::spawn_blocking(move || {
        let mut reached = 0;
        while reached < sequence
            && let Some(next) = frames.next(|frame| frame.sequence())?
        {
            reached = next;
        }
        Ok(())
    });
    verifying.await.map_err(|_| TrailError::Closed)?
}

fn identity(config: &Config) -> String {
    let (domains, issuers) = (config.trust_domains.len(), config.issuers.len());
    format!("{domains} trust domains and {issuers} issuers of tokens are read")
}

fn memory_locking() -> String {
    let probe = Locked::new(|| [0_u8; 32]);
    let protection = memory::protection();
    drop(probe);
    if protection.unlocked_bytes > 0 {
        "not locked: keys may be written to swap; raise the limit of locked memory".to_owned()
    } else {
        "keys are locked and not dumped".to_owned()
    }
}
