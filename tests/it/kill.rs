//! `kill -9` under load, again and again: nothing that was acknowledged is ever lost.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bulla_client::{Client, Error, Kind, Retries, kms};

use crate::server::TestServer;

/// A blob that was handed out, and what must come out of it.
#[derive(Clone)]
struct Blob {
    ciphertext: Vec<u8>,
    plaintext: Vec<u8>,
    context: BTreeMap<String, String>,
}

/// What the server has acknowledged.
#[derive(Default)]
struct Journal {
    keys: Vec<String>,
    /// The newest version of each key that was rotated.
    versions: HashMap<String, u32>,
    blobs: Vec<Blob>,
    /// How many answers of each action about each key.
    answers: HashMap<(&'static str, String), u64>,
    /// Answers that a kill cannot explain.
    strange: Vec<String>,
}

type Shared = Arc<Mutex<Journal>>;

/// SplitMix64: the same seed kills at the same moments.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % below
    }
}

impl Journal {
    fn answered(&mut self, action: &'static str, key: &str) {
        *self.answers.entry((action, key.to_owned())).or_default() += 1;
    }

    fn sealed(&mut self, action: &'static str, key: &str, blob: Blob) {
        self.answered(action, key);
        self.blobs.push(blob);
    }

    /// The call was not answered. Only because the server was killed.
    fn unanswered(&mut self, call: &str, error: &Error) {
        if error.kind() != Kind::Unreachable {
            self.strange.push(format!("{call}: {error}"));
        }
    }
}

fn setting(name: &str, otherwise: u64) -> u64 {
    std::env::var(name).map_or(otherwise, |value| value.parse().unwrap())
}

async fn client(server: &TestServer, caller: &str) -> Client {
    Client::connect(server.client_config(caller).retries(Retries::none())).await.unwrap()
}

async fn generate(client: Client, key: String, journal: Shared) {
    for number in 0_u64.. {
        let context = BTreeMap::from([("row".to_owned(), number.to_string())]);
        let request = kms::GenerateDataKeyRequest {
            key: key.clone(),
            encryption_context: context.clone(),
            key_bytes: 32,
            store: 0,
        };
        let answer = client.generate_data_key(request).await;
        let mut journal = journal.lock().unwrap();
        match answer {
            Ok(made) => {
                let (ciphertext, plaintext) = (made.ciphertext.to_vec(), made.plaintext.to_vec());
                let blob = Blob { ciphertext, plaintext, context };
                journal.sealed("crypto.generate_data_key", &key, blob);
            }
            Err(error) => return journal.unanswered("generate_data_key", &error),
        }
    }
}

async fn encrypt(client: Client, key: String, journal: Shared) {
    for number in 0_u64.. {
        let plaintext = format!("row {number}").into_bytes();
        let request = kms::EncryptRequest {
            key: key.clone(),
            plaintext: plaintext.clone(),
            ..Default::default()
        };
        let answer = client.encrypt(request).await;
        let mut journal = journal.lock().unwrap();
        match answer {
            Ok(made) => {
                let ciphertext = made.ciphertext.to_vec();
                let blob = Blob { ciphertext, plaintext, context: BTreeMap::new() };
                journal.sealed("crypto.encrypt", &key, blob);
            }
            Err(error) => return journal.unanswered("encrypt", &error),
        }
    }
}

async fn create(client: Client, journal: Shared) {
    loop {
        let answer = client.create_key(kms::CreateKeyRequest::default()).await;
        let mut journal = journal.lock().unwrap();
        match answer {
            Ok(made) => {
                let id = made.key.unwrap().key_id;
                journal.answered("keys.create_key", &id);
                journal.keys.push(id);
            }
            Err(error) => return journal.unanswered("create_key", &error),
        }
    }
}

async fn rotate(client: Client, key: String, journal: Shared) {
    loop {
        let request = kms::RotateKeyRequest { key: key.clone(), ..Default::default() };
        let answer = client.rotate_key(request).await;
        let mut journal = journal.lock().unwrap();
        match answer {
            Ok(rotated) => {
                journal.answered("keys.rotate_key", &key);
                journal.versions.insert(key.clone(), rotated.version.unwrap().version);
            }
            // As many versions as a key may have: it was rotated often enough.
            Err(error) if error.reason() == "QUOTA_EXCEEDED" => return,
            Err(error) => return journal.unanswered("rotate_key", &error),
        }
    }
}

/// Looks for the keys and opens the blobs. Each that is not as it was acknowledged.
async fn violations(server: &TestServer, keys: &[(String, u32)], blobs: &[Blob]) -> Vec<String> {
    let operator = client(server, "operator").await;
    let app = client(server, "app").await;
    let mut found = Vec::new();
    for (key, version) in keys {
        let request = kms::GetVersionRequest { key: key.clone(), version: *version };
        if let Err(error) = operator.get_version(request).await {
            found.push(format!("{key} version {version}: {error}"));
        }
        let request = kms::GetKeyRequest { key: key.clone() };
        match operator.get_key(request).await {
            Ok(it) if it.key.as_ref().unwrap().latest_version >= *version => {}
            other => found.push(format!("{key} after version {version}: {other:?}")),
        }
    }
    for blob in blobs {
        let request = kms::DecryptRequest {
            ciphertext: blob.ciphertext.clone(),
            encryption_context: blob.context.clone(),
            key: String::new(),
        };
        match app.decrypt(request).await {
            Ok(opened) if opened.plaintext == blob.plaintext => {}
            Ok(_) => found.push("a blob opens to other bytes".to_owned()),
            Err(error) => found.push(format!("a blob does not open: {error}")),
        }
    }
    found
}

/// The last `new` of what there is, and `old` of all of it.
fn sample<T: Clone>(all: &[T], new: usize, old: u64, dice: &mut Dice) -> Vec<T> {
    let mut taken: Vec<T> = all.iter().rev().take(new).cloned().collect();
    for _ in 0..old.min(all.len() as u64) {
        taken.push(all[dice.roll(all.len() as u64) as usize].clone());
    }
    taken
}

fn sampled(
    journal: &Shared,
    new: usize,
    old: u64,
    dice: &mut Dice,
) -> (Vec<(String, u32)>, Vec<Blob>) {
    let journal = journal.lock().unwrap();
    let mut keys: Vec<_> =
        sample(&journal.keys, new, old, dice).into_iter().map(|key| (key, 1)).collect();
    keys.extend(journal.versions.iter().map(|(key, version)| (key.clone(), *version)));
    (keys, sample(&journal.blobs, new, old, dice))
}

/// What the audit log says.
#[derive(Default)]
struct Recorded {
    /// How many SUCCEEDED records there are of each action about each key.
    succeeded: HashMap<(String, String), u64>,
    /// Changes that were announced, with how often the log says how they ended.
    ends: BTreeMap<u64, u64>,
}

async fn recorded(server: &TestServer) -> Recorded {
    let auditor = server.client("auditor").await;
    let (mut after, mut last, mut found) = (0, 0, Recorded::default());
    loop {
        let request =
            kms::ListRecordsRequest { after_sequence: after, page_size: 1000, filter: None };
        let page = auditor.list_records(request).await.unwrap();
        for record in page.records {
            assert!(record.sequence > last, "records are in order");
            last = record.sequence;
            match record.outcome.as_str() {
                "STARTED" => drop(found.ends.insert(record.sequence, 0)),
                _ if record.started_sequence != 0 => {
                    *found.ends.entry(record.started_sequence).or_default() += 1;
                }
                _ => {}
            }
            if record.outcome == "SUCCEEDED" {
                *found.succeeded.entry((record.action, record.key_id)).or_default() += 1;
            }
        }
        after = page.next_after_sequence;
        if page.end {
            return found;
        }
    }
}

/// Every change has one record of its end, and every such record its change (attack H01).
async fn unrecorded(server: &TestServer, key: &str, records: &Recorded) -> Vec<String> {
    let mut found = Vec::new();
    for (sequence, ends) in records.ends.iter().filter(|(_, ends)| **ends != 1) {
        found.push(format!("the change announced by record {sequence} has {ends} ends"));
    }
    let operator = server.client("operator").await;
    let shown = operator.get_key(kms::GetKeyRequest { key: key.to_owned() }).await.unwrap();
    let rotations = u64::from(shown.key.unwrap().latest_version) - 1;
    let rotate = ("keys.rotate_key".to_owned(), key.to_owned());
    let recorded = records.succeeded.get(&rotate).copied().unwrap_or(0);
    if recorded != rotations {
        found.push(format!("{rotations} rotations, {recorded} records of one"));
    }
    let (mut keys, mut request) =
        (0, kms::ListKeysRequest { page_size: 1000, ..Default::default() });
    loop {
        let page = operator.list_keys(request.clone()).await.unwrap();
        keys += page.keys.len() as u64;
        request.page_token = page.next_page_token;
        if request.page_token.is_empty() {
            break;
        }
    }
    let created = |((action, _), count): (&(String, String), &u64)| {
        if action == "keys.create_key" { *count } else { 0 }
    };
    let recorded: u64 = records.succeeded.iter().map(created).sum();
    if recorded != keys {
        found.push(format!("{keys} keys, {recorded} records of one's making"));
    }
    found
}

#[test]
fn two_hundred_kills_lose_nothing_that_was_acknowledged() {
    let cycles = setting("BULLA_KILL_CYCLES", 200);
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let seed = setting("BULLA_SEED", now);
    println!("BULLA_SEED={seed}");
    let mut dice = Dice(seed);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut server = TestServer::start();
    let journal = Shared::default();
    let main_key = runtime.block_on(async {
        let operator = server.client("operator").await;
        operator.create_key(kms::CreateKeyRequest::default()).await.unwrap().key.unwrap().key_id
    });
    let mut found = Vec::new();
    for _ in 0..cycles {
        runtime.block_on(async {
            let operator = client(&server, "operator").await;
            let app = client(&server, "app").await;
            let (key, j) = (&main_key, &journal);
            let tasks = [
                tokio::spawn(generate(app.clone(), key.clone(), j.clone())),
                tokio::spawn(generate(app.clone(), key.clone(), j.clone())),
                tokio::spawn(encrypt(app, key.clone(), j.clone())),
                tokio::spawn(create(operator.clone(), j.clone())),
                tokio::spawn(rotate(operator, key.clone(), j.clone())),
            ];
            // Not to be right: the moment of the kill is what is tried.
            tokio::time::sleep(Duration::from_micros(5_000 + dice.roll(95_000))).await;
            server.kill();
            for task in tasks {
                task.await.unwrap();
            }
        });
        server.serve();
        let (keys, blobs) = sampled(&journal, 8, 8, &mut dice);
        found.extend(runtime.block_on(violations(&server, &keys, &blobs)));
    }
    let (keys, blobs) = sampled(&journal, 500, 500, &mut dice);
    found.extend(runtime.block_on(violations(&server, &keys, &blobs)));
    let records = runtime.block_on(recorded(&server));
    found.extend(runtime.block_on(unrecorded(&server, &main_key, &records)));
    let journal = journal.lock().unwrap();
    for ((action, key), answered) in &journal.answers {
        let recorded =
            records.succeeded.get(&((*action).to_owned(), key.clone())).copied().unwrap_or(0);
        if recorded < *answered {
            found.push(format!("{action} {key}: {answered} answers, {recorded} records"));
        }
    }
    found.extend(journal.strange.iter().cloned());
    assert_eq!(server.stop(), 0);
    let check = server.command("check").output().unwrap();
    let said = String::from_utf8_lossy(&check.stdout).into_owned();
    if !check.status.success() || !said.contains("the audit log verifies") {
        found.push(said);
    }
    let acknowledged: u64 = journal.answers.values().sum();
    println!(
        "kill cycles: {cycles}, acknowledged: {acknowledged} ({} blobs, {} keys, version {:?}), \
         violations: {}",
        journal.blobs.len(),
        journal.keys.len(),
        journal.versions.get(&main_key),
        found.len()
    );
    assert!(found.is_empty(), "{found:#?}");
    assert!(acknowledged > cycles, "the server was under load");
}
