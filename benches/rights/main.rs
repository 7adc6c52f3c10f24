//! What rights take in time, on a server that runs: whether what is another's can be told from what is not
//! there by how long the refusal takes, and how long after a revocation a call still passes.
//!
//! `cargo bench --bench rights`; with `--smoke`, or when it is not run by `cargo bench`, a few of each. Sets no
//! thresholds: figures of a shared machine are not a test. Ends with 0 if every call was answered as it must be.
#![allow(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::print_stdout,
    clippy::print_stderr,
    missing_docs
)]

mod revocation;
mod stage;
mod timing;

use std::process::ExitCode;

use stage::Stage;

/// Whatever ends the benchmark early.
pub(crate) type Failure = Box<dyn std::error::Error + Send + Sync>;

/// How much is measured.
pub(crate) struct Plan {
    /// Pairs of calls for each comparison.
    pub(crate) pairs: usize,
    /// Revocations of each kind.
    pub(crate) revocations: usize,
    /// Revocations of certificates.
    pub(crate) lists: usize,
}

fn main() -> ExitCode {
    let has = |name: &str| std::env::args().any(|argument| argument == name);
    let plan = if has("--bench") && !has("--smoke") {
        Plan { pairs: 1_500, revocations: 100, lists: 20 }
    } else {
        Plan { pairs: 50, revocations: 3, lists: 1 }
    };
    match measure(&plan) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("rights: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn measure(plan: &Plan) -> Result<(), Failure> {
    let runtime = tokio::runtime::Runtime::new()?;
    runtime.block_on(async {
        let mut stage = Stage::set()?;
        timing::measure(&stage, plan).await?;
        revocation::measure(&mut stage, plan).await
    })
}
