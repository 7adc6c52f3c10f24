//! Every method × every role × whose it is and how it stands × every kind of proof × whatever can be missing, on
//! one server, 64 connections at once. What must come of each call is a table that people can read
//! (`tests/matrix`); the decision's own code is asked for nothing.
//!
//! No call harms another: what changes something and is allowed gets a key, name or proposal that was made
//! for that call alone; what is refused is asked of shared ones, and these are compared at the end.

mod cases;
mod people;
mod records;
mod requests;
mod table;
mod things;
mod wire;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use prost::Message;
use prost_types::FileDescriptorSet;

use crate::server::TestServer;
use cases::{Case, Scene};
use people::{Authorities, Person, Registry, SOON, Signer};
use records::Expected;
use requests::Names;
use table::{DENIED, Row};
use things::Maker;
use wire::{Answer, Wire};

/// A case, and what came of it.
struct Called {
    case: Case,
    answer: Answer,
    /// The end of the connection on which it was made, as its record has it.
    address: String,
    /// How often another change came first.
    conflicts: usize,
}

#[test]
fn d04_every_method_of_the_descriptors_has_a_row_in_the_table_and_no_row_is_without_one() {
    let set = FileDescriptorSet::decode(bulla_proto::DESCRIPTORS).unwrap();
    let mut described = BTreeSet::new();
    for file in &set.file {
        for service in file.service.iter().filter(|service| service.name() != "Bench") {
            for method in &service.method {
                let (package, service) = (file.package(), service.name());
                described.insert(format!("/{package}.{service}/{}", method.name()));
            }
        }
    }
    let rows = table::read();
    let told: BTreeSet<String> = rows.iter().map(Row::path).collect();
    assert_eq!(told, described);
    let names: BTreeSet<_> = rows.iter().map(|row| &row.name).collect();
    assert_eq!(names.len(), rows.len(), "two rows of one name");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a13_d02_d03_e01_c02_the_matrix_is_as_the_table_says() {
    let begun = Instant::now();
    let rows = Arc::new(table::read());
    let (server, people, scene) = set_up(&rows).await;
    let cases = scene.cases(&rows, &people).await;
    let before = scene.shown().await;
    let people = Arc::new(people);
    // What expires has to have expired: that is what is asked about, not how long anything takes.
    tokio::time::sleep(SOON).await;
    let start = crate::wire::audit_end(&server).await;
    println!("matrix: set up in {:?}", begun.elapsed());
    let called = call_all(&server, cases, &rows, &people).await;
    println!("matrix: called after {:?}", begun.elapsed());
    let mut wrong = Vec::new();
    let who = |case: &Case| {
        let person = &people[case.person];
        format!(
            "{} as {:?} {:?} {:?} about {}",
            rows[case.row].name, person.role, person.kind, person.lack, case.about
        )
    };
    for one in &called {
        let got = shown(&rows[one.case.row], &one.answer);
        if got != one.case.expected {
            wrong.push(format!("{}: {got} and not {}", who(&one.case), one.case.expected));
        }
    }
    for (one, other) in told_apart(&called, &rows) {
        wrong.push(format!("told apart: {} {:?}", who(&one.case), one.answer));
        wrong.push(format!("      from: {} {:?}", who(&other.case), other.answer));
    }
    if before != scene.shown().await {
        wrong.push("something was changed by whoever may not".to_owned());
    }
    let expected: Vec<Expected> =
        called.iter().map(|one| expected_record(one, &rows, &people)).collect();
    wrong.extend(records::wrong(&server, start, &expected).await);
    println!("matrix: checked after {:?}", begun.elapsed());
    println!("matrix: {} cases, {} wrong", called.len(), wrong.len());
    assert!(wrong.is_empty(), "{:#?}", wrong.iter().take(WRONG_SHOWN).collect::<Vec<_>>());
    assert!(called.len() >= 10_000);
}

async fn set_up(rows: &[Row]) -> (TestServer, Vec<Person>, Scene) {
    let server = TestServer::prepare("sqlite", "service_accounts = true");
    let signer = Signer::new();
    let authorities = Authorities::configure(&server, &signer);
    // No call here is one too many, and nothing happens by itself.
    crate::auth::add(&server, "[limits]\ntenant_management_per_second = 0\n");
    authorities.certify(&server, "installation", "steward");
    let mut init = server.command("init");
    init.arg("--make-key-file");
    for (name, role) in [
        ("one.test/operator", "key-manager"),
        ("one.test/operator", "operator"),
        ("one.test/app", "key-user"),
        ("one.test/auditor", "auditor"),
        ("two.test/operator2", "key-manager"),
        ("two.test/operator2", "operator"),
        ("two.test/app2", "key-user"),
        ("two.test/auditor2", "auditor"),
        ("installation.test/landlord", "tenant-manager"),
        ("installation.test/landlord", "auditor"),
        ("installation.matrix.test/steward", "operator"),
    ] {
        init.arg("--bind").arg(format!("spiffe://{name}={role}"));
    }
    let made = init.output().unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let mut server = server;
    server.serve();
    let own = Maker::of(&server, "operator", "app").await;
    let other = Maker::of(&server, "operator2", "app2").await;
    let names = Names { own: own.key(true).await, store: own.store.clone() };
    let steward = server.client("steward").await;
    let registry = Registry {
        server: &server,
        signer: &signer,
        operator: &own.manager,
        steward: &steward,
        rows,
        other_key: own.key(true).await.name,
    };
    let people = registry.people(&authorities).await;
    let landlord = server.client("landlord").await;
    let shared = BTreeMap::new();
    let mut scene = Scene { own, other, landlord, names, shared };
    scene.set().await;
    (server, people, scene)
}

impl Scene {
    /// How all shared keys stand.
    async fn shown(&self) -> Vec<String> {
        let mut all = Vec::new();
        for ((of, state), thing) in &self.shared {
            match (of.as_str(), *state) {
                ("key", "enabled" | "disabled") | ("state", _) => {
                    all.push(self.own.shown(&thing.name).await);
                }
                ("key", "other_enabled" | "other_disabled") => {
                    all.push(self.other.shown(&thing.name).await);
                }
                _ => {}
            }
        }
        all
    }
}

/// Makes all calls, 64 at a time at least, each connection one after the other.
async fn call_all(
    server: &TestServer,
    cases: Vec<Case>,
    rows: &Arc<Vec<Row>>,
    people: &Arc<Vec<Person>>,
) -> Vec<Called> {
    let all = cases.len();
    let mut by_certificate: BTreeMap<Option<String>, Vec<Case>> = BTreeMap::new();
    for case in cases {
        by_certificate.entry(people[case.person].certificate.clone()).or_default().push(case);
    }
    let mut at_work = Vec::new();
    // This one reads the whole log, which is still short.
    let reads_log = |case: &Case| rows[case.row].name == "Rotation/GetExposure";
    for (certificate, mut cases) in by_certificate {
        cases.sort_by_key(|case| !reads_log(case));
        let lines = (cases.len() * 64).div_ceil(all);
        let mut shares: Vec<Vec<Case>> = (0..lines).map(|_| Vec::new()).collect();
        for (place, case) in cases.into_iter().enumerate() {
            shares[place % lines].push(case);
        }
        for share in shares {
            let wire = Wire::connect(server, certificate.as_deref()).await;
            let (rows, people) = (Arc::clone(rows), Arc::clone(people));
            at_work.push(tokio::spawn(call_each(wire, share, rows, people)));
        }
    }
    assert!(at_work.len() >= 64);
    let mut called = Vec::new();
    for work in at_work {
        called.extend(work.await.unwrap());
    }
    called
}

async fn call_each(
    wire: Wire,
    cases: Vec<Case>,
    rows: Arc<Vec<Row>>,
    people: Arc<Vec<Person>>,
) -> Vec<Called> {
    let mut called = Vec::new();
    for case in cases {
        let (path, bearer) = (rows[case.row].path(), people[case.person].bearer.as_deref());
        let mut conflicts = 0;
        let answer = loop {
            let answer = wire.call(&path, &case.message, bearer).await;
            // As any client does: another's change came first.
            if answer.reason != "CONFLICT" {
                break answer;
            }
            conflicts += 1;
        };
        called.push(Called { case, answer, address: wire.address.clone(), conflicts });
    }
    called
}

/// What a caller sees: the reason, or the refusal of the one item.
fn shown(row: &Row, answer: &Answer) -> String {
    use bulla_client::kms;
    let item = match row.name.as_str() {
        _ if answer.reason != "OK" => None,
        "Crypto/DecryptMany" => {
            let reply = kms::DecryptManyResponse::decode(&answer.message[..]).unwrap();
            match reply.results.into_iter().next().and_then(|result| result.outcome) {
                Some(kms::decrypt_result::Outcome::Refusal(refusal)) => Some(refusal.reason),
                _ => None,
            }
        }
        "Crypto/ReEncryptStream" => {
            let reply = kms::ReEncryptStreamResponse::decode(&answer.message[..]).unwrap();
            match reply.results.into_iter().next().and_then(|result| result.outcome) {
                Some(kms::re_encrypt_result::Outcome::Refusal(refusal)) => Some(refusal.reason),
                _ => None,
            }
        }
        _ => None,
    };
    item.map_or_else(|| answer.reason.clone(), |reason| format!("item:{reason}"))
}

/// Pairs of answers that differ although nobody may tell what they are about apart: what is another
/// tenant's from what is not there, for the same caller and method; and one denial from another, whoever
/// gets it for whatever.
fn told_apart<'a>(called: &'a [Called], rows: &[Row]) -> Vec<(&'a Called, &'a Called)> {
    let mut firsts: BTreeMap<(usize, usize), &Called> = BTreeMap::new();
    let mut denial: Option<&Called> = None;
    let mut apart = Vec::new();
    for one in called {
        if one.answer.reason == DENIED {
            let first = *denial.get_or_insert(one);
            if first.answer != one.answer {
                apart.push((one, first));
            }
        }
        // The only one that says what was asked about: the key in the header of the caller's own blob.
        if one.case.is_absent && rows[one.case.row].name != "Crypto/Inspect" {
            let group = (one.case.row, one.case.person);
            let first = *firsts.entry(group).or_insert(one);
            if first.answer != one.answer {
                apart.push((one, first));
            }
        }
        if one.case.is_absent && rows[one.case.row].name == "Crypto/Inspect" {
            let reply = bulla_client::kms::InspectResponse::decode(&one.answer.message[..]);
            let reply = reply.unwrap_or_default();
            // Of a key that is not the caller's nothing is said but what stands in the blob.
            if (reply.state, reply.decryptable, reply.aliases.len()) != (0, false, 0) {
                apart.push((one, one));
            }
        }
    }
    apart
}

fn expected_record(one: &Called, rows: &[Row], people: &[Person]) -> Expected {
    let (row, person) = (&rows[one.case.row], &people[one.case.person]);
    let reason = match one.case.expected.as_str() {
        "OK" => "",
        item if item.starts_with("item:") => "",
        reason => reason,
    };
    Expected {
        address: one.address.clone(),
        // What would be proposed is refused under its own name.
        actions: match row.name.as_str() {
            "Approvals/Propose@waive" => row.actions.clone(),
            _ => row.actions.iter().take(1).cloned().collect(),
        },
        reason: reason.to_owned(),
        conflicts: one.conflicts,
        changes: row.is("changes"),
        principal: person.principal.clone(),
        about: format!(
            "{} as {:?} {:?} {:?} about {}",
            row.name, person.role, person.kind, person.lack, one.case.about
        ),
    }
}

/// Of what is wrong, so much is shown.
const WRONG_SHOWN: usize = 400;
