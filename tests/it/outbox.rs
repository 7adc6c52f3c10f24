//! Changes that were interrupted between their commit and the record of it: the next start says in the
//! audit log what became of them, once.

use bulla::audit::{Outcome, Record};
use bulla::census::{RegisteredStore, StoreKind, WriteDelay};
use bulla::keys::{Owner, StoreName, StoreNumber};
use bulla::policy::{Action, Role};
use bulla::trail::{Entry, Lane};

use crate::campaigns::Program;

/// How far a change got before the program was stopped.
#[derive(Clone, Copy)]
struct Interrupted {
    committed: bool,
    /// What the log says about its end.
    ended: Option<Outcome>,
}

struct Log {
    program: Program,
    lane: Lane,
}

// === impl Log ===

impl Log {
    async fn new() -> Self {
        let program = Program::new().await;
        let lane = program.desk.office().trail.lane();
        tokio::spawn(lane.run());
        Self { program, lane }
    }

    fn record(&self, outcome: Outcome, time_us: i64) -> Record<'static> {
        Record {
            tenant: Some(self.program.tenant),
            principal: "spiffe://demo.bulla/manager".into(),
            ..Record::new(time_us, "store.register", outcome)
        }
    }

    /// A change of store `number`, as far as it got. Gives the sequence that announced it.
    async fn interrupted(&self, number: u32, how: Interrupted) -> u64 {
        let now_us = self.program.desk.office().clock.unix_us();
        let announced = self.record(Outcome::Started, now_us);
        let sequence = self.lane.append(&announced).await.unwrap();
        if how.committed {
            self.commit(number, sequence, now_us).await;
        }
        if let Some(outcome) = how.ended {
            let end = self.record(outcome, now_us);
            self.lane.append(&Record { started_sequence: sequence, ..end }).await.unwrap();
        }
        sequence
    }

    async fn commit(&self, number: u32, sequence: u64, time_us: i64) {
        let permit = self.program.permit(Action::RegisterStore, Role::KeyManager);
        let mut changes = self.program.custody().change(&permit).unwrap();
        changes.put_new_store(&RegisteredStore {
            number: StoreNumber::new(number).unwrap(),
            name: StoreName::parse(&format!("late-{number}")).unwrap(),
            owner: Owner::parse("orders").unwrap(),
            kind: StoreKind::Sqlite,
            write_delay: WriteDelay::DEFAULT,
            create_time: self.program.custody().now(),
            restore: None,
        });
        changes.announced_by(sequence, time_us);
        changes.commit().await.unwrap();
    }

    /// The records after `after` that end a change.
    async fn ends_after(&self, after: u64) -> Vec<Entry> {
        let read = self.program.desk.office().trail.read(after, 1_000).await.unwrap();
        read.into_iter().filter(|entry| entry.record.started_sequence != 0).collect()
    }

    async fn last(&self) -> u64 {
        *self.program.desk.office().trail.durable().borrow()
    }
}

#[tokio::test]
async fn h01_an_interrupted_change_is_recorded_as_what_the_store_says_and_only_once() {
    let log = Log::new().await;
    let cases = [
        (Interrupted { committed: true, ended: None }, Some(Outcome::Succeeded)),
        (Interrupted { committed: false, ended: None }, Some(Outcome::Failed)),
        (Interrupted { committed: true, ended: Some(Outcome::Failed) }, Some(Outcome::Succeeded)),
        (Interrupted { committed: false, ended: Some(Outcome::Failed) }, None),
        (Interrupted { committed: true, ended: Some(Outcome::Succeeded) }, None),
        (Interrupted { committed: false, ended: Some(Outcome::Refused) }, None),
    ];
    let mut expected = Vec::new();
    for (number, (how, outcome)) in (10..).zip(cases) {
        let sequence = log.interrupted(number, how).await;
        expected.extend(outcome.map(|outcome| (sequence, outcome)));
    }
    let last = log.last().await;
    assert_eq!(log.program.desk.end_what_was_begun().await.unwrap(), 3);
    let ends = log.ends_after(last).await;
    let said: Vec<_> =
        ends.iter().map(|end| (end.record.started_sequence, end.record.outcome)).collect();
    assert_eq!(said, expected);
    for end in &ends {
        assert_eq!(end.record.principal, "spiffe://demo.bulla/manager", "it is the caller's still");
        assert_eq!(end.record.action, "store.register");
        assert!(end.record.detail.contains("after a restart"), "{}", end.record.detail);
        assert_eq!(end.record.reason.is_empty(), end.record.outcome == Outcome::Succeeded);
    }
    let last = log.last().await;
    assert_eq!(log.program.desk.end_what_was_begun().await.unwrap(), 0, "the second start");
    assert_eq!(log.last().await, last);
}

#[tokio::test]
async fn h01_a_commit_that_another_log_announced_under_the_same_sequence_is_not_this_ones() {
    let log = Log::new().await;
    let now_us = log.program.desk.office().clock.unix_us();
    let announced = log.record(Outcome::Started, now_us);
    let sequence = log.lane.append(&announced).await.unwrap();
    log.commit(20, sequence, now_us - 1).await;
    let last = log.last().await;
    assert_eq!(log.program.desk.end_what_was_begun().await.unwrap(), 1);
    assert_eq!(log.ends_after(last).await[0].record.outcome, Outcome::Failed);
}

#[tokio::test]
async fn an_interrupted_change_is_found_behind_thousands_of_other_records() {
    let log = Log::new().await;
    let sequence = log.interrupted(30, Interrupted { committed: true, ended: None }).await;
    let now_us = log.program.desk.office().clock.unix_us();
    for _ in 0..3_500 {
        let other = Record::new(now_us, "crypto.decrypt", Outcome::Succeeded);
        drop(log.lane.append(&other));
    }
    let last = log.lane.append(&Record::new(now_us, "crypto.decrypt", Outcome::Succeeded));
    let last = last.await.unwrap();
    assert_eq!(log.program.desk.end_what_was_begun().await.unwrap(), 1);
    assert_eq!(log.ends_after(last).await[0].record.started_sequence, sequence);
}

#[tokio::test]
async fn every_change_of_a_living_program_ends_once_and_leaves_nothing_to_do() {
    let log = Log::new().await;
    assert_eq!(log.program.desk.end_what_was_begun().await.unwrap(), 0);
}
