//! `bulla census`: what each version of a key has issued and what of that was moved, by store, with
//! a bar for each version.
//!
//! The bar counts calls, not blobs: what an application deleted without saying so is still in it.
//! Only `bulla key retire-check` says that a version can be let go.

use std::fmt::Write as _;

use bulla_client::kms;

use super::failure::Failure;
use super::store::store_name;
use super::table::Table;
use super::version::state_name;
use super::{Session, time};

/// Whose census.
#[derive(clap::Args, Debug)]
pub struct CensusArguments {
    /// UUID or alias
    key: String,
}

/// What is left under one version, by the count of calls.
struct Left {
    issued: u64,
    left: u64,
}

// === impl CensusArguments ===

impl CensusArguments {
    pub(crate) async fn run(self, session: &Session) -> Result<(), Failure> {
        let request = kms::GetCensusRequest { key: self.key };
        let response = session.client().await?.get_census(request).await?;
        session.printer.message(&response, |now| shown(&response, now))
    }
}

// === impl Left ===

impl Left {
    fn of(version: &kms::VersionCensus) -> Self {
        let sum = |count: fn(&kms::StoreCensus) -> u64| {
            version.stores.iter().map(count).fold(0_u64, u64::saturating_add)
        };
        let issued = sum(|store| store.issued);
        // Blobs that were restored from a backup may be moved twice.
        Self { issued, left: issued.saturating_sub(sum(|store| store.moved)) }
    }

    /// Of `parts`, as many as are left, rounded up: what is left is never shown as nothing.
    fn of_parts(&self, parts: u64) -> u64 {
        let scaled = u128::from(self.left).saturating_mul(parts.into());
        let rounded_up = scaled.saturating_add(u128::from(self.issued).saturating_sub(1));
        let parts_left = rounded_up.checked_div(self.issued.into()).unwrap_or(0);
        u64::try_from(parts_left).unwrap_or(parts)
    }

    fn bar(&self) -> String {
        let filled = self.of_parts(BAR_CHARACTERS);
        let mark = |at| if at < filled { FILLED } else { EMPTY };
        (0..BAR_CHARACTERS).map(mark).collect()
    }
}

fn shown(census: &kms::GetCensusResponse, now: i64) -> String {
    let mut table = Table::new(&[
        "version",
        "state",
        "store",
        "issued",
        "moved",
        "opened",
        "refused",
        "last_open_time",
        "opened_by",
        "last_scan",
    ]);
    for version in &census.versions {
        for store in &version.stores {
            table.row([
                version.version.to_string(),
                state_name(version.state),
                store_name(store.store, &store.name),
                store.issued.to_string(),
                store.moved.to_string(),
                store.opened.to_string(),
                store.refused.to_string(),
                time::shown(store.last_open_time.as_ref(), now),
                opened_by(store),
                last_scan(version.version, store.scan.as_ref(), now),
            ]);
        }
    }
    let mut shown = table.render("no version of this key has issued anything");
    let bars = bars(census);
    if !bars.is_empty() {
        shown.push_str("\nStill under each version, of what was issued:\n");
        shown.push_str(&bars);
    }
    shown
}

/// A bar for each version that has issued anything.
pub(crate) fn bars(census: &kms::GetCensusResponse) -> String {
    let mut shown = String::new();
    let bars = census.versions.iter().map(|version| (version, Left::of(version)));
    for (version, left) in bars.filter(|(_, left)| left.issued > 0) {
        // Writing to a `String` cannot fail.
        let _ = writeln!(
            shown,
            "{:>7}  {}  {:>3}%  {} of {}  {}",
            version.version,
            left.bar(),
            left.of_parts(100),
            left.left,
            left.issued,
            state_name(version.state),
        );
    }
    shown
}

/// Who opened something, the latest first: the first two, and how many more there are.
fn opened_by(store: &kms::StoreCensus) -> String {
    let opened = || store.principals.iter().filter(|principal| principal.opened > 0);
    let mut names: Vec<_> = opened().take(SHOWN_MAX).map(|who| who.principal.clone()).collect();
    let more = opened().count().saturating_sub(names.len());
    match (more, store.principals_truncated) {
        (0, false) => {}
        (more, false) => names.push(format!("{more} more")),
        (more, true) => names.push(format!("{more} or more besides")),
    }
    names.join(", ")
}

/// What the last scan of a store found of a version, and when it ended.
fn last_scan(version: u32, scan: Option<&kms::Scan>, now: i64) -> String {
    let Some(scan) = scan else { return String::new() };
    let of_version = |counts: &[kms::VersionCount]| {
        let count = counts.iter().find(|count| count.version == version);
        count.map_or(0, |count| count.count)
    };
    let left = of_version(&scan.versions).saturating_sub(of_version(&scan.abandoned));
    format!("{left} found, {}", time::shown(scan.end_time.as_ref(), now))
}

const BAR_CHARACTERS: u64 = 30;
const FILLED: char = '█';
const EMPTY: char = '░';

/// How many principals a cell names.
const SHOWN_MAX: usize = 2;

#[cfg(test)]
mod tests {
    use prost_types::Timestamp;

    use super::*;

    const NOW: i64 = 1_800_000_060;

    fn principal(name: &str, opened: u64) -> kms::PrincipalCensus {
        kms::PrincipalCensus { principal: name.into(), opened, ..Default::default() }
    }

    fn counted(store: u32, name: &str, issued: u64, moved: u64) -> kms::StoreCensus {
        kms::StoreCensus { store, name: name.into(), issued, moved, ..Default::default() }
    }

    fn at(seconds: i64) -> Option<Timestamp> {
        Some(Timestamp { seconds, nanos: 0 })
    }

    #[test]
    fn a_census_is_a_table_and_under_it_a_bar_for_each_version() {
        let scan = kms::Scan {
            end_time: at(NOW),
            versions: vec![kms::VersionCount { version: 1, count: 5 }],
            abandoned: vec![kms::VersionCount { version: 1, count: 2 }],
            ..Default::default()
        };
        let orders = kms::StoreCensus {
            opened: 12,
            refused: 1,
            last_open_time: at(NOW - 60),
            principals: vec![principal("spiffe://d/app", 12), principal("spiffe://d/idle", 0)],
            scan: Some(scan),
            ..counted(3, "orders", 1000, 996)
        };
        let census = kms::GetCensusResponse {
            versions: vec![
                kms::VersionCensus {
                    version: 1,
                    state: kms::VersionState::Deactivated.into(),
                    stores: vec![counted(0, "", 0, 0), orders],
                    ..Default::default()
                },
                kms::VersionCensus {
                    version: 2,
                    state: kms::VersionState::Active.into(),
                    stores: vec![counted(9, "", 996, 0)],
                    ..Default::default()
                },
            ],
            ..Default::default()
        };
        assert_eq!(
            shown(&census, NOW),
            "VERSION  STATE        STORE   ISSUED  MOVED  OPENED  REFUSED  \
             LAST_OPEN_TIME                       OPENED_BY       LAST_SCAN\n\
             1        DEACTIVATED  -       0       0      0       0        \
             -                                    -               -\n\
             1        DEACTIVATED  orders  1000    996    12      1        \
             2027-01-15T08:00:00Z (1 minute ago)  spiffe://d/app  \
             3 found, 2027-01-15T08:01:00Z (now)\n\
             2        ACTIVE       9       996     0      0       0        \
             -                                    -               -\n\
             \n\
             Still under each version, of what was issued:\n      \
             1  █░░░░░░░░░░░░░░░░░░░░░░░░░░░░░    1%  4 of 1000  DEACTIVATED\n      \
             2  ██████████████████████████████  100%  996 of 996  ACTIVE\n"
        );
    }

    #[test]
    fn a_key_that_has_issued_nothing_has_no_bars() {
        let version = kms::VersionCensus { version: 1, state: 2, ..Default::default() };
        let census = kms::GetCensusResponse { versions: vec![version], ..Default::default() };
        assert_eq!(shown(&census, NOW), "no version of this key has issued anything\n");
    }

    #[test]
    fn what_is_left_is_never_shown_as_nothing_and_nothing_never_as_something() {
        for (issued, left, percent) in
            [(1_000_000, 1, 1), (3, 2, 67), (5, 5, 100), (5, 0, 0), (u64::MAX, u64::MAX, 100)]
        {
            assert_eq!(Left { issued, left }.of_parts(100), percent, "{left} of {issued}");
        }
        assert_eq!(Left { issued: 0, left: 0 }.of_parts(100), 0);
        let version =
            kms::VersionCensus { stores: vec![counted(1, "", 2, 3)], ..Default::default() };
        assert_eq!(Left::of(&version).left, 0);
    }

    #[test]
    fn of_many_principals_the_latest_two_are_named() {
        let names = ["a", "b", "c", "d"].map(|name| principal(name, 1));
        let store = kms::StoreCensus { principals: names.to_vec(), ..Default::default() };
        assert_eq!(opened_by(&store), "a, b, 2 more");
        let store = kms::StoreCensus { principals_truncated: true, ..store };
        assert_eq!(opened_by(&store), "a, b, 2 or more besides");
    }
}
