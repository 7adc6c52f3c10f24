//! `bulla key exposure`: who received, opened or moved something of a version, and when. The audit
//! log knows; this asks it and shows the answer.

use bulla_client::{Client, kms};
use prost_types::Timestamp;

use super::failure::Failure;
use super::retire::OneVersion;
use super::store::store_name;
use super::table::{Table, record};
use super::{Session, time};

/// Whose exposure, and from when on.
#[derive(clap::Args, Debug)]
pub struct ExposureArguments {
    #[command(flatten)]
    version: OneVersion,
    /// From when on: 2027-01-15T08:00:00Z, or how long ago, such as 7d
    #[arg(long, value_name = "TIME", value_parser = time::parse_past)]
    since: Timestamp,
}

// === impl ExposureArguments ===

impl ExposureArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let OneVersion { key, version } = self.version;
        let response = of(&session.client().await?, key, version, Some(self.since)).await?;
        session.printer.message(&response, |now| shown(&response, now))
    }
}

/// The exposure of one version.
pub(crate) async fn of(
    client: &Client,
    key: String,
    version: u32,
    since: Option<Timestamp>,
) -> Result<kms::GetExposureResponse, Failure> {
    Ok(client.get_exposure(kms::GetExposureRequest { key, version, since }).await?)
}

fn shown(response: &kms::GetExposureResponse, now: i64) -> String {
    let head = record(&[
        ("key_id", response.key_id.clone()),
        ("version", response.version.to_string()),
        ("first_sequence", response.first_sequence.to_string()),
        ("last_sequence", response.last_sequence.to_string()),
    ]);
    let mut table = Table::new(&[
        "principal",
        "store",
        "received",
        "opened",
        "moved",
        "first_time",
        "last_time",
    ]);
    for exposure in &response.exposures {
        table.row([
            exposure.principal.clone(),
            store_name(exposure.store, &exposure.store_name),
            exposure.received.to_string(),
            exposure.opened.to_string(),
            exposure.moved.to_string(),
            time::shown(exposure.first_time.as_ref(), now),
            time::shown(exposure.last_time.as_ref(), now),
        ]);
    }
    format!("{head}\n{}", table.render("nobody used it"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exposure_is_shown_with_the_records_that_were_read() {
        let at = |seconds| Some(Timestamp { seconds, nanos: 0 });
        let response = kms::GetExposureResponse {
            key_id: "a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf".into(),
            version: 3,
            first_sequence: 12,
            last_sequence: 99,
            exposures: vec![kms::Exposure {
                principal: "spiffe://d/app".into(),
                store: 3,
                store_name: "orders".into(),
                received: 5,
                opened: 7,
                moved: 0,
                first_time: at(1_800_000_000),
                last_time: at(1_800_000_060),
            }],
        };
        assert_eq!(
            shown(&response, 1_800_000_060),
            "KEY_ID          a0a1a2a3-a4a5-a6a7-a8a9-aaabacadaeaf\n\
             VERSION         3\n\
             FIRST_SEQUENCE  12\n\
             LAST_SEQUENCE   99\n\
             \n\
             PRINCIPAL       STORE   RECEIVED  OPENED  MOVED  \
             FIRST_TIME                           LAST_TIME\n\
             spiffe://d/app  orders  5         7       0      \
             2027-01-15T08:00:00Z (1 minute ago)  2027-01-15T08:01:00Z (now)\n"
        );
        let nobody = kms::GetExposureResponse { exposures: Vec::new(), ..response };
        assert!(shown(&nobody, 0).ends_with("\n\nnobody used it\n"));
    }
}
