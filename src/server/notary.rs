//! The notary of the audit log, with the installation's key; and the change of that key.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::sync::Arc;

use crate::audit::{
    Outcome, ROTATE_KEY, Record, Sign, SignedCheckpoint, VerifyingKey, rotated_key, rotation_detail,
};
use crate::auth::CheckpointKey;
use crate::clock::{Clock, SystemClock};
use crate::config::Config;
use crate::custody::{AuditSeeds, Custody};
use crate::policy::PrincipalId;
use crate::service::Refusal;
use crate::trail::{Notary, NotaryError, Trail};

use super::assemble;
use super::error::ServerError;

/// Both keys, the next where the key is being changed.
type Keys = (Arc<CheckpointKey>, Option<(Arc<CheckpointKey>, u64)>);

/// Puts aside what was signed about an older log, and the tree over it: before a new log is begun, so
/// that a start that is interrupted between the two leaves nothing that contradicts the new one.
pub(super) fn put_aside(config: &Config) -> Result<(), ServerError> {
    let folder = config.audit_directory();
    let failed = |error| ServerError::System("put the old checkpoints aside", error);
    let aside = config.data_directory.join(format!("audit.before-{}", SystemClock.unix_us()));
    for derived in DERIVED.map(|name| folder.join(name)).iter().filter(|path| path.exists()) {
        let made = DirBuilder::new().mode(0o700).create(&aside);
        match made {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(failed(error));
            }
            _ => {}
        }
        let name = derived.file_name().unwrap_or_default();
        fs::rename(derived, aside.join(name)).map_err(failed)?;
    }
    Ok(())
}

/// Starts the notary: nothing is served unless what was signed is the beginning of the log.
pub(super) async fn start(
    config: &Config,
    custody: &Custody,
    trail: &Trail,
) -> Result<Notary, ServerError> {
    let folder = config.audit_directory();
    let (current, next) = keys(custody, &custody.audit_seeds().await?)?;
    // Then the program ended between the log's record of the new key and the store's.
    let said = match &next {
        Some((key, after)) => says_so(trail, *after, current.key(), key.key())?,
        None => false,
    };
    let next = next.map(|(key, _)| key as Arc<dyn Sign + Send + Sync>);
    let trail = trail.clone();
    let started = tokio::task::spawn_blocking(move || {
        Notary::start(&folder, trail, current, next, Box::new(|| SystemClock.unix_us()))
    });
    let notary = started.await.map_err(|_| ServerError::Ended("the notary's start"))??;
    if said {
        // Only now: with the old key forgotten nobody could read a checkpoint that it signed.
        custody.complete_audit_key().await?;
    }
    Ok(notary)
}

/// Changes the key that signs checkpoints, while no server runs: the old one signs the new one in a
/// record of the log. Gives the new verifier key.
///
/// # Errors
/// The store or the log cannot be opened or written. Done again, it goes on where it was.
pub async fn rotate_audit_key(config: &Config) -> Result<String, ServerError> {
    assemble::harden(config)?;
    let store = assemble::open_store(config)?;
    let custody = assemble::open_custody(config, &store).await?;
    let (trail, recovery) = assemble::open_trail(config, &custody, false)?;
    let notary = start(config, &custody, &trail).await?;
    let (old, next) = keys(&custody, &custody.prepare_audit_key(recovery.sequence).await?)?;
    let (next, _) = next.ok_or(ServerError::Ended("the change of the key"))?;
    let notarized = notary.notarized();
    notarized.prepare(Arc::<CheckpointKey>::clone(&next));
    let lane = trail.lane();
    let running = tokio::spawn(lane.run());
    let mut record = Record::new(SystemClock.unix_us(), ROTATE_KEY, Outcome::Succeeded);
    record.principal = PrincipalId::installer().to_string().into();
    record.detail = rotation_detail(&*old, next.key()).into();
    let recorded = lane.append(&record).await.map_err(Refusal::from);
    trail.close().await;
    running.abort();
    let _ = running.await;
    // Signs the record with the new key, before the store forgets the old one.
    let _ = tokio::task::spawn_blocking(move || drop(notary)).await;
    recorded?;
    let signed = notarized.checkpoint().ok_or(NotaryError::NotYet)?;
    SignedCheckpoint::open(signed.as_bytes(), next.key()).map_err(|_| NotaryError::NotYet)?;
    custody.complete_audit_key().await?;
    store.close().await?;
    Ok(next.key().to_string())
}

fn keys(custody: &Custody, seeds: &AuditSeeds) -> Result<Keys, ServerError> {
    let id = custody.installation_id();
    let current = Arc::new(CheckpointKey::new(id, &seeds.current)?);
    let next = match &seeds.next {
        Some((seed, after)) => Some((Arc::new(CheckpointKey::new(id, seed)?), *after)),
        None => None,
    };
    Ok((current, next))
}

/// Whether a record after the sequence `after` hands over from `old` to `next`.
fn says_so(
    trail: &Trail,
    after: u64,
    old: &VerifyingKey,
    next: &VerifyingKey,
) -> Result<bool, ServerError> {
    let mut frames = trail.segments().frames(after);
    while let Some(said) = frames
        .next(|frame| rotated_key(frame.payload(), old).as_ref() == Some(next))
        .map_err(NotaryError::from)?
    {
        if said {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What lies beside the segments and is of one log.
const DERIVED: [&str; 6] = ["checkpoint", "checkpoints", "cosigned", "key.pub", "sinks", "tile"];
