//! That each call has its one record, with the right outcome: read from the log, connection by connection.

use std::collections::BTreeMap;

use bulla_client::kms;

use crate::server::TestServer;

/// What the record of a call must say.
pub(super) struct Expected {
    /// The end of the connection that the call came by.
    pub(super) address: String,
    /// One of these. Nothing is recorded of what has no action.
    pub(super) actions: Vec<String>,
    /// Empty where the call was done.
    pub(super) reason: String,
    /// So many failures came before, each with a record of its own.
    pub(super) conflicts: usize,
    /// Whether what was done was announced before.
    pub(super) changes: bool,
    pub(super) principal: String,
    pub(super) about: String,
}

/// What is wrong with the records after `start`.
pub(super) async fn wrong(server: &TestServer, start: u64, expected: &[Expected]) -> Vec<String> {
    let mut by_address: BTreeMap<String, Vec<kms::Record>> = BTreeMap::new();
    for auditor in ["auditor", "landlord"] {
        for record in crate::wire::records(server, auditor, start).await {
            by_address.entry(record.source_address.clone()).or_default().push(record);
        }
    }
    let mut of_calls: BTreeMap<&str, Vec<&Expected>> = BTreeMap::new();
    for one in expected {
        of_calls.entry(&one.address).or_default().push(one);
    }
    let mut wrong = Vec::new();
    for (address, calls) in of_calls {
        let mut records = by_address.remove(address).unwrap_or_default();
        records.sort_by_key(|record| record.sequence);
        check(&calls, &records, &mut wrong);
    }
    wrong
}

/// One connection made these calls one after the other.
fn check(calls: &[&Expected], records: &[kms::Record], wrong: &mut Vec<String>) {
    let mut ended = records.iter().filter(|record| record.outcome != "STARTED");
    for call in calls {
        if call.actions.is_empty() {
            continue;
        }
        for _ in 0..call.conflicts {
            match ended.next() {
                Some(record) if record.reason == "CONFLICT" => {}
                other => wrong.push(format!("{}: no record of a conflict: {other:?}", call.about)),
            }
        }
        let Some(record) = ended.next() else {
            wrong.push(format!("{}: no record", call.about));
            return;
        };
        let outcome = if call.reason.is_empty() { "SUCCEEDED" } else { "REFUSED" };
        let is_right = call.actions.contains(&record.action)
            && record.principal == call.principal
            && (record.outcome.as_str(), &record.reason) == (outcome, &call.reason);
        if !is_right {
            wrong.push(format!("{}: its record is {record:?}", call.about));
            return;
        }
        // A scan's beginning is no change of anything that is kept to.
        let is_change = call.changes && record.action != "rotation.begin_scan";
        if is_change && outcome == "SUCCEEDED" && record.started_sequence == 0 {
            wrong.push(format!("{}: it was not announced", call.about));
        }
    }
    for more in ended {
        wrong.push(format!("one record too many: {more:?}"));
    }
}
