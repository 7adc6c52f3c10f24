//! Checking proofs (RFC 9162, sections 2.1.3.2 and 2.1.4.2), written from the RFC's algorithms and not
//! from what makes them.

use super::prove::MAX_PROOF_HASHES;
use super::{Hash, node_hash};

/// The proof does not show what it should.
#[derive(Clone, Copy, Debug, Eq, PartialEq, thiserror::Error)]
#[error("the proof does not hold")]
pub struct NotProven;

/// Whether `proof` shows that the leaf `leaf` is entry `index` (from 0) of the tree of `size` entries
/// whose root is `root`.
pub fn verify_inclusion(
    leaf: &Hash,
    index: u64,
    size: u64,
    proof: &[Hash],
    root: &Hash,
) -> Result<(), NotProven> {
    if index >= size || proof.len() > MAX_PROOF_HASHES {
        return Err(NotProven);
    }
    let (mut place, mut last) = (index, size.saturating_sub(1));
    let mut hash = *leaf;
    for sibling in proof {
        if last == 0 {
            return Err(NotProven);
        }
        if place & 1 == 1 || place == last {
            hash = node_hash(sibling, &hash);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            hash = node_hash(&hash, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    if last == 0 && hash == *root { Ok(()) } else { Err(NotProven) }
}

/// Whether `proof` shows that the tree of `first` entries with `first_root` is the beginning of the
/// one of `second` entries with `second_root`. Of a first tree of no entries nothing needs showing.
pub fn verify_consistency(
    first: u64,
    first_root: &Hash,
    second: u64,
    second_root: &Hash,
    proof: &[Hash],
) -> Result<(), NotProven> {
    if first > second || proof.len() > MAX_PROOF_HASHES {
        return Err(NotProven);
    }
    if first == second || first == 0 {
        let empty = first == 0 && *first_root == super::empty_root();
        let same = first == second && first_root == second_root;
        return if proof.is_empty() && (same || (first == 0 && empty && second > 0)) {
            Ok(())
        } else {
            Err(NotProven)
        };
    }
    let mut rest = proof.iter();
    let begin = match first.is_power_of_two() {
        true => first_root,
        false => rest.next().ok_or(NotProven)?,
    };
    let (mut place, mut last) = (first.saturating_sub(1), second.saturating_sub(1));
    while place & 1 == 1 {
        (place, last) = (place >> 1, last >> 1);
    }
    let (mut one, mut other) = (*begin, *begin);
    for sibling in rest {
        if last == 0 {
            return Err(NotProven);
        }
        if place & 1 == 1 || place == last {
            one = node_hash(sibling, &one);
            other = node_hash(sibling, &other);
            while place & 1 == 0 && place != 0 {
                (place, last) = (place >> 1, last >> 1);
            }
        } else {
            other = node_hash(&other, sibling);
        }
        (place, last) = (place >> 1, last >> 1);
    }
    let holds = last == 0 && one == *first_root && other == *second_root;
    if holds { Ok(()) } else { Err(NotProven) }
}
