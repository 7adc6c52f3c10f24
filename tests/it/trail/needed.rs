//! Those outside whom answers wait for.

use bulla::trail::{Need, Purpose};

use super::*;

#[test]
fn h01_a_waiter_is_told_only_when_everybody_who_must_have_the_record_has_it() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let needed = [trail.need(Need::EveryRecord), trail.need(Need::EveryRecord)];
        let lane = running_lane(&trail);
        // Absent until they say otherwise: nothing is taken, and nothing decided.
        assert!(matches!(lane.ready(Purpose::Use), Err(TrailError::Outside)));
        assert!(matches!(lane.append(&record("no")).await, Err(TrailError::Outside)));
        needed.iter().for_each(|needed| needed.is_there(true));
        assert!(lane.ready(Purpose::Use).is_ok());
        // The log's own record of the one that was refused comes first.
        let mut durable = trail.durable();
        let mut append = lane.append(&record("one"));
        let sequence = *durable.wait_for(|sequence| *sequence > 0).await.unwrap();
        settle().await;
        assert!((&mut append).now_or_never().is_none(), "durable, and nowhere else");
        needed[0].has(sequence + 1);
        settle().await;
        assert!((&mut append).now_or_never().is_none(), "one of two has it");
        needed[1].has(sequence + 1);
        assert!(append.await.is_ok());
    });
}

#[test]
fn h02_whoever_is_slow_or_gone_is_told_in_less_than_a_second_and_got_over() {
    let disk = FakeDisk::default();
    on_a_runtime(async {
        let (trail, _) = open(&disk);
        disk.rest(&trail);
        let (slow, seen) = (trail.need(Need::EveryRecord), trail.need(Need::Presence));
        slow.is_there(true);
        seen.is_there(true);
        let lane = running_lane(&trail);
        let begun = tokio::time::Instant::now();
        assert!(matches!(lane.append(&record("slow")).await, Err(TrailError::Unavailable)));
        assert!(begun.elapsed() < Duration::from_secs(1));
        // Nobody else is let in meanwhile.
        assert!(matches!(lane.ready(Purpose::Manage), Err(TrailError::Unavailable)));
        slow.has(1_000);
        settle().await;
        lane.append(&record("after")).await.unwrap();
        seen.is_there(false);
        assert!(matches!(lane.ready(Purpose::Use), Err(TrailError::Outside)));
        seen.is_there(true);
        seen.is_there(true);
        assert!(lane.ready(Purpose::Use).is_ok());
        // Gone without a word.
        drop(slow);
        assert!(matches!(lane.ready(Purpose::Use), Err(TrailError::Outside)));
        assert!(!trail.takes_records(Purpose::Manage));
    });
}
