//! `bulla audit verify | show | key | checkpoint`: what the server says about its log, checked with a
//! key that came another way.
//!
//! Online, a checkpoint is believed when the pinned key signed it, the last checkpoint that was seen
//! here is its beginning, and each record of the tenant's own is in it. The server is believed nowhere.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use bulla_client::{Client, kms};
use bulla_proof::{
    AnchoredNotes, Hash, MAX_CHECKPOINT_BYTES, SignedCheckpoint, VerifyingKey, WitnessKey,
    leaf_hash, verify_consistency, verify_inclusion,
};
use sha2::{Digest, Sha256};

use crate::cli::Session;
use crate::cli::failure::{Exit, Failure};
use crate::cli::json::Json;
use crate::cli::output_file::Unfinished;
use crate::cli::table::record;

use super::{line, page, receipts};

/// What is verified, and against what.
#[derive(clap::Args, Debug)]
pub struct VerifyArguments {
    /// Verify a copied data directory without a server
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// The verifier key, from a place that the server cannot write to
    #[arg(long, value_name = "FILE")]
    pub public_key: PathBuf,
    /// A checkpoint that was kept elsewhere; may be repeated
    #[arg(long, value_name = "FILE", requires = "directory")]
    pub checkpoint: Vec<PathBuf>,
    /// A file that an anchor appends checkpoints to: each must be on the log; may be repeated
    #[arg(long, value_name = "FILE")]
    pub anchor: Vec<PathBuf>,
    /// A witness's verifier key, NAME+ID+KEY: a checkpoint must be signed by it; may be repeated
    #[arg(long, value_name = "VKEY")]
    pub witness: Vec<String>,
    /// How many of the witnesses must have signed [default: all]
    #[arg(long, value_name = "N", requires = "witness")]
    pub quorum: Option<usize>,
    /// Where the last checkpoint that was seen is kept (made with mode 0600)
    #[arg(long, value_name = "FILE", required_unless_present = "directory")]
    #[arg(conflicts_with = "directory")]
    pub state: Option<PathBuf>,
    /// Only records with a greater sequence
    #[arg(long, value_name = "SEQUENCE", default_value_t = 0, conflicts_with = "directory")]
    pub after_sequence: u64,
    /// Check these receipts as well, which --keep-receipts wrote
    #[arg(long, value_name = "FILE", conflicts_with = "directory")]
    pub receipts: Option<PathBuf>,
}

// === impl VerifyArguments ===

impl VerifyArguments {
    /// The witnesses, each once, of which there are as many as must have signed.
    pub fn witness_keys(&self) -> Result<Vec<WitnessKey>, String> {
        let mut keys: Vec<WitnessKey> = Vec::new();
        for text in &self.witness {
            let key = WitnessKey::parse(text)
                .map_err(|_| format!("{text:?} is no verifier key of a witness"))?;
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
        match self.quorum {
            Some(quorum) if !(1..=keys.len()).contains(&quorum) => {
                Err("--quorum must be from 1 to the number of witnesses".to_owned())
            }
            _ => Ok(keys),
        }
    }
}

/// Verifies what the server says.
pub(super) async fn verify(session: &Session, arguments: VerifyArguments) -> Result<(), Failure> {
    let key = read_key(&arguments.public_key)?;
    let witnesses =
        arguments.witness_keys().map_err(|problem| Failure::new(Exit::Usage, problem))?;
    let quorum = arguments.quorum.unwrap_or(witnesses.len());
    let state = arguments.state.unwrap_or_default();
    let client = session.client().await?;
    let response = client.get_checkpoint(kms::GetCheckpointRequest::default()).await?;
    let signed = opened(&response.checkpoint, &key)?;
    let seen = read_seen(&state, &key)?;
    if let Some(seen) = &seen {
        follows(&client, seen, &signed).await?;
    }
    for path in &arguments.anchor {
        anchored(&client, path, &key, &signed).await?;
    }
    let witnessed = match quorum {
        0 => None,
        _ => Some(witnessed(&client, &key, &signed, &witnesses, quorum).await?),
    };
    let records = own_records(&client, &signed, arguments.after_sequence).await?;
    let receipts = match &arguments.receipts {
        Some(path) => receipts::check(&client, path, &signed).await?,
        None => 0,
    };
    write_seen(&state, signed.as_bytes())?;
    let size = signed.checkpoint().size;
    let last_seen = seen.map_or(0, |seen| seen.checkpoint().size);
    let json = Json::object([
        ("verifies", Json::Bool(true)),
        ("records", Json::Integer(size.into())),
        ("own_records", Json::Integer(records.into())),
        ("last_seen_records", Json::Integer(last_seen.into())),
        ("witnessed_records", Json::Integer(witnessed.unwrap_or(0).into())),
        ("receipts", Json::Integer(receipts.into())),
    ]);
    session.printer.answer(&json, || {
        let mut lines = vec![
            ("log", key.name().to_owned()),
            ("records", size.to_string()),
            ("own_records", records.to_string()),
            ("last_seen_records", last_seen.to_string()),
            ("receipts", receipts.to_string()),
        ];
        lines.extend(witnessed.map(|records| ("witnessed_records", records.to_string())));
        record(&lines)
    })
}

/// Prints the newest checkpoint as it is.
pub(super) async fn checkpoint(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let response = client.get_checkpoint(kms::GetCheckpointRequest::default()).await?;
    session
        .printer
        .message(&response, |_| String::from_utf8_lossy(&response.checkpoint).into_owned())
}

/// Prints the verifier key that the server says it signs with.
pub(super) async fn key(session: &Session) -> Result<(), Failure> {
    let client = session.client().await?;
    let response = client.get_checkpoint(kms::GetCheckpointRequest::default()).await?;
    let key = VerifyingKey::parse(&response.verifier_key)
        .map_err(|_| Failure::new(Exit::Internal, "the server's verifier key is none"))?;
    session.printer.message(&response, |_| format!("{key}\n"))
}

/// Shows one record, once its bytes were found to make its chain value.
pub(super) async fn show(session: &Session, sequence: u64) -> Result<(), Failure> {
    let client = session.client().await?;
    let response = client.get_record(kms::GetRecordRequest { sequence }).await?;
    chained(&response, sequence)?;
    session.printer.message(&response, |_| {
        let shown = response.record.as_ref().map(line).unwrap_or_default();
        format!("{}{shown}", super::headings())
    })
}

/// That every checkpoint in an anchor's file is the beginning of `signed`.
async fn anchored(
    client: &Client,
    path: &Path,
    key: &VerifyingKey,
    signed: &SignedCheckpoint,
) -> Result<(), Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::input(path, &error))?;
    for note in AnchoredNotes::new(&text) {
        // A piece of a note that was not finished says nothing.
        if SignedCheckpoint::claimed(note.as_bytes()).is_ok() {
            follows(client, &opened(note.as_bytes(), key)?, signed).await?;
        }
    }
    Ok(())
}

/// How many records the checkpoint covers that witnesses have signed: enough of them, and it is the
/// beginning of `signed`.
async fn witnessed(
    client: &Client,
    key: &VerifyingKey,
    signed: &SignedCheckpoint,
    witnesses: &[WitnessKey],
    quorum: usize,
) -> Result<u64, Failure> {
    let asked = kms::GetCheckpointRequest { cosigned: true };
    let cosigned = opened(&client.get_checkpoint(asked).await?.checkpoint, key)?;
    let count = cosigned.cosignatures(witnesses);
    if count < quorum {
        return Err(bad(format!("{count} of these witnesses have signed the log, not {quorum}")));
    }
    // It may be newer by a second than what was asked for first.
    match cosigned.checkpoint().size > signed.checkpoint().size {
        true => follows(client, signed, &cosigned).await?,
        false => follows(client, &cosigned, signed).await?,
    }
    Ok(cosigned.checkpoint().size)
}

/// That `signed` is not older than `seen`, nor another log.
async fn follows(
    client: &Client,
    seen: &SignedCheckpoint,
    signed: &SignedCheckpoint,
) -> Result<(), Failure> {
    let (before, now) = (seen.checkpoint(), signed.checkpoint());
    if now.size < before.size {
        return Err(bad(format!(
            "the log was rolled back: records {} to {} were signed once and are gone",
            now.size.saturating_add(1),
            before.size
        )));
    }
    let mut hashes = Vec::new();
    if now.size > before.size && before.size > 0 {
        let (first_size, second_size) = (before.size, now.size);
        let asked = kms::ProveConsistencyRequest { first_size, second_size };
        hashes = hashes_of(&client.prove_consistency(asked).await?.hashes)?;
    }
    verify_consistency(before.size, &before.root, now.size, &now.root, &hashes).map_err(|_| {
        bad(format!(
            "the log was forked: its first {} records are not those that were seen here",
            before.size
        ))
    })
}

/// How many records of the tenant's own were found to be in `signed`.
async fn own_records(
    client: &Client,
    signed: &SignedCheckpoint,
    after: u64,
) -> Result<u64, Failure> {
    let checkpoint = signed.checkpoint();
    let (mut after, mut count) = (after, 0_u64);
    while after < checkpoint.size {
        let page = page(client, after, u64::MAX, None).await?;
        for listed in page.records.iter().filter(|listed| listed.sequence <= checkpoint.size) {
            let sequence = listed.sequence;
            let stored = client.get_record(kms::GetRecordRequest { sequence }).await?;
            let hash = chained(&stored, sequence)?;
            if listed.hash != hash {
                return Err(bad(format!("record {sequence} was listed otherwise than it stands")));
            }
            in_tree(client, sequence, &hash, signed).await?;
            count = count.saturating_add(1);
        }
        if page.end {
            break;
        }
        after = page.next_after_sequence;
    }
    Ok(count)
}

/// That the record with this chain value is in the tree that was signed.
pub(super) async fn in_tree(
    client: &Client,
    sequence: u64,
    hash: &Hash,
    signed: &SignedCheckpoint,
) -> Result<(), Failure> {
    let checkpoint = signed.checkpoint();
    let asked = kms::ProveInclusionRequest { sequence, tree_size: checkpoint.size };
    let proof = hashes_of(&client.prove_inclusion(asked).await?.hashes)?;
    let index = sequence.saturating_sub(1);
    verify_inclusion(&leaf_hash(hash), index, checkpoint.size, &proof, &checkpoint.root)
        .map_err(|_| bad(format!("record {sequence} is not in the signed log")))
}

/// The record's chain value, computed from its bytes.
pub(super) fn chained(stored: &kms::GetRecordResponse, sequence: u64) -> Result<Hash, Failure> {
    let hash: Hash = Sha256::new()
        .chain_update(&stored.previous_hash)
        .chain_update(sequence.to_be_bytes())
        .chain_update(&stored.payload)
        .finalize()
        .into();
    let well = stored.previous_hash.len() == hash.len() && stored.hash == hash;
    if well { Ok(hash) } else { Err(bad(format!("record {sequence} was changed"))) }
}

fn opened(bytes: &[u8], key: &VerifyingKey) -> Result<SignedCheckpoint, Failure> {
    SignedCheckpoint::open(bytes, key).map_err(|error| bad(error.to_string()))
}

fn hashes_of(hashes: &[Vec<u8>]) -> Result<Vec<Hash>, Failure> {
    let one = |hash: &Vec<u8>| Hash::try_from(hash.as_slice());
    let all: Result<Vec<Hash>, _> = hashes.iter().map(one).collect();
    all.map_err(|_| bad("a proof is not made of hashes".to_owned()))
}

fn read_key(path: &Path) -> Result<VerifyingKey, Failure> {
    let text = fs::read_to_string(path).map_err(|error| Failure::input(path, &error))?;
    VerifyingKey::parse(&text).map_err(|_| {
        Failure::new(Exit::Data, format!("{} holds no verifier key", path.display()))
            .hint("take the one that bulla audit key printed when the installation was made")
    })
}

fn read_seen(path: &Path, key: &VerifyingKey) -> Result<Option<SignedCheckpoint>, Failure> {
    let mut bytes = Vec::new();
    let most = MAX_CHECKPOINT_BYTES.saturating_add(1) as u64;
    match File::open(path).and_then(|file| file.take(most).read_to_end(&mut bytes)) {
        Ok(_) => opened(&bytes, key).map(Some),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Failure::input(path, &error)),
    }
}

fn write_seen(path: &Path, bytes: &[u8]) -> Result<(), Failure> {
    let mut file = Unfinished::create(path, true)?;
    file.write_all(bytes)
        .map_err(|error| Failure::midway(&format!("cannot write {}", path.display()), &error))?;
    file.finish()
}

pub(super) fn bad(what: String) -> Failure {
    Failure::new(Exit::Data, what)
        .hint("keep a copy of the log and of its checkpoints before anything else is done")
}
