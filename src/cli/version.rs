//! `bulla key versions`, and the steps of one version from state to state.

use bulla_client::kms;
use prost_types::Duration;

use super::arguments::Change;
use super::compromise::CompromiseArguments;
use super::confirm::Confirmation;
use super::failure::Failure;
use super::pages::{Limit, gather};
use super::table::{Table, record};
use super::{Session, time};

/// Versions of a key.
#[derive(clap::Subcommand, Debug)]
pub enum VersionCommand {
    /// List the versions of a key and where each stands
    Versions {
        /// UUID or alias
        key: String,
        #[command(flatten)]
        limit: Limit,
    },
    /// Stop a version from working until it is resumed
    Suspend(ChangeVersion),
    /// Bring a suspended version back to what it was
    Resume(ChangeVersion),
    /// Let blobs of a deactivated version be moved off it, but no longer opened
    Restrict(ChangeVersion),
    /// Undo restrict
    Unrestrict(ChangeVersion),
    /// Declare a version compromised, which is never undone and replaces an active one; say who
    /// used it, and begin to move everything off it
    Compromise(CompromiseArguments),
    /// Destroy a version's material after a waiting time
    Destroy {
        #[command(flatten)]
        change: ChangeVersion,
        /// How long to wait, 7d to 365d [default: 30d]
        #[arg(long, value_name = "SPAN", value_parser = time::parse_span)]
        wait: Option<Duration>,
        /// Even though `bulla key retire-check` does not say SAFE; needs a reason and a right of
        /// its own
        #[arg(long, requires = "reason")]
        not_safe: bool,
        #[command(flatten)]
        confirmation: Confirmation,
    },
    /// Call a destruction off while its time has not come; the version comes back suspended
    CancelDestroy(ChangeVersion),
}

/// A change to one version.
#[derive(clap::Args, Debug)]
pub struct ChangeVersion {
    /// UUID or alias
    key: String,
    /// The version's number
    #[arg(value_parser = clap::value_parser!(u32).range(1..))]
    version: u32,
    #[command(flatten)]
    change: Change,
}

/// The request of one step, from the parts that all of them have.
macro_rules! step {
    ($session:ident, $change:ident, $method:ident($request:ident)) => {{
        let request = kms::$request {
            request_id: $change.change.request_id(),
            reason: $change.change.reason(),
            version: $change.version,
            key: $change.key,
        };
        let response = $session.client().await?.$method(request).await?;
        let version = response.version.clone().unwrap_or_default();
        $session.printer.message(&response, |now| version_record(&version, now))
    }};
}

// === impl VersionCommand ===

impl VersionCommand {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        match self {
            Self::Versions { key, limit } => list(session, key, limit).await,
            Self::Suspend(change) => {
                step!(session, change, suspend_version(SuspendVersionRequest))
            }
            Self::Resume(change) => step!(session, change, resume_version(ResumeVersionRequest)),
            Self::Restrict(change) => {
                step!(session, change, restrict_version(RestrictVersionRequest))
            }
            Self::Unrestrict(change) => {
                step!(session, change, unrestrict_version(UnrestrictVersionRequest))
            }
            Self::CancelDestroy(change) => {
                step!(session, change, cancel_destroy(CancelDestroyRequest))
            }
            Self::Compromise(arguments) => arguments.run(session).await,
            Self::Destroy { change, wait, not_safe, confirmation } => {
                let waits = wait.map_or_else(|| "30d".to_owned(), |wait| time::span(Some(&wait)));
                confirmation.ask(&format!(
                    "Version {} of {} stops working now and is destroyed in {waits}; \
                     what it wrapped is lost then.",
                    change.version, change.key
                ))?;
                change.destroy(session, wait, not_safe).await
            }
        }
    }
}

// === impl ChangeVersion ===

impl ChangeVersion {
    async fn destroy(
        self,
        session: &Session,
        wait: Option<Duration>,
        not_safe: bool,
    ) -> Result<(), Failure> {
        let request = kms::ScheduleDestroyRequest {
            request_id: self.change.request_id(),
            reason: self.change.reason(),
            version: self.version,
            key: self.key,
            wait,
            not_safe,
        };
        let response = session.client().await?.schedule_destroy(request).await?;
        let version = response.version.clone().unwrap_or_default();
        session.printer.message(&response, |now| version_record(&version, now))
    }
}

/// One version, field by field.
pub(crate) fn version_record(version: &kms::Version, now: i64) -> String {
    record(&[
        ("key_id", version.key_id.clone()),
        ("version", version.version.to_string()),
        ("state", state_name(version.state)),
        ("create_time", time::shown(version.create_time.as_ref(), now)),
        ("activate_time", time::shown(version.activate_time.as_ref(), now)),
        ("deactivate_time", time::shown(version.deactivate_time.as_ref(), now)),
        ("destroy_time", time::shown(version.destroy_time.as_ref(), now)),
        ("state_time", time::shown(version.state_time.as_ref(), now)),
        ("reason", version.reason.clone()),
    ])
}

/// `ACTIVE`, `REWRAP_ONLY`, …: the name in the proto without its prefix; a state of a newer server
/// by its number.
pub(crate) fn state_name(state: i32) -> String {
    match kms::VersionState::try_from(state) {
        Ok(kms::VersionState::Unspecified) => String::new(),
        Ok(known) => known.as_str_name().trim_start_matches("VERSION_STATE_").to_owned(),
        Err(_) => state.to_string(),
    }
}

async fn list(session: &Session, key: String, limit: Limit) -> Result<(), Failure> {
    let client = session.client().await?;
    let all = gather(limit, |page_size, page_token| {
        let request = kms::ListVersionsRequest { key: key.clone(), page_size, page_token };
        let client = client.clone();
        async move {
            client.list_versions(request).await.map(|page| (page.versions, page.next_page_token))
        }
    });
    let all = all.await?;
    let response =
        kms::ListVersionsResponse { versions: all.items, next_page_token: all.next_page_token };
    session.printer.message(&response, |now| {
        let mut table = Table::new(&[
            "version",
            "state",
            "create_time",
            "state_time",
            "destroy_time",
            "reason",
        ]);
        for version in &response.versions {
            table.row([
                version.version.to_string(),
                state_name(version.state),
                time::shown(version.create_time.as_ref(), now),
                time::shown(version.state_time.as_ref(), now),
                time::shown(version.destroy_time.as_ref(), now),
                version.reason.clone(),
            ]);
        }
        table.render("no versions")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_are_named_as_in_the_proto_without_the_prefix() {
        assert_eq!(state_name(1), "PRE_ACTIVE");
        assert_eq!(state_name(7), "DESTROY_SCHEDULED");
        assert_eq!(state_name(0), "");
        assert_eq!(state_name(99), "99");
    }
}
