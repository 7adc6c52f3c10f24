//! What happened where the chain breaks: looks ahead for the record that should have followed.

use super::super::chain::Chain;
use super::super::frame::Frame;
use super::super::record::Record;
use super::{Finding, Item, Log, Signed, Verifier, What};

/// What stands where a record should.
#[derive(Clone, Copy)]
pub(super) enum Seen {
    Frame {
        sequence: u64,
        follows_in_all_else: bool,
        /// It is the one that follows, but that its hash was not written to the end.
        torn: bool,
    },
    /// A file whose first record has this sequence.
    File {
        first: u64,
    },
    Stray {
        foreign: bool,
    },
    Damage {
        followed: bool,
        unfinished: bool,
    },
}

/// What comes after the place of the break.
enum Ahead {
    /// The record that should have followed; whether it is the first whole frame, and whether the log
    /// goes on after it as it should, up to the place of what stood before it.
    Found { at_once: bool, goes_on: bool },
    /// Something else: the sequence of the first whole frame, and whether anything was written when
    /// the record that should have followed was durable.
    Other { next: Option<u64>, later: bool },
}

// === impl Seen ===

impl Seen {
    pub(super) fn of(item: &Item<'_>, chain: &Chain) -> Self {
        match item {
            Item::Frame(frame) => Self::Frame {
                sequence: frame.sequence(),
                follows_in_all_else: chain.is_renumbered(frame),
                torn: chain.is_torn(frame),
            },
            Item::File { first, .. } => Self::File { first: *first },
            Item::Stray { foreign } => Self::Stray { foreign: *foreign },
            Item::Damage { followed, unfinished } => {
                Self::Damage { followed: *followed, unfinished: *unfinished }
            }
            Item::End => Self::Damage { followed: false, unfinished: true },
        }
    }
}

// === impl Verifier ===

impl Verifier {
    /// The finding for a break of the chain; None where it is the end of a log whose last write was
    /// not finished.
    pub(super) fn diagnose<L: Log>(
        &mut self,
        seen: Seen,
        log: &mut L,
        signed: &mut dyn Signed,
    ) -> Result<Option<Finding>, L::Error> {
        let expected = self.sequence().saturating_add(1);
        if let Some(earlier) = self.earlier(signed) {
            return Ok(Some(self.finding(What::Changed, earlier)));
        }
        let ahead = match seen {
            Seen::Damage { followed: false, .. } => Ahead::Other { next: None, later: false },
            Seen::Stray { .. } => Ahead::Other { next: None, later: true },
            Seen::Frame { sequence, .. } | Seen::File { first: sequence } => {
                look_ahead(self.chain, log, sequence)?
            }
            Seen::Damage { followed: true, .. } => look_ahead(self.chain, log, expected)?,
        };
        let what = match (seen, ahead) {
            (Seen::Damage { unfinished, .. }, Ahead::Other { later: false, .. }) => {
                self.tail = if unfinished { What::CutOff } else { What::Changed };
                return Ok(None);
            }
            (Seen::Frame { torn: true, .. }, Ahead::Other { later: false, .. }) => {
                self.tail = What::Changed;
                return Ok(None);
            }
            (Seen::Stray { foreign: true }, _) => What::OtherLog,
            (Seen::Stray { foreign: false }, _) => What::BadSegment,
            (Seen::File { .. }, Ahead::Found { at_once: true, .. }) => What::BadSegment,
            (Seen::Frame { follows_in_all_else: true, .. }, _) => What::Changed,
            (Seen::Frame { .. } | Seen::File { .. }, Ahead::Found { goes_on: false, .. }) => {
                What::Moved
            }
            (_, Ahead::Found { .. }) => What::Inserted,
            (
                Seen::Frame { sequence, .. } | Seen::File { first: sequence },
                Ahead::Other { next, .. },
            ) if sequence > expected && next != Some(expected.saturating_add(1)) => {
                let last = sequence.saturating_sub(1);
                return Ok(Some(self.range(What::Missing, expected, last)));
            }
            (Seen::Damage { .. }, Ahead::Other { next: Some(next), .. })
                if next > expected.saturating_add(1) =>
            {
                let last = next.saturating_sub(1);
                return Ok(Some(self.range(What::Missing, expected, last)));
            }
            (_, Ahead::Other { .. }) => What::Changed,
        };
        Ok(Some(self.finding(what, expected)))
    }

    /// A record before the break, not proven yet, that a tile knows otherwise: whoever rewrote the
    /// chain up to the break began there. Only hints: the break itself is certain.
    fn earlier(&self, signed: &mut dyn Signed) -> Option<u64> {
        let first = self.proven.saturating_add(1);
        let mut at = self.unproven.iter().zip(first..);
        at.find_map(|(leaf, sequence)| {
            signed.leaf(sequence).is_some_and(|known| known != *leaf).then_some(sequence)
        })
    }
}

/// Looks for the record that follows `chain` among what comes next; where the one that was seen in its
/// place can have been it, only until the one after it comes.
fn look_ahead<L: Log>(chain: Chain, log: &mut L, seen: u64) -> Result<Ahead, L::Error> {
    let expected = chain.sequence().saturating_add(1);
    let (mut first, mut later) = (None, false);
    for _ in 0..LOOK_AHEAD_MAX {
        let mut after = chain;
        match log.next(expected)? {
            Item::Frame(frame) => {
                let next = *first.get_or_insert(frame.sequence());
                later = later || began_after(&frame, expected);
                if later && seen == expected && next == expected.saturating_add(1) {
                    break;
                }
                if frame.sequence() == expected && after.verify(&frame).is_ok() {
                    let at_once = next == expected;
                    let goes_on = goes_on(after, log, seen)?;
                    return Ok(Ahead::Found { at_once, goes_on });
                }
            }
            // A file is begun only when all before it is durable.
            Item::File { .. } | Item::Stray { .. } => later = true,
            Item::Damage { followed: true, .. } => {}
            Item::Damage { followed: false, .. } | Item::End => break,
        }
    }
    Ok(Ahead::Other { next: first, later })
}

/// Whether the frame's write began when the record `sequence` was durable. Parts of one write reach the
/// disk in any order, and each record says how far behind its write's beginning it is.
fn began_after(frame: &Frame<'_>, sequence: u64) -> bool {
    let position = Record::decode(frame.payload()).map_or(0, |record| record.write_position);
    frame.sequence().saturating_sub(position.into()) > sequence
}

/// Whether the log follows `chain` up to the record `seen`, and by one at least unless it ends: then
/// a record that stands too early stands where it belongs as well.
fn goes_on<L: Log>(mut chain: Chain, log: &mut L, seen: u64) -> Result<bool, L::Error> {
    let until = seen.max(chain.sequence().saturating_add(1));
    for _ in 0..LOOK_AHEAD_MAX {
        let expected = chain.sequence().saturating_add(1);
        match log.next(expected)? {
            Item::Frame(frame) if chain.verify(&frame).is_ok() => {}
            Item::File { first, head, .. } if first == expected && head == *chain.head() => {}
            Item::End => return Ok(seen <= chain.sequence()),
            _ => return Ok(false),
        }
        if chain.sequence() >= until {
            break;
        }
    }
    Ok(true)
}

/// How far a record that was moved is looked for.
const LOOK_AHEAD_MAX: usize = 1 << 24;
