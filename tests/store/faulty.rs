//! A store that fails when it is told to, to test what stands on top of one.

use std::collections::BTreeMap;
use std::sync::Mutex;

use async_trait::async_trait;
use bulla::store::{Changes, Commit, DueAfter, Row, RowKey, Scan, Store, StoreError, StoreStatus};

/// How a commit fails.
#[derive(Clone, Debug)]
pub enum Fault {
    /// It is answered with this error, and nothing happened.
    Before(StoreError),
    /// It took effect, and is answered with this error all the same, as when the reply is lost.
    After(StoreError),
}

/// A store that passes everything on, but for the faults that were planned.
#[derive(Debug)]
pub struct Faulty<S> {
    inner: S,
    plan: Mutex<Plan>,
}

#[derive(Debug, Default)]
struct Plan {
    /// How many commits have come in.
    commits: u64,
    commit_faults: BTreeMap<u64, Fault>,
    read_fault: Option<StoreError>,
}

// === impl Faulty ===

impl<S: Store> Faulty<S> {
    pub fn new(inner: S) -> Faulty<S> {
        Faulty { inner, plan: Mutex::default() }
    }

    /// Makes the commit that comes after `skip` others fail, counted from now.
    pub fn fail_commit(&self, skip: u64, fault: Fault) {
        let mut plan = self.plan.lock().unwrap();
        let number = plan.commits + skip;
        plan.commit_faults.insert(number, fault);
    }

    /// Makes every call that reads fail, until it is told `None`.
    pub fn fail_reads(&self, error: Option<StoreError>) {
        self.plan.lock().unwrap().read_fault = error;
    }

    /// How many commits have come in, failed ones included.
    pub fn commits(&self) -> u64 {
        self.plan.lock().unwrap().commits
    }

    fn next_commit_fault(&self) -> Option<Fault> {
        let mut plan = self.plan.lock().unwrap();
        let number = plan.commits;
        plan.commits += 1;
        plan.commit_faults.remove(&number)
    }

    fn read_fault(&self) -> Result<(), StoreError> {
        self.plan.lock().unwrap().read_fault.clone().map_or(Ok(()), Err)
    }
}

#[async_trait]
impl<S: Store> Store for Faulty<S> {
    async fn load(&self, keys: &[RowKey]) -> Result<Vec<Option<Row>>, StoreError> {
        self.read_fault()?;
        self.inner.load(keys).await
    }

    async fn scan(&self, scan: &Scan) -> Result<Vec<Row>, StoreError> {
        self.read_fault()?;
        self.inner.scan(scan).await
    }

    async fn due(
        &self,
        now: i64,
        after: Option<&DueAfter>,
        limit: usize,
    ) -> Result<Vec<Row>, StoreError> {
        self.read_fault()?;
        self.inner.due(now, after, limit).await
    }

    async fn changes(&self, after: u64, limit: usize) -> Result<Changes, StoreError> {
        self.read_fault()?;
        self.inner.changes(after, limit).await
    }

    async fn commit(&self, commit: Commit) -> Result<u64, StoreError> {
        match self.next_commit_fault() {
            None => self.inner.commit(commit).await,
            Some(Fault::Before(error)) => Err(error),
            Some(Fault::After(error)) => self.inner.commit(commit).await.and(Err(error)),
        }
    }

    async fn clock(&self) -> Result<i64, StoreError> {
        self.read_fault()?;
        self.inner.clock().await
    }

    async fn wait_hint(&self, after: u64) {
        self.inner.wait_hint(after).await;
    }

    async fn status(&self) -> Result<StoreStatus, StoreError> {
        self.read_fault()?;
        self.inner.status().await
    }
}

mod tests {
    use bulla::store::MemoryStore;

    use super::super::subject::{key, put, puts};
    use super::{Fault, Faulty, Store, StoreError};

    #[tokio::test]
    async fn the_planned_commit_fails_before_or_after_it_took_effect() {
        let store = Faulty::new(MemoryStore::new());
        store.fail_commit(1, Fault::Before(StoreError::Full));
        store.fail_commit(2, Fault::After(StoreError::Busy));
        let commit = |id: &str| store.commit(puts([put(key(id), id)]));
        assert_eq!(commit("a").await, Ok(1));
        assert_eq!(commit("b").await, Err(StoreError::Full));
        assert_eq!(commit("c").await, Err(StoreError::Busy));
        assert_eq!(commit("d").await, Ok(3));
        assert_eq!(store.commits(), 4);
        let there = store.load(&["a", "b", "c", "d"].map(key)).await.unwrap();
        assert_eq!(
            there.iter().map(Option::is_some).collect::<Vec<_>>(),
            [true, false, true, true]
        );
    }

    #[tokio::test]
    async fn reads_fail_until_they_are_let_go() {
        let store = Faulty::new(MemoryStore::new());
        store.fail_reads(Some(StoreError::Busy));
        assert_eq!(store.load(&[]).await, Err(StoreError::Busy));
        assert_eq!(store.changes(0, 1).await, Err(StoreError::Busy));
        store.fail_reads(None);
        assert_eq!(store.load(&[]).await, Ok(vec![]));
    }
}
