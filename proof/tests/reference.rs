//! Another implementation (Cloudflare's `tlog_tiles` and `signed_note`) agrees with this one, and the
//! known answers of certificate-transparency hold.
#![allow(clippy::unwrap_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use std::collections::BTreeMap;
use std::sync::LazyLock;

use bulla_proof::{
    Checkpoint, CheckpointError, Hash, NotProven, Sign, SignedCheckpoint, Tile, Tiles, Tree,
    VerifyingKey, consistency, empty_root, inclusion, leaf_hash, root, verify_consistency,
    verify_inclusion,
};
use ed25519_dalek::Signer as _;
use proptest::prelude::*;
use signed_note::{Note, StandardVerifier, VerifierList};
use tlog_tiles::{HashReader, check_record, check_tree, prove_record, prove_tree, tree_hash};

const SIZE: u64 = 600;

/// The other implementation's hashes.
struct Theirs(Vec<tlog_tiles::Hash>);

impl HashReader for Theirs {
    fn read_hashes(&self, indexes: &[u64]) -> Result<Vec<tlog_tiles::Hash>, tlog_tiles::Error> {
        Ok(indexes.iter().map(|index| self.0[usize::try_from(*index).unwrap()]).collect())
    }
}

/// Every tile that a growing tree gave, and the unfinished ones of its last size.
#[derive(Clone, Default)]
struct Kept(BTreeMap<(u8, u64), Vec<Hash>>);

impl Tiles for Kept {
    type Error = ();

    fn tile(&mut self, tile: Tile) -> Result<Vec<Hash>, ()> {
        self.0.get(&(tile.level(), tile.index())).cloned().ok_or(())
    }
}

fn entry(index: u64) -> Vec<u8> {
    format!("entry {index}").into_bytes()
}

/// The roots of every size up to `size`, the tiles, and what the other implementation has.
fn grown(size: u64) -> (Vec<Hash>, Kept, Theirs) {
    let (mut tree, mut kept, mut theirs) = (Tree::new(), Kept::default(), Theirs(Vec::new()));
    let mut roots = vec![tree.root()];
    for index in 0..size {
        let hashes = tlog_tiles::stored_hashes(index, &entry(index), &theirs).unwrap();
        theirs.0.extend(hashes);
        tree.append(leaf_hash(&entry(index)), |tile, hashes| {
            kept.0.insert((tile.level(), tile.index()), hashes.to_vec());
        });
        roots.push(tree.root());
    }
    for (tile, hashes) in tree.partial_tiles() {
        kept.0.insert((tile.level(), tile.index()), hashes.to_vec());
    }
    (roots, kept, theirs)
}

/// The largest tree, grown once: the unfinished tiles of a smaller one are beginnings of its tiles.
static GROWN: LazyLock<(Vec<Hash>, Kept)> = LazyLock::new(|| {
    let (roots, kept, _) = grown(SIZE);
    (roots, kept)
});

fn theirs(proof: &[Hash]) -> Vec<tlog_tiles::Hash> {
    proof.iter().map(|hash| tlog_tiles::Hash(*hash)).collect()
}

#[test]
fn every_size_and_entry_has_the_root_and_the_proof_that_others_make() {
    let (roots, mut kept, reader) = grown(SIZE);
    let mut proofs = 0;
    for size in 0..=SIZE {
        let expected = roots[usize::try_from(size).unwrap()];
        assert_eq!(tree_hash(size, &reader).unwrap().0, expected, "{size}");
        assert_eq!(root(&mut kept, size).unwrap(), expected, "{size}");
        for index in 0..size {
            let proof = inclusion(&mut kept, index, size).unwrap();
            assert_eq!(theirs(&proof), prove_record(size, index, &reader).unwrap());
            let leaf = leaf_hash(&entry(index));
            assert_eq!(verify_inclusion(&leaf, index, size, &proof, &expected), Ok(()));
            proofs += 1;
        }
    }
    assert_eq!(proofs, SIZE * (SIZE + 1) / 2);
}

#[test]
fn every_two_sizes_have_the_proof_of_consistency_that_others_make() {
    let (roots, mut kept, reader) = grown(SIZE);
    for second in 1..=SIZE {
        for first in 1..=second {
            let proof = consistency(&mut kept, first, second).unwrap();
            assert_eq!(theirs(&proof), prove_tree(second, first, &reader).unwrap());
            let (one, other) = (roots[first as usize], roots[second as usize]);
            assert_eq!(verify_consistency(first, &one, second, &other, &proof), Ok(()));
            let (mine, yours) = (tlog_tiles::Hash(other), tlog_tiles::Hash(one));
            check_tree(&theirs(&proof), second, mine, first, yours).unwrap();
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    /// Whatever is changed, both implementations say the same: no.
    #[test]
    fn h03_a_changed_proof_proves_nothing(
        size in 1_u64..SIZE,
        at in any::<prop::sample::Index>(),
        change in 0_u8..6,
        byte in any::<prop::sample::Index>(),
    ) {
        let (roots, mut kept) = GROWN.clone();
        let index = at.index(usize::try_from(size).unwrap()) as u64;
        let mut proof = inclusion(&mut kept, index, size).unwrap();
        let mut leaf = leaf_hash(&entry(index));
        let mut top = roots[usize::try_from(size).unwrap()];
        let mut place = index;
        match change {
            0 if !proof.is_empty() => {
                let which = byte.index(proof.len());
                proof[which][byte.index(32)] ^= 1;
            }
            1 if !proof.is_empty() => drop(proof.pop()),
            2 => proof.push([7; 32]),
            3 => leaf[byte.index(32)] ^= 1,
            4 => top[byte.index(32)] ^= 1,
            _ => place = index.wrapping_sub(1),
        }
        prop_assert_eq!(verify_inclusion(&leaf, place, size, &proof, &top), Err(NotProven));
        let (root, leaf) = (tlog_tiles::Hash(top), tlog_tiles::Hash(leaf));
        let agreed = place >= size
            || check_record(&theirs(&proof), size, root, place, leaf).is_err();
        prop_assert!(agreed);
    }

    #[test]
    fn h03_a_changed_proof_of_consistency_proves_nothing(
        second in 2_u64..SIZE,
        at in any::<prop::sample::Index>(),
        change in 0_u8..5,
        byte in any::<prop::sample::Index>(),
    ) {
        let (roots, mut kept) = GROWN.clone();
        let first = 1 + at.index(usize::try_from(second - 1).unwrap()) as u64;
        let mut proof = consistency(&mut kept, first, second).unwrap();
        let mut one = roots[usize::try_from(first).unwrap()];
        let mut other = roots[usize::try_from(second).unwrap()];
        match change {
            0 if !proof.is_empty() => {
                let which = byte.index(proof.len());
                proof[which][byte.index(32)] ^= 1;
            }
            1 if !proof.is_empty() => drop(proof.pop()),
            2 => proof.push([7; 32]),
            3 => one[byte.index(32)] ^= 1,
            _ => other[byte.index(32)] ^= 1,
        }
        prop_assert_eq!(
            verify_consistency(first, &one, second, &other, &proof),
            Err(NotProven)
        );
    }

    #[test]
    fn a_tree_goes_on_from_its_edges(size in 0_u64..70_000, more in 0_u64..600) {
        let mut tree = Tree::new();
        let leaf = |index: u64| leaf_hash(&index.to_be_bytes());
        (0..size).for_each(|index| tree.append(leaf(index), |_, _| ()));
        let levels = (0..8).take_while(|level| size >> (8 * level) > 0);
        let edges: Vec<_> = levels.map(|level| tree.edge(level).to_vec()).collect();
        let mut resumed = Tree::resume(size, edges.clone()).unwrap();
        for index in size..size + more {
            tree.append(leaf(index), |_, _| ());
            resumed.append(leaf(index), |_, _| ());
        }
        prop_assert_eq!(resumed.root(), tree.root());
        prop_assert_eq!(Tree::resume(size + 1, edges), None);
    }
}

/// The inputs and roots of certificate-transparency's own test of its Merkle tree.
#[test]
fn the_known_answers_of_certificate_transparency_hold() {
    let inputs = [
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    ];
    let roots = [
        "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
        "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
        "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
        "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
        "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
        "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
        "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
    ];
    let empty = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
    assert_eq!(hex::encode(empty_root()), empty);
    let mut tree = Tree::new();
    for (input, expected) in inputs.iter().zip(roots) {
        tree.append(leaf_hash(&hex::decode(input).unwrap()), |_, _| ());
        assert_eq!(hex::encode(tree.root()), expected);
    }
}

struct Signer(ed25519_dalek::SigningKey, VerifyingKey);

impl Signer {
    fn new(name: &str, seed: u8) -> Self {
        let key = ed25519_dalek::SigningKey::from_bytes(&[seed; 32]);
        let public = VerifyingKey::new(name, key.verifying_key().to_bytes()).unwrap();
        Self(key, public)
    }
}

impl Sign for Signer {
    fn key(&self) -> &VerifyingKey {
        &self.1
    }

    fn sign(&self, message: &[u8]) -> [u8; 64] {
        self.0.sign(message).to_bytes()
    }
}

fn checkpoint() -> Checkpoint {
    let origin = "bulla/0190b0a4-7e7c-7c3e-8d2f-3a9f6a7d5b10".to_owned();
    Checkpoint { origin, size: 7, root: [3; 32], chain: [4; 32], time_us: 1_767_225_600_000_001 }
}

#[test]
fn a_checkpoint_is_one_that_others_read_and_verify() {
    let signer = Signer::new(&checkpoint().origin, 5);
    let signed = checkpoint().sign(&signer);
    assert_eq!(SignedCheckpoint::open(signed.as_bytes(), signer.key()), Ok(signed.clone()));

    let note = Note::from_bytes(signed.as_bytes()).unwrap();
    let verifier = StandardVerifier::new(&signer.key().to_string()).unwrap();
    let (verified, unknown) = note.verify(&VerifierList::new(vec![Box::new(verifier)])).unwrap();
    assert_eq!((verified.len(), unknown.len()), (1, 0));
    let theirs = tlog_tiles::Checkpoint::from_bytes(note.text()).unwrap();
    assert_eq!(theirs.size(), 7);
    assert_eq!(theirs.hash().0, [3; 32]);
    assert_eq!(theirs.origin(), checkpoint().origin);
    let key = signer.key().to_string();
    assert_eq!(VerifyingKey::parse(&key), Ok(signer.key().clone()));
}

#[test]
fn h03_a_checkpoint_changed_anywhere_is_refused() {
    let signer = Signer::new(&checkpoint().origin, 5);
    let signed = checkpoint().sign(&signer);
    for position in 0..signed.as_bytes().len() {
        for bit in 0..8 {
            let mut bytes = signed.as_bytes().to_vec();
            bytes[position] ^= 1 << bit;
            assert!(SignedCheckpoint::open(&bytes, signer.key()).is_err(), "{position}.{bit}");
        }
        let short = &signed.as_bytes()[..position];
        assert!(SignedCheckpoint::open(short, signer.key()).is_err(), "{position}");
    }
    let other = Signer::new(&checkpoint().origin, 6);
    let opened = SignedCheckpoint::open(signed.as_bytes(), other.key());
    assert_eq!(opened, Err(CheckpointError::OtherKey));
    let elsewhere = Signer::new("bulla/other", 5);
    let opened = SignedCheckpoint::open(signed.as_bytes(), elsewhere.key());
    assert_eq!(opened, Err(CheckpointError::OtherLog));
}

#[test]
fn another_spelling_of_a_checkpoint_is_refused() {
    let text = checkpoint().text();
    assert_eq!(Checkpoint::parse(&text), Ok(checkpoint()));
    for (from, to) in [
        ("\n7\n", "\n07\n"),
        ("\n7\n", "\n+7\n"),
        ("\n7\n", "\n-1\n"),
        ("chain ", "chain  "),
        ("time ", "time +"),
        ("=\nchain", "\nchain"),
        ("chain", "Chain"),
        ("\ntime", "\r\ntime"),
        ("bulla/", " bulla/"),
        ("\n7\n", "\n18446744073709551616\n"),
        ("\n7\n", "\n"),
    ] {
        let other = text.replacen(from, to, 1);
        assert_ne!(other, text);
        assert_eq!(Checkpoint::parse(&other), Err(CheckpointError::Malformed), "{other}");
    }
    assert!(Checkpoint::parse(&format!("{text}more\n")).is_err());
}

proptest! {
    #[test]
    fn j05_any_bytes_are_a_checkpoint_or_not(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
        let signer = Signer::new("bulla/x", 5);
        prop_assert!(SignedCheckpoint::open(&bytes, signer.key()).is_err());
        if let Ok(text) = std::str::from_utf8(&bytes) {
            prop_assert!(VerifyingKey::parse(text).is_err());
        }
    }
}
