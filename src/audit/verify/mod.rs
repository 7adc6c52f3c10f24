//! Verifying a log against what was signed about it: every record's place in the chain, every
//! checkpoint's root, and, where something is wrong, the first bad record and what happened to it.
//!
//! Fed by whoever reads the log ([`Log`]), so that a file, segments or a buffer can be verified alike;
//! never reads anything itself. Without a checkpoint kept elsewhere it cannot know that the log *and*
//! the checkpoints beside it were taken back together to an earlier state.

mod cut;
mod diagnose;
mod finding;
mod framed;
mod segmented;

use std::cmp::Reverse;

use bulla_proof::{
    Checkpoint, CheckpointError, Hash, SignedCheckpoint, Tile, Tree, VerifyingKey, leaf_hash,
};

use super::chain::Chain;
use super::frame::Frame;
use super::rotation::rotated_key;
use super::segment::SegmentHeader;

pub use finding::{Finding, What};

use cut::Cut;
pub use framed::{Framed, Window};
pub use segmented::{FileName, Files, NextFile, Segmented};

/// A log, read in order. After damage it goes on at the next whole frame.
pub trait Log {
    /// Why it cannot be read.
    type Error;

    /// What comes next, where the record `expected` should stand.
    fn next(&mut self, expected: u64) -> Result<Item<'_>, Self::Error>;
}

/// What comes next in a log.
pub enum Item<'a> {
    /// A file begins: its first record's sequence, and the chain value before it.
    File {
        /// The first sequence.
        first: u64,
        /// The chain value.
        head: Hash,
        /// Whether it is just what its name says.
        named: bool,
    },
    /// A file begins whose head is damaged, or another's than its name says, or another installation's.
    Stray {
        /// Whether it is another installation's.
        foreign: bool,
    },
    /// A whole frame.
    Frame(Frame<'a>),
    /// Bytes that are no frame.
    Damage {
        /// Whether a whole frame comes after them.
        followed: bool,
        /// Whether they can be the beginning of a frame.
        unfinished: bool,
    },
    /// The end.
    End,
}

/// What was signed about a log, and the hints that help to find the first bad record.
pub trait Signed {
    /// The next checkpoint that was kept beside the log, in the order written.
    fn kept(&mut self) -> Option<Vec<u8>>;

    /// The leaf of the record with `sequence`, from a tile. Believed only as far as a checkpoint
    /// proves it.
    fn leaf(&mut self, sequence: u64) -> Option<Hash>;

    /// A tile, or more of it than was asked for. Evidence as a leaf is.
    fn tile(&mut self, _: Tile) -> Option<Vec<Hash>> {
        None
    }

    /// The details of handovers of the key that stood in deleted records, in order. Each proves itself.
    fn handovers(&mut self) -> Vec<String> {
        Vec::new()
    }

    /// Called now and then with the last sequence that was verified.
    fn progress(&mut self, sequence: u64);
}

/// What a log that verifies has shown.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Verified {
    /// How many records.
    pub size: u64,
    /// The first record that is there: those before it are deleted, as a signed record says.
    pub first: u64,
    /// How many of them a signed checkpoint covers.
    pub proven: u64,
    /// The root over all of them.
    pub root: Hash,
    /// The key that the next checkpoint must be signed with.
    pub key: VerifyingKey,
    /// How many checkpoints were compared.
    pub checkpoints: u64,
}

/// Why a log does not verify.
#[derive(Debug)]
pub enum VerifyError<E> {
    /// It cannot be read.
    Log(E),
    /// Something was done to it.
    Found(Finding),
}

/// How far verification has come. A clone goes on from the same place.
#[derive(Clone, Debug)]
pub struct Verifier {
    key: VerifyingKey,
    chain: Chain,
    tree: Tree,
    proven: u64,
    /// The tree as far as a checkpoint has proven it, and the leaves since.
    proven_tree: Tree,
    unproven: Vec<Hash>,
    checkpoints: u64,
    newest_kept: u64,
    /// Known from elsewhere, by size.
    outside: Vec<Vec<u8>>,
    next_kept: Option<Vec<u8>>,
    /// What a record at the end, that nobody need have been told of, is called if it was signed.
    tail: What,
    begun: bool,
    /// Where the log begins, if its beginning is deleted.
    cut: Option<Cut>,
}

/// A checkpoint's note and what it claims, before its signature was looked at.
struct Claimed {
    bytes: Vec<u8>,
    checkpoint: Checkpoint,
    kept: bool,
}

// === impl Verifier ===

impl Verifier {
    /// The verifier of this installation's log, trusting `key` alone. `outside` are checkpoints that
    /// were kept elsewhere.
    pub fn new(installation_id: [u8; 16], key: VerifyingKey, outside: Vec<Vec<u8>>) -> Self {
        let mut outside = outside;
        outside.sort_by_key(|bytes| claimed_size(bytes));
        Self {
            key,
            chain: SegmentHeader::first(installation_id).chain(),
            tree: Tree::new(),
            proven: 0,
            proven_tree: Tree::new(),
            unproven: Vec::new(),
            checkpoints: 0,
            newest_kept: 0,
            outside,
            next_kept: None,
            tail: What::CutOff,
            begun: false,
            cut: None,
        }
    }

    /// The last sequence that was verified.
    pub fn sequence(&self) -> u64 {
        self.chain.sequence()
    }

    /// Adds a checkpoint that was kept elsewhere.
    pub fn also_outside(&mut self, bytes: Vec<u8>) {
        self.outside.push(bytes);
        self.outside.sort_by_key(|bytes| claimed_size(bytes));
    }

    /// Goes on with other checkpoints beside the log than those that it was begun with.
    pub fn forget_next_kept(&mut self) {
        self.next_kept = None;
    }

    /// Verifies the rest of the log.
    pub fn run<L: Log>(
        mut self,
        log: &mut L,
        signed: &mut dyn Signed,
    ) -> Result<Verified, VerifyError<L::Error>> {
        self.run_to(u64::MAX, log, signed)?;
        self.end().map_err(VerifyError::Found)
    }

    /// Verifies up to the record `last` or the log's end. Says nothing about whether it should end
    /// there.
    pub fn run_to<L: Log>(
        &mut self,
        last: u64,
        log: &mut L,
        signed: &mut dyn Signed,
    ) -> Result<(), VerifyError<L::Error>> {
        self.next_kept = self.next_kept.take().or_else(|| signed.kept());
        loop {
            self.compare(signed).map_err(VerifyError::Found)?;
            let expected = self.chain.sequence().saturating_add(1);
            if expected > last {
                return Ok(());
            }
            let seen = match log.next(expected).map_err(VerifyError::Log)? {
                Item::Frame(frame) if self.follow(&frame) => {
                    if expected.is_multiple_of(PROGRESS_RECORDS) {
                        signed.progress(expected);
                    }
                    continue;
                }
                Item::File { first, head, .. }
                    if first == expected && head == *self.chain.head() =>
                {
                    self.begun = true;
                    continue;
                }
                Item::File { first, head, named: true } if self.is_before_all(first) => {
                    self.begin_at(first, head, signed).map_err(VerifyError::Found)?;
                    continue;
                }
                Item::End => return Ok(()),
                item => diagnose::Seen::of(&item, &self.chain),
            };
            let finding = self.diagnose(seen, log, signed).map_err(VerifyError::Log)?;
            // What a crash, or a copy of a log that is written to, leaves at the end was never
            // acknowledged. Whether more should be there, the checkpoints say.
            return finding.map_or(Ok(()), |finding| Err(VerifyError::Found(finding)));
        }
    }

    /// Goes on by one record, if it is the one that follows.
    fn follow(&mut self, frame: &Frame<'_>) -> bool {
        if self.chain.verify(frame).is_err() {
            return false;
        }
        let leaf = leaf_hash(frame.hash());
        self.tree.append(leaf, |_, _| ());
        if self.unproven.len() < UNPROVEN_MAX {
            self.unproven.push(leaf);
        }
        if let Some(next) = rotated_key(frame.payload(), &self.key) {
            self.key = next;
        }
        self.look_for_deletion(frame);
        true
    }

    /// Compares every checkpoint of just this size.
    fn compare(&mut self, signed: &mut dyn Signed) -> Result<(), Finding> {
        let size = self.chain.sequence();
        while let Some(claimed) = self.next_claimed(size, signed)? {
            let opened = SignedCheckpoint::open(&claimed.bytes, &self.key)
                .map_err(|error| self.distrusted(error))?;
            let checkpoint = opened.checkpoint();
            let (root, chain) = (self.tree.root(), *self.chain.head());
            let same = (self.has_no_tree() || checkpoint.root == root)
                && (size == 0 || checkpoint.chain == chain);
            if !same {
                return Err(self.mismatch(checkpoint, claimed.kept, signed));
            }
            self.checkpoints = self.checkpoints.saturating_add(1);
            self.proven = size;
            self.prove_deletion();
            self.proven_tree.clone_from(&self.tree);
            self.unproven.clear();
        }
        Ok(())
    }

    /// The next checkpoint of `size`, if there is one.
    fn next_claimed(
        &mut self,
        size: u64,
        signed: &mut dyn Signed,
    ) -> Result<Option<Claimed>, Finding> {
        let outside = self.outside.last().map(|bytes| self.claim(bytes, false)).transpose()?;
        if outside.as_ref().is_some_and(|claimed| claimed.checkpoint.size <= size) {
            self.outside.pop();
            return Ok(outside);
        }
        let Some(bytes) = self.next_kept.take() else { return Ok(None) };
        let claimed = self.claim(&bytes, true)?;
        if claimed.checkpoint.size > size {
            self.next_kept = Some(bytes);
            return Ok(None);
        }
        self.next_kept = signed.kept();
        if claimed.checkpoint.size < size {
            return Err(self.finding(What::OldCheckpoint, claimed.checkpoint.size));
        }
        self.newest_kept = size;
        Ok(Some(claimed))
    }

    fn claim(&self, bytes: &[u8], kept: bool) -> Result<Claimed, Finding> {
        let checkpoint = SignedCheckpoint::claimed(bytes).map_err(|e| self.distrusted(e))?;
        if checkpoint.origin != self.key.name() {
            return Err(self.distrusted(CheckpointError::OtherLog));
        }
        Ok(Claimed { bytes: bytes.to_vec(), checkpoint, kept })
    }

    /// Nothing more is there: what should be?
    fn end(self) -> Result<Verified, Finding> {
        let size = self.chain.sequence();
        if let Some(bytes) = &self.next_kept {
            let claimed = self.claim(bytes, true)?;
            // Only a checkpoint that is believed says that something is missing.
            return Err(match SignedCheckpoint::open(bytes, &self.key) {
                Ok(_) => self.short(What::CutOff, claimed.checkpoint.size),
                Err(error) => self.distrusted(error),
            });
        }
        if let Some(bytes) = self.outside.first() {
            let claimed = self.claim(bytes, false)?;
            let what = if self.newest_kept > 0 { What::RolledBack } else { What::CutOff };
            return Err(match SignedCheckpoint::open(bytes, &self.key) {
                Ok(_) => self.short(what, claimed.checkpoint.size),
                Err(error) => self.distrusted(error),
            });
        }
        let (proven, checkpoints, root) = (self.proven, self.checkpoints, self.tree.root());
        if self.newest_kept > 0 && self.newest_kept < proven {
            return Err(self.finding(What::OldCheckpoint, self.newest_kept.saturating_add(1)));
        }
        let first = self.begun()?;
        Ok(Verified { size, first, proven, root, key: self.key, checkpoints })
    }

    /// Records up to `size` were signed and are not there, or not as they were written.
    fn short(&self, what: What, size: u64) -> Finding {
        let first = self.sequence().saturating_add(1);
        match self.tail {
            What::CutOff => self.range(what, first, size),
            tail => self.finding(tail, first),
        }
    }

    /// A checkpoint that verifies says otherwise: which record is the first that it does not mean?
    fn mismatch(&self, checkpoint: &Checkpoint, kept: bool, signed: &mut dyn Signed) -> Finding {
        let first = self.proven.saturating_add(1);
        // A checkpoint kept elsewhere against a log that its own checkpoints prove: there are two.
        let own = self.next_kept.as_deref().map(|bytes| SignedCheckpoint::open(bytes, &self.key));
        let agrees = match &own {
            Some(Ok(own)) if own.checkpoint().size == checkpoint.size => {
                own.checkpoint().root == self.tree.root()
            }
            Some(Err(_)) => false,
            _ => true,
        };
        let forked = !kept && agrees && (self.newest_kept > 0 || own.is_some());
        let what = if forked { What::Forked } else { What::Changed };
        let known: Option<Vec<Hash>> =
            (first..=checkpoint.size).map(|sequence| signed.leaf(sequence)).collect();
        let mut tree = self.proven_tree.clone();
        known.iter().flatten().for_each(|leaf| tree.append(*leaf, |_, _| ()));
        if let Some(known) = known.filter(|_| tree.root() == checkpoint.root) {
            let differs = known.iter().zip(&self.unproven).position(|(one, other)| one != other);
            if let Some(place) = differs {
                return self.finding(what, first.saturating_add(place as u64));
            }
        }
        self.range(what, first, checkpoint.size)
    }

    fn distrusted(&self, error: CheckpointError) -> Finding {
        let what = match error {
            CheckpointError::OtherKey => What::OtherKey,
            CheckpointError::OtherLog => What::OtherLog,
            CheckpointError::Malformed | CheckpointError::BadSignature => What::BadCheckpoint,
        };
        self.finding(what, self.proven.saturating_add(1))
    }

    fn finding(&self, what: What, sequence: u64) -> Finding {
        self.range(what, sequence, sequence)
    }

    fn range(&self, what: What, first: u64, last: u64) -> Finding {
        Finding { what, first, last, proven: self.proven }
    }
}

/// The largest first: they are taken from the end.
fn claimed_size(bytes: &[u8]) -> Reverse<u64> {
    Reverse(SignedCheckpoint::claimed(bytes).map_or(0, |checkpoint| checkpoint.size))
}

/// How many leaves are kept to name the first bad record by; beyond that a range is named.
const UNPROVEN_MAX: usize = 1 << 20;
const PROGRESS_RECORDS: u64 = 1 << 16;
