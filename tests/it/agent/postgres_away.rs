//! The agent while PostgreSQL is restarted, and cuts connections, under it.

use std::sync::Arc;
use std::time::Duration;

use bulla::agent::{Agent, AgentError, Ended, Store, Timing, Watcher};
use bulla_client::kms::StorePhase;
use parking_lot::Mutex;
use tokio_postgres::Client;

use super::fake::Server;
use super::postgres::{check, customers, insert};
use super::{TIMING, agent, job, open};
use crate::postgres::{Cluster, Database};

/// What it says while it waits.
#[derive(Default)]
struct Said(Mutex<Vec<String>>);

impl Watcher for Said {
    fn waits(&self, why: &str, wait: Duration) {
        assert!(wait <= TIMING.backoff_max);
        self.0.lock().push(why.to_owned());
    }
}

/// An agent that waits as long as a restart takes on a busy machine.
fn patient(server: &Arc<Server>, store: Arc<dyn Store>, said: &Arc<Said>) -> Agent {
    let timing = Timing { patience: Duration::from_secs(60), ..TIMING };
    Agent { watcher: Arc::clone(said) as _, timing, ..agent(server, store) }
}

/// Locks a row that the agent has to come by, and waits until its write waits for it: then it is in the
/// middle of a batch. The process that serves the write.
async fn caught(database: &Database, locker: &Client, row: i64) -> i32 {
    locker.batch_execute("BEGIN").await.unwrap();
    let lock = "SELECT 1 FROM customers WHERE id = $1 FOR UPDATE";
    locker.execute(lock, &[&row]).await.unwrap();
    let other = database.connect().await;
    let waits = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name = 'bulla rewrap' AND wait_event_type = 'Lock'";
    loop {
        if let Some(row) = other.query_opt(waits, &[]).await.unwrap() {
            return row.get(0);
        }
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_postgresql_and_cut_connections_lose_no_row() {
    let database = Database::within(Arc::new(Cluster::start(&["-F"]))).await;
    let (client, connector) = customers(&database).await;
    insert(&client, 20_000).await;
    let (server, said) = (Server::new(), Arc::new(Said::default()));
    let agent = patient(&server, open(&connector).await.unwrap(), &said);
    let running = tokio::spawn(async move { agent.run(&job(), std::future::pending()).await });

    // Fast shutdown in the middle of a batch.
    let locker = database.connect().await;
    caught(&database, &locker, 4_500).await;
    database.cluster().stop();
    let waited = said.0.lock().len();
    // It has noticed, and is still there.
    while said.0.lock().len() < waited + 3 {
        tokio::task::yield_now().await;
    }
    database.cluster().go_on();

    // Connections are cut in the middle of a batch, first that which writes, then all.
    let (locker, other) = (database.connect().await, database.connect().await);
    let pid = caught(&database, &locker, 9_500).await;
    other.execute("SELECT pg_terminate_backend($1)", &[&pid]).await.unwrap();
    locker.batch_execute("COMMIT").await.unwrap();
    caught(&database, &locker, 14_500).await;
    let all = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'bulla rewrap'";
    assert!(other.execute(all, &[]).await.unwrap() >= 2);
    locker.batch_execute("COMMIT").await.unwrap();

    let ended = running.await.unwrap().unwrap();
    assert!(matches!(ended, Ended::Clean(standing) if standing.problems == 0), "{ended:?}");
    assert_eq!(check(&other).await, (20_000, 0));
    assert_eq!(server.phase(), StorePhase::Clean);
    let said = said.0.lock();
    assert!(said.len() >= 5 && said.iter().all(|why| why.starts_with("postgresql:")), "{said:?}");
    println!("waited {} times, such as: {}", said.len(), said[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_that_is_cut_begins_anew() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 3_000).await;
    let (server, said) = (Server::new(), Arc::new(Said::default()));
    let agent = patient(&server, open(&connector).await.unwrap(), &said);
    client.batch_execute("BEGIN; LOCK TABLE customers").await.unwrap();
    let running = tokio::spawn(async move { agent.scan_only("customers", "orders").await });
    let other = database.connect().await;
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity
               WHERE datname = current_database() AND application_name = 'bulla rewrap'
               AND wait_event_type = 'Lock'";
    while other.execute(cut, &[]).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    while said.0.lock().is_empty() {
        tokio::task::yield_now().await;
    }
    client.batch_execute("COMMIT").await.unwrap();
    assert_eq!(running.await.unwrap().unwrap().rows, 3_000);
    assert_eq!(server.state.lock().scans.len(), 1, "the one that was cut is not reported");
}

#[tokio::test(flavor = "multi_thread")]
async fn patience_with_postgresql_ends_and_the_place_is_kept() {
    let database = Database::within(Arc::new(Cluster::start(&["-F"]))).await;
    let (client, connector) = customers(&database).await;
    insert(&client, 8_000).await;
    let (server, said) = (Server::new(), Arc::new(Said::default()));
    let timing = Timing { patience: Duration::from_secs(1), ..TIMING };
    let agent = Agent { timing, ..patient(&server, open(&connector).await.unwrap(), &said) };
    let running = tokio::spawn(async move { agent.run(&job(), std::future::pending()).await });
    let locker = database.connect().await;
    caught(&database, &locker, 4_500).await;
    database.cluster().stop();
    let error = running.await.unwrap().unwrap_err();
    assert!(matches!(error, AgentError::StoreAway { .. }), "{error}");
    let text = error.to_string();
    assert!(text.starts_with("gave up after it was tried again for 1s: postgresql: "), "{text}");
    assert!(text.ends_with("nothing is lost, and the next run goes on from here"), "{text}");
    let kept = server.state.lock().progress.seen;
    // What the lock held up may still have been written, when the lock's own connection was the first to end.
    assert!((1_000..8_000).contains(&kept), "{kept}");

    database.cluster().go_on();
    let agent = patient(&server, open(&connector).await.unwrap(), &said);
    let ended = agent.run(&job(), std::future::pending()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(standing) if standing.moved <= 8_000 - kept));
    assert_eq!(check(&database.connect().await).await, (8_000, 0));
}
