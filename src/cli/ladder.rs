//! `bulla key ladder`: the steps by which old versions of a key retire by themselves, and where
//! each version stands on them.

use bulla_client::kms;
use prost_types::Duration;

use super::arguments::{Change, Once};
use super::failure::Failure;
use super::retire::OneVersion;
use super::table::{Table, record};
use super::version::state_name;
use super::{Session, time};

/// One key's ladder.
#[derive(clap::Args, Debug)]
#[command(args_conflicts_with_subcommands = true, arg_required_else_help = true)]
pub struct LadderArguments {
    /// UUID or alias: the same as `show KEY`
    key: Option<String>,
    #[command(subcommand)]
    command: Option<LadderCommand>,
}

/// Ladders.
#[derive(clap::Subcommand, Debug)]
pub(super) enum LadderCommand {
    /// Show the steps, where each version stands, and what comes next
    Show {
        /// UUID or alias
        key: String,
    },
    /// Set the steps
    Set(SetLadder),
    /// Take the steps away; versions stay where they are
    Clear {
        /// UUID or alias
        key: String,
        /// That it happens once.
        #[command(flatten)]
        once: Once,
    },
    /// Let a version go on that was paused
    Resume {
        /// Which.
        #[command(flatten)]
        version: OneVersion,
        /// Why.
        #[command(flatten)]
        change: Change,
    },
}

/// The steps: each waits for the one before it.
#[derive(clap::Args, Debug)]
pub(super) struct SetLadder {
    /// UUID or alias
    key: String,
    /// From the end of the campaign that emptied a version to REWRAP_ONLY
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "7d")]
    restrict_after: Duration,
    /// How often the version refuses everything for a short time, to find out who needs it
    #[arg(long, value_name = "N", default_value_t = 3)]
    brownouts: u32,
    /// How long each brownout lasts
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "10m")]
    brownout_length: Duration,
    /// From the step before to each brownout
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "1d")]
    brownout_after: Duration,
    /// From the step before to SUSPENDED
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "7d")]
    suspend_after: Duration,
    /// From there to DESTROY_SCHEDULED
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "7d")]
    destroy_after: Duration,
    /// From there until the material is destroyed, 7d to 365d
    #[arg(long, value_name = "SPAN", value_parser = time::parse_span, default_value = "30d")]
    destroy_wait: Duration,
    #[command(flatten)]
    once: Once,
}

// === impl LadderArguments ===

impl LadderArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match (self.command, self.key) {
            (Some(LadderCommand::Show { key }), _) | (None, Some(key)) => show(session, key).await,
            (Some(LadderCommand::Set(set)), _) => set.run(session).await,
            (Some(LadderCommand::Clear { key, once }), _) => {
                let request_id = once.request_id();
                put(session, kms::SetLadderRequest { key, ladder: None, request_id }).await
            }
            (Some(LadderCommand::Resume { version, change }), _) => {
                resume(session, version, &change).await
            }
            // The parser asks for one of the two.
            (None, None) => Ok(()),
        }
    }
}

// === impl SetLadder ===

impl SetLadder {
    async fn run(self, session: &Session) -> Result<(), Failure> {
        let ladder = kms::Ladder {
            restrict_after: Some(self.restrict_after),
            brownouts: self.brownouts,
            brownout_length: Some(self.brownout_length),
            brownout_after: Some(self.brownout_after),
            suspend_after: Some(self.suspend_after),
            destroy_after: Some(self.destroy_after),
            destroy_wait: Some(self.destroy_wait),
        };
        let request_id = self.once.request_id();
        let request = kms::SetLadderRequest { key: self.key, ladder: Some(ladder), request_id };
        put(session, request).await
    }
}

async fn put(session: &Session, request: kms::SetLadderRequest) -> Result<(), Failure> {
    let response = session.client().await?.set_ladder(request).await?;
    session.printer.message(&response, |_| steps(response.ladder.as_ref()))
}

async fn show(session: &Session, key: String) -> Result<(), Failure> {
    let response = session.client().await?.get_ladder(kms::GetLadderRequest { key }).await?;
    session.printer.message(&response, |now| {
        format!("{}\n{}", steps(response.ladder.as_ref()), standing(&response.versions, now))
    })
}

async fn resume(session: &Session, of: OneVersion, change: &Change) -> Result<(), Failure> {
    let request = kms::ResumeLadderRequest {
        key: of.key,
        version: of.version,
        reason: change.reason(),
        request_id: change.request_id(),
    };
    let response = session.client().await?.resume_ladder(request).await?;
    session.printer.message(&response, |now| standing(response.version.as_slice(), now))
}

fn steps(ladder: Option<&kms::Ladder>) -> String {
    let Some(ladder) = ladder else { return "no ladder\n".to_owned() };
    record(&[
        ("restrict_after", time::span(ladder.restrict_after.as_ref())),
        ("brownouts", ladder.brownouts.to_string()),
        ("brownout_length", time::span(ladder.brownout_length.as_ref())),
        ("brownout_after", time::span(ladder.brownout_after.as_ref())),
        ("suspend_after", time::span(ladder.suspend_after.as_ref())),
        ("destroy_after", time::span(ladder.destroy_after.as_ref())),
        ("destroy_wait", time::span(ladder.destroy_wait.as_ref())),
    ])
}

fn standing(versions: &[kms::LadderVersion], now: i64) -> String {
    let mut table =
        Table::new(&["version", "state", "step", "next_step", "next_time", "pause_reason"]);
    for version in versions {
        table.row([
            version.version.to_string(),
            state_name(version.state),
            version.step.clone(),
            version.next_step.clone(),
            time::shown(version.next_time.as_ref(), now),
            version.pause_reason.clone(),
        ]);
    }
    table.render("no version is on it")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use clap::{Args as _, FromArgMatches as _};
    use prost_types::Timestamp;

    use super::*;

    fn parse(line: &str) -> Result<LadderArguments, clap::Error> {
        let command = LadderArguments::augment_args(clap::Command::new("ladder"));
        let matches = command.try_get_matches_from(line.split(' '))?;
        LadderArguments::from_arg_matches(&matches)
    }

    #[test]
    fn a_key_alone_is_the_same_as_show() {
        let alone = parse("ladder demo").unwrap();
        assert!(alone.command.is_none() && alone.key.as_deref() == Some("demo"));
        let shown = parse("ladder show demo").unwrap();
        assert!(matches!(shown.command, Some(LadderCommand::Show { key }) if key == "demo"));
        for bad in ["ladder", "ladder set", "ladder demo set", "ladder resume demo 0"] {
            assert!(parse(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn steps_that_are_not_given_have_the_waits_that_the_help_says() {
        let set = parse("ladder set demo --brownouts 0 --destroy-wait 90d").unwrap().command;
        let Some(LadderCommand::Set(set)) = set else { panic!("not set") };
        let days = |duration: Duration| duration.seconds / 86_400;
        assert_eq!((set.brownouts, days(set.destroy_wait), days(set.restrict_after)), (0, 90, 7));
    }

    #[test]
    fn a_ladder_is_its_steps_and_where_each_version_stands() {
        let span = |seconds| Some(Duration { seconds, nanos: 0 });
        let ladder = kms::Ladder {
            restrict_after: span(604_800),
            brownouts: 3,
            brownout_length: span(600),
            brownout_after: span(86_400),
            suspend_after: span(604_800),
            destroy_after: span(604_800),
            destroy_wait: span(2_592_000),
        };
        assert_eq!(
            steps(Some(&ladder)),
            "RESTRICT_AFTER   7d\n\
             BROWNOUTS        3\n\
             BROWNOUT_LENGTH  10m\n\
             BROWNOUT_AFTER   1d\n\
             SUSPEND_AFTER    7d\n\
             DESTROY_AFTER    7d\n\
             DESTROY_WAIT     30d\n"
        );
        assert_eq!(steps(None), "no ladder\n");
        let paused = kms::LadderVersion {
            version: 1,
            state: kms::VersionState::RewrapOnly.into(),
            step: "brownout 1 of 3".into(),
            next_step: "brownout 2 of 3".into(),
            next_time: Some(Timestamp { seconds: 1_800_000_000, nanos: 0 }),
            pause_reason: "spiffe://d/app was refused".into(),
        };
        assert_eq!(
            standing(&[paused], 1_800_000_000),
            "VERSION  STATE        STEP             NEXT_STEP        NEXT_TIME                   \
             PAUSE_REASON\n\
             1        REWRAP_ONLY  brownout 1 of 3  brownout 2 of 3  2027-01-15T08:00:00Z (now)  \
             spiffe://d/app was refused\n"
        );
        assert_eq!(standing(&[], 0), "no version is on it\n");
    }
}
