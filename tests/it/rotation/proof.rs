//! Before a rotation commits, every version that is not destroyed is proven to open.

use bulla::keys::{KeyId, RotationPeriod, State};
use bulla::service::Refusal;
use bulla::store::{Commit, Put, Row, RowKey, Store};

use super::{START, Site};

/// The kind of a version's row.
const VERSION: u8 = 5;

async fn row_of(site: &Site, key: KeyId, version: u32) -> Row {
    let id = [&key.as_bytes()[..], &version.to_be_bytes()].concat();
    let wanted = RowKey::new(*site.tenant.as_bytes(), VERSION, id);
    site.store.load(&[wanted]).await.unwrap().remove(0).unwrap()
}

/// Writes the row as somebody does who has the database and no key.
async fn tamper(site: &Site, row: &Row, body: Vec<u8>) {
    let put = Put { key: row.key.clone(), body, mac: row.mac, due_at: row.due_at };
    let commit = Commit { puts: vec![put], ..Commit::default() };
    site.store.commit(commit).await.unwrap();
}

#[tokio::test]
async fn f05_a_version_whose_row_was_changed_stops_the_rotation_of_its_key_and_of_no_other() {
    let site = Site::new().await;
    let mut program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, Some(START)).await;
    program.rotate(key).await.unwrap();
    let (damaged, whole) = (
        program.create_key(RotationPeriod::NEVER, Some(START + 1)).await,
        program.create_key(RotationPeriod::NEVER, Some(START + 1)).await,
    );
    assert_eq!(program.rotate(damaged).await.unwrap(), 2);
    let good = row_of(&site, damaged, 1).await;
    let mut body = good.body.clone();
    *body.last_mut().unwrap() ^= 1;
    tamper(&site, &good, body).await;

    let refused = program.rotate(damaged).await;
    let is_unopened =
        |r: &Refusal| matches!(r, Refusal::Internal { class: "version_does_not_open", .. });
    assert!(refused.as_ref().is_err_and(is_unopened), "{refused:?}");

    site.pass(&[&program], 1);
    let done = program.settle().await;
    assert_eq!((done.rotated, done.failed), (1, 1));
    assert_eq!(program.states(whole).await, [State::Deactivated, State::Active]);

    tamper(&site, &row_of(&site, damaged, 1).await, good.body.clone()).await;
    // Nothing was prepared on a past that does not open.
    assert_eq!(program.states(damaged).await, [State::Deactivated, State::Active]);
    assert_eq!(program.rotate(damaged).await.unwrap(), 3);
}

#[tokio::test]
async fn f05_a_version_whose_row_is_gone_stops_the_rotation() {
    let site = Site::new().await;
    let program = site.program().await;
    let key = program.create_key(RotationPeriod::NEVER, None).await;
    for _ in 0..150 {
        program.rotate(key).await.unwrap();
    }
    let row = row_of(&site, key, 120).await;
    let commit = Commit { tombstones: vec![row.key.clone()], ..Commit::default() };
    site.store.commit(commit).await.unwrap();
    let refused = program.rotate(key).await;
    let Err(Refusal::Internal { class, problem }) = refused else { panic!("{refused:?}") };
    assert_eq!(class, "version_does_not_open");
    assert!(problem.starts_with("version 120 does not open"), "{problem}");
    tamper(&site, &row, row.body.clone()).await;
    assert_eq!(program.rotate(key).await.unwrap(), 152);
}
