//! H03 on a log of 10,000 records: every record flipped, deleted, repeated, forged, swapped and cut
//! off, whole files swapped, old copies and old checkpoints replayed, copies forked, and everything
//! signed with another key. Each must be found, and the first bad record named.
//!
//! Verification is a fold over the log: what it knows before a record depends on the records before it
//! alone. So each case starts from a copy of the state before the place of tampering, which one walk
//! over the true log passes through, and not from the log's beginning: exhaustive, and still fast. No
//! case copies the log: it is changed in place, verified from that place on, and put back.

mod files;
mod records;
mod replays;

use std::convert::Infallible;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bulla::audit::verify::{Finding, Framed, Log, Signed, Verified, Verifier, VerifyError, What};
use bulla::audit::{
    Chain, Checkpoint, Frame, Hash, Outcome, Record, SegmentHeader, Sign, Tree, VerifyingKey,
    leaf_hash, origin, rotation_detail,
};
use bulla::keys::TenantId;

const RECORDS: u64 = 10_000;
const INTERVAL: u64 = 100;
const INSTALLATION: [u8; 16] = [9; 16];

/// Signs with a key of the test's.
pub struct Key(Ed25519KeyPair, VerifyingKey);

impl Key {
    pub fn new(installation: [u8; 16], seed: u8) -> Self {
        let pair = Ed25519KeyPair::from_seed_unchecked(&[seed; 32]).unwrap();
        let public = pair.public_key().as_ref().try_into().unwrap();
        let key = VerifyingKey::new(&origin(installation), public).unwrap();
        Self(pair, key)
    }
}

impl Sign for Key {
    fn key(&self) -> &VerifyingKey {
        &self.1
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

/// A log, and what its server made of it.
struct Written {
    key: Key,
    bytes: Vec<u8>,
    /// Where each record's frame begins; at the end, where the last ends. By sequence.
    offsets: Vec<usize>,
    heads: Vec<Chain>,
    leaves: Vec<Hash>,
    checkpoints: Vec<Vec<u8>>,
    /// By place, and one more.
    payloads: Vec<Vec<u8>>,
}

fn record(sequence: u64, salt: u64) -> Vec<u8> {
    let mut record = Record::new(
        1_767_225_600_000_000 + i64::try_from(sequence).unwrap(),
        "crypto.generate_data_key",
        Outcome::Succeeded,
    );
    record.tenant = Some(TenantId::from_bytes([1; 16]));
    record.principal = format!("spiffe://demo.bulla/app-{}", sequence % 7).into();
    record.request_id = format!("{:016x}", sequence.wrapping_mul(0x9e37_79b9) ^ salt).into();
    record.context =
        vec![("table".into(), "x".repeat(usize::try_from(sequence % 5).unwrap()).into())];
    let mut payload = Vec::new();
    record.encode(&mut payload).unwrap();
    payload
}

impl Written {
    /// `shared` records as every copy of the log has them, and the rest its own.
    fn new(records: u64, shared: u64, seed: u8) -> Self {
        let key = Key::new(INSTALLATION, seed);
        let mut chain = SegmentHeader::first(INSTALLATION).chain();
        let mut tree = Tree::new();
        let mut written = Self {
            key,
            // Room to put something before the first record.
            bytes: vec![0; MARGIN],
            offsets: vec![MARGIN],
            heads: vec![chain],
            leaves: Vec::new(),
            checkpoints: Vec::new(),
            payloads: Vec::new(),
        };
        for sequence in 1..=records {
            written.offsets.push(written.bytes.len());
            let salt = if sequence > shared { 1 << 40 } else { 0 };
            let payload = record(sequence, salt);
            chain.seal(&payload, &mut written.bytes).unwrap();
            written.payloads.push(payload);
            written.heads.push(chain);
            written.leaves.push(leaf_hash(chain.head()));
            tree.append(leaf_hash(chain.head()), |_, _| ());
            if sequence % INTERVAL == 0 || sequence == records {
                written.checkpoints.push(signed(&written.key, &chain, &tree));
            }
        }
        written.offsets.push(written.bytes.len());
        written.payloads.push(record(records + 1, 0));
        written
    }

    fn at(&self, sequence: u64) -> usize {
        self.offsets[usize::try_from(sequence).unwrap()]
    }

    fn frame(&self, sequence: u64) -> &[u8] {
        &self.bytes[self.at(sequence)..self.at(sequence + 1)]
    }

    fn evidence(&self) -> Evidence<'_> {
        Evidence { kept: &self.checkpoints, next: 0, leaves: Some(&self.leaves) }
    }

    fn verifier(&self, outside: Vec<Vec<u8>>) -> Verifier {
        Verifier::new(INSTALLATION, self.key.key().clone(), outside)
    }
}

fn signed(key: &Key, chain: &Chain, tree: &Tree) -> Vec<u8> {
    let checkpoint = Checkpoint {
        origin: key.key().name().to_owned(),
        size: tree.size(),
        root: tree.root(),
        chain: *chain.head(),
        time_us: 1_767_225_600_000_000,
    };
    checkpoint.sign(key).as_bytes().to_vec()
}

/// What lies beside a log.
#[derive(Clone)]
struct Evidence<'a> {
    kept: &'a [Vec<u8>],
    next: usize,
    leaves: Option<&'a [Hash]>,
}

impl Signed for Evidence<'_> {
    fn kept(&mut self) -> Option<Vec<u8>> {
        let next = self.kept.get(self.next).cloned();
        self.next += 1;
        next
    }

    fn leaf(&mut self, sequence: u64) -> Option<Hash> {
        let place = usize::try_from(sequence - 1).unwrap();
        self.leaves.and_then(|leaves| leaves.get(place)).copied()
    }

    fn progress(&mut self, _: u64) {}
}

/// What verification said of `bytes` from the state in `from`.
fn said(from: &(Verifier, Evidence<'_>), bytes: &[u8]) -> Result<Verified, Finding> {
    said_of(from, &mut Framed::new(bytes))
}

fn said_of(
    from: &(Verifier, Evidence<'_>),
    log: &mut impl Log<Error = Infallible>,
) -> Result<Verified, Finding> {
    let (verifier, mut evidence) = from.clone();
    match verifier.run(log, &mut evidence) {
        Ok(verified) => Ok(verified),
        Err(VerifyError::Found(finding)) => Err(finding),
        Err(VerifyError::Log(impossible)) => match impossible {},
    }
}

/// How many cases there were, and those that were not found or not named.
#[derive(Default)]
struct Count {
    cases: u64,
    undetected: Vec<String>,
}

impl Count {
    /// The first bad record must be `first`, and what happened to it one of `what`.
    fn expect(&mut self, case: &str, found: Result<Verified, Finding>, first: u64, what: &[What]) {
        self.cases += 1;
        match found {
            Err(finding) if finding.first == first && what.contains(&finding.what) => {}
            other => self.undetected.push(format!("{case} {first}: {other:?}")),
        }
    }

    fn expect_within(
        &mut self,
        case: &str,
        found: Result<Verified, Finding>,
        bad: u64,
        what: What,
    ) {
        self.cases += 1;
        match found {
            Err(finding)
                if finding.what == what && (finding.first..=finding.last).contains(&bad) => {}
            other => self.undetected.push(format!("{case} {bad}: {other:?}")),
        }
    }
}

/// `payload`'s frame at `chain`, which goes on by it.
fn sealed(chain: &mut Chain, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    chain.seal(payload, &mut frame).unwrap();
    frame
}

/// Sets the checksum of the frame in `bytes` right again.
fn fix_checksum(frame: &mut [u8]) {
    let end = frame.len() - 32;
    let crc = crc32fast::hash(&frame[8..end]);
    frame[4..8].copy_from_slice(&crc.to_be_bytes());
}

#[test]
fn h03_tampering_with_any_record_is_found_and_the_first_bad_one_named() {
    let mut written = Written::new(RECORDS, RECORDS, 5);
    // Cases change the bytes in place; what they are judged by stays.
    let mut bytes = std::mem::take(&mut written.bytes);
    let started = std::time::Instant::now();
    let frames: Vec<Vec<u8>> =
        (1..=RECORDS).map(|s| bytes[written.at(s)..written.at(s + 1)].to_vec()).collect();
    let end = bytes.len();
    let mut count = Count::default();
    let mut state = (written.verifier(Vec::new()), written.evidence());
    for i in 1..=RECORDS {
        let frame = &frames[usize::try_from(i - 1).unwrap()];
        let (at, after) = (written.at(i), written.at(i + 1));
        let log = at..end;
        records::flips(&mut count, &state, &mut bytes, log.clone(), i, after);

        // Deleted: with nothing copied, as what stands before it is in the state. It is found at once;
        // that it stands nowhere later is looked for to the log's end at every tenth, and over a few
        // hundred records at the others.
        let what = if i == RECORDS { What::CutOff } else { What::Missing };
        let until = if i % 10 == 0 { RECORDS } else { (i + 300).min(RECORDS) };
        let rest = &bytes[after..written.at(until + 1)];
        count.expect("delete", said(&state, rest), i, &[what]);
        // Cut off before it, and in its middle.
        count.expect("truncate", said(&state, &bytes[at..at]), i, &[What::CutOff]);
        count.expect("cut", said(&state, &bytes[at..after - 40]), i, &[What::CutOff]);
        count.expect("cut", said(&state, &bytes[at..at + 7]), i, &[What::CutOff]);

        records::inserts(&mut count, &state, &mut bytes, &written, &frames, i);
        records::rewrites(&mut count, &state, &written, i);
        records::swaps(&mut count, &state, &mut bytes, &written, &frames, i);

        assert_eq!(&bytes[at..after], frame.as_slice(), "put back");
        state
            .0
            .run_to(i, &mut Framed::new(&bytes[at..]), &mut state.1)
            .unwrap_or_else(|_| panic!("the true log verifies at {i}"));
    }
    let verified = said(&state, &[]).unwrap();
    assert_eq!((verified.size, verified.proven), (RECORDS, RECORDS));
    written.bytes = bytes;
    files::whole_files(&mut count, &written);
    replays::replays(&mut count, &written);
    replays::forks(&mut count);
    replays::other_keys(&mut count, &written);
    println!("tampering: {} cases, {} undetected", count.cases, count.undetected.len());
    println!("tampering: took {:.1?}", started.elapsed());
    count.undetected.sort();
    count.undetected.dedup_by_key(|case| case.split([' ', '(']).next().map(str::to_owned));
    let shown = count.undetected.len().min(20);
    assert!(count.undetected.is_empty(), "\n{}", count.undetected[..shown].join("\n"));
    assert!(count.cases > 17 * RECORDS);
}

/// A log whose key was changed at its record 150, by `handed_over`.
fn rotated(handed_over: impl Fn(&Key, &Key) -> String) -> Result<Verified, Finding> {
    let (old, new) = (Key::new(INSTALLATION, 5), Key::new(INSTALLATION, 6));
    let mut chain = SegmentHeader::first(INSTALLATION).chain();
    let (mut tree, mut bytes, mut kept) = (Tree::new(), Vec::new(), Vec::new());
    for sequence in 1..=300 {
        let mut payload = record(sequence, 0);
        if sequence == 150 {
            let mut record = Record::new(1, "audit.rotate_key", Outcome::Succeeded);
            record.detail = handed_over(&old, &new).into();
            payload.clear();
            record.encode(&mut payload).unwrap();
        }
        chain.seal(&payload, &mut bytes).unwrap();
        tree.append(leaf_hash(chain.head()), |_, _| ());
        if sequence % 50 == 0 {
            kept.push(signed(if sequence < 150 { &old } else { &new }, &chain, &tree));
        }
    }
    let verifier = Verifier::new(INSTALLATION, old.key().clone(), Vec::new());
    said(&(verifier, Evidence { kept: &kept, next: 0, leaves: None }), &bytes)
}

#[test]
fn a_key_is_followed_only_where_the_old_one_signed_the_new() {
    let verified = rotated(|old, new| rotation_detail(old, new.key())).unwrap();
    assert_eq!((verified.proven, verified.checkpoints), (300, 6));
    assert_eq!(&verified.key, Key::new(INSTALLATION, 6).key());
    let refused = |detail: &dyn Fn(&Key, &Key) -> String| {
        let finding = rotated(detail).unwrap_err();
        assert_eq!((finding.what, finding.first), (What::OtherKey, 101), "{finding}");
    };
    refused(&|_, new| rotation_detail(new, new.key()));
    refused(&|old, new| rotation_detail(old, new.key()).replace(' ', "  "));
    refused(&|_, new| new.key().to_string());
    refused(&|old, _| rotation_detail(old, Key::new(INSTALLATION, 7).key()));
}

#[test]
fn every_finding_says_in_words_what_happened() {
    let finding = |what, first, last| Finding { what, first, last, proven: 0 }.to_string();
    assert_eq!(finding(What::Changed, 7, 7), "record 7 was changed");
    assert_eq!(finding(What::Missing, 7, 9), "records 7 to 9 are missing");
    assert_eq!(
        finding(What::CutOff, 7, 9),
        "the log was cut off: records 7 to 9 are missing at its end"
    );
    let _ = Frame::read(&[]).unwrap();
}

const MARGIN: usize = 4_096;
