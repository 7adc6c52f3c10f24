//! How many records a second one core verifies: chain, tree and checkpoints, from memory.
//!
//! Target: 1,000,000.
#![allow(clippy::unwrap_used, clippy::arithmetic_side_effects, missing_docs)]
#![allow(clippy::print_stdout, clippy::cast_precision_loss)]

use std::time::Instant;

use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use bulla::audit::verify::{Framed, Signed, Verifier};
use bulla::audit::{
    Checkpoint, Hash, Outcome, Record, SegmentHeader, Sign, Tree, VerifyingKey, leaf_hash, origin,
};
use bulla::keys::{KeyId, TenantId};

/// Where no number is given.
const RECORDS: u64 = 1_000_000;
/// As many as come in a second.
const INTERVAL: u64 = 50_000;

struct Key(Ed25519KeyPair, VerifyingKey);

impl Sign for Key {
    fn key(&self) -> &VerifyingKey {
        &self.1
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).as_ref().try_into().unwrap()
    }
}

struct Kept(std::vec::IntoIter<Vec<u8>>);

impl Signed for Kept {
    fn kept(&mut self) -> Option<Vec<u8>> {
        self.0.next()
    }

    fn leaf(&mut self, _: u64) -> Option<Hash> {
        None
    }

    fn progress(&mut self, _: u64) {}
}

fn main() {
    let asked = std::env::args().find_map(|argument| argument.parse().ok());
    let records: u64 = asked.unwrap_or(RECORDS);
    let interval = INTERVAL.min(records);
    let pair = Ed25519KeyPair::from_seed_unchecked(&[5; 32]).unwrap();
    let public = pair.public_key().as_ref().try_into().unwrap();
    let key = Key(pair, VerifyingKey::new(&origin([9; 16]), public).unwrap());
    let header = SegmentHeader::first([9; 16]);
    let (mut chain, mut tree) = (header.chain(), Tree::new());
    let (mut bytes, mut kept, mut payload) = (Vec::new(), Vec::new(), Vec::new());
    for sequence in 1..=records {
        let mut record = Record::new(1_767_225_600_000_000, "crypto.decrypt", Outcome::Succeeded);
        record.tenant = Some(TenantId::from_bytes([1; 16]));
        record.key = Some(KeyId::from_bytes([2; 16]));
        record.principal = "spiffe://bank.example/payments".into();
        record.source_address = "192.0.2.1:40000".into();
        record.credential_kind = "certificate".into();
        payload.clear();
        record.encode(&mut payload).unwrap();
        chain.seal(&payload, &mut bytes).unwrap();
        tree.append(leaf_hash(chain.head()), |_, _| ());
        if sequence % interval == 0 {
            let checkpoint = Checkpoint {
                origin: origin([9; 16]),
                size: sequence,
                root: tree.root(),
                chain: *chain.head(),
                time_us: 0,
            };
            kept.push(checkpoint.sign(&key).as_bytes().to_vec());
        }
    }
    for round in 1..=3 {
        let verifier = Verifier::new([9; 16], key.key().clone(), Vec::new());
        let mut log = Framed::new(bytes.as_slice());
        let began = Instant::now();
        let verified = verifier.run(&mut log, &mut Kept(kept.clone().into_iter())).ok().unwrap();
        let seconds = began.elapsed().as_secs_f64();
        assert_eq!(verified.proven, records - records % interval);
        let (rate, each) = (records as f64 / seconds, bytes.len() as u64 / records);
        println!("audit_verify {round}: {rate:.0} records/s a core, {each} B each");
    }
}
