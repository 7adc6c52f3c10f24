//! Attack I06: pairs of refusals that say the same, and how long they take. Samples are interleaved in a random
//! order; the slowest and fastest twentieth of each are left out. `t` is Welch's; for samples of this size
//! |t| > 4.5 is a difference that is no accident, and the ratio of medians says whether it matters.

use std::time::Instant;

use bulla_client::kms;
use prost::Message;
use rand::RngExt as _;

use crate::stage::{Line, Stage};
use crate::{Failure, Plan};

/// Two requests whose answers say the same.
struct Pair {
    what: &'static str,
    caller: Line,
    path: &'static str,
    one: Vec<Vec<u8>>,
    other: Vec<Vec<u8>>,
    status: i32,
}

/// Measures every pair and prints a line for each.
pub(crate) async fn measure(stage: &Stage, plan: &Plan) -> Result<(), Failure> {
    println!(
        "{:<44} {:>10} {:>10} {:>7} {:>7}",
        "the same answer", "median", "median", "ratio", "t"
    );
    for pair in pairs(stage).await? {
        let (mut ones, mut others) = (Vec::new(), Vec::new());
        for sample in 0..plan.pairs + plan.pairs / 10 {
            let first: bool = rand::rng().random();
            for is_one in [first, !first] {
                let requests = if is_one { &pair.one } else { &pair.other };
                let message = &requests[sample % requests.len()];
                let began = Instant::now();
                let status = pair.caller.call(pair.path, message).await;
                let ns = began.elapsed().as_nanos() as f64;
                if status != pair.status {
                    return Err(format!("{}: status {status}", pair.what).into());
                }
                // The first tenth warms up.
                if sample >= plan.pairs / 10 {
                    if is_one { ones.push(ns) } else { others.push(ns) }
                }
            }
        }
        let (ones, others) = (trimmed(ones), trimmed(others));
        let (one, other) = (ones[ones.len() / 2], others[others.len() / 2]);
        let t = welch(&ones, &others);
        let ratio = one / other;
        println!(
            "{:<44} {:>7.1} µs {:>7.1} µs {ratio:>7.3} {t:>7.2}",
            pair.what,
            one / 1e3,
            other / 1e3
        );
    }
    Ok(())
}

async fn pairs(stage: &Stage) -> Result<Vec<Pair>, Failure> {
    let (manager, user) = (stage.client("manager").await?, stage.client("app").await?);
    let (manager2, user2) = (stage.client("manager2").await?, stage.client("app2").await?);
    let (manager_line, line) = (stage.line(Some("manager")).await?, stage.line(Some("app")).await?);
    let create = kms::CreateKeyRequest::default;
    let key = |made: kms::CreateKeyResponse| made.key.map(|key| key.key_id).unwrap_or_default();
    let own = key(manager.create_key(create()).await?);
    let context = [("row".to_owned(), "1".to_owned())].into();
    let ask = |key: &str| kms::GenerateDataKeyRequest {
        key: key.to_owned(),
        encryption_context: std::collections::BTreeMap::clone(&context),
        ..Default::default()
    };
    let good = user.generate_data_key(ask(&own)).await?.ciphertext;
    let (mut theirs, mut of_theirs) = (Vec::new(), Vec::new());
    for _ in 0..KEYS {
        theirs.push(key(manager2.create_key(create()).await?));
        let of = theirs.last().map(String::as_str).unwrap_or_default();
        of_theirs.push(user2.generate_data_key(ask(of)).await?.ciphertext);
    }
    let get = |key: &String| kms::GetKeyRequest { key: key.clone() }.encode_to_vec();
    let generate = |key: &String| ask(key).encode_to_vec();
    let open = |ciphertext: Vec<u8>, row: &str| {
        let encryption_context = [("row".to_owned(), row.to_owned())].into();
        kms::DecryptRequest { ciphertext, encryption_context, key: String::new() }.encode_to_vec()
    };
    let changed = |place: usize| -> Vec<Vec<u8>> {
        let blobs = (0..KEYS).map(|number| {
            let mut blob = good.clone();
            blob[place] ^= 1 + number as u8 % 16;
            open(blob, "1")
        });
        blobs.collect()
    };
    let none: Vec<String> = (0..KEYS).map(|_| random_id()).collect();
    let also_none: Vec<String> = (0..KEYS).map(|_| random_id()).collect();
    let opened = |blobs: &[Vec<u8>]| -> Vec<Vec<u8>> {
        blobs.iter().map(|blob| open(blob.clone(), "1")).collect()
    };
    let in_no_key: Vec<Vec<u8>> = of_theirs
        .iter()
        .map(|blob| {
            let mut blob = blob.clone();
            blob[6..22].iter_mut().for_each(|byte| *byte = rand::rng().random());
            blob
        })
        .collect();
    let tag = good.len() - 1;
    let pair = |what, caller: &Line, path, one, other, status| {
        let caller = caller.clone();
        Pair { what, caller, path, one, other, status }
    };
    const DENIED: i32 = 7;
    const DOES_NOT_OPEN: i32 = 3;
    let decrypt = "Crypto/Decrypt";
    let context_wrong = vec![open(good.clone(), "2")];
    Ok(vec![
        pair(
            "GetKey: nobody's, nobody's (the noise)",
            &manager_line,
            "Keys/GetKey",
            also_none.iter().map(get).collect(),
            none.iter().map(get).collect(),
            DENIED,
        ),
        pair(
            "GetKey: another tenant's, nobody's",
            &manager_line,
            "Keys/GetKey",
            theirs.iter().map(get).collect(),
            none.iter().map(get).collect(),
            DENIED,
        ),
        pair(
            "GenerateDataKey: another tenant's, nobody's",
            &line,
            "Crypto/GenerateDataKey",
            theirs.iter().map(generate).collect(),
            none.iter().map(generate).collect(),
            DENIED,
        ),
        pair(
            "Decrypt: another tenant's, nobody's",
            &line,
            decrypt,
            opened(&of_theirs),
            opened(&in_no_key),
            DOES_NOT_OPEN,
        ),
        pair(
            "Decrypt: wrong context, wrong tag",
            &line,
            decrypt,
            context_wrong,
            changed(tag),
            DOES_NOT_OPEN,
        ),
        pair(
            "Decrypt: another tenant's, wrong tag",
            &line,
            decrypt,
            opened(&of_theirs),
            changed(tag),
            DOES_NOT_OPEN,
        ),
        pair(
            "Decrypt: unknown version, wrong tag",
            &line,
            decrypt,
            changed(VERSION),
            changed(tag),
            DOES_NOT_OPEN,
        ),
    ])
}

/// An id in the form of a key's that nothing has.
fn random_id() -> String {
    let mut bytes: [u8; 16] = rand::rng().random();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    uuid::Uuid::from_bytes(bytes).to_string()
}

/// In order, without the fastest and the slowest.
fn trimmed(mut samples: Vec<f64>) -> Vec<f64> {
    samples.sort_by(f64::total_cmp);
    let cut = samples.len() / 20;
    samples[cut..samples.len() - cut].to_vec()
}

/// Welch's t of two samples.
fn welch(one: &[f64], other: &[f64]) -> f64 {
    let moments = |samples: &[f64]| {
        let count = samples.len() as f64;
        let mean = samples.iter().sum::<f64>() / count;
        let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
        (mean, squares / (count - 1.0) / count)
    };
    let ((mean, error), (other_mean, other_error)) = (moments(one), moments(other));
    (mean - other_mean) / (error + other_error).sqrt()
}

/// Of each kind, so that no one of them is special.
const KEYS: usize = 16;
/// The last byte of the version, in a blob's header.
const VERSION: usize = 24;
