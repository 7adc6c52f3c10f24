//! The engine on a store in memory: what stops it, what does not, and what is lost (nothing).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bulla::agent::{AgentError, Board, Ended, Held, Store};
use bulla_client::kms::{self, CampaignState, ProblemDecision, StorePhase};

use super::fake::{ACTIVE, KEY, Server, opens, version_of};
use super::memory::{Memory, row};
use super::{agent, job, run};

/// Every row opens to its id and none is old.
fn check(store: &Memory) {
    for (id, row) in &*store.rows.lock() {
        let blob = row.held.blob().unwrap();
        assert_eq!(opens(&blob, &row.context), Some(*id));
        assert_eq!(version_of(&blob), ACTIVE, "row {id}");
    }
}

fn moved(ended: &Ended) -> u64 {
    let Ended::Clean(standing) = ended else { panic!("{ended:?}") };
    standing.moved
}

#[tokio::test]
async fn a_store_of_any_size_is_gone_through_with_a_few_loads_in_hand() {
    for rows in [0, 1, 999, 1000, 1001, 30_000] {
        let (server, store) = (Server::new(), Memory::with(rows));
        assert_eq!(moved(&run(&server, Arc::clone(&store) as _).await.unwrap()), rows);
        check(&store);
        let most = store.under_way_max.load(Ordering::Relaxed);
        assert!(most <= 12_000, "{most} entries at once of {rows}");
        let state = server.state.lock();
        assert_eq!(state.progress.moved, rows);
        assert_eq!(state.asked.len() as u64, rows, "nothing is re-wrapped twice");
    }
}

#[tokio::test]
async fn j09_a_server_that_is_away_for_a_while_costs_nothing_but_time() {
    for calls in [0, 1, 2, 3, 5, 8, 13, 21] {
        let (server, store) = (Server::new(), Memory::with(20_000));
        server.fail_after(calls, 7);
        run(&server, Arc::clone(&store) as _).await.unwrap();
        check(&store);
        assert_eq!(server.state.lock().fails, 0, "it did fail");
        assert_eq!(server.phase(), StorePhase::Clean);
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_that_stays_away_is_told_and_the_place_is_kept() {
    let (server, store) = (Server::new(), Memory::with(20_000));
    server.fail_after(9, u64::MAX);
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(&error, AgentError::Server(error) if error.reason == "DRAINING"), "{error}");
    server.fail_after(u64::MAX, 0);
    run(&server, Arc::clone(&store) as _).await.unwrap();
    check(&store);
}

#[tokio::test]
async fn a_place_is_reported_only_after_what_is_before_it_was_written() {
    let (server, store) = (Server::new(), Memory::with(20_000));
    let watched = Arc::clone(&server);
    store.meddle(move |rows| {
        let place = watched.state.lock().progress.place.clone();
        let place = place.try_into().map_or(0, u64::from_be_bytes);
        let old = rows.range(..=place).find(|(_, row)| version_of(&row.held.blob().unwrap()) < 3);
        assert!(old.is_none(), "{:?} is before {place}", old.map(|(id, _)| id));
    });
    run(&server, Arc::clone(&store) as _).await.unwrap();
    check(&store);
}

#[tokio::test]
async fn g06_what_somebody_changes_meanwhile_is_read_again_and_never_overwritten() {
    let (server, store) = (Server::new(), Memory::with(5_000));
    let mut round = 0;
    store.meddle(move |rows| {
        round += 1;
        // In the rows that are about to be written: one is gone, one is new, one is old again.
        if round <= 5 {
            let first = (round - 1) * 1000 + 1;
            rows.remove(&first);
            rows.insert(first + 1, row(first + 1, ACTIVE));
            let mut copy = row(first + 2, 1);
            let Held::Bytes(blob) = &mut copy.held else { panic!() };
            *blob.last_mut().unwrap() ^= 1;
            rows.insert(first + 2, copy);
        }
    });
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert_eq!(moved(&ended), 5_000 - 10);
    check(&store);
    assert_eq!(store.rows.lock().len(), 4_995);
    assert!((3..=15).contains(&server.state.lock().progress.changed));
}

#[tokio::test]
async fn what_was_written_behind_the_agent_is_found_by_the_scan_and_moved_in_another_pass() {
    let (server, store) = (Server::new(), Memory::with(3_000));
    let mut round = 0;
    store.meddle(move |rows| {
        round += 1;
        if round == 3 {
            rows.insert(7, row(7, 2));
        }
    });
    assert_eq!(moved(&run(&server, Arc::clone(&store) as _).await.unwrap()), 3_001);
    check(&store);
    assert_eq!(server.state.lock().progress.pass, 2);
    assert_eq!(server.state.lock().scans[0].samples, ["version 2: id=7"]);
}

#[tokio::test]
async fn a_writer_that_never_stops_using_an_old_version_is_told() {
    let (server, store) = (Server::new(), Memory::with(2_000));
    let mut id = 0;
    store.meddle(move |rows| {
        id += 1;
        rows.insert(id, row(id, 1));
        rows.insert(1_000 + id, row(1_000 + id, 1));
    });
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::NeverClean { passes: 5, left: 1.. }), "{error}");
}

#[tokio::test]
async fn a_blob_that_does_not_open_waits_for_a_person() {
    let (server, store) = (Server::new(), Memory::with(2_500));
    for id in [10, 20, 2_400] {
        store.rows.lock().get_mut(&id).unwrap().context.clear();
    }
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(matches!(ended, Ended::Undecided { undecided: 3, .. }), "{ended:?}");
    {
        let state = server.state.lock();
        assert_eq!(state.progress.undecided, 3);
        let problem = &state.problems["id=20"];
        let stands = store.rows.lock().get(&20).unwrap().held.digest();
        assert_eq!(problem.digest, stands);
        assert_eq!((problem.place.as_str(), problem.version), ("id=20", 1));
        assert_eq!(problem.reason, "INVALID_CIPHERTEXT");
    }
    // One was mended, the others are lost.
    store.rows.lock().insert(10, row(10, 1));
    server.decide("id=10", ProblemDecision::Retry);
    server.decide("id=20", ProblemDecision::Abandoned);
    server.decide("id=2400", ProblemDecision::Abandoned);
    assert_eq!(moved(&run(&server, Arc::clone(&store) as _).await.unwrap()), 1);
    let state = server.state.lock();
    let scan = state.scans.last().unwrap();
    assert_eq!(scan.abandoned, [kms::VersionCount { version: 1, count: 2 }]);
}

#[tokio::test]
async fn the_same_broken_bytes_in_two_rows_are_decided_one_by_one() {
    let (server, store) = (Server::new(), Memory::with(10));
    {
        let mut rows = store.rows.lock();
        rows.get_mut(&3).unwrap().context.clear();
        let same = rows[&3].held.clone();
        let other = rows.get_mut(&7).unwrap();
        other.context.clear();
        other.held = same;
    }
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(matches!(ended, Ended::Undecided { undecided: 2, .. }), "{ended:?}");
    // One is lost. The other is not, though the same stands there.
    server.decide("id=3", ProblemDecision::Abandoned);
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(matches!(ended, Ended::Undecided { undecided: 1, .. }), "{ended:?}");
    let counted = |server: &Server| server.state.lock().scans.last().unwrap().abandoned[0].count;
    assert_eq!(counted(&server), 1);
    server.decide("id=7", ProblemDecision::Abandoned);
    assert_eq!(moved(&run(&server, Arc::clone(&store) as _).await.unwrap()), 0);
    assert_eq!(counted(&server), 2);
}

#[tokio::test]
async fn more_problems_than_a_report_holds_are_told_in_many() {
    let (server, store) = (Server::new(), Memory::with(3_000));
    for (id, row) in store.rows.lock().iter_mut().filter(|(id, _)| **id % 3 == 0) {
        let Held::Bytes(blob) = &mut row.held else { panic!() };
        blob[137] = *id as u8;
        row.context.clear();
    }
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(matches!(ended, Ended::Undecided { undecided: 1_000, .. }), "{ended:?}");
    let state = server.state.lock();
    assert!(state.reports.iter().all(|report| report.problems.len() <= 100));
    // What was moved is told once, with the place that it is counted with.
    assert_eq!(state.progress.moved, 2_000);
}

#[tokio::test]
async fn a_column_of_something_else_is_noticed_early() {
    let (server, store) = (Server::new(), Memory::with(50_000));
    for row in store.rows.lock().values_mut() {
        row.held = Held::Text("a street and a number".into());
    }
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err().to_string();
    assert!(error.contains("is this the right column"), "{error}");
    assert!(server.state.lock().progress.seen < 10_000);
}

#[tokio::test]
async fn a_paused_campaign_is_waited_for_with_its_store_in_hand() {
    let (server, store) = (Server::new(), Memory::with(20_000));
    server.state.lock().pause_after = Some(4_000);
    server.state.lock().rate_per_second = 20_000;
    let running = tokio::spawn({
        let (server, store) = (Arc::clone(&server), Arc::clone(&store));
        async move { run(&server, store as _).await }
    });
    let reports = |server: &Server| server.state.lock().reports.len();
    while server.state.lock().campaign != CampaignState::Paused {
        tokio::task::yield_now().await;
    }
    // What was under way when it was paused may still go; then nothing does.
    let (mut before, began) = (u64::MAX, reports(&server));
    while reports(&server) < began + 6 {
        tokio::time::sleep(Duration::from_millis(1)).await;
        if reports(&server) == began + 3 {
            before = before.min(server.state.lock().moved_blobs);
        }
    }
    assert_eq!(server.state.lock().moved_blobs, before);
    assert!(before < 20_000 && !server.state.lock().progress.agent.is_empty());
    server.state.lock().campaign = CampaignState::Running;
    assert_eq!(moved(&running.await.unwrap().unwrap()), 20_000);
    check(&store);
}

#[tokio::test(start_paused = true)]
async fn the_rate_of_the_campaign_is_kept() {
    let (server, store) = (Server::new(), Memory::with(3_000));
    server.state.lock().rate_per_second = 100;
    let began = tokio::time::Instant::now();
    run(&server, Arc::clone(&store) as _).await.unwrap();
    let took = began.elapsed().as_secs();
    assert!((29..=32).contains(&took), "{took}");
}

#[tokio::test]
async fn a_key_that_is_suspended_half_way_stops_it_and_nothing_is_lost() {
    let (server, store) = (Server::new(), Memory::with(20_000));
    let watched = Arc::clone(&server);
    store.meddle(move |_| {
        let mut state = watched.state.lock();
        if state.moved_blobs > 5_000 {
            let message = "version 1 is SUSPENDED".into();
            state.refusal = Some(kms::Refusal { reason: "VERSION_NOT_USABLE".into(), message });
        }
    });
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::NotMovable(_)));
    assert!(error.to_string().contains("version 1 is SUSPENDED"), "{error}");
    assert!(server.state.lock().problems.is_empty(), "no blob is blamed");
    let kept = server.state.lock().progress.seen;
    assert!(kept > 0, "the place is kept");
    *store.meddler.lock() = None;
    server.state.lock().refusal = None;
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(moved(&ended) <= 20_000 - kept);
    check(&store);
}

#[tokio::test]
async fn a_store_that_fails_is_told_and_the_place_is_kept() {
    let (server, store) = (Server::new(), Memory::with(10_000));
    *store.writes_left.lock() = Some(4);
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert_eq!(error.to_string(), "disk full");
    assert_eq!(server.state.lock().progress.seen, 4_000);
    *store.writes_left.lock() = None;
    assert_eq!(moved(&run(&server, Arc::clone(&store) as _).await.unwrap()), 6_000);
    check(&store);
}

#[tokio::test(start_paused = true)]
async fn two_agents_never_have_one_store() {
    let (server, store) = (Server::new(), Memory::with(1_000));
    server.state.lock().progress.agent = "somebody else".into();
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::Taken(_)), "{error}");
    assert_eq!(server.state.lock().moved_blobs, 0);
    // The other one dies, and is silent for long enough while this one waits.
    let freed = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        server.state.lock().progress.agent.clear();
        std::future::pending().await
    };
    tokio::select! {
        ended = run(&server, Arc::clone(&store) as _) => assert_eq!(moved(&ended.unwrap()), 1_000),
        () = freed => {}
    }
}

#[tokio::test]
async fn a_store_that_was_taken_over_is_left_at_once() {
    let (server, store) = (Server::new(), Memory::with(60_000));
    let watched = Arc::clone(&server);
    let mut writes = 0;
    store.meddle(move |_| {
        writes += 1;
        if writes == 3 {
            watched.state.lock().progress.agent = "somebody else".into();
        }
    });
    server.state.lock().rate_per_second = 100_000;
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::Taken(_)), "{error}");
    assert_eq!(server.state.lock().progress.agent, "somebody else");
}

#[tokio::test]
async fn a_campaign_that_was_given_up_stops_its_agents() {
    let (server, store) = (Server::new(), Memory::with(60_000));
    let watched = Arc::clone(&server);
    store.meddle(move |_| watched.state.lock().campaign = CampaignState::Failed);
    server.state.lock().rate_per_second = 100_000;
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::GivenUp(_)), "{error}");
    let error = run(&server, Arc::clone(&store) as _).await.unwrap_err();
    assert!(matches!(error, AgentError::GivenUp(_)), "{error}");
}

#[tokio::test]
async fn an_agent_that_is_asked_to_stop_lets_the_store_go() {
    let (server, store) = (Server::new(), Memory::with(20_000));
    let agent = agent(&server, Arc::clone(&store) as _);
    let watched = Arc::clone(&server);
    let stop = async move {
        while watched.state.lock().moved_blobs < 3_000 {
            tokio::task::yield_now().await;
        }
    };
    let error = agent.run(&job(), stop).await.unwrap_err();
    assert!(matches!(error, AgentError::Interrupted));
    let seen = server.state.lock().progress.seen;
    assert!(seen > 0 && server.state.lock().progress.agent.is_empty());
    let ended = run(&server, Arc::clone(&store) as _).await.unwrap();
    assert!(moved(&ended) <= 20_000 - seen);
    check(&store);
}

#[tokio::test]
async fn a_scan_alone_counts_by_version_and_changes_nothing() {
    let (server, store) = (Server::new(), Memory::with(100));
    for id in 41..=100 {
        store.rows.lock().insert(id, row(id, if id <= 70 { 2 } else { 3 }));
    }
    store.rows.lock().get_mut(&5).unwrap().held = Held::Text("no blob".into());
    let agent = agent(&server, Arc::clone(&store) as Arc<dyn Store>);
    for key in ["customers", &uuid::Uuid::from_bytes(KEY).to_string()] {
        let scan = agent.scan_only(key, "orders").await.unwrap();
        let count = |version, count| kms::VersionCount { version, count };
        assert_eq!(scan.versions, [count(1, 39), count(2, 30), count(3, 30)]);
        assert_eq!((scan.rows, scan.unreadable), (100, 1));
        assert_eq!((scan.samples.len(), scan.samples[0].as_str()), (10, "version 1: id=1"));
    }
    assert!(server.state.lock().reports.is_empty());
    // A report of nobody, so that the trait is used as others would.
    assert!(server.report_progress(kms::ReportProgressRequest::default()).await.is_ok());
}
