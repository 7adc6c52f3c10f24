//! The report about a compromised version, in Markdown, for people who were not there: what was
//! marked, who used it, what moves everything off it, and what to run next.
//!
//! Text from elsewhere is escaped for a terminal and for Markdown: it cannot become a heading, a
//! link, a cell of its own or a command.

use std::fmt::Write as _;

use bulla_client::kms;
use prost_types::Timestamp;

use crate::cli::campaign::next_commands;
use crate::cli::escape::visible;
use crate::cli::failure::Failure;
use crate::cli::store::store_name;
use crate::cli::time;

/// All that is known when the report is written.
pub(super) struct Report {
    /// As the person called it.
    pub(super) key: String,
    pub(super) version: u32,
    pub(super) marked: kms::CompromiseVersionResponse,
    /// From when on exposure was asked for.
    pub(super) since: Option<Timestamp>,
    pub(super) exposure: Result<kms::GetExposureResponse, Failure>,
    /// Blobs that name no registered store.
    pub(super) unnamed: u64,
    /// None: no registered store holds anything of the version.
    pub(super) campaign: Result<Option<kms::Campaign>, Failure>,
}

// === impl Report ===

impl Report {
    /// What could not be done after the mark, to end with.
    pub(super) fn first_failure(self) -> Result<(), Failure> {
        let marked = "the version is marked, but";
        self.exposure.map_err(|why| why.during(&format!("{marked} its exposure is not known")))?;
        self.campaign.map_err(|why| why.during(&format!("{marked} no campaign was begun")))?;
        Ok(())
    }

    /// The whole report.
    pub(super) fn markdown(&self) -> String {
        let mut text = String::new();
        self.what_was_marked(&mut text);
        self.who_used_it(&mut text);
        self.what_moves_it(&mut text);
        text
    }

    fn what_was_marked(&self, text: &mut String) {
        let version = self.marked.version.clone().unwrap_or_default();
        // Writing to a `String` cannot fail, here and below.
        let _ = writeln!(text, "# Version {} of {} is compromised\n", self.version, md(&self.key));
        let _ = writeln!(text, "- Key: {}", md(&version.key_id));
        let _ = writeln!(text, "- Marked: {}", moment(version.state_time.as_ref()));
        let _ = writeln!(text, "- Reason: {}", or_dash(&version.reason));
        let _ = match &self.marked.replacement {
            Some(new) => writeln!(text, "- New active version: {}", new.version),
            None => writeln!(text, "- New active version: none; this one was not active"),
        };
    }

    fn who_used_it(&self, text: &mut String) {
        let since = moment(self.since.as_ref());
        let _ = writeln!(text, "\n## Who received or opened something since {since}\n");
        let exposure = match &self.exposure {
            Ok(exposure) => exposure,
            Err(failure) => {
                let since = self.since.as_ref().and_then(time::rfc3339).unwrap_or_default();
                let command = format!(
                    "bulla key exposure {} {} --since {since}",
                    visible(&self.key),
                    self.version
                );
                let _ = writeln!(text, "Not known: {}. Ask again:\n", said(failure));
                code(text, &[command]);
                return;
            }
        };
        let (first, last) = (exposure.first_sequence, exposure.last_sequence);
        let _ = writeln!(text, "From audit records {first} to {last}.\n");
        if exposure.exposures.is_empty() {
            text.push_str("Nobody.\n");
            return;
        }
        text.push_str("| principal | store | received | opened | moved | first | last |\n");
        text.push_str("|---|---|---:|---:|---:|---|---|\n");
        for one in &exposure.exposures {
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {} | {} | {} |",
                md(&one.principal),
                or_dash(&store_name(one.store, &one.store_name)),
                one.received,
                one.opened,
                one.moved,
                moment(one.first_time.as_ref()),
                moment(one.last_time.as_ref()),
            );
        }
        text.push_str(
            "\nWho received a data key or opened one has seen it: what it protects is exposed as \
             long as that data is kept. Moving a blob shows nothing of it.\n",
        );
    }

    fn what_moves_it(&self, text: &mut String) {
        text.push_str("\n## Moving everything off it\n\n");
        let (key, version) = (visible(&self.key), self.version);
        let mut next = Vec::new();
        match &self.campaign {
            Ok(Some(campaign)) => {
                let id = md(&campaign.campaign_id);
                let _ = writeln!(text, "Campaign {id} is under way, before any other.\n");
                next.extend(next_commands(campaign));
            }
            Ok(None) => text.push_str(
                "No registered store holds anything of it, as far as the audit log knows, so no \
                 campaign was begun.\n\n",
            ),
            Err(failure) => {
                let _ = writeln!(text, "No campaign was begun: {}.\n", said(failure));
                let versions = format!("--versions {version} --urgent");
                next.push(format!("bulla campaign create {key} {versions}"));
            }
        }
        if self.unnamed > 0 {
            let _ = writeln!(
                text,
                "{} blobs of it name no registered store: whoever keeps them has to register it \
                 and move them.\n",
                self.unnamed
            );
        }
        next.push(format!("bulla key retire-check {key} {version}"));
        next.push(format!("bulla key destroy {key} {version}"));
        text.push_str("Next, in this order; the last one only when the check says SAFE:\n\n");
        code(text, &next);
    }
}

fn code(text: &mut String, lines: &[String]) {
    for line in lines {
        let _ = writeln!(text, "    {line}");
    }
}

/// A failure on one line, without its hint.
fn said(failure: &Failure) -> String {
    let failure = failure.to_string();
    let first = failure.lines().next().unwrap_or_default();
    md(first.trim_start_matches("error: "))
}

/// A time for people who read later: without how far away it is.
fn moment(time: Option<&Timestamp>) -> String {
    let whole = time.map(|time| Timestamp { nanos: 0, ..*time });
    whole.as_ref().and_then(time::rfc3339).unwrap_or_else(|| "-".to_owned())
}

fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { md(text) }
}

/// Text that is nothing but itself in Markdown.
fn md(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for character in visible(text).chars() {
        if MARKS.contains(character) {
            escaped.push('\\');
        }
        escaped.push(character);
    }
    escaped
}

/// What Markdown acts upon within a line (CommonMark 2.4).
const MARKS: &str = r"\`*_[]<>|#~&!";

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use crate::cli::failure::Exit;

    const KEY_ID: &str = "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf";

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 7 })
    }

    fn report() -> Report {
        let version = kms::Version {
            key_id: KEY_ID.into(),
            version: 3,
            state: kms::VersionState::Compromised.into(),
            state_time: at(1_800_000_060),
            reason: "a laptop | [click](http://x)\n# forged".into(),
            ..Default::default()
        };
        let replacement = kms::Version { key_id: KEY_ID.into(), version: 4, ..Default::default() };
        let exposure = kms::Exposure {
            principal: "spiffe://d/app".into(),
            store: 3,
            store_name: "orders".into(),
            received: 5,
            opened: 7,
            moved: 1,
            first_time: at(1_800_000_000),
            last_time: at(1_800_000_030),
        };
        let progress = kms::StoreProgress { store: 3, name: "orders".into(), ..Default::default() };
        Report {
            key: "cards".into(),
            version: 3,
            marked: kms::CompromiseVersionResponse {
                version: Some(version),
                replacement: Some(replacement),
            },
            since: at(1_799_999_940),
            exposure: Ok(kms::GetExposureResponse {
                key_id: KEY_ID.into(),
                version: 3,
                first_sequence: 12,
                last_sequence: 99,
                exposures: vec![exposure],
            }),
            unnamed: 2,
            campaign: Ok(Some(kms::Campaign {
                campaign_id: "c0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
                stores: vec![progress],
                ..Default::default()
            })),
        }
    }

    #[test]
    fn a_report_says_what_was_marked_who_used_it_and_what_to_run_next() {
        assert_eq!(report().markdown(), include_str!("../../../tests/golden/compromise.md"));
        assert!(report().first_failure().is_ok());
    }

    #[test]
    fn h05_text_from_elsewhere_is_nothing_but_text() {
        let shown = report().markdown();
        assert!(shown.contains(r"a laptop \| \[click\](http://x)\\n\# forged"), "{shown}");
        assert_eq!(shown.lines().filter(|line| line.starts_with('#')).count(), 3);
    }

    #[test]
    fn what_could_not_be_done_is_in_the_report_with_its_command_and_in_the_exit_code() {
        let refused = || Failure::new(Exit::Permission, "not allowed").hint("ask");
        let failed = Report { exposure: Err(refused()), campaign: Err(refused()), ..report() };
        let shown = failed.markdown();
        for line in [
            "Not known: not allowed. Ask again:",
            "    bulla key exposure cards 3 --since 2027-01-15T07:59:00.000000007Z",
            "No campaign was begun: not allowed.",
            "    bulla campaign create cards --versions 3 --urgent",
        ] {
            assert!(shown.lines().any(|shown| shown == line), "{line}\n{shown}");
        }
        let failure = failed.first_failure().unwrap_err();
        assert_eq!(failure.exit(), Exit::Permission);
        assert!(failure.to_string().starts_with("error: the version is marked, but its exposure"));
    }

    #[test]
    fn a_version_that_is_nowhere_needs_no_campaign() {
        let report = Report { campaign: Ok(None), unnamed: 0, ..report() };
        let shown = report.markdown();
        assert!(shown.contains("so no campaign was begun"), "{shown}");
        assert!(!shown.contains("bulla rewrap") && !shown.contains("name no registered store"));
    }
}
