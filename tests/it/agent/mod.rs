//! The agent against a server of the tests that fails on purpose, and stores that are real.

mod engine;
mod fake;
mod files;
mod memory;
mod postgres;
mod postgres_away;
mod sqlite;

use std::sync::Arc;
use std::time::Duration;

use bulla::agent::{
    Agent, AgentError, Connector, Ended, Job, Rows, Silent, Store, StoreError, Timing,
};

use fake::{Rewrapper, Server};

/// Quick enough for tests; what is waited for is never the time alone.
const TIMING: Timing = Timing {
    report: Duration::from_millis(50),
    patience: Duration::from_secs(5),
    takeover: Duration::from_secs(2),
    backoff_min: Duration::from_millis(1),
    backoff_max: Duration::from_millis(20),
};

fn agent(server: &Arc<Server>, store: Arc<dyn Store>) -> Agent {
    let (board, mover) = (Arc::clone(server), Arc::new(Rewrapper(Arc::clone(server))));
    Agent { board, mover, store, watcher: Arc::new(Silent), timing: TIMING }
}

fn job() -> Job {
    Job {
        campaign_id: "9d0c1b4e-0000-4000-8000-000000000001".into(),
        store: "orders-db/customers.dek".into(),
        agent_id: "9d0c1b4e-0000-4000-8000-00000000000a".into(),
    }
}

/// Runs to the end.
async fn run(server: &Arc<Server>, store: Arc<dyn Store>) -> Result<Ended, AgentError> {
    agent(server, store).run(&job(), std::future::pending()).await
}

/// Opens the store of a connector file.
async fn open(text: &str) -> Result<Arc<dyn Store>, StoreError> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("connector.toml");
    std::fs::write(&path, text).unwrap();
    Connector::load(&path)?.open().await
}

/// How many entries a scan gives.
async fn count(mut rows: Box<dyn Rows>) -> usize {
    let mut count = 0;
    while let Some(batch) = rows.next().await.unwrap() {
        assert!(batch.len() <= 1000);
        count += batch.len();
    }
    count
}
