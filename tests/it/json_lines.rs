//! `bulla rewrap run` between two pipes, with a real server.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bulla_client::kms::{self, CampaignState};

use crate::server::TestServer;
use crate::transcripts::Callers;

const STORE: &str = "events/lines";

struct House {
    server: TestServer,
    folder: tempfile::TempDir,
    store: u32,
}

impl House {
    async fn new() -> Self {
        let server = TestServer::start();
        let operator = server.client("operator").await;
        let create = kms::CreateKeyRequest { alias: "events".into(), ..Default::default() };
        operator.create_key(create).await.unwrap();
        let register = kms::RegisterStoreRequest {
            name: STORE.into(),
            owner: "the events team".into(),
            kind: kms::StoreKind::JsonLines.into(),
            write_delay: Some(prost_types::Duration::default()),
            ..Default::default()
        };
        let store = operator.register_store(register).await.unwrap().store.unwrap().store;
        let folder = tempfile::tempdir().unwrap();
        let connector = "[json_lines]\nfield = \"dek\"\ncontext.event = { field = \"id\" }\n";
        std::fs::write(folder.path().join("lines.toml"), connector).unwrap();
        Self { server, folder, store }
    }

    /// A line with a data key that is bound to `id`, and the key.
    async fn line(&self, id: u32) -> (String, Vec<u8>) {
        let request = kms::GenerateDataKeyRequest {
            key: "events".into(),
            encryption_context: context(id),
            store: self.store,
            ..Default::default()
        };
        let made = self.server.client("app").await.generate_data_key(request).await.unwrap();
        let dek = STANDARD.encode(&made.ciphertext);
        (format!("{{\"id\": {id},  \"dek\":\"{dek}\", \"pi\": 3.140}}"), made.plaintext)
    }

    /// After this, what was made before is under an old version.
    async fn rotated(&self, rate_per_second: u32) -> String {
        let operator = self.server.client("operator").await;
        let rotate = kms::RotateKeyRequest { key: "events".into(), ..Default::default() };
        operator.rotate_key(rotate).await.unwrap();
        let key = "events".into();
        let create = kms::CreateCampaignRequest { key, rate_per_second, ..Default::default() };
        operator.create_campaign(create).await.unwrap().campaign.unwrap().campaign_id
    }

    fn agent(&self, campaign: &str) -> Child {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bulla"));
        command.args(["rewrap", "run", "--store", STORE, "--campaign", campaign, "--connector"]);
        command.arg(self.folder.path().join("lines.toml"));
        command.envs(self.server.environment("rewrapper"));
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command.spawn().unwrap()
    }

    fn run(&self, campaign: &str, input: &str) -> Output {
        fed(self.agent(campaign), input.to_owned()).wait_with_output().unwrap()
    }

    /// The version that a line is under, and the key that it opens to.
    async fn opened(&self, line: &str) -> (u32, Vec<u8>) {
        let fields: serde_json::Value = serde_json::from_str(line).unwrap();
        let request = kms::DecryptRequest {
            ciphertext: STANDARD.decode(fields["dek"].as_str().unwrap()).unwrap(),
            encryption_context: context(fields["id"].as_u64().unwrap() as u32),
            ..Default::default()
        };
        let opened = self.server.client("app").await.decrypt(request).await.unwrap();
        (opened.version, opened.plaintext)
    }

    async fn campaign(&self, campaign: &str) -> kms::Campaign {
        let get = kms::GetCampaignRequest { campaign_id: campaign.into() };
        self.server.client("operator").await.get_campaign(get).await.unwrap().campaign.unwrap()
    }
}

fn context(id: u32) -> BTreeMap<String, String> {
    [("event".to_owned(), id.to_string())].into()
}

/// Writes the input from a thread of its own; who reads no more of it ends that.
fn fed(mut agent: Child, input: String) -> Child {
    let mut stdin = agent.stdin.take().unwrap();
    std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    agent
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

/// The line without its blob.
fn around(line: &str) -> (&str, &str) {
    let blob = line.split_once("\"dek\":\"");
    let (before, rest) = blob.unwrap_or_else(|| panic!("no blob in {line:?}"));
    (before, rest.split_once('"').unwrap().1)
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_are_moved_through_pipes_and_proven_by_another_run() {
    let house = House::new().await;
    let (mut lines, mut secrets) = (Vec::new(), BTreeMap::new());
    for id in 1..=10 {
        let (line, secret) = house.line(id).await;
        lines.push(line);
        secrets.insert(id, secret);
    }
    // The same line twice, lines that hold nothing, an end of line of another system, none at the end.
    lines.insert(4, lines[0].clone());
    let nothing = ["{\"id\": 77}", "", "{\"id\":7,\"dek\":null}", "  "];
    nothing.iter().for_each(|line| lines.insert(6, (*line).to_owned()));
    lines[2].push('\r');
    lines.push("{\"last\": true}".to_owned());
    let input = lines.join("\n");
    let campaign = house.rotated(0).await;

    let rewritten = house.run(&campaign, &input);
    let said = text(&rewritten.stderr);
    assert!(rewritten.status.success() && said.contains("REWRITTEN"), "{said}");
    let output = text(&rewritten.stdout);
    let moved: Vec<&str> = output.split('\n').collect();
    assert_eq!(moved.len(), lines.len());
    for (old, new) in lines.iter().zip(&moved) {
        if !old.contains("\"dek\":\"") {
            assert_eq!(new, old);
            continue;
        }
        assert_eq!(around(new), around(old), "of a line only the blob changes");
        let (version, secret) = house.opened(new).await;
        let id: serde_json::Value = serde_json::from_str(new).unwrap();
        assert_eq!((version, &secret), (2, &secrets[&(id["id"].as_u64().unwrap() as u32)]));
    }
    assert_ne!(house.campaign(&campaign).await.state(), CampaignState::Done, "nobody proved it");

    // What comes out of the proof can take the place of what went in.
    let proven = house.run(&campaign, &output);
    let said = text(&proven.stderr);
    assert!(proven.status.success() && said.contains("CLEAN"), "{said}");
    assert_eq!(text(&proven.stdout), output);
    assert_eq!(house.campaign(&campaign).await.state(), CampaignState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_old_lines_prove_nothing_and_are_moved_by_another_run() {
    let house = House::new().await;
    let (line, secret) = house.line(1).await;
    let (input, campaign) = (line + "\n", house.rotated(0).await);
    assert!(house.run(&campaign, &input).status.success());
    // Somebody forgot to put the new lines in the place of the old.
    let proof = house.run(&campaign, &input);
    let said = text(&proof.stderr);
    assert_eq!(proof.status.code(), Some(65), "{said}");
    assert!(said.contains("NOT_CLEAN") && said.contains("1 blobs of old versions"), "{said}");
    assert_eq!(text(&proof.stdout), input);
    let again = house.run(&campaign, &input);
    assert!(again.status.success(), "{}", text(&again.stderr));
    assert_eq!(house.opened(&text(&again.stdout)).await, (2, secret));
    assert!(house.run(&campaign, &text(&again.stdout)).status.success());
    assert_eq!(house.campaign(&campaign).await.state(), CampaignState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_blob_comes_out_as_it_was_and_waits_for_a_person() {
    let house = House::new().await;
    let (good, secret) = house.line(1).await;
    let blob = good.split('"').nth(5).unwrap().to_owned();
    let bad = [
        "this is no object".to_owned(),
        "{\"id\": 3, \"dek\": \"not base64!\"}".to_owned(),
        "{\"id\": 4, \"dek\": \"aGVsbG8=\"}".to_owned(),
        format!("{{\"id\": 1, \"dek\": \"{blob}\", \"dek\": \"aGVsbG8=\"}}"),
        format!("{{\"dek\": \"{blob}\"}}"),
        format!("{{\"id\": 6, \"dek\": \"{blob}\"}}"),
        "[1, 2]".to_owned(),
    ];
    let input = format!("{good}\n{}\n", bad.join("\n"));
    let campaign = house.rotated(0).await;
    let rewritten = house.run(&campaign, &input);
    let (said, output) = (text(&rewritten.stderr), text(&rewritten.stdout));
    assert!(rewritten.status.success(), "{said}");
    let lines: Vec<&str> = output.lines().collect();
    assert_eq!(lines[1..], bad);
    assert_eq!(house.opened(lines[0]).await, (2, secret));
    for line in 2..=8 {
        assert!(said.contains(&format!("line {line}: ")), "{said}");
    }
    assert!(said.contains("line 6: CONTEXT_IS_NULL: id"), "{said}");
    let proof = house.run(&campaign, &output);
    let said = text(&proof.stderr);
    assert_eq!(proof.status.code(), Some(65), "{said}");
    assert!(said.contains("UNDECIDED"), "{said}");
    assert_eq!(text(&proof.stdout), output);
    assert_ne!(house.campaign(&campaign).await.state(), CampaignState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_without_a_blob_come_out_all_of_them() {
    let house = House::new().await;
    // Somewhere else in the store is one; the census knows of it.
    house.line(1).await;
    let campaign = house.rotated(0).await;
    let input: String = (0..3_000).map(|id| format!("{{\"id\": {id}}}\n")).collect();
    let rewritten = house.run(&campaign, &input);
    assert!(rewritten.status.success(), "{}", text(&rewritten.stderr));
    assert_eq!(text(&rewritten.stdout), input);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_output_that_is_closed_early_is_told_and_the_lines_can_be_run_again() {
    let house = House::new().await;
    let (line, secret) = house.line(1).await;
    // More than all pipes and buffers on the way hold.
    let input = (line + "\n").repeat(8_000);
    let campaign = house.rotated(0).await;
    let mut agent = fed(house.agent(&campaign), input.clone());
    let mut stdout = agent.stdout.take().unwrap();
    stdout.read_exact(&mut [0; 100]).unwrap();
    drop(stdout);
    let ended = agent.wait_with_output().unwrap();
    let said = text(&ended.stderr);
    assert_eq!(ended.status.code(), Some(74), "{said}");
    assert!(said.contains("cannot write to standard output: Broken pipe"), "{said}");

    // And one that is killed half way; the server keeps a place, and the stream has none.
    let mut agent = fed(house.agent(&campaign), input.clone());
    let mut stdout = agent.stdout.take().unwrap();
    stdout.read_exact(&mut vec![0; 600_000]).unwrap();
    agent.kill().unwrap();
    agent.wait().unwrap();

    let rewritten = house.run(&campaign, &input);
    assert!(rewritten.status.success(), "{}", text(&rewritten.stderr));
    let output = text(&rewritten.stdout);
    assert_eq!(output.lines().count(), 8_000);
    for line in [0, 999, 1_000, 4_321, 7_999] {
        let line = output.lines().nth(line).unwrap();
        assert_eq!(house.opened(line).await, (2, secret.clone()));
    }
    assert!(house.run(&campaign, &output).status.success());
    assert_eq!(house.campaign(&campaign).await.state(), CampaignState::Done);
}

#[tokio::test(flavor = "multi_thread")]
async fn j09_a_server_that_is_killed_under_a_stream_leaves_no_line_behind() {
    let mut house = House::new().await;
    let (line, _) = house.line(1).await;
    let input: String =
        (0..9_000).map(|at| line.replace("3.140", &at.to_string()) + "\n").collect();
    let campaign = house.rotated(3_000).await;
    let mut agent = fed(house.agent(&campaign), input.clone());
    let mut stdout = agent.stdout.take().unwrap();
    let mut output = vec![0; 300_000];
    stdout.read_exact(&mut output).unwrap();
    house.server.kill();
    house.server.serve();
    stdout.read_to_end(&mut output).unwrap();
    let ended = agent.wait_with_output().unwrap();
    let said = text(&ended.stderr);
    assert!(ended.status.success() && said.contains("trying again in"), "{said}");
    let output = text(&output);
    assert_eq!(output.lines().count(), 9_000);
    for (old, new) in input.lines().zip(output.lines()) {
        assert_eq!(around(new), around(old));
        assert_ne!(new, old, "it was left under the old version");
    }
    let proof = house.run(&campaign, &output);
    assert!(proof.status.success(), "{}", text(&proof.stderr));
    let done = async {
        while house.campaign(&campaign).await.state() != CampaignState::Done {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(30), done).await.unwrap();
}
