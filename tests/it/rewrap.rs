//! The whole of a rotation, with a real server, a real PostgreSQL, a live application, and an agent
//! that is killed again and again.

use std::collections::BTreeMap;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulla_client::{Client, kms};
use kms::{CampaignState, RetireVerdict, StoreKind};
use tokio_postgres::Client as Postgres;

use crate::postgres::Database;
use crate::server::TestServer;
use crate::transcripts::Callers;

const STORE: &str = "orders-db/customers.dek";

/// SplitMix64: the same seed kills at the same moments.
struct Dice(u64);

impl Dice {
    fn seeded() -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
        let seed = std::env::var("BULLA_SEED").ok().and_then(|seed| seed.parse().ok());
        let seed = seed.unwrap_or(now);
        println!("BULLA_SEED={seed}");
        Self(seed)
    }

    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

/// A server, a table, and everything that is needed to move it.
struct House {
    server: TestServer,
    database: Database,
    folder: tempfile::TempDir,
    store: u32,
}

impl House {
    async fn new() -> Self {
        let mut server = TestServer::install("sqlite", "clock_ahead_file = \"clock-ahead\"\n");
        server.serve();
        let database = Database::new().await;
        let operator = server.client("operator").await;
        let create = kms::CreateKeyRequest { alias: "customers".into(), ..Default::default() };
        operator.create_key(create).await.unwrap();
        let register = kms::RegisterStoreRequest {
            name: STORE.into(),
            owner: "the orders team".into(),
            kind: StoreKind::Postgresql.into(),
            write_delay: Some(prost_types::Duration::default()),
            ..Default::default()
        };
        let store = operator.register_store(register).await.unwrap().store.unwrap().store;
        let folder = tempfile::tempdir().unwrap();
        let connector = format!(
            "{}table = \"customers\"\ncolumn = \"dek\"\n[postgresql.context]\n\
             table = {{ value = \"customers\" }}\nregion = {{ column = \"region\" }}\n",
            database.connector()
        );
        std::fs::write(folder.path().join("connector.toml"), connector).unwrap();
        let make = "CREATE TABLE customers (id bigserial PRIMARY KEY, region text NOT NULL,
                    dek bytea NOT NULL, secret bytea NOT NULL)";
        database.connect().await.batch_execute(make).await.unwrap();
        Self { server, database, folder, store }
    }

    /// `bulla rewrap run`, as the one who may move blobs and open none.
    fn agent(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(["rewrap", "run", "--store", STORE, "--connector"]);
        command.arg(self.folder.path().join("connector.toml")).args(arguments);
        command.envs(self.server.environment("rewrapper")).stdin(Stdio::null());
        command
    }

    fn ran(&self, arguments: &[&str]) -> Output {
        self.agent(arguments).output().unwrap()
    }

    /// Rows with data keys, in regions of a thousand each.
    async fn fill(&self, rows: u32) {
        let (app, postgres) = (self.server.client("app").await, self.database.connect().await);
        let insert = "INSERT INTO customers (region, dek, secret)
                      SELECT $1, * FROM unnest($2::bytea[], $3::bytea[])";
        for region in 0..rows.div_ceil(1000) {
            let region = format!("r{region}");
            let made = app
                .generate_data_keys(kms::GenerateDataKeysRequest {
                    key: "customers".into(),
                    encryption_context: context(&region),
                    store: self.store,
                    count: 1000.min(rows),
                    ..Default::default()
                })
                .await
                .unwrap();
            let (deks, secrets): (Vec<_>, Vec<_>) =
                made.data_keys.into_iter().map(|pair| (pair.ciphertext, pair.plaintext)).unzip();
            postgres.execute(insert, &[&region, &deks, &secrets]).await.unwrap();
        }
    }

    /// Every row opens to the bytes it had. How many there are, by version.
    async fn versions(&self) -> BTreeMap<u32, u64> {
        let (app, postgres) = (self.server.client("app").await, self.database.connect().await);
        let mut versions = BTreeMap::new();
        let all = "SELECT region, dek, secret FROM customers ORDER BY id";
        let rows = postgres.query(all, &[]).await.unwrap();
        for rows in rows.chunks(1000) {
            let request = |row: &tokio_postgres::Row| kms::DecryptRequest {
                ciphertext: row.get(1),
                encryption_context: context(row.get(0)),
                ..Default::default()
            };
            let requests = rows.iter().map(request).collect();
            let opened = app.decrypt_many(kms::DecryptManyRequest { requests }).await.unwrap();
            for (row, result) in rows.iter().zip(opened.results) {
                let Some(kms::decrypt_result::Outcome::Opened(opened)) = result.outcome else {
                    panic!("a row does not open")
                };
                assert_eq!(opened.plaintext, row.get::<_, Vec<u8>>(2));
                *versions.entry(opened.version).or_default() += 1;
            }
        }
        versions
    }

    /// Waits until the server has destroyed version 1.
    async fn destroyed(&self) {
        let operator = self.server.client("operator").await;
        let get = kms::GetVersionRequest { key: "customers".into(), version: 1 };
        let gone = async {
            loop {
                let version = operator.get_version(get.clone()).await.unwrap().version.unwrap();
                if version.state() == kms::VersionState::Destroyed {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(200)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), gone).await.unwrap();
    }

    async fn check(&self) -> kms::RetireCheckResponse {
        let operator = self.server.client("operator").await;
        let check = kms::RetireCheckRequest { key: "customers".into(), version: 1 };
        operator.retire_check(check).await.unwrap()
    }
}

fn context(region: &str) -> BTreeMap<String, String> {
    let pairs = [("table", "customers"), ("region", region)];
    pairs.map(|(key, value)| (key.to_owned(), value.to_owned())).into()
}

/// Somebody who uses the table all the time. How often it did each thing.
async fn application(
    app: Client,
    postgres: Postgres,
    store: u32,
    stop: Arc<AtomicBool>,
    mut dice: Dice,
) -> [u64; 4] {
    let mut done = [0; 4];
    let made = async |region: &str| {
        let request = kms::GenerateDataKeyRequest {
            key: "customers".into(),
            encryption_context: context(region),
            store,
            ..Default::default()
        };
        let made = app.generate_data_key(request).await.unwrap();
        (made.ciphertext, made.plaintext)
    };
    while !stop.load(Ordering::Relaxed) {
        let what = dice.roll(4) as usize;
        let id = dice.roll(200_000) as i64 + 1;
        let find = "SELECT region, dek, secret FROM customers WHERE id = $1";
        let row = postgres.query_opt(find, &[&id]).await.unwrap();
        match (what, row) {
            (0, _) => {
                let (dek, secret) = made("new").await;
                let insert = "INSERT INTO customers (region, dek, secret) VALUES ('new', $1, $2)";
                postgres.execute(insert, &[&dek, &secret]).await.unwrap();
            }
            (1, Some(row)) => {
                let (dek, secret) = made(row.get(0)).await;
                let update = "UPDATE customers SET dek = $2, secret = $3 WHERE id = $1";
                postgres.execute(update, &[&id, &dek, &secret]).await.unwrap();
            }
            (2, Some(_)) => {
                let delete = "DELETE FROM customers WHERE id = $1";
                postgres.execute(delete, &[&id]).await.unwrap();
            }
            (3, Some(row)) => {
                let request = kms::DecryptRequest {
                    ciphertext: row.get(1),
                    encryption_context: context(row.get(0)),
                    ..Default::default()
                };
                let opened = app.decrypt(request).await.unwrap();
                assert_eq!(opened.plaintext, row.get::<_, Vec<u8>>(2));
            }
            _ => continue,
        }
        done[what] += 1;
    }
    done
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn j09_a_server_that_is_killed_and_started_again_under_the_agent_loses_nothing() {
    let mut house = House::new().await;
    house.fill(20_000).await;
    let operator = house.server.client("operator").await;
    let rotate = kms::RotateKeyRequest { key: "customers".into(), ..Default::default() };
    operator.rotate_key(rotate).await.unwrap();
    let create = kms::CreateCampaignRequest {
        key: "customers".into(),
        rate_per_second: 3_000,
        ..Default::default()
    };
    let campaign = operator.create_campaign(create).await.unwrap().campaign.unwrap();
    let id = campaign.campaign_id;
    let mut agent = house.agent(&["--campaign", &id]);
    let mut agent = agent.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let postgres = house.database.connect().await;
    let moved = "SELECT count(*) FROM customers WHERE substr(dek, 1, 64) NOT IN
                 (SELECT substr(dek, 1, 64) FROM before WHERE before.id = customers.id)";
    let copy = "CREATE TABLE before AS SELECT id, dek FROM customers;
                ALTER TABLE before ADD PRIMARY KEY (id)";
    postgres.batch_execute(copy).await.unwrap();
    for _ in 0..3 {
        let count = async || postgres.query_one(moved, &[]).await.unwrap().get::<_, i64>(0);
        let from = count().await;
        while count().await < from + 1_000 {
            assert!(agent.try_wait().unwrap().is_none(), "it ended too early");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        house.server.kill();
        house.server.serve();
    }
    let output = tokio::task::spawn_blocking(move || agent.wait_with_output().unwrap());
    let output = output.await.unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("trying again in"), "{said}");
    assert!(String::from_utf8_lossy(&output.stdout).contains("CLEAN"));
    assert_eq!(house.versions().await, BTreeMap::from([(2, 20_000)]));
    let operator = house.server.client("operator").await;
    let get = kms::GetCampaignRequest { campaign_id: id };
    let campaign = operator.get_campaign(get).await.unwrap().campaign.unwrap();
    assert_eq!(campaign.state(), CampaignState::Done);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn g03_two_hundred_thousand_rows_are_moved_through_twenty_kills_and_the_version_retired() {
    let mut dice = Dice::seeded();
    let house = House::new().await;
    house.fill(200_000).await;
    let postgres = house.database.connect().await;
    let dump = "CREATE TABLE dump AS SELECT * FROM customers WHERE id = 4711";
    postgres.batch_execute(dump).await.unwrap();

    let operator = house.server.client("operator").await;
    let rotate = kms::RotateKeyRequest { key: "customers".into(), ..Default::default() };
    operator.rotate_key(rotate).await.unwrap();
    assert_ne!(house.check().await.verdict(), RetireVerdict::Safe);
    let create = kms::CreateCampaignRequest {
        key: "customers".into(),
        rate_per_second: 20_000,
        ..Default::default()
    };
    let campaign = operator.create_campaign(create).await.unwrap().campaign.unwrap();
    let id = campaign.campaign_id.as_str();

    let stop = Arc::new(AtomicBool::new(false));
    let (app, table) = (house.server.client("app").await, house.database.connect().await);
    let seed = Dice(dice.roll(u64::MAX));
    let application = tokio::spawn(application(app, table, house.store, Arc::clone(&stop), seed));
    let mut kills = 0;
    for _ in 0..20 {
        let mut agent = house.agent(&["--campaign", id]);
        let mut agent = agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // Not to be right: the moment of the kill is what is tried.
        tokio::time::sleep(Duration::from_millis(100 + dice.roll(500))).await;
        kills += u32::from(agent.try_wait().unwrap().is_none());
        agent.kill().unwrap();
        agent.wait().unwrap();
    }
    let ended = house.ran(&["--campaign", id, "--output", "json"]);
    assert!(ended.status.success(), "{}", String::from_utf8_lossy(&ended.stderr));
    assert!(String::from_utf8_lossy(&ended.stdout).contains("\"outcome\": \"CLEAN\""));
    stop.store(true, Ordering::Relaxed);
    let done = application.await.unwrap();
    assert!(kills >= 10 && done.iter().all(|count| *count > 0), "{kills} {done:?}");

    let get = kms::GetCampaignRequest { campaign_id: id.into() };
    let campaign = operator.get_campaign(get).await.unwrap().campaign.unwrap();
    assert_eq!(campaign.state(), CampaignState::Done);
    let versions = house.versions().await;
    assert_eq!(versions.keys().copied().collect::<Vec<_>>(), [2]);
    println!(
        "rows {}, kills {kills}, application {done:?} (insert, update, delete, open), passes {}",
        versions[&2], campaign.stores[0].pass
    );
    // The application may have opened a blob under the old version that it had read just before.
    let scanned = house.ran(&["--scan-only", "--key", "customers"]);
    assert!(scanned.status.success(), "{}", String::from_utf8_lossy(&scanned.stderr));
    let check = house.check().await;
    assert_eq!(check.verdict(), RetireVerdict::Safe, "{:#?}", check.findings);
    let destroy =
        kms::ScheduleDestroyRequest { key: "customers".into(), version: 1, ..Default::default() };
    operator.schedule_destroy(destroy).await.unwrap();
    let month_ms = 31_u64 * 24 * 60 * 60 * 1_000;
    std::fs::write(house.server.path("clock-ahead"), month_ms.to_string()).unwrap();
    house.destroyed().await;
    assert_eq!(house.versions().await.keys().copied().collect::<Vec<_>>(), [2]);

    // A row comes back from an old dump, and nobody says so.
    let restore = "DELETE FROM customers WHERE id = 4711; INSERT INTO customers SELECT * FROM dump";
    postgres.batch_execute(restore).await.unwrap();
    let row = postgres.query_one("SELECT dek FROM dump", &[]).await.unwrap();
    let request = kms::DecryptRequest {
        ciphertext: row.get(0),
        encryption_context: context("r4"),
        ..Default::default()
    };
    let app = house.server.client("app").await;
    let refused = app.decrypt(request).await.unwrap_err();
    assert_eq!(refused.reason(), "VERSION_NOT_USABLE");
    let report = kms::ReportRestoreRequest {
        store: STORE.into(),
        reason: "a row from the dump of last month".into(),
        ..Default::default()
    };
    operator.report_restore(report).await.unwrap();
    let check = house.check().await;
    assert_ne!(check.verdict(), RetireVerdict::Safe);
    let remedies: Vec<_> = check.findings.iter().map(|finding| finding.remedy.as_str()).collect();
    let scan = "bulla rewrap run --scan-only";
    assert!(remedies.iter().any(|remedy| remedy.contains(scan)), "{:#?}", check.findings);
    let scanned = house.ran(&["--scan-only", "--key", "customers", "--output", "json"]);
    let said = String::from_utf8_lossy(&scanned.stdout);
    assert!(said.contains("\"version_1\": 1"), "{said}");
    let check = house.check().await;
    assert_eq!(check.verdict(), RetireVerdict::Unsafe, "{:#?}", check.findings);
    let said: Vec<_> = check.findings.iter().map(|finding| finding.text.as_str()).collect();
    let found = "orders-db/customers.dek holds 1 blob of version 1, such as version 1: id=4711; \
                 the version is destroyed and they open no more: take the rows from a backup made \
                 after they were moved, or delete them";
    assert!(said.contains(&found), "{said:?}");
    let census = kms::GetCensusRequest { key: "customers".into() };
    let census = operator.get_census(census).await.unwrap();
    let stores = census.versions.iter().flat_map(|version| &version.stores);
    let mut samples = stores.flat_map(|store| &store.scan).flat_map(|scan| &scan.samples);
    assert!(samples.any(|sample| sample == "version 1: id=4711"), "it says which row");
}

/// How much of a process is in memory at its fullest, in KiB; none once it has ended.
fn memory_kib_max(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// `BULLA_REWRAP_ROWS=1000000` for figures.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_agent_needs_no_more_memory_for_more_rows() {
    let rows = std::env::var("BULLA_REWRAP_ROWS").ok().and_then(|rows| rows.parse().ok());
    let rows: u32 = rows.unwrap_or(40_000);
    let house = House::new().await;
    house.fill(rows).await;
    let operator = house.server.client("operator").await;
    let rotate = kms::RotateKeyRequest { key: "customers".into(), ..Default::default() };
    operator.rotate_key(rotate).await.unwrap();
    let create = kms::CreateCampaignRequest { key: "customers".into(), ..Default::default() };
    let campaign = operator.create_campaign(create).await.unwrap().campaign.unwrap();
    let began = std::time::Instant::now();
    let mut agent = house.agent(&["--campaign", &campaign.campaign_id]);
    let mut agent = agent.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let mut kib_max = 0;
    let status = loop {
        kib_max = memory_kib_max(agent.id()).unwrap_or(0).max(kib_max);
        if let Some(status) = agent.try_wait().unwrap() {
            break status;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    println!("{rows} rows in {:.1?}, the agent took at most {kib_max} KiB", began.elapsed());
    assert!(status.success());
    let get = kms::GetCampaignRequest { campaign_id: campaign.campaign_id };
    let campaign = operator.get_campaign(get).await.unwrap().campaign.unwrap();
    assert_eq!((campaign.state(), campaign.stores[0].moved), (CampaignState::Done, rows.into()));
    assert!(kib_max > 0 && kib_max < 200 * 1024, "{kib_max} KiB");
}
