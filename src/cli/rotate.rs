//! `bulla rotate --due`: what the server's scheduler does by itself, done now, for cron.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use bulla_client::kms;

use super::escape::visible;
use super::failure::{Exit, Failure};
use super::table::Table;
use super::{Session, time};

/// What to rotate.
#[derive(clap::Args, Debug)]
pub struct RotateArguments {
    /// Every key of your tenant that is due, within the budget of this hour
    #[arg(long, required = true)]
    due: bool,
}

// === impl RotateArguments ===

impl RotateArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let client = session.client().await?;
        let mut all = kms::RotateDueResponse::default();
        loop {
            let next = client.rotate_due(kms::RotateDueRequest {}).await?;
            let goes_on = next.more && !next.keys.is_empty();
            merge(&mut all, next);
            if !goes_on {
                break;
            }
        }
        session.printer.message(&all, |now| shown(&all, now))?;
        outcome(&all)
    }
}

/// What a later call rotated is added; what is left is what the last call left.
fn merge(all: &mut kms::RotateDueResponse, next: kms::RotateDueResponse) {
    let rotated: BTreeSet<&str> = next.keys.iter().map(|key| key.key_id.as_str()).collect();
    all.failed.retain(|key| !next.failed.contains(key) && !rotated.contains(key.as_str()));
    all.failed.extend(next.failed.iter().cloned());
    all.keys.extend(next.keys);
    all.deferred = next.deferred;
    all.deferred_at_least = next.deferred_at_least;
    all.more = next.more;
}

/// Whether everything that was due is done.
fn outcome(all: &kms::RotateDueResponse) -> Result<(), Failure> {
    if !all.failed.is_empty() {
        let what = format!("could not rotate {}", all.failed.join(", "));
        let failure = Failure::new(Exit::Unavailable, what);
        return Err(failure.hint("the audit records of these keys say why"));
    }
    if all.deferred == 0 && !all.deferred_at_least {
        return Ok(());
    }
    let failure = Failure::new(Exit::Temporary, format!("{} left for later", left(all)));
    Err(failure.hint(
        "the budget of this hour is used up, or a server has yet to follow; the server goes on by \
         itself, or run this again later",
    ))
}

/// How many are due and left.
fn left(all: &kms::RotateDueResponse) -> String {
    let keys = if all.deferred == 1 { "key is" } else { "keys are" };
    let least = if all.deferred_at_least { "at least " } else { "" };
    format!("{least}{} {keys}", all.deferred)
}

fn shown(response: &kms::RotateDueResponse, now: i64) -> String {
    let mut table = Table::new(&["key_id", "aliases", "active_version", "next_rotation_time"]);
    for key in &response.keys {
        table.row([
            key.key_id.clone(),
            key.aliases.join(", "),
            key.active_version.to_string(),
            time::shown(key.next_rotation_time.as_ref(), now),
        ]);
    }
    let mut shown = table.render("no key was rotated");
    // Writing to a `String` cannot fail.
    if response.deferred > 0 || response.deferred_at_least {
        let _ = writeln!(shown, "\n{} due and left for later", left(response));
    }
    for key in &response.failed {
        let _ = writeln!(shown, "\nfailed: {}", visible(key));
    }
    shown
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn what_was_rotated_is_shown_with_what_was_left() {
        let key = kms::Key {
            key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            aliases: vec!["cards".into()],
            active_version: 2,
            ..Default::default()
        };
        let response = kms::RotateDueResponse {
            keys: vec![key],
            deferred: 7,
            failed: vec!["b0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into()],
            deferred_at_least: true,
            more: false,
        };
        assert_eq!(
            shown(&response, 0),
            "KEY_ID                                ALIASES  ACTIVE_VERSION  NEXT_ROTATION_TIME\n\
             a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf  cards    2               -\n\
             \n\
             at least 7 keys are due and left for later\n\
             \n\
             failed: b0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n"
        );
        assert_eq!(shown(&kms::RotateDueResponse::default(), 0), "no key was rotated\n");
    }

    #[test]
    fn calls_add_up_and_the_exit_code_says_whether_all_is_done() {
        let response = |keys: &[&str], deferred, failed: &[&str]| kms::RotateDueResponse {
            keys: keys
                .iter()
                .map(|key| kms::Key { key_id: (*key).into(), ..Default::default() })
                .collect(),
            deferred,
            failed: failed.iter().map(|key| (*key).into()).collect(),
            ..Default::default()
        };
        let exit = |all: &kms::RotateDueResponse| outcome(all).map_err(|failure| failure.exit());
        let mut all = kms::RotateDueResponse::default();
        merge(&mut all, response(&["a"], 3, &["b", "c"]));
        assert_eq!(exit(&all), Err(Exit::Unavailable));
        // What failed may come through in the next call, and is told once if it does not.
        merge(&mut all, response(&["b", "d"], 1, &["c"]));
        assert_eq!(
            (all.keys.len(), all.deferred, all.failed.as_slice()),
            (3, 1, &["c".into()][..])
        );
        merge(&mut all, response(&["c"], 1, &[]));
        assert_eq!(exit(&all), Err(Exit::Temporary));
        assert!(outcome(&all).unwrap_err().to_string().contains("1 key is left for later"));
        merge(&mut all, response(&["e"], 0, &[]));
        assert_eq!(exit(&all), Ok(()));
        all.deferred_at_least = true;
        assert_eq!(exit(&all), Err(Exit::Temporary), "not all that is due was looked at");
    }
}
