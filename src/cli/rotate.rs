//! `bulla rotate --due`: what the server's scheduler does by itself, done now, for cron.

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
        let response = session.client().await?.rotate_due(kms::RotateDueRequest {}).await?;
        session.printer.message(&response, |now| shown(&response, now))?;
        if response.failed.is_empty() {
            return Ok(());
        }
        let what = format!("could not rotate {}", response.failed.join(", "));
        Err(Failure::new(Exit::Unavailable, what).hint("the audit records of these keys say why"))
    }
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
    if response.deferred > 0 {
        let _ = writeln!(shown, "\n{} more are due in a later hour's budget", response.deferred);
    }
    for key in &response.failed {
        let _ = writeln!(shown, "\nfailed: {}", visible(key));
    }
    shown
}

#[cfg(test)]
mod tests {
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
        };
        assert_eq!(
            shown(&response, 0),
            "KEY_ID                                ALIASES  ACTIVE_VERSION  NEXT_ROTATION_TIME\n\
             a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf  cards    2               -\n\
             \n\
             7 more are due in a later hour's budget\n\
             \n\
             failed: b0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n"
        );
        assert_eq!(shown(&kms::RotateDueResponse::default(), 0), "no key was rotated\n");
    }
}
