//! `bulla audit export --directory`: records of a copied log, verified on the way.

use std::io::{self, Write};
use std::process::ExitCode;

use bulla::api;
use bulla::audit::{Owners, Query};
use bulla::auditor::{self, AuditorError, Copied, Export, Shown};
use bulla::cli::{Exit, ExportArguments, Exporter};

/// Exports from the copy that `arguments` name.
pub(super) fn run(arguments: ExportArguments) -> ExitCode {
    let filter = arguments.record_filter().and_then(api::record_filter);
    let filter = match filter {
        Ok(filter) => filter,
        Err(problem) => return failed(Exit::Usage, &problem),
    };
    let query = Query { owners: Owners::Everybody, filter };
    let copied = Copied {
        directory: arguments.directory.unwrap_or_default(),
        public_key: arguments.public_key.unwrap_or_default(),
        ..Copied::default()
    };
    let mut exporter = Exporter::new(arguments.format);
    let mut out = io::BufWriter::new(io::stdout().lock());
    let mut give = |entry: bulla::trail::Entry| {
        let tenant = entry.record.tenant.map(|tenant| tenant.to_string()).unwrap_or_default();
        let line = exporter.line(&api::record(entry), &tenant).map_err(io::Error::other)?;
        if let Some(progress) = exporter.progress() {
            let _ = writeln!(io::stderr(), "{progress}");
        }
        out.write_all(&line)
    };
    let export = Export { query: &query, after: arguments.after_sequence, give: &mut give };
    let shown = auditor::export(&copied, export, &mut |_, _| ());
    let flushed =
        out.write_all(&exporter.end()).and_then(|()| out.flush()).map_err(AuditorError::Write);
    match shown.and_then(|shown| flushed.map(|()| shown)) {
        Ok(Shown::Whole(verified, _) | Shown::Unwitnessed(verified)) => {
            let _ = writeln!(io::stderr(), "{}", exporter.summary(verified.size));
            if verified.proven < verified.size {
                let _ = writeln!(
                    io::stderr(),
                    "no checkpoint covers the records after {}",
                    verified.proven
                );
            }
            ExitCode::SUCCESS
        }
        Ok(Shown::Bad(finding)) => {
            let proven = finding.proven;
            failed(Exit::Data, &format!("{finding}; believe no record after {proven}"))
        }
        Err(AuditorError::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(AuditorError::Write(error)) => failed(Exit::InputOutput, &error.to_string()),
        Err(error @ AuditorError::Read { .. }) => failed(Exit::NoInput, &error.to_string()),
        Err(error) => failed(Exit::Data, &error.to_string()),
    }
}

fn failed(exit: Exit, problem: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {problem}");
    exit.into()
}
