//! Without its audit log the program does nothing, and goes on by itself when the log is back.

use std::time::{Duration, Instant};

use bulla::keys::RotationPeriod;
use bulla::service::Refusal;
use bulla::store::Store;

use super::Site;
use crate::trail::{Call, EIO};

#[tokio::test]
async fn h02_without_a_log_nothing_is_decided_or_changed_and_service_goes_on_by_itself() {
    let site = Site::new().await;
    let program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    assert_eq!(program.rotate(key).await.unwrap(), 2);
    let head = site.store.status().await.unwrap().head;
    program.disk.with(|inner| inner.failing = [(Call::Sync, EIO), (Call::Create, EIO)].into());
    for _ in 0..20 {
        let begun = Instant::now();
        let refused = program.rotate(key).await;
        assert!(matches!(refused, Err(Refusal::AuditUnavailable { .. })), "{refused:?}");
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
    }
    assert_eq!(site.store.status().await.unwrap().head, head, "changed without a record");
    program.disk.with(|inner| inner.failing.clear());
    let begun = Instant::now();
    while let Err(refusal) = program.rotate(key).await {
        assert!(matches!(refusal, Refusal::AuditUnavailable { .. }), "{refusal:?}");
        assert!(begun.elapsed() < Duration::from_secs(20), "service never came back");
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    assert!(site.store.status().await.unwrap().head > head);
}
