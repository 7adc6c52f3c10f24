//! Verifying a copy of an audit log with the public key alone: no server, no store, no secret.
//!
//! Reads the folder that a server keeps (`audit/` with the log's segments, its checkpoints and tiles) and
//! changes nothing there. It trusts the key that it is given and nothing that lies in the
//! folder.

mod export;
mod folder;
mod window;

use std::cell::RefCell;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use crate::audit::verify::{Segmented, Verified, Verifier, VerifyError};
use crate::audit::{
    AnchoredNotes, MAX_CHECKPOINT_BYTES, SignedCheckpoint, VerifyingKey, WitnessKey,
    installation_of,
};
use crate::trail::CopiedSegments;

pub use crate::audit::verify::{Finding, What};

pub use export::Export;

use export::Overheard;
use folder::Beside;
use window::SegmentFiles;

/// What is verified, and against what.
#[derive(Clone, Debug, Default)]
pub struct Copied {
    /// The data directory, with the folder `audit`.
    pub directory: PathBuf,
    /// The file with the verifier key.
    pub public_key: PathBuf,
    /// Files with checkpoints that were kept elsewhere.
    pub checkpoints: Vec<PathBuf>,
    /// Files that an anchor appended checkpoints to: each of them must be on the log.
    pub anchors: Vec<PathBuf>,
    /// Witnesses that are trusted.
    pub witnesses: Vec<WitnessKey>,
    /// How many of them must have signed a checkpoint.
    pub quorum: usize,
}

/// What verification showed.
#[derive(Clone, Debug)]
pub enum Shown {
    /// All of it is as it was written, and so many records are in a checkpoint that enough witnesses
    /// have signed.
    Whole(Verified, u64),
    /// All of it is as it was written, and fewer witnesses than were asked for have signed anything.
    Unwitnessed(Verified),
    /// Something was done to it.
    Bad(Finding),
}

/// Why a copy cannot be verified at all.
#[derive(Debug, thiserror::Error)]
pub enum AuditorError {
    /// A file cannot be read.
    #[error("cannot read {path}: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// What was asked for cannot be written.
    #[error("cannot write: {0}")]
    Write(io::Error),
    /// The file holds no verifier key.
    #[error("{0} holds no verifier key of the form NAME+ID+KEY")]
    NotAKey(PathBuf),
    /// There is no log.
    #[error("{0} has no audit log: there is no folder audit/segments")]
    NotALog(PathBuf),
}

/// Verifies it from its first record to its last. `progress` is told now and then how many parts of how
/// many were read.
///
/// # Errors
/// A file cannot be read, or is no key or log.
pub fn verify(copied: &Copied, progress: &mut dyn FnMut(u64, u64)) -> Result<Shown, AuditorError> {
    run(copied, None, progress)
}

/// Verifies it, and gives away what is asked for of the records that follow the chain.
///
/// # Errors
/// As of [`verify`], and where a record cannot be given.
pub fn export(
    copied: &Copied,
    export: Export<'_>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Shown, AuditorError> {
    run(copied, Some(export), progress)
}

fn run(
    copied: &Copied,
    export: Option<Export<'_>>,
    progress: &mut dyn FnMut(u64, u64),
) -> Result<Shown, AuditorError> {
    let key = read_key(&copied.public_key)?;
    let installation_id = installation_of(key.name())
        .ok_or_else(|| AuditorError::NotAKey(copied.public_key.clone()))?;
    let folder = copied.directory.join("audit");
    let segments = CopiedSegments::open(&folder).map_err(|error| match error.kind() {
        io::ErrorKind::NotFound => AuditorError::NotALog(copied.directory.clone()),
        _ => read_failed(&folder, error),
    })?;
    let notes = kept_outside(copied, &folder)?;
    let witnessed = witnessed(copied, &folder, &notes);
    let verifier = Verifier::new(installation_id, key, notes);
    let mut beside = Beside::open(&folder)?;
    let progress = RefCell::new(progress);
    let told = |read: u64, length: u64| (progress.borrow_mut())(read, length);
    let log = Segmented::new(installation_id, SegmentFiles::new(folder, segments, &told));
    let mut log = Overheard { log, export, last: None };
    match verifier.run(&mut log, &mut beside) {
        Ok(verified) => Ok(match witnessed {
            Some(witnessed) => Shown::Whole(verified, witnessed),
            None => Shown::Unwitnessed(verified),
        }),
        Err(VerifyError::Found(finding)) => Ok(Shown::Bad(finding)),
        Err(VerifyError::Log(error)) => Err(error),
    }
}

/// Every note that is not beside the log in its order: each is compared with the log.
fn kept_outside(copied: &Copied, folder: &Path) -> Result<Vec<Vec<u8>>, AuditorError> {
    let mut notes = Vec::new();
    for path in &copied.checkpoints {
        notes.push(read_checkpoint(path)?);
    }
    for path in &copied.anchors {
        let text = fs::read_to_string(path).map_err(|source| read_failed(path, source))?;
        // A piece of a note that was not finished says nothing.
        let whole = AnchoredNotes::new(&text).map(String::into_bytes);
        notes.extend(whole.filter(|note| SignedCheckpoint::claimed(note).is_ok()));
    }
    let cosigned = folder.join("cosigned");
    if cosigned.exists() {
        notes.push(read_checkpoint(&cosigned)?);
    }
    Ok(notes)
}

/// How many records the largest checkpoint covers that enough witnesses have signed; 0 where nobody
/// asked, and None where there is none.
fn witnessed(copied: &Copied, folder: &Path, notes: &[Vec<u8>]) -> Option<u64> {
    if copied.witnesses.is_empty() {
        return Some(0);
    }
    let newest = read_checkpoint(&folder.join("checkpoint")).ok();
    let notes = notes.iter().chain(&newest);
    let signed = notes.filter(|note| {
        let count = copied.witnesses.iter().filter(|witness| witness.has_signed(note)).count();
        count >= copied.quorum
    });
    signed.filter_map(|note| Some(SignedCheckpoint::claimed(note).ok()?.size)).max()
}

fn read_key(path: &Path) -> Result<VerifyingKey, AuditorError> {
    let text = fs::read_to_string(path).map_err(|source| read_failed(path, source))?;
    VerifyingKey::parse(&text).map_err(|_| AuditorError::NotAKey(path.to_owned()))
}

fn read_checkpoint(path: &Path) -> Result<Vec<u8>, AuditorError> {
    let mut bytes = Vec::new();
    let most = MAX_CHECKPOINT_BYTES.saturating_add(1) as u64;
    let read = File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes));
    read.map_err(|source| read_failed(path, source))?;
    Ok(bytes)
}

fn read_failed(path: &Path, source: io::Error) -> AuditorError {
    AuditorError::Read { path: path.to_owned(), source }
}
