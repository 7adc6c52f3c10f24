//! What is left in the server's memory once it has nothing more to do.

use std::collections::HashMap;
use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use base64::prelude::{BASE64_STANDARD, Engine};
use bulla_client::kms;

use crate::server::TestServer;

const CONNECTIONS: usize = 100;
const DATA_KEYS: usize = 10_000;
const OPENED_PER_CONNECTION: usize = 5;

/// A mapping of the server that it can write.
struct Region {
    start: u64,
    end: u64,
    is_locked: bool,
    name: String,
}

/// Byte strings to look for, found by their first bytes.
struct Needles<'n> {
    all: &'n [Vec<u8>],
    /// One bit for each beginning of three bytes.
    beginnings: Vec<u64>,
    by_prefix: HashMap<[u8; 8], Vec<usize>>,
}

impl<'n> Needles<'n> {
    fn new(all: &'n [Vec<u8>]) -> Self {
        let mut beginnings = vec![0; 1 << 18];
        let mut by_prefix: HashMap<_, Vec<usize>> = HashMap::new();
        for (index, needle) in all.iter().enumerate() {
            let beginning = beginning(needle);
            beginnings[beginning >> 6] |= 1 << (beginning & 63);
            by_prefix.entry(needle[..8].try_into().unwrap()).or_default().push(index);
        }
        Self { all, beginnings, by_prefix }
    }

    /// Where they are in `bytes`: offset and which.
    fn find(&self, bytes: &[u8]) -> Vec<(usize, usize)> {
        let mut found = Vec::new();
        for (offset, window) in bytes.windows(8).enumerate() {
            let beginning = beginning(window);
            if self.beginnings[beginning >> 6] & (1 << (beginning & 63)) == 0 {
                continue;
            }
            for index in self.by_prefix.get(window).into_iter().flatten() {
                if bytes[offset..].starts_with(&self.all[*index]) {
                    found.push((offset, *index));
                }
            }
        }
        found
    }
}

fn beginning(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 16 | usize::from(bytes[1]) << 8 | usize::from(bytes[2])
}

fn regions(pid: u32) -> Vec<Region> {
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps"))
        .unwrap_or_else(|error| panic!("cannot see the server's mappings ({error}): run as root"));
    let mut regions: Vec<Region> = Vec::new();
    let mut writable = false;
    for line in smaps.lines() {
        let words: Vec<_> = line.split_whitespace().collect();
        if let Some((start, end)) = words[0].split_once('-') {
            let number = |digits| u64::from_str_radix(digits, 16).unwrap();
            writable = words[1].starts_with("rw");
            if writable {
                let name = words.get(5).copied().unwrap_or("anonymous").to_owned();
                let (start, end) = (number(start), number(end));
                regions.push(Region { start, end, is_locked: false, name });
            }
        } else if writable && words[0] == "VmFlags:" {
            regions.last_mut().unwrap().is_locked = words.contains(&"lo");
        }
    }
    regions
}

/// What is found of `needles` in the server's writable memory, in words, and how much was read.
fn scan(pid: u32, needles: &[Vec<u8>], locked_too: bool) -> (Vec<(usize, String)>, u64) {
    let memory = File::open(format!("/proc/{pid}/mem"))
        .unwrap_or_else(|error| panic!("cannot read the server's memory ({error}): run as root"));
    let needles = Needles::new(needles);
    let (mut found, mut read) = (Vec::new(), 0);
    for region in regions(pid).iter().filter(|region| locked_too || !region.is_locked) {
        let mut bytes = vec![0; (region.end - region.start) as usize];
        memory.read_exact_at(&mut bytes, region.start).unwrap_or_else(|error| {
            panic!("cannot read the server's memory ({error}): run as root")
        });
        read += bytes.len() as u64;
        for (offset, index) in needles.find(&bytes) {
            let around = &bytes[offset.saturating_sub(16)..(offset + 64).min(bytes.len())];
            let place = format!(
                "needle {index} in {} ({:x}+{offset:x} of {:x}): {}",
                region.name,
                region.start,
                region.end - region.start,
                hex::encode(around)
            );
            found.push((index, place));
        }
    }
    (found, read)
}

/// 10,000 data keys through 100 connections, some of them opened again, and every connection closed.
/// The data keys.
fn use_it(server: &TestServer) -> Vec<Vec<u8>> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let made = runtime.block_on(async {
        let operator = server.client("operator").await;
        let made = operator.create_key(kms::CreateKeyRequest::default()).await.unwrap();
        let key = made.key.unwrap().key_id;
        let mut tasks = Vec::new();
        for _ in 0..CONNECTIONS {
            let (client, key) = (server.client("app").await, key.clone());
            tasks.push(tokio::spawn(async move {
                let mut plaintexts = Vec::new();
                for number in 0..DATA_KEYS / CONNECTIONS {
                    let request = kms::GenerateDataKeyRequest {
                        key: key.clone(),
                        key_bytes: 32,
                        ..Default::default()
                    };
                    let made = client.generate_data_key(request).await.unwrap();
                    if number < OPENED_PER_CONNECTION {
                        let ciphertext = made.ciphertext.clone();
                        let request = kms::DecryptRequest { ciphertext, ..Default::default() };
                        let opened = client.decrypt(request).await.unwrap();
                        assert_eq!(opened.plaintext, made.plaintext);
                    }
                    plaintexts.push(made.plaintext.to_vec());
                }
                plaintexts
            }));
        }
        let mut plaintexts = Vec::new();
        for task in tasks {
            plaintexts.extend(task.await.unwrap());
        }
        // The clients are gone; only this one is left.
        loop {
            let status = operator.status(kms::StatusRequest::default()).await.unwrap();
            if status.connections <= 1 {
                return plaintexts;
            }
        }
    });
    assert_eq!(made.len(), DATA_KEYS);
    made
}

fn key_file_bytes(server: &TestServer) -> [u8; 32] {
    let text = fs::read_to_string(server.path("root.key")).unwrap();
    BASE64_STANDARD.decode(text.trim_end()).unwrap().try_into().unwrap()
}

/// A key as it is, in base64, and as HMAC pads it.
fn forms(key: &[u8; 32]) -> Vec<Vec<u8>> {
    let padded = |pad: u8| key.iter().map(|byte| byte ^ pad).collect();
    vec![key.to_vec(), BASE64_STANDARD.encode(key).into_bytes(), padded(0x36), padded(0x5C)]
}

#[test]
fn i05_no_data_key_and_no_kek_outside_locked_pages() {
    let server = TestServer::start();
    let data_keys = use_it(&server);
    let (found, read) = scan(server.pid(), &data_keys, true);
    println!("memory scan: {} data keys, {read} bytes, found: {}", data_keys.len(), found.len());
    assert!(found.is_empty(), "{:#?}", found.iter().take(20).collect::<Vec<_>>());
    let mut keys = vec![key_file_bytes(&server)];
    keys.extend(crate::independent::all_keys(&server));
    assert!(keys.len() >= 5, "key file, root, two tenants and a version");
    let forms: Vec<_> = keys.iter().flat_map(forms).collect();
    let (found, _) = scan(server.pid(), &forms, false);
    println!("memory scan: {} keys in {} forms, found: {}", keys.len(), forms.len(), found.len());
    assert!(found.is_empty(), "outside locked pages: {found:#?}");
    let locked = regions(server.pid()).iter().filter(|region| region.is_locked).count();
    assert!(locked > 0, "keys are in locked pages; raise ulimit -l if this system forbids them");
}

#[test]
fn the_scan_finds_what_the_wiping_allocator_would_have_wiped() {
    let mut server = TestServer::install("sqlite", "");
    server.run_with(leaky());
    server.serve();
    let data_keys = use_it(&server);
    let (found, read) = scan(server.pid(), &data_keys, true);
    println!("memory scan without wiping: {read} bytes, found: {}", found.len());
    assert!(!found.is_empty(), "the scan is blind");
}

/// `bulla` without the wiping allocator: an example of this package, made by `cargo test`.
fn leaky() -> PathBuf {
    let program = Path::new(env!("CARGO_BIN_EXE_bulla")).with_file_name("examples/bulla-leaky");
    assert!(program.exists(), "make it with: cargo build --example bulla-leaky");
    program
}
