#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, clippy::indexing_slicing)]

use std::collections::BTreeSet;
use std::sync::Arc;

use super::*;

fn page(metrics: &Arc<Metrics>, readings: Readings) -> String {
    metrics.page(readings).unwrap()
}

fn counted(metrics: &Arc<Metrics>) -> Vec<String> {
    let page = page(metrics, Readings::default());
    let lines = page.lines().filter(|line| !line.starts_with('#') && !line.ends_with(" 0"));
    lines.map(str::to_owned).collect()
}

#[test]
fn the_page_is_written_as_openmetrics_has_it() {
    let metrics = Arc::new(Metrics::new(vec!["bulla.kms.v1.Crypto/Decrypt", "unknown"]));
    metrics.succeeded(0);
    metrics.succeeded(0);
    metrics.not_done(0, "INVALID_CIPHERTEXT");
    metrics.not_done(1, "UNKNOWN_METHOD");
    metrics.turned(Turn::Held, 1_790_000_000_250);
    let readings = Readings {
        connections: 3,
        audit_records: 7,
        audit_syncs: 2,
        audit_written_bytes: 900,
        audit_available: true,
        audit_spare_segments: 1,
        audit_poisoned_segments: 4,
        audit_refused: 5,
        audit_sequence: 0,
        audit_notary_failures: 6,
    };
    let page = page(&metrics, readings);
    assert!(page.ends_with("# EOF\n"));
    for part in [
        "# HELP bulla_build The running program: its version.\n# TYPE bulla_build info\n",
        "# TYPE bulla_requests counter\n\
         bulla_requests_total{method=\"bulla.kms.v1.Crypto/Decrypt\",reason=\"OK\"} 2\n\
         bulla_requests_total{method=\"bulla.kms.v1.Crypto/Decrypt\",reason=\"INVALID_CIPHERTEXT\"} 1\n\
         bulla_requests_total{method=\"unknown\",reason=\"OK\"} 0\n\
         bulla_requests_total{method=\"unknown\",reason=\"UNKNOWN_METHOD\"} 1\n",
        "# TYPE bulla_connections gauge\nbulla_connections 3\n",
        "# TYPE bulla_scheduler_last_turn_timestamp_seconds gauge\n\
         # UNIT bulla_scheduler_last_turn_timestamp_seconds seconds\n\
         bulla_scheduler_last_turn_timestamp_seconds 1790000000.25\n",
        "bulla_scheduler_turns_total{outcome=\"held\"} 1\n",
        "bulla_scheduler_lease 1\n",
        "# UNIT bulla_audit_written_bytes bytes\nbulla_audit_written_bytes_total 900\n",
        "bulla_audit_available 1\n",
        "bulla_audit_spare_segments 1\n",
        "bulla_audit_poisoned_segments_total 4\n",
        "bulla_audit_refused_total 5\n",
        "bulla_audit_notary_failures_total 6\n",
    ] {
        assert!(page.contains(part), "{part}\nnot in\n{page}");
    }
    let version = format!("bulla_build_info{{version=\"{}\"}} 1\n", env!("CARGO_PKG_VERSION"));
    assert!(page.contains(&version), "{page}");
}

#[test]
fn what_was_committed_is_counted_and_what_was_not_is_counted_as_that() {
    let metrics = Arc::new(Metrics::new(Vec::new()));
    let rotated =
        Happened { rotation: Some(Trigger::Date), activated: true, ..Happened::default() };
    metrics.changed(rotated, Outcome::Succeeded);
    metrics.changed(rotated, Outcome::Failed);
    metrics.changed(Happened { prepared: true, ..Happened::default() }, Outcome::Succeeded);
    metrics.changed(Happened { destroyed: true, ..Happened::default() }, Outcome::Refused);
    metrics.committed(Commit::Conflict);
    metrics.moved(40);
    let expected = [
        "bulla_rotations_total{trigger=\"date\",outcome=\"succeeded\"} 1",
        "bulla_rotations_total{trigger=\"date\",outcome=\"failed\"} 1",
        "bulla_version_steps_total{step=\"prepared\"} 1",
        "bulla_version_steps_total{step=\"activated\"} 1",
        "bulla_moved_blobs_total 40",
        "bulla_store_commits_total{outcome=\"conflict\"} 1",
    ];
    let counted = counted(&metrics);
    assert!(counted[0].starts_with("bulla_build_info"));
    assert_eq!(counted[1..], expected);
}

#[test]
fn the_scheduler_reads_as_it_last_stood() {
    let metrics = Metrics::new(Vec::new());
    assert_eq!(metrics.scheduler(), SchedulerReading::default());
    for trigger in Trigger::ALL {
        let rotated = Happened { rotation: Some(trigger), ..Happened::default() };
        metrics.changed(rotated, Outcome::Succeeded);
    }
    let mut round = Round::default();
    for due in [Due::Rotation, Due::Rotation, Due::LadderStep] {
        round.add_due(due);
    }
    round.add_deferred(Deferral::Budget);
    metrics.found(round);
    metrics.turned(Turn::Held, 5);
    metrics.turned(Turn::Failed, 6);
    let expected = SchedulerReading {
        holds_lease: true,
        last_turn_unix_ms: Some(5),
        rotations: 4,
        due: 3,
        deferred: 1,
    };
    assert_eq!(metrics.scheduler(), expected);
    metrics.turned(Turn::NotHeld, 7);
    metrics.found(Round::default());
    let expected = SchedulerReading {
        last_turn_unix_ms: Some(7),
        rotations: 4,
        ..SchedulerReading::default()
    };
    assert_eq!(metrics.scheduler(), expected);
}

#[test]
fn i04_a_label_is_a_word_of_a_fixed_list_whatever_is_counted() {
    let metrics = Arc::new(Metrics::new(vec!["one", "other"]));
    metrics.not_done(0, "spiffe://one.test/somebody");
    metrics.not_done(7, "OK");
    let page = page(&metrics, Readings::default());
    assert!(page.contains("bulla_requests_total{method=\"one\",reason=\"OTHER\"} 1\n"), "{page}");
    assert!(!page.contains("spiffe"));
    let reasons: BTreeSet<_> = REASONS.into_iter().collect();
    assert_eq!(reasons.len(), REASONS.len());
    assert_eq!((REASONS[0], REASONS[REASONS.len() - 1]), ("OK", OTHER));
}
