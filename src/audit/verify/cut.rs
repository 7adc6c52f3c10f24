//! A log whose beginning is deleted: where it begins the tiles say what was before, and a record of the
//! log's own, under a signed checkpoint, must say that it was cut just there.
//!
//! Without tiles the chain value in each checkpoint is compared alone. Never believes that a log was cut
//! because it is.

use std::convert::Infallible;

use bulla_proof::{
    Hash, SignedCheckpoint, Tile, Tiles, Tree, VerifyingKey, consistency, verify_consistency,
};

use super::super::chain::Chain;
use super::super::deletion::Deletion;
use super::super::frame::Frame;
use super::super::rotation::handed_over;
use super::{Finding, Signed, Verifier, What};

/// Where a log begins that does not begin with its first record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cut {
    /// The last record that is not there.
    to: u64,
    /// The chain value after it, as the first segment says.
    chain: Hash,
    /// The record that says so.
    said_by: Option<u64>,
    /// A checkpoint covers that record.
    proven: bool,
    /// There are no tiles to say what was before.
    treeless: bool,
}

/// Tiles, as a proof asks for them.
struct Beside<'a>(&'a mut dyn Signed);

impl Tiles for Beside<'_> {
    type Error = Infallible;

    fn tile(&mut self, tile: Tile) -> Result<Vec<Hash>, Infallible> {
        Ok(self.0.tile(tile).unwrap_or_default())
    }
}

// === impl Verifier ===

impl Verifier {
    /// Whether a file that begins with the record `first` is the first of all, and not the first record.
    pub(super) fn is_before_all(&self, first: u64) -> bool {
        !self.begun && self.sequence() == 0 && first > 1
    }

    /// Begins at `first`, before which the chain value is `head`.
    pub(super) fn begin_at(
        &mut self,
        first: u64,
        head: Hash,
        signed: &mut dyn Signed,
    ) -> Result<(), Finding> {
        self.begun = true;
        let to = first.saturating_sub(1);
        let tree = Tree::from_tiles(to, |tile| signed.tile(tile));
        self.cut =
            Some(Cut { to, chain: head, said_by: None, proven: false, treeless: tree.is_none() });
        self.chain = Chain::at(head, to);
        self.tree = tree.unwrap_or_default();
        self.proven_tree.clone_from(&self.tree);
        self.proven = to;
        let mut keys = vec![self.key.clone()];
        for detail in signed.handovers() {
            keys.extend(keys.last().and_then(|key| handed_over(&detail, key)));
        }
        self.compare_older(&keys, signed)?;
        while self.next_kept.as_ref().is_some_and(|bytes| size_of(bytes) < to) {
            self.next_kept = signed.kept();
        }
        // A handover that is deleted no record shows any more.
        let next = self.next_kept.as_deref();
        let signs = |key: &&VerifyingKey| {
            next.is_some_and(|bytes| SignedCheckpoint::open(bytes, key).is_ok())
        };
        if let Some(key) = keys.iter().find(signs).or(keys.last()) {
            self.key = key.clone();
        }
        Ok(())
    }

    /// Checkpoints from elsewhere that are older than the log's beginning must be the beginning of what
    /// the tiles say was there.
    fn compare_older(
        &mut self,
        keys: &[VerifyingKey],
        signed: &mut dyn Signed,
    ) -> Result<(), Finding> {
        let to = self.sequence();
        while self.outside.last().is_some_and(|bytes| size_of(bytes) < to) {
            let Some(bytes) = self.outside.pop() else { break };
            let opened = keys.iter().find_map(|key| SignedCheckpoint::open(&bytes, key).ok());
            let Some(opened) = opened else {
                let claimed = SignedCheckpoint::open(&bytes, &self.key).map(|_| ());
                return claimed.map_err(|error| self.distrusted(error));
            };
            if self.has_no_tree() {
                continue;
            }
            let old = opened.checkpoint();
            let proof = consistency(&mut Beside(signed), old.size, to).unwrap_or_default();
            let root = self.tree.root();
            if verify_consistency(old.size, &old.root, to, &root, &proof).is_err() {
                return Err(self.range(What::Forked, 1, old.size));
            }
        }
        Ok(())
    }

    /// Whether roots cannot be computed.
    pub(super) fn has_no_tree(&self) -> bool {
        self.cut.is_some_and(|cut| cut.treeless)
    }

    /// Looks whether a record says that the log was cut where it begins.
    pub(super) fn look_for_deletion(&mut self, frame: &Frame<'_>) {
        let Some(cut) = self.cut.as_mut().filter(|cut| cut.said_by.is_none()) else { return };
        let said = Deletion::of_payload(frame.payload());
        if said.is_some_and(|said| said.to == cut.to && said.chain == cut.chain) {
            cut.said_by = Some(frame.sequence());
        }
    }

    /// All so far is signed.
    pub(super) fn prove_deletion(&mut self) {
        if let Some(cut) = &mut self.cut {
            cut.proven = cut.said_by.is_some();
        }
    }

    /// The first record that is there, if nobody took away those before it.
    pub(super) fn begun(&self) -> Result<u64, Finding> {
        match &self.cut {
            Some(cut) if !cut.proven => {
                Err(Finding { proven: 0, ..self.range(What::CutBeginning, 1, cut.to) })
            }
            Some(cut) => Ok(cut.to.saturating_add(1)),
            None => Ok(1),
        }
    }
}

fn size_of(bytes: &[u8]) -> u64 {
    SignedCheckpoint::claimed(bytes).map_or(0, |checkpoint| checkpoint.size)
}
