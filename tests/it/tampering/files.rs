//! What is done to whole segments: each taken away, moved, doubled, emptied, cut off, damaged at its head
//! and replaced by another's; and what is no tampering, as a poisoned segment's tail.

use bulla::audit::SEGMENT_HEADER_BYTES;
use bulla::audit::verify::{FileName, Files, Segmented};

use super::*;

/// A file, by its name.
type File = (FileName, Vec<u8>);

/// Files in the order of their names.
struct InOrder<'a>(std::slice::Iter<'a, File>);

impl<'a> Files for InOrder<'a> {
    type Window = &'a [u8];

    fn next_file(&mut self) -> Result<Option<(FileName, &'a [u8])>, Infallible> {
        Ok(self.0.next().map(|(name, bytes)| (*name, bytes.as_slice())))
    }
}

fn segmented(files: &[File]) -> Segmented<InOrder<'_>> {
    Segmented::new(INSTALLATION, InOrder(files.iter()))
}

/// The records `first` to `last` as a segment that was made ahead, of an attempt.
fn segment(written: &Written, first: u64, last: u64, attempt: u32) -> File {
    let before = &written.heads[usize::try_from(first - 1).unwrap()];
    let head = SegmentHeader::following(INSTALLATION, before, attempt);
    let mut bytes = head.to_bytes().to_vec();
    bytes.extend_from_slice(&written.bytes[written.at(first)..written.at(last + 1)]);
    bytes.extend_from_slice(&[0; 500]);
    (FileName { first, attempt }, bytes)
}

/// Judges what is done to a file and to those after it, from the state before it.
struct Judge<'a> {
    count: &'a mut Count,
    written: &'a Written,
    files: &'a [File],
    state: (Verifier, Evidence<'a>),
}

impl Judge<'_> {
    fn found(&self, mut files: Vec<File>) -> Result<Verified, Finding> {
        files.sort_by_key(|(name, _)| (name.first, name.attempt));
        said_of(&self.state, &mut segmented(&files))
    }

    fn is_bad(&mut self, case: &str, files: Vec<File>, first: u64, what: &[What]) {
        let found = self.found(files);
        self.count.expect(case, found, first, what);
    }

    fn is_true(&self, case: &str, files: Vec<File>) {
        let found = self.found(files);
        assert!(found.as_ref().is_ok_and(|it| it.proven == RECORDS), "{case}: {found:?}");
    }

    /// What it is called when the file's end is not there.
    fn gone(&self) -> What {
        if self.files.len() == 1 { What::CutOff } else { What::Missing }
    }

    fn with(&self, change: impl FnOnce(&mut Vec<File>)) -> Vec<File> {
        let mut files = self.files.to_vec();
        change(&mut files);
        files
    }
}

/// Ten segments of a thousand records.
pub(super) fn whole_files(count: &mut Count, written: &Written) {
    let files: Vec<File> =
        (0..FILES).map(|n| segment(written, n * EACH + 1, (n + 1) * EACH, 0)).collect();
    let other = Written::new(RECORDS, 0, 5);
    let mut state = (written.verifier(Vec::new()), written.evidence());
    for one in 0..files.len() {
        let begins = one as u64 * EACH + 1;
        let mut judge = Judge { count, written, files: &files[one..], state: state.clone() };
        if one == 0 {
            what_is_true(&judge);
        }
        moved(&mut judge, begins);
        doubled(&mut judge, begins);
        replaced(&mut judge, &other, begins);
        heads(&mut judge, begins);
        cuts(&mut judge, begins);
        let mut log = segmented(&files[one..]);
        assert!(state.0.run_to(begins + EACH - 1, &mut log, &mut state.1).is_ok());
    }
}

/// Swapped with each that comes later, and taken away.
fn moved(judge: &mut Judge<'_>, begins: u64) {
    for two in 1..judge.files.len() {
        let swapped = judge.with(|files| {
            let (front, back) = files.split_at_mut(two);
            std::mem::swap(&mut front[0].1, &mut back[0].1);
        });
        judge.is_bad("swap files", swapped, begins, &[What::Moved]);
    }
    let gone = judge.gone();
    let less = judge.with(|files| drop(files.remove(0)));
    // A log can begin later, where a signed record says so; this one does not.
    let cut = if begins == 1 { What::CutBeginning } else { gone };
    judge.is_bad("delete file", less, begins, &[cut]);
    let hollow = judge.with(|files| files[0].1.truncate(SEGMENT_HEADER_BYTES));
    judge.is_bad("file without records", hollow, begins, &[gone]);
    let empty = judge.with(|files| files[0].1.clear());
    judge.is_bad("empty file", empty, begins, &[What::BadSegment]);
}

/// By the same file of another copy of the log, and of another installation's.
fn replaced(judge: &mut Judge<'_>, other: &Written, begins: u64) {
    // Up to the first file's first record both copies are the same log.
    let foreign = judge.with(|files| files[0] = segment(other, begins, begins + EACH - 1, 0));
    judge.is_bad("another log's file", foreign, begins, &[What::Changed]);
    let before = judge.written.heads[usize::try_from(begins - 1).unwrap()];
    let head = SegmentHeader::following([8; 16], &before, 0).to_bytes();
    let foreign = judge.with(|files| files[0].1[..SEGMENT_HEADER_BYTES].copy_from_slice(&head));
    judge.is_bad("another installation's file", foreign, begins, &[What::OtherLog]);
}

/// What crashes and a failing disk leave is no tampering.
fn what_is_true(judge: &Judge<'_>) {
    judge.is_true("the true files", judge.files.to_vec());
    let poisoned = judge.with(|files| files[3] = segment(judge.written, 3_001, 4_007, 0));
    judge.is_true("a poisoned segment's tail", poisoned);
    let torn = judge.with(|files| {
        let end = files[3].1.len() - 500 + 3;
        files[3].1.truncate(end);
    });
    judge.is_true("zeros cut off", torn);
    let tried_again = judge.with(|files| {
        files[3] = segment(judge.written, 3_001, 3_500, 0);
        files.push(segment(judge.written, 3_001, 4_000, 1));
    });
    judge.is_true("a later attempt", tried_again);
    let garbage = judge.with(|files| {
        let end = files[9].1.len() - 400;
        files[9].1[end..end + 100].fill(7);
    });
    judge.is_true("an unfinished write at the end", garbage);
    let mut from_the_first = judge.with(|files| files[0] = segment(judge.written, 1, 1_000, 3));
    from_the_first.push((FileName { first: 1, attempt: 0 }, vec![1; 300]));
    judge.is_true("a first segment that was written anew", from_the_first);
}

/// The same file under another name as well.
fn doubled(judge: &mut Judge<'_>, begins: u64) {
    let again = judge.with(|files| {
        let again = files[0].1.clone();
        files.push((FileName { first: begins, attempt: 1 }, again));
    });
    judge.is_bad("doubled file", again, begins, &[What::BadSegment]);
    let later = judge.with(|files| {
        let again = files[0].1.clone();
        files.push((FileName { first: begins + 500, attempt: 0 }, again));
    });
    let whats = [What::Inserted, What::Changed, What::BadSegment];
    judge.is_bad("doubled file", later, begins + EACH, &whats);
    let forged = judge.with(|files| {
        let (_, bytes) = segment(judge.written, begins, begins + EACH - 1, 0);
        let next = judge.written.heads[usize::try_from(begins + EACH - 1).unwrap()];
        let mut again = SegmentHeader::following(INSTALLATION, &next, 7).to_bytes().to_vec();
        again.extend_from_slice(&bytes[SEGMENT_HEADER_BYTES..]);
        files.push((FileName { first: begins + EACH, attempt: 7 }, again));
    });
    // In the place of the next one, or behind the last.
    judge.is_bad("doubled file", forged, begins + EACH, &[What::Inserted, What::Changed]);
}

/// A bit of each byte of the head, and heads that say something else with the right checksum.
fn heads(judge: &mut Judge<'_>, begins: u64) {
    for place in 0..SEGMENT_HEADER_BYTES {
        let flipped = judge.with(|files| files[0].1[place] ^= 1 << (place % 8));
        judge.is_bad("flip in a head", flipped, begins, &[What::BadSegment]);
    }
    let before = judge.written.heads[usize::try_from(begins - 1).unwrap()];
    let after = judge.written.heads[usize::try_from(begins).unwrap()];
    let mut elsewhere = SegmentHeader::first([3; 16]).chain();
    while elsewhere.sequence() < before.sequence() {
        elsewhere.seal(b"x", &mut Vec::new()).unwrap();
    }
    for (case, head) in [
        ("head after another record", SegmentHeader::following(INSTALLATION, &after, 0)),
        ("head of another attempt", SegmentHeader::following(INSTALLATION, &before, 5)),
        ("head with another chain", SegmentHeader::following(INSTALLATION, &elsewhere, 0)),
    ] {
        if head == SegmentHeader::first(INSTALLATION) {
            continue; // The first head says nothing of a chain before it.
        }
        let forged = judge.with(|files| {
            files[0].1[..SEGMENT_HEADER_BYTES].copy_from_slice(&head.to_bytes());
        });
        judge.is_bad(case, forged, begins, &[What::BadSegment]);
    }
}

/// The file ends, or is nothing but zeros, from before a record and from its middle on.
fn cuts(judge: &mut Judge<'_>, begins: u64) {
    for record in (begins..begins + EACH).step_by(97) {
        let start = judge.written.at(begins);
        let at = judge.written.at(record) - start + SEGMENT_HEADER_BYTES;
        let within = at + 30;
        // The zeros of a record that was begun are no end of the file's.
        let gone = judge.gone();
        let torn = if gone == What::CutOff { What::Changed } else { gone };
        for (place, what) in [(at, gone), (within, gone)] {
            let cut = judge.with(|files| files[0].1.truncate(place));
            judge.is_bad("cut file", cut, record, &[what]);
        }
        for (place, what) in [(at, gone), (within, torn)] {
            let zeroed = judge.with(|files| files[0].1[place..].fill(0));
            judge.is_bad("zeroed file", zeroed, record, &[what]);
        }
        let flipped = judge.with(|files| files[0].1[within] ^= 1);
        judge.is_bad("flip in a file", flipped, record, &[What::Changed]);
    }
}

const FILES: u64 = 10;
const EACH: u64 = RECORDS / FILES;
