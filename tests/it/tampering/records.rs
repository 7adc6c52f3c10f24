//! What is done to one record, at each record.

use super::*;

/// A bit of each part of the frame, and of the payload with its checksum made right again.
pub(super) fn flips(
    count: &mut Count,
    state: &(Verifier, Evidence<'_>),
    bytes: &mut [u8],
    log: std::ops::Range<usize>,
    i: u64,
    after: usize,
) {
    let at = log.start;
    let last = i == RECORDS;
    let bit = 1 << (i % 8);
    for place in [at + 1, at + 3, at + 5, at + 12, at + 20, after - 5] {
        bytes[place] ^= bit;
        // A last record whose length is too long ends before it should.
        let cut = last && place < at + 4;
        let what = if cut { [What::Changed, What::CutOff] } else { [What::Changed; 2] };
        count.expect("flip", said(state, &bytes[log.clone()]), i, &what);
        bytes[place] ^= bit;
    }
    // Another sequence, another payload, with the right checksum.
    for place in [at + 14, at + 20] {
        let kept = bytes[at..after].to_vec();
        bytes[place] ^= bit;
        fix_checksum(&mut bytes[at..after]);
        count.expect("change", said(state, &bytes[log.clone()]), i, &[What::Changed]);
        bytes[at..after].copy_from_slice(&kept);
    }
}

/// Something before record `i`: an older record, a later one, zeros, and a forged one that the chain
/// takes. Written over what stands before it, which the state knows already.
pub(super) fn inserts(
    count: &mut Count,
    state: &(Verifier, Evidence<'_>),
    bytes: &mut [u8],
    written: &Written,
    frames: &[Vec<u8>],
    i: u64,
) {
    let at = written.at(i);
    let mut chain = written.heads[usize::try_from(i - 1).unwrap()];
    let forged = sealed(&mut chain, &record(i, 7));
    let copy_of = |sequence: u64| frames[usize::try_from(sequence - 1).unwrap()].clone();
    let later = (i + 10).min(RECORDS);
    for (case, what, insert) in [
        ("insert older", What::Inserted, copy_of(i.div_ceil(2))),
        ("insert later", What::Inserted, copy_of(later)),
        ("insert itself", What::Inserted, copy_of(i)),
        ("insert zeros", What::Inserted, vec![0; 61]),
        ("insert forged", What::Changed, forged),
    ] {
        let from = at - insert.len();
        let kept = bytes[from..at].to_vec();
        bytes[from..at].copy_from_slice(&insert);
        let found = said(state, &bytes[from..]);
        bytes[from..at].copy_from_slice(&kept);
        // A record that stands twice is the true one first, and itself once more.
        let twice = insert == copy_of(i);
        let first = if twice { i + 1 } else { i };
        if twice && i == RECORDS {
            count.expect(case, found, first, &[What::Inserted, What::Changed]);
        } else {
            count.expect(case, found, first, &[what]);
        }
    }
}

/// The chain made anew from record `i` on, up to the next checkpoint, where it must show: changed,
/// deleted with the rest renumbered, one forged before it. With tiles the record is named; without,
/// the records between two checkpoints.
pub(super) fn rewrites(
    count: &mut Count,
    state: &(Verifier, Evidence<'_>),
    written: &Written,
    i: u64,
) {
    let until = i.next_multiple_of(INTERVAL).min(RECORDS);
    let mut without = state.clone();
    without.1.leaves = None;
    for (case, first, shift) in [
        ("rewrite", Some(record(i, 7)), 1),
        ("rewrite less", None, 1),
        ("rewrite more", Some(record(i, 7)), 0),
    ] {
        let mut chain = written.heads[usize::try_from(i - 1).unwrap()];
        let mut rewritten = Vec::new();
        if let Some(first) = &first {
            chain.seal(first, &mut rewritten).unwrap();
        }
        let mut source = usize::try_from(i + shift - 1).unwrap();
        while chain.sequence() < until {
            chain.seal(&written.payloads[source], &mut rewritten).unwrap();
            source += 1;
        }
        count.expect(case, said(state, &rewritten), i, &[What::Changed]);
        if case == "rewrite" {
            count.expect_within(case, said(&without, &rewritten), i, What::Changed);
        }
    }
}

/// Record `i` and the next, and `i` and one further on that is as long.
pub(super) fn swaps(
    count: &mut Count,
    state: &(Verifier, Evidence<'_>),
    bytes: &mut [u8],
    written: &Written,
    frames: &[Vec<u8>],
    i: u64,
) {
    if i == RECORDS {
        return;
    }
    let (at, after) = (written.at(i), written.at(i + 2));
    let first = frames[usize::try_from(i - 1).unwrap()].len();
    bytes[at..after].rotate_left(first);
    count.expect("swap", said(state, &bytes[at..]), i, &[What::Moved]);
    bytes[at..after].rotate_right(first);
    for step in [35, 3_500] {
        let other = i + step;
        if other > RECORDS || (step > 35 && !i.is_multiple_of(10)) {
            continue;
        }
        let to = written.at(other);
        assert_eq!(frames[usize::try_from(other - 1).unwrap()].len(), first);
        let (front, back) = bytes.split_at_mut(to);
        front[at..at + first].swap_with_slice(&mut back[..first]);
        count.expect("swap far", said(state, &bytes[at..]), i, &[What::Moved]);
        let (front, back) = bytes.split_at_mut(to);
        front[at..at + first].swap_with_slice(&mut back[..first]);
    }
}
