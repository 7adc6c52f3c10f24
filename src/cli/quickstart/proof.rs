//! The tour's end: the audit log is verified, and once more with one byte of a copy changed by hand.

use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use bulla_client::kms;

use super::callers::{Callers, expect};
use super::folder::Folder;
use super::tour::Narrator;
use crate::cli::failure::Failure;

/// Verifies a copy of the log with the public key alone, changes a byte, and verifies it again.
pub(super) async fn show(
    folder: &Folder,
    callers: &Callers<'_>,
    narrator: &dyn Narrator,
) -> Result<(), Failure> {
    let signed = callers.auditor().get_checkpoint(kms::GetCheckpointRequest::default()).await?;
    folder.write("audit.pub", &format!("{}\n", signed.verifier_key))?;
    let copy = folder.file("audit-copy");
    // The checkpoints first: the log only grows, so that it covers them.
    let data = folder.file("data");
    let (from, to) = (data.join("audit"), copy.join("audit"));
    fs::create_dir_all(&to).map_err(|error| lost(&to, &error))?;
    for checkpoints in ["checkpoint", "checkpoints"] {
        let (from, to) = (from.join(checkpoints), to.join(checkpoints));
        fs::copy(&from, &to).map_err(|error| lost(&from, &error))?;
    }
    copied(&from.join("tile"), &to.join("tile"))?;
    copied(&from.join("segments"), &to.join("segments"))?;
    narrator.say("verify     bulla audit verify --directory audit-copy --public-key audit.pub")?;
    let (verifies, answer) = verified(folder, &copy)?;
    narrator.say(answer.trim_end())?;
    expect(verifies, "the audit log does not verify")?;

    let log = to.join("segments").join(SEGMENT);
    let mut bytes = fs::read(&log).map_err(|error| lost(&log, &error))?;
    // The segment is made ahead: behind its records are zeros.
    let middle = bytes.iter().rposition(|byte| *byte != 0).unwrap_or_default() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 1;
    }
    fs::write(&log, &bytes).map_err(|error| lost(&log, &error))?;
    narrator.say(&format!("tamper     byte {middle} of the copy changed; verified again:"))?;
    let (verifies, answer) = verified(folder, &copy)?;
    narrator.say(answer.trim_end())?;
    expect(!verifies && answer.contains("record"), "the changed byte was not found")
}

fn verified(folder: &Folder, copy: &Path) -> Result<(bool, String), Failure> {
    let program = std::env::current_exe().map_err(|error| lost(copy, &error))?;
    let output = Command::new(program)
        .args(["audit", "verify", "--directory"])
        .arg(copy)
        .arg("--public-key")
        .arg(folder.file("audit.pub"))
        .stdin(Stdio::null())
        .output()
        .map_err(|error| lost(copy, &error))?;
    let answer = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.success(), answer))
}

/// The folder and all that is in it.
fn copied(from: &Path, to: &Path) -> Result<(), Failure> {
    fs::create_dir_all(to).map_err(|error| lost(to, &error))?;
    for entry in fs::read_dir(from).map_err(|error| lost(from, &error))? {
        let entry = entry.map_err(|error| lost(from, &error))?;
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copied(&path, &to)?;
        } else {
            // A tile that a larger one has replaced meanwhile is not missed.
            let _ = fs::copy(&path, &to);
        }
    }
    Ok(())
}

/// The first, which a log this short never leaves.
const SEGMENT: &str = "00000000000000000001-0000.seg";

fn lost(path: &Path, error: &std::io::Error) -> Failure {
    Failure::midway(&format!("cannot copy to {}", path.display()), error)
        .during("verifying the audit log")
}
