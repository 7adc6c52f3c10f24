//! Receipts in a file: kept as calls are answered, and checked later against the signed log.
//!
//! One line a record, `METHOD SEQUENCE:HASH`. The file is only ever added to.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use bulla_client::{Client, Receipt, kms};
use bulla_proof::SignedCheckpoint;

use crate::cli::failure::Failure;

use super::verify::{bad, chained, in_tree};

/// The same client, whose receipts are added to a file. One that cannot be kept ends nothing: the call
/// was answered by then, and is said on stderr.
pub(crate) fn kept(client: &Client, path: &Path) -> Result<Client, Failure> {
    let mut options = OpenOptions::new();
    options.create(true).append(true).mode(0o600);
    let file = options.open(path).map_err(|error| Failure::input(path, &error))?;
    let name = path.display().to_string();
    Ok(client.with_receipts(move |method, receipt| {
        let line = format!("{method} {receipt}\n");
        if let Err(error) = (&file).write_all(line.as_bytes()) {
            let lost =
                format!("bulla: the receipt {receipt} could not be kept in {name}: {error}\n");
            // Nobody reads: there is nothing left to tell.
            let _ = io::stderr().write_all(lost.as_bytes());
        }
    }))
}

/// How many receipts there are, each of which names a record that is in `signed` as it was when the
/// call was answered.
pub(super) async fn check(
    client: &Client,
    path: &Path,
    signed: &SignedCheckpoint,
) -> Result<u64, Failure> {
    let file = File::open(path).map_err(|error| Failure::input(path, &error))?;
    let mut count = 0_u64;
    for line in BufReader::new(file).take(FILE_BYTES_MAX).lines() {
        let line = line.map_err(|error| Failure::input(path, &error))?;
        count = count.saturating_add(1);
        let malformed = || bad(format!("line {count} of {} is no receipt", path.display()));
        let (_method, receipt) = line.split_once(' ').ok_or_else(malformed)?;
        let receipt = Receipt::parse(receipt).map_err(|_| malformed())?;
        let sequence = receipt.sequence;
        if sequence > signed.checkpoint().size {
            return Err(bad(format!(
                "record {sequence} of a receipt is not in the signed log, which ends before it"
            )));
        }
        let stored = client.get_record(kms::GetRecordRequest { sequence }).await?;
        if chained(&stored, sequence)? != receipt.hash {
            return Err(bad(format!(
                "record {sequence} is another than its receipt was given for"
            )));
        }
        in_tree(client, sequence, &receipt.hash, signed).await?;
    }
    Ok(count)
}

/// More receipts than anybody keeps in one file.
const FILE_BYTES_MAX: u64 = 1024 * 1024 * 1024;
