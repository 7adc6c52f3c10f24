//! What lets go of an old version: whether it can be (`bulla key retire-check`), what a person says
//! about blobs that name no store (`waive`), who used it (`exposure`), and the steps by which it
//! goes by itself (`ladder`).

use std::fmt::Write as _;

use bulla_client::kms;

use super::Session;
use super::arguments::Decision;
use super::escape::visible;
use super::exposure::ExposureArguments;
use super::failure::{Exit, Failure};
use super::ladder::LadderArguments;
use super::table::{enumerated, record};
use super::version::state_name;

/// Letting a version go.
#[derive(clap::Subcommand, Debug)]
pub enum RetireCommand {
    /// Say whether a version can be let go, and why: SAFE, UNSAFE or UNKNOWN
    #[command(after_help = "Exit codes: 0 for SAFE, 1 for UNSAFE and UNKNOWN")]
    RetireCheck {
        /// Which.
        #[command(flatten)]
        version: OneVersion,
    },
    /// Say that the blobs of a version that name no store need no scan
    Waive {
        /// Which.
        #[command(flatten)]
        version: OneVersion,
        /// Why.
        #[command(flatten)]
        decision: Decision,
    },
    /// List who received, opened or moved something of a version, from the audit log
    Exposure(ExposureArguments),
    /// Steps by which old versions of a key retire by themselves, each only if that is SAFE
    Ladder(LadderArguments),
}

/// One version of a key.
#[derive(clap::Args, Debug)]
pub struct OneVersion {
    /// UUID or alias
    pub(crate) key: String,
    /// The version's number
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) version: u32,
}

// === impl RetireCommand ===

impl RetireCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::RetireCheck { version } => check(session, version).await,
            Self::Waive { version: OneVersion { key, version }, decision } => {
                let Decision { reason, once } = decision;
                let request_id = once.request_id();
                let waived = record(&[("waived_version", version.to_string())]);
                let request = kms::WaiveUnnamedStoreRequest { key, version, reason, request_id };
                let response = session.client().await?.waive_unnamed_store(request).await?;
                session.printer.message(&response, |_| waived)
            }
            Self::Exposure(arguments) => arguments.run(session).await,
            Self::Ladder(arguments) => arguments.run(session).await,
        }
    }
}

async fn check(session: &Session, of: OneVersion) -> Result<(), Failure> {
    let OneVersion { key, version } = of;
    let request = kms::RetireCheckRequest { key: key.clone(), version };
    let response = session.client().await?.retire_check(request).await?;
    session.printer.message(&response, |_| shown(&response))?;
    if response.verdict() == kms::RetireVerdict::Safe {
        return Ok(());
    }
    let verdict = verdict_name(response.verdict);
    Err(Failure::new(Exit::NotSafe, format!("letting version {version} of {key} go is {verdict}")))
}

/// The verdict, what it is about, and then what it rests on: first what speaks against.
fn shown(response: &kms::RetireCheckResponse) -> String {
    let mut shown = format!("{}\n\n", verdict_name(response.verdict));
    shown.push_str(&record(&[
        ("key_id", response.key_id.clone()),
        ("version", response.version.to_string()),
        ("state", state_name(response.state)),
        ("sequence", response.sequence.to_string()),
    ]));
    shown.push_str(&reasons(response));
    shown
}

/// What a verdict is called.
pub(crate) fn verdict(response: &kms::RetireCheckResponse) -> String {
    verdict_name(response.verdict)
}

/// What a verdict rests on: first what speaks against.
pub(crate) fn reasons(response: &kms::RetireCheckResponse) -> String {
    let mut shown = String::new();
    for (effect, heading) in GROUPS {
        let group = response.findings.iter().filter(|finding| finding.effect() == effect);
        let group: String = group.map(finding_lines).collect();
        if !group.is_empty() {
            // Writing to a `String` cannot fail.
            let _ = write!(shown, "\n{heading}\n{group}");
        }
    }
    shown
}

/// What was found and how it is known; below it the command that would help.
fn finding_lines(finding: &kms::Finding) -> String {
    let known = kms::Evidence::try_from(finding.evidence).ok().map(|known| known.as_str_name());
    let evidence = enumerated(known, "EVIDENCE_", finding.evidence).to_lowercase();
    let (code, text) = (visible(&finding.code), visible(&finding.text));
    let mut lines = format!("  {code} ({evidence}): {text}\n");
    if !finding.remedy.is_empty() {
        let _ = writeln!(lines, "    $ {}", visible(&finding.remedy));
    }
    lines
}

fn verdict_name(verdict: i32) -> String {
    let known = kms::RetireVerdict::try_from(verdict).ok().map(|known| known.as_str_name());
    enumerated(known, "RETIRE_VERDICT_", verdict)
}

/// In the order in which a person wants to know. A finding of an effect that this program does not
/// know is shown last, and never left out.
const GROUPS: [(kms::FindingEffect, &str); 4] = [
    (kms::FindingEffect::Against, "AGAINST"),
    (kms::FindingEffect::Missing, "MISSING"),
    (kms::FindingEffect::For, "FOR"),
    (kms::FindingEffect::Unspecified, "BESIDES"),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn finding(effect: kms::FindingEffect, code: &str, text: &str, remedy: &str) -> kms::Finding {
        kms::Finding {
            effect: effect.into(),
            evidence: kms::Evidence::Scanned.into(),
            code: code.into(),
            text: text.into(),
            remedy: remedy.into(),
            ..Default::default()
        }
    }

    #[test]
    fn g03_the_verdict_comes_first_and_what_is_missing_with_its_command() {
        use kms::FindingEffect::{Against, For, Missing};
        let scan = "bulla rewrap run --scan-only --key k --store orders --connector FILE.toml";
        let observed = kms::Finding {
            evidence: kms::Evidence::Observed.into(),
            ..finding(For, "NOT_ACTIVE", "the version stopped being active", "")
        };
        let response = kms::RetireCheckResponse {
            verdict: kms::RetireVerdict::Unsafe.into(),
            findings: vec![
                observed,
                finding(Missing, "SCAN_MISSING", "orders was not scanned", scan),
                finding(Against, "SCAN_FOUND", "3 blobs are in users\n\u{1b}[2J", ""),
                kms::Finding { effect: 9, ..finding(For, "NEWER", "something new", "") },
            ],
            sequence: 4711,
            key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            version: 1,
            state: kms::VersionState::Deactivated.into(),
        };
        assert_eq!(
            shown(&response),
            "UNSAFE\n\
             \n\
             KEY_ID    a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n\
             VERSION   1\n\
             STATE     DEACTIVATED\n\
             SEQUENCE  4711\n\
             \n\
             AGAINST\n  \
               SCAN_FOUND (scanned): 3 blobs are in users\\n\\u{001b}[2J\n\
             \n\
             MISSING\n  \
               SCAN_MISSING (scanned): orders was not scanned\n    \
                 $ bulla rewrap run --scan-only --key k --store orders --connector FILE.toml\n\
             \n\
             FOR\n  \
               NOT_ACTIVE (observed): the version stopped being active\n\
             \n\
             BESIDES\n  \
               NEWER (scanned): something new\n"
        );
    }

    #[test]
    fn a_verdict_of_a_newer_server_is_not_taken_for_safe() {
        let response = kms::RetireCheckResponse { verdict: 9, ..Default::default() };
        assert_ne!(response.verdict(), kms::RetireVerdict::Safe);
        assert!(shown(&response).starts_with("9\n\n"));
    }
}
