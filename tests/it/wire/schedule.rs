//! What happens by itself, as callers see it: triggers, rotating what is due, ladders.

use bulla_proto::kms::{self, VersionState};
use tonic::Code;

use super::{Shared, new_key, on_both_stores, records, refused, rotate};

on_both_stores!(
    a_key_that_is_due_rotates_by_itself_or_when_it_is_asked_for,
    a_ladder_is_set_shown_and_taken_away,
);

const INVALID: (Code, &str) = (Code::InvalidArgument, "INVALID_ARGUMENT");

async fn a_key_that_is_due_rotates_by_itself_or_when_it_is_asked_for(server: Shared) {
    let manager = server.client("operator").await;
    let past = prost_types::Timestamp { seconds: 1_700_000_000, nanos: 0 };
    let asked = kms::CreateKeyRequest {
        rotation_time: Some(past),
        rotation_wraps: 1_000,
        rotation_bytes: 1 << 20,
        ..Default::default()
    };
    let made = manager.create_key(asked).await.unwrap().key.unwrap();
    assert_eq!((made.rotation_wraps, made.rotation_bytes), (1_000, 1 << 20));
    assert_eq!((made.rotation_time, made.next_rotation_time), (Some(past), Some(past)));
    // Either this or the scheduler does it, and never both.
    let get = kms::GetKeyRequest { key: made.key_id.clone() };
    let rotated = loop {
        let due = manager.rotate_due(kms::RotateDueRequest {}).await.unwrap();
        assert_eq!(due.failed, Vec::<String>::new());
        let key = manager.get_key(get.clone()).await.unwrap().key.unwrap();
        if key.active_version == 2 {
            break key;
        }
    };
    assert_eq!((rotated.latest_version, rotated.prepared_version), (2, 0));
    assert_eq!(rotated.rotation_time, None, "once");
    assert!(rotated.next_rotation_time.is_some(), "the period goes on");
    let told = records(&server, "auditor", 0).await;
    let told = told.iter().filter(|record| record.key_id == made.key_id);
    let done: Vec<_> = told
        .filter(|record| record.outcome == "SUCCEEDED")
        .map(|record| record.action.as_str())
        .collect();
    let steps = ["keys.create_key", "keys.prepare_version", "keys.rotate_key"];
    assert_eq!(done.into_iter().filter(|it| *it != "keys.get_key").collect::<Vec<_>>(), steps);
}

async fn a_ladder_is_set_shown_and_taken_away(server: Shared) {
    let manager = server.client("operator").await;
    let key = new_key(&manager).await;
    rotate(&manager, &key).await.unwrap();
    let hours = |hours: i64| Some(prost_types::Duration { seconds: hours * 3_600, nanos: 0 });
    let ladder = kms::Ladder {
        restrict_after: hours(24),
        brownouts: 3,
        brownout_length: hours(1),
        brownout_after: hours(24),
        suspend_after: hours(48),
        destroy_after: hours(72),
        destroy_wait: hours(30 * 24),
    };
    let set = async |ladder: Option<kms::Ladder>| {
        let asked = kms::SetLadderRequest { key: key.clone(), ladder, ..Default::default() };
        manager.set_ladder(asked).await
    };
    let get = async || {
        let asked = kms::GetLadderRequest { key: key.clone() };
        manager.get_ladder(asked).await.unwrap()
    };
    assert_eq!(get().await, kms::GetLadderResponse::default());
    let bad = kms::Ladder { brownouts: 101, ..ladder };
    assert_eq!(refused(set(Some(bad)).await), (INVALID.0, INVALID.1.to_owned()));
    assert_eq!(set(Some(ladder)).await.unwrap().ladder, Some(ladder));

    let shown = get().await;
    assert_eq!(shown.ladder, Some(ladder));
    let [version] = &shown.versions[..] else { panic!("{:?}", shown.versions) };
    assert_eq!((version.version, version.state()), (1, VersionState::Deactivated));
    assert_eq!((&*version.next_step, &*version.pause_reason), ("rewrap only", ""));
    let resume = kms::ResumeLadderRequest { key: key.clone(), version: 1, ..Default::default() };
    let not_paused = refused(manager.resume_ladder(resume).await);
    assert_eq!(not_paused, (INVALID.0, INVALID.1.to_owned()));

    assert_eq!(set(None).await.unwrap().ladder, None);
    assert_eq!(get().await, kms::GetLadderResponse::default());
}
