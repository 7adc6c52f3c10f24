//! The connector for PostgreSQL, and the engine on it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bulla::agent::{Context, Ended, Entry, Held, Move, Outcome, Place, Store, Unmovable};
use bulla_client::kms::StorePhase;
use tokio_postgres::Client;

use super::fake::{KEY, OTHER_KEY, Server, blob, context_of, opens, store_of, version_of};
use super::{agent, count, job, open, run};
use crate::postgres::{Cluster, Database, PASSWORD};

/// A table of customers with its connector: `id` is the key, and is bound.
pub(super) async fn customers(database: &Database) -> (Client, String) {
    let client = database.connect().await;
    let table = "CREATE TABLE customers (id bigint PRIMARY KEY, note text, dek bytea)";
    client.batch_execute(table).await.unwrap();
    let connector = format!(
        "{}table = \"customers\"\ncolumn = \"dek\"\n[postgresql.context]\n\
         table = {{ value = \"customers\" }}\ncustomer = {{ column = \"id\" }}\n",
        database.connector()
    );
    (client, connector)
}

fn customer(id: i64) -> Context {
    context_of(&[("table", "customers"), ("customer", &id.to_string())])
}

/// Rows from 1 on, under version 1, each with its own secret.
pub(super) async fn insert(client: &Client, rows: i64) {
    let insert = "INSERT INTO customers (id, dek) SELECT * FROM unnest($1::bigint[], $2::bytea[])";
    let ids: Vec<i64> = (1..=rows).collect();
    for ids in ids.chunks(10_000) {
        let deks: Vec<Vec<u8>> =
            ids.iter().map(|id| blob(KEY, 1, 0, &customer(*id), *id as u64, 0)).collect();
        client.execute(insert, &[&ids, &deks]).await.unwrap();
    }
}

/// Every row opens to its secret; how many are still under version 1 or 2.
pub(super) async fn check(client: &Client) -> (u64, u64) {
    let (mut rows, mut old) = (0, 0);
    for row in client.query("SELECT id, dek FROM customers", &[]).await.unwrap() {
        let (id, dek): (i64, Vec<u8>) = (row.get(0), row.get(1));
        assert_eq!(opens(&dek, &customer(id)), Some(id as u64), "row {id}");
        rows += 1;
        old += u64::from(version_of(&dek) < 3);
    }
    (rows, old)
}

async fn all(store: &Arc<dyn Store>, page: usize) -> Vec<Entry> {
    let (mut after, mut entries) = (Place::default(), Vec::new());
    loop {
        let read = store.read(&after, page).await.unwrap();
        let Some(last) = read.last() else { return entries };
        after = last.place.clone();
        entries.extend(read);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn every_kind_of_key_is_walked_in_the_order_of_its_index() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute("CREATE SCHEMA \"odd \"\"schema\"; CREATE EXTENSION citext;")
        .await
        .unwrap();
    let texts = r#"VALUES ('a'), ('B'), ('b c'), ('o''clock'), ('"quoted"'), ('back\slash'),
                   ('{brace,}'), ('héllo'), ('NULL'), (''), ('--'), ($$ $1 $$), (E'line\nfeed')"#;
    for (number, (key, values)) in [
        ("bigint", "SELECT n * 37 % 101 - 50 FROM generate_series(1, 100) AS n".to_owned()),
        ("text", texts.to_owned()),
        ("varchar(20) COLLATE \"C\"", texts.to_owned()),
        ("citext", texts.to_owned()),
        ("uuid", "SELECT md5(n::text)::uuid FROM generate_series(1, 100) AS n".to_owned()),
        (
            "timestamptz",
            "SELECT now() + n * '1.000001 s'::interval FROM generate_series(-9, 90) n".into(),
        ),
        ("numeric", "VALUES (1.50), (-3), (1e30), ('NaN'), (0)".to_owned()),
        ("double precision", "VALUES (0.1), (1.0/3), (-1e300), ('Infinity')".to_owned()),
        ("date", "SELECT date '2020-01-01' + n FROM generate_series(1, 100) AS n".to_owned()),
        ("bytea", "SELECT sha256(n::text::bytea) FROM generate_series(1, 100) AS n".to_owned()),
        ("inet", "SELECT '10.0.0.0'::inet + n FROM generate_series(1, 100) AS n".to_owned()),
        ("char(6)", "VALUES ('a'), ('ab '), ('abc')".to_owned()),
        ("int4range", "SELECT int4range(n, n + 5) FROM generate_series(1, 40) AS n".to_owned()),
    ]
    .into_iter()
    .enumerate()
    {
        let table = format!("\"odd \"\"schema\".\"t \"\" {number}\"");
        let make = format!(
            "CREATE TABLE {table} (\"the \"\"Key\" {key} PRIMARY KEY, \"select\" bytea);
             INSERT INTO {table} SELECT *, '\\xaa' FROM ({values}) AS v;"
        );
        client.batch_execute(&make).await.unwrap();
        let connector = format!(
            "{}schema = 'odd \"schema'\ntable = 't \" {number}'\ncolumn = \"select\"\n",
            database.connector()
        );
        let store = open(&connector).await.unwrap();
        let ordered =
            format!("SELECT \"the \"\"Key\"::text FROM {table} ORDER BY {table}.\"the \"\"Key\"");
        let expected: Vec<String> = client
            .query(&ordered, &[])
            .await
            .unwrap()
            .iter()
            .map(|row| bulla::agent::named(format!("the \"Key={}", row.get::<_, &str>(0))))
            .collect();
        assert!(!expected.is_empty());
        for page in [1, 7, 1000] {
            let entries = all(&store, page).await;
            let names: Vec<&str> = entries.iter().map(|entry| entry.name.as_str()).collect();
            if key != "timestamptz" {
                assert_eq!(names, expected, "{key}");
            }
            assert_eq!(names.len(), expected.len(), "{key}");
        }
        let entries = all(&store, 1000).await;
        let moves: Vec<Move> = entries
            .iter()
            .map(|entry| Move { entry: entry.clone(), new: Held::Bytes(vec![0xBB]) })
            .collect();
        let outcomes = store.replace(&moves).await.unwrap();
        assert!(outcomes.iter().all(|outcome| *outcome == Outcome::Replaced), "{key}");
        for entry in &entries {
            let now = store.read_one(&entry.place).await.unwrap().unwrap();
            assert_eq!((&now.name, &now.held), (&entry.name, &Held::Bytes(vec![0xBB])));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_of_many_columns_and_text_in_base64_work_as_any_other() {
    let database = Database::new().await;
    let client = database.connect().await;
    client
        .batch_execute(
            "CREATE TABLE accounts (tenant text, number int, seen date NOT NULL, dek text,
                                    owner uuid, PRIMARY KEY (tenant, number));
             INSERT INTO accounts SELECT t, n, '2024-02-03', encode('\\x0102', 'base64'),
                 CASE n WHEN 3 THEN NULL ELSE '9d0c1b4e-0000-4000-8000-00000000000a'::uuid END
             FROM unnest(ARRAY['b', 'a', 'ä \"x']) AS t, generate_series(1, 50) AS n;
             INSERT INTO accounts VALUES ('a', 99, '2024-02-03', NULL, NULL),
                 ('a', 100, '2024-02-03', repeat('QUJD', 20) || E'\\n' || 'QUJD', NULL);",
        )
        .await
        .unwrap();
    let connector = format!(
        "{}table = \"accounts\"\ncolumn = \"dek\"\n[postgresql.context]\nowner = {{ column = \
         \"owner\" }}\nwhen = {{ column = \"seen\" }}\nkind = {{ value = \"account\" }}\n",
        database.connector()
    );
    let store = open(&connector).await.unwrap();
    let entries = all(&store, 8).await;
    assert_eq!(entries.len(), 151, "a NULL is nothing");
    let named = |name: &str| entries.iter().find(|entry| entry.name == name).unwrap();
    let one = named("tenant=ä \"x, number=2");
    assert_eq!(*one.held.blob().unwrap(), [1, 2]);
    let owner = "9d0c1b4e-0000-4000-8000-00000000000a";
    let pairs = [("owner", owner), ("when", "2024-02-03"), ("kind", "account")];
    assert_eq!(one.context, Ok(context_of(&pairs)));
    let null = Unmovable::NullColumn("owner".into());
    assert_eq!(named("tenant=b, number=3").context, Err(null));
    let lines = named("tenant=a, number=100");
    assert_eq!(lines.held.blob().unwrap().len(), 63);

    let moves = [one, lines]
        .map(|entry| Move { entry: entry.clone(), new: entry.held.with(vec![9, 9, 9]) });
    assert_eq!(store.replace(&moves).await.unwrap(), [Outcome::Replaced; 2]);
    let changed = "SELECT count(*) FROM accounts WHERE dek = 'CQkJ'";
    assert_eq!(client.query_one(changed, &[]).await.unwrap().get::<_, i64>(0), 2);
    assert_eq!(store.replace(&moves).await.unwrap(), [Outcome::Changed; 2]);
    assert_eq!(count(store.scan().await.unwrap()).await, 151);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_somebody_else_wrote_is_never_overwritten() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 100).await;
    let store = open(&connector).await.unwrap();
    let moves: Vec<Move> = all(&store, 1000)
        .await
        .into_iter()
        .map(|entry| Move { new: Held::Bytes(b"new".to_vec()), entry })
        .collect();
    // A transaction that is not over: the swap has to wait for it, and then to see what it wrote.
    client.batch_execute("BEGIN").await.unwrap();
    let steps = "UPDATE customers SET dek = 'theirs' WHERE id % 3 = 0;
                 DELETE FROM customers WHERE id % 3 = 1;
                 UPDATE customers SET note = 'kept' WHERE id % 3 = 2;";
    client.batch_execute(steps).await.unwrap();
    let swap = tokio::spawn({
        let (store, moves) = (Arc::clone(&store), moves.clone());
        async move { store.replace(&moves).await.unwrap() }
    });
    let other = database.connect().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name = 'bulla rewrap' AND wait_event_type = 'Lock'";
    while other.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    client.batch_execute("COMMIT").await.unwrap();
    let outcomes = swap.await.unwrap();
    for (id, outcome) in (1..).zip(&outcomes) {
        let kept = if id % 3 == 2 { Outcome::Replaced } else { Outcome::Changed };
        assert_eq!(*outcome, kept, "row {id}");
    }
    let row = client.query_one("SELECT dek, note FROM customers WHERE id = 5", &[]).await.unwrap();
    assert_eq!((row.get::<_, &[u8]>(0), row.get::<_, &str>(1)), (&b"new"[..], "kept"));
    let row = client.query_one("SELECT dek FROM customers WHERE id = 6", &[]).await.unwrap();
    assert_eq!(row.get::<_, &[u8]>(0), b"theirs");
    assert_eq!(store.read_one(&moves[0].entry.place).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_deadlock_with_an_application_is_stepped_out_of() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 2).await;
    // The application is the patient one, so that it is always the agent that has to step back.
    client.batch_execute("SET deadlock_timeout = '1h'").await.unwrap();
    let store = open(&connector).await.unwrap();
    let moves: Vec<Move> = all(&store, 1000)
        .await
        .into_iter()
        .map(|entry| Move { new: Held::Bytes(b"new".to_vec()), entry })
        .collect();
    client.batch_execute("BEGIN; UPDATE customers SET note = 'x' WHERE id = 2").await.unwrap();
    let swap = tokio::spawn(async move { store.replace(&moves).await.unwrap() });
    let other = database.connect().await;
    let waits = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
                 AND application_name = 'bulla rewrap' AND wait_event_type = 'Lock'";
    while other.query_one(waits, &[]).await.unwrap().get::<_, i64>(0) == 0 {
        tokio::task::yield_now().await;
    }
    client.batch_execute("UPDATE customers SET note = 'x' WHERE id = 1; COMMIT").await.unwrap();
    assert_eq!(swap.await.unwrap(), [Outcome::Replaced; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_scan_sees_one_moment_while_rows_move() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 5_000).await;
    let store = open(&connector).await.unwrap();
    let mut rows = store.scan().await.unwrap();
    let mut seen = rows.next().await.unwrap().unwrap().len();
    let steps = "DELETE FROM customers WHERE id > 2500;
                 UPDATE customers SET dek = 'x';
                 INSERT INTO customers SELECT n, NULL, 'y' FROM generate_series(9000, 12000) AS n;";
    client.batch_execute(steps).await.unwrap();
    while let Some(batch) = rows.next().await.unwrap() {
        assert!(batch.iter().all(|entry| entry.held.blob().unwrap().len() == 138));
        seen += batch.len();
    }
    assert_eq!(seen, 5_000);
    assert_eq!(count(store.scan().await.unwrap()).await, 2_500 + 3_001);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_connector_names_wrongly_is_told_with_what_there_is() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    let more = "CREATE TABLE heap (id int, other int NOT NULL, dek bytea);
                CREATE UNIQUE INDEX ON heap (id); CREATE UNIQUE INDEX ON heap (other);
                CREATE VIEW seen AS SELECT * FROM customers;";
    client.batch_execute(more).await.unwrap();
    for (from, to, said) in [
        (
            "table = \"customers\"",
            "table = \"clients\"",
            "has no table \"clients\"; it has customers, heap",
        ),
        ("table = \"customers\"", "table = \"seen\"", "public.seen is no table"),
        ("column = \"dek\"", "column = \"dke\"", "has no column \"dke\"; it has id, note, dek"),
        (
            "column = \"dek\"",
            "column = \"id\"",
            "column \"id\" of table public.customers is bigint",
        ),
        ("column = \"id\"", "column = \"ident\"", "has no column \"ident\"; it has id, note, dek"),
        ("table = \"customers\"", "table = \"heap\"", "has no primary key"),
        ("table = \"customers\"", "table = \"heap\"\nkey = [\"id\"]", "no unique index"),
        ("table = \"customers\"", "table = \"heap\"\nkey = [\"dek\"]", "no unique index"),
        ("user = \"postgres\"", "user = \"nobody else\"", "role \"nobody else\" does not exist"),
        (
            "table = \"customers\"",
            "schema = \"x\"\ntable = \"t\"",
            "schema \"x\" has no table \"t\"; it has none",
        ),
    ] {
        let text = connector.replacen(from, to, 1);
        assert_ne!(text, connector);
        let error = open(&text).await.err().unwrap().to_string();
        assert!(error.contains(said), "{said}: {error}");
    }
    let text =
        connector.replacen("table = \"customers\"", "table = \"heap\"\nkey = [\"other\"]", 1);
    open(&text).await.unwrap();
    let database_gone = connector.replace(database.name(), "gone");
    let error = open(&database_gone).await.err().unwrap().to_string();
    assert!(error.contains("database \"gone\" does not exist"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_over_tcp_the_password_and_the_certificate_must_be_right() {
    let database = Database::new().await;
    let (_client, connector) = customers(&database).await;
    let cluster = database.cluster();
    let folder = tempfile::tempdir().unwrap();
    let password = |name: &str, text: &str| {
        use std::os::unix::fs::PermissionsExt;
        let path = folder.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
        path
    };
    let (right, wrong) = (password("right", PASSWORD), password("wrong", "guess"));
    let stranger = folder.path().join("stranger.pem");
    std::fs::write(&stranger, crate::server::Authority::new("stranger").pem()).unwrap();
    let socket = format!("host = {:?}", cluster.socket());
    let tcp = |host: &str, ca: &std::path::Path, password: &std::path::Path| {
        let here = format!("host = {host:?}\nca_file = {ca:?}\npassword_file = {password:?}");
        connector.replace(&socket, &here)
    };
    let ca = cluster.ca_file();
    open(&tcp("localhost", &ca, &right)).await.unwrap();
    for (text, said) in [
        (tcp("localhost", &ca, &wrong), "password authentication failed"),
        (tcp("localhost", &stranger, &right), "invalid peer certificate: UnknownIssuer"),
        (tcp("127.0.0.2", &ca, &right), "certificate not valid for name \"127.0.0.2\""),
    ] {
        let error = open(&text).await.err().unwrap().to_string();
        assert!(error.contains(said), "{said}: {error}");
        assert!(!error.contains(PASSWORD));
    }
    let plain = connector.replace(
        &socket,
        &format!("host = \"127.0.0.1\"\ntls = \"off\"\npassword_file = {right:?}"),
    );
    open(&plain).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn b04_a_password_is_proven_to_the_holder_of_the_certificate_alone() {
    let database = Database::within(Arc::new(Cluster::start(&["-F"]))).await;
    let (client, connector) = customers(&database).await;
    insert(&client, 100).await;
    let cluster = database.cluster();
    let folder = tempfile::tempdir().unwrap();
    let password = folder.path().join("password");
    std::fs::write(&password, PASSWORD).unwrap();
    let only_owner = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(&password, only_owner).unwrap();
    let here = format!(
        "host = \"localhost\"\nca_file = {:?}\npassword_file = {password:?}",
        cluster.ca_file()
    );
    let bound = connector.replace(&format!("host = {:?}", cluster.socket()), &here);
    let free = bound.replace("[postgresql]\n", "[postgresql]\nchannel_binding = \"prefer\"\n");
    // SCRAM-SHA-256-PLUS, or it would not have connected; and the whole of a run over it.
    let server = Server::new();
    let ended = run(&server, open(&bound).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Clean(standing) if standing.moved == 100));
    open(&free).await.unwrap();
    // A server that lets everybody in has proven nothing.
    cluster.trust_everybody();
    let error = open(&bound).await.err().unwrap().to_string();
    assert!(error.contains("channel binding"), "{error}");
    open(&free).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_emptied_of_old_versions_and_everything_else_is_left_alone() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 2_500).await;
    let foreign = blob(OTHER_KEY, 1, 0, &customer(9_000), 9_000, 0);
    let new = blob(KEY, 4, 5, &customer(9_001), 9_001, 0);
    let insert =
        "INSERT INTO customers VALUES (9000, NULL, $1), (9001, NULL, $2), (9002, NULL, NULL)";
    client.execute(insert, &[&foreign, &new]).await.unwrap();
    let server = Server::new();
    let ended = run(&server, open(&connector).await.unwrap()).await.unwrap();
    let Ended::Clean(standing) = ended else { panic!("{ended:?}") };
    assert_eq!((standing.moved, standing.seen, standing.problems), (2_500, 2_502, 0));
    for row in client.query("SELECT id, dek FROM customers WHERE id < 9000", &[]).await.unwrap() {
        let (id, dek): (i64, Vec<u8>) = (row.get(0), row.get(1));
        assert_eq!(opens(&dek, &customer(id)), Some(id as u64));
        assert_eq!((version_of(&dek), store_of(&dek)), (3, 5), "the new blob names its store");
    }
    let rest = client.query("SELECT dek FROM customers WHERE id >= 9000 ORDER BY id", &[]).await;
    let rest: Vec<Option<Vec<u8>>> = rest.unwrap().iter().map(|row| row.get(0)).collect();
    assert_eq!(rest, [Some(foreign), Some(new), None]);
    let state = server.state.lock();
    let scan = state.scans.last().unwrap();
    assert_eq!((scan.rows, scan.other_keys, scan.unreadable), (2_502, 1, 0));
    assert!(state.progress.agent.is_empty(), "it let the store go");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_blob_or_has_no_context_is_reported_with_its_primary_key() {
    let database = Database::new().await;
    let client = database.connect().await;
    let make = "CREATE TABLE notes (id int PRIMARY KEY, owner text, dek text)";
    client.batch_execute(make).await.unwrap();
    let good =
        Held::Text(String::new()).with(blob(KEY, 1, 0, &context_of(&[("owner", "a")]), 1, 0));
    let Held::Text(good) = good else { panic!() };
    let rows = "INSERT INTO notes VALUES (1, 'a', $1), (2, 'b', $1), (3, NULL, $1), \
                (4, 'a', 'hello, I am a note'), (5, 'a', 'aGVsbG8='), (6, 'a', NULL)";
    client.execute(rows, &[&good]).await.unwrap();
    let connector = format!(
        "{}table = \"notes\"\ncolumn = \"dek\"\ncontext.owner = {{ column = \"owner\" }}\n",
        database.connector()
    );
    let server = Server::new();
    let ended = run(&server, open(&connector).await.unwrap()).await.unwrap();
    assert!(matches!(ended, Ended::Undecided { undecided: 4, .. }), "{ended:?}");
    let state = server.state.lock();
    let mut problems: Vec<_> = state
        .reports
        .iter()
        .flat_map(|report| &report.problems)
        .map(|problem| (problem.place.as_str(), problem.version, problem.reason.as_str()))
        .collect();
    problems.sort();
    let expected = [
        ("id=2", 1, "INVALID_CIPHERTEXT"),
        ("id=3", 1, "CONTEXT_IS_NULL: owner"),
        ("id=4", 0, "NOT_BASE64"),
        ("id=5", 0, "NOT_A_BLOB"),
    ];
    // Rows 2 and 3 hold the same bytes, and are a problem each.
    assert_eq!(problems, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_rows_survive_being_killed_again_and_again() {
    let database = Database::new().await;
    let (client, connector) = customers(&database).await;
    insert(&client, 20_000).await;
    let server = Server::new();
    let mut kills = 0;
    for reports in 1.. {
        let store = open(&connector).await.unwrap();
        let agent = agent(&server, store);
        let job = job();
        let moved = |server: &Server| server.state.lock().moved_blobs;
        let until = moved(&server) + 2_300;
        // Dropped wherever it stands, as `kill -9` would; what it had in flight is gone.
        let killed = async {
            while moved(&server) < until {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            biased;
            () = killed => kills += 1,
            ended = agent.run(&job, std::future::pending()) => {
                assert!(matches!(ended.unwrap(), Ended::Clean(_)));
                break;
            }
        }
        assert!(reports < 50);
    }
    assert!(kills >= 3, "{kills}");
    assert_eq!(check(&client).await, (20_000, 0));
    assert_eq!(server.phase(), StorePhase::Clean);
}

/// By hand: `BULLA_REWRAP_ROWS=1000000 cargo test --release --test it rows_a_second -- --nocapture`
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_table_is_moved_at_thousands_of_rows_a_second() {
    let rows = std::env::var("BULLA_REWRAP_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: i64 = rows.unwrap_or(20_000);
    // A cluster of its own, whose writes are as durable as those of a real one.
    let database = Database::within(Arc::new(Cluster::start(&[]))).await;
    let (client, connector) = customers(&database).await;
    insert(&client, rows).await;
    let server = Server::new();
    let store = open(&connector).await.unwrap();
    let began = Instant::now();
    let ended = run(&server, store).await.unwrap();
    let took = began.elapsed();
    assert!(matches!(ended, Ended::Clean(standing) if standing.moved == rows as u64));
    let rate = rows as f64 / took.as_secs_f64();
    println!("{rows} rows moved and proven in {took:?}: {rate:.0} rows a second");
    assert!(took < Duration::from_secs(60));
    assert_eq!(check(&client).await, (rows as u64, 0));
}
