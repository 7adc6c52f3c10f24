//! `bulla audit verify --directory`: shows what a copied log's verification said.

use std::io::{IsTerminal, Write};
use std::process::ExitCode;

use bulla::auditor::{self, AuditorError, Copied, Shown};
use bulla::cli::{Exit, Format, OutputArguments, VerifyArguments};
use serde_json::json;

/// Verifies the copy that `arguments` name.
pub(super) fn run(arguments: VerifyArguments, output: OutputArguments) -> ExitCode {
    let witnesses = match arguments.witness_keys() {
        Ok(witnesses) => witnesses,
        Err(problem) => {
            let _ = writeln!(std::io::stderr(), "error: {problem}");
            return ExitCode::from(Exit::Usage as u8);
        }
    };
    let quorum = arguments.quorum.unwrap_or(witnesses.len());
    let copied = Copied {
        directory: arguments.directory.unwrap_or_default(),
        public_key: arguments.public_key,
        checkpoints: arguments.checkpoint,
        anchors: arguments.anchor,
        witnesses,
        quorum,
    };
    let shows = std::io::stderr().is_terminal();
    let mut told = 0;
    let mut progress = |read: u64, length: u64| {
        let percent = read.saturating_mul(100).checked_div(length).unwrap_or(100);
        if shows && percent > told {
            told = percent;
            let _ = write!(std::io::stderr(), "\rverified {percent} %");
        }
    };
    let shown = auditor::verify(&copied, &mut progress);
    if told > 0 {
        let _ = writeln!(std::io::stderr());
    }
    match shown {
        Ok(shown) => answer(&shown, quorum, output),
        Err(error) => failed(&error),
    }
}

fn answer(shown: &Shown, quorum: usize, output: OutputArguments) -> ExitCode {
    let (table, json, exit) = match shown {
        Shown::Whole(verified, witnessed) => {
            let (size, proven, checkpoints) =
                (verified.size, verified.proven, verified.checkpoints);
            let name = verified.key.name();
            let mut table = format!(
                "the audit log of {name} verifies\nrecords      {size}\nsigned       {proven}\n\
                 checkpoints  {checkpoints}\n"
            );
            if proven < size {
                table.push_str("no checkpoint covers the records after the signed ones\n");
            }
            if quorum > 0 {
                table.push_str(&format!("witnessed    {witnessed}\n"));
            }
            let json = json!({
                "verifies": true, "witnessed": witnessed, "records": size, "signed": proven, "checkpoints": checkpoints,
                "verifier_key": verified.key.to_string(),
            });
            (table, json, ExitCode::SUCCESS)
        }
        Shown::Unwitnessed(verified) => {
            let table = format!(
                "the audit log of {} verifies, and no checkpoint of it has the signatures of {quorum} \
                 of these witnesses\n",
                verified.key.name()
            );
            let json = json!({
                "verifies": false, "what": "NOT_WITNESSED", "signed": verified.proven,
                "text": table.trim_end(),
            });
            (table, json, ExitCode::from(Exit::Data as u8))
        }
        Shown::Bad(finding) => {
            let table = format!(
                "{finding}\nsigned checkpoints prove the log up to record {}\n",
                finding.proven
            );
            let json = json!({
                "verifies": false, "what": finding.what.as_str(), "first_sequence": finding.first,
                "last_sequence": finding.last, "signed": finding.proven,
                "text": finding.to_string(),
            });
            (table, json, ExitCode::from(Exit::Data as u8))
        }
    };
    let text = match output.output {
        Format::Table => table,
        Format::Json => format!("{json:#}\n"),
    };
    let _ = std::io::stdout().write_all(text.as_bytes());
    exit
}

fn failed(error: &AuditorError) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "error: {error}");
    ExitCode::from(match error {
        AuditorError::Read { .. } => Exit::NoInput as u8,
        AuditorError::Write(_) => Exit::InputOutput as u8,
        AuditorError::NotAKey(_) | AuditorError::NotALog(_) => Exit::Data as u8,
    })
}
