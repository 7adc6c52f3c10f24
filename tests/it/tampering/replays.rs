//! Old copies, old checkpoints, forks and other keys.

use bulla::audit::SignedCheckpoint;

use super::*;

/// The log as it was when it had `size` records, with a checkpoint of just then, against one that was
/// kept elsewhere; and the newest checkpoint replaced by an older one.
pub(super) fn replays(count: &mut Count, written: &Written) {
    let newest = written.checkpoints.last().unwrap();
    let mut tree = Tree::new();
    let outside = vec![newest.clone()];
    let mut state = (written.verifier(outside), written.evidence());
    for size in 1..RECORDS {
        tree.append(written.leaves[usize::try_from(size - 1).unwrap()], |_, _| ());
        let chain = written.heads[usize::try_from(size).unwrap()];
        let then = [signed(&written.key, &chain, &tree)];
        let frame = &written.bytes[written.at(size)..written.at(size + 1)];
        let mut old = state.clone();
        old.0.forget_next_kept();
        old.1 = Evidence { kept: &then, next: 0, leaves: Some(&written.leaves) };
        count.expect("old copy", said(&old, frame), size + 1, &[What::RolledBack]);
        state.0.run_to(size, &mut Framed::new(frame), &mut state.1).unwrap();
    }
    let log = &written.bytes[MARGIN..];
    for kept in 1..written.checkpoints.len() {
        let evidence = Evidence { kept: &written.checkpoints[..kept], ..written.evidence() };
        let state = (written.verifier(vec![newest.clone()]), evidence);
        let first = kept as u64 * INTERVAL + 1;
        count.expect("old checkpoint", said(&state, log), first, &[What::OldCheckpoint]);
        let mut disordered = written.checkpoints.clone();
        disordered.swap(kept - 1, kept);
        let state =
            (written.verifier(Vec::new()), Evidence { kept: &disordered, ..written.evidence() });
        let first = kept as u64 * INTERVAL;
        count.expect("swapped checkpoints", said(&state, log), first, &[What::OldCheckpoint]);
    }
}

/// Two copies of one log that went on differently after record `i`, each signed with the same key: one
/// is verified against a checkpoint of the other's.
pub(super) fn forks(count: &mut Count) {
    let mine = Written::new(RECORDS, RECORDS, 5);
    let payloads: Vec<_> = (1..=RECORDS).map(|sequence| record(sequence, 9)).collect();
    let mut chain;
    let mut state = (mine.verifier(Vec::new()), mine.evidence());
    let mut tree = Tree::new();
    for i in 1..=RECORDS {
        let until = i.next_multiple_of(INTERVAL).min(RECORDS);
        chain = mine.heads[usize::try_from(i - 1).unwrap()];
        let mut forked = Vec::new();
        let mut forked_tree = tree.clone();
        for sequence in i..=until {
            let payload = &payloads[usize::try_from(sequence - 1).unwrap()];
            chain.seal(payload, &mut forked).unwrap();
            forked_tree.append(leaf_hash(chain.head()), |_, _| ());
        }
        let own = [signed(&mine.key, &chain, &forked_tree)];
        let outside = &mine.checkpoints[usize::try_from((until - 1) / INTERVAL).unwrap()];
        let (mut verifier, _) = state.clone();
        verifier.forget_next_kept();
        let evidence = Evidence { kept: &own, next: 0, leaves: None };
        let mut with = (verifier.clone(), evidence.clone());
        with.0.also_outside(outside.clone());
        count.expect_within("fork", said(&with, &forked), i, What::Forked);
        // With the other copy's tiles in hand the record is named.
        with.1.leaves = Some(&mine.leaves);
        count.expect("fork", said(&with, &forked), i, &[What::Forked]);
        tree.append(mine.leaves[usize::try_from(i - 1).unwrap()], |_, _| ());
        let frame = mine.frame(i);
        state.0.run_to(i, &mut Framed::new(frame), &mut state.1).unwrap();
    }
}

/// Each checkpoint, and all of them, signed with another key; and another installation's.
pub(super) fn other_keys(count: &mut Count, written: &Written) {
    let other = Key::new(INSTALLATION, 6);
    let foreign = Key::new([8; 16], 5);
    let log = &written.bytes[MARGIN..];
    let open = |bytes: &Vec<u8>| SignedCheckpoint::open(bytes, written.key.key()).unwrap();
    let again = |bytes: &Vec<u8>, key: &Key| {
        let mut checkpoint = open(bytes).checkpoint().clone();
        checkpoint.origin = key.key().name().to_owned();
        checkpoint.sign(key).as_bytes().to_vec()
    };
    for (key, what) in [(&other, What::OtherKey), (&foreign, What::OtherLog)] {
        for place in 0..written.checkpoints.len() {
            let mut kept = written.checkpoints.clone();
            kept[place] = again(&kept[place], key);
            let evidence = Evidence { kept: &kept, ..written.evidence() };
            let found = said(&(written.verifier(Vec::new()), evidence), log);
            count.expect("other key", found, place as u64 * INTERVAL + 1, &[what]);
        }
        let kept: Vec<_> = written.checkpoints.iter().map(|bytes| again(bytes, key)).collect();
        let evidence = Evidence { kept: &kept, ..written.evidence() };
        count.expect("all keys", said(&(written.verifier(Vec::new()), evidence), log), 1, &[what]);
    }
}
