//! Frames out of bytes that may have been tampered with: goes on after damage, and ends where nothing
//! but zeros follows, as a segment does.

use std::convert::Infallible;

use super::super::frame::Frame;
use super::{Item, Log};

/// Bytes, a window at a time.
pub trait Window {
    /// Why they cannot be read.
    type Error;

    /// Goes on by `bytes`, which have been seen, and shows those from there: a longest frame's at
    /// least, or as many as there are.
    fn ahead(&mut self, pass: usize) -> Result<&[u8], Self::Error>;
}

/// A log of frames one after another, without its header.
pub struct Framed<W> {
    window: W,
    /// What was seen and is passed with the next look.
    seen: usize,
    /// What was found at this place and not told yet.
    found: Option<Found>,
}

/// What stands at a place.
#[derive(Clone, Copy)]
enum Found {
    End,
    Frame { sequence: u64, bytes: usize },
    Damage { unfinished: bool },
}

// === impl Framed ===

impl<W: Window> Framed<W> {
    /// The log in `window`.
    pub fn new(window: W) -> Self {
        Self { window, seen: 0, found: None }
    }

    /// Whether no record up to `until` stands here: nothing but zeros, or a later record.
    pub fn is_at_end(&mut self, until: u64) -> Result<bool, W::Error> {
        Ok(match self.find()? {
            Found::End => true,
            Found::Frame { sequence, .. } => sequence > until,
            Found::Damage { .. } => false,
        })
    }

    /// What stands here, once. Zeros up to the end are the end; otherwise they are damage, and passed.
    fn find(&mut self) -> Result<Found, W::Error> {
        if let Some(found) = self.found {
            return Ok(found);
        }
        let pass = std::mem::take(&mut self.seen);
        let mut ahead = self.window.ahead(pass)?;
        let found = if ahead.iter().take(LENGTH_BYTES).all(|byte| *byte == 0) {
            loop {
                let zeros = leading_zeros(ahead);
                if zeros < ahead.len() {
                    // A frame's own length begins with a zero or more.
                    self.seen = zeros.saturating_sub(LENGTH_BYTES.saturating_sub(1));
                    break Found::Damage { unfinished: false };
                }
                if zeros == 0 {
                    break Found::End;
                }
                ahead = self.window.ahead(zeros)?;
            }
        } else {
            match Frame::read(ahead) {
                Ok(Some((frame, bytes))) => Found::Frame { sequence: frame.sequence(), bytes },
                Ok(None) => Found::Damage { unfinished: true },
                Err(_) => Found::Damage { unfinished: false },
            }
        };
        self.found = Some(found);
        Ok(found)
    }

    /// Passes over the place of damage; whether a whole frame stands after it.
    fn resynchronise(&mut self, expected: u64) -> Result<bool, W::Error> {
        let mut pass = std::mem::take(&mut self.seen);
        let mut at_damage = pass == 0;
        loop {
            let ahead = self.window.ahead(pass)?;
            let Some(claimed) = ahead.get(8..).and_then(|rest| rest.first_chunk()) else {
                self.seen = ahead.len();
                return Ok(false);
            };
            let zeros = leading_zeros(ahead);
            if zeros >= LENGTH_BYTES {
                pass = zeros.saturating_sub(LENGTH_BYTES.saturating_sub(1));
                at_damage = false;
                continue;
            }
            // The checksum is worth computing only where the sequence is one that could be here.
            let plausible = u64::from_be_bytes(*claimed).abs_diff(expected) < PLAUSIBLE;
            if !at_damage && plausible && matches!(Frame::read(ahead), Ok(Some(_))) {
                return Ok(true);
            }
            at_damage = false;
            pass = 1;
        }
    }
}

impl<W: Window> Log for Framed<W> {
    type Error = W::Error;

    fn next(&mut self, expected: u64) -> Result<Item<'_>, W::Error> {
        let found = self.find()?;
        self.found = None;
        match found {
            Found::End => Ok(Item::End),
            // Looked at once more, as a frame that is given away keeps the window borrowed.
            Found::Frame { bytes, .. } => {
                self.seen = bytes;
                Ok(match Frame::seen(self.window.ahead(0)?) {
                    Some(frame) => Item::Frame(frame),
                    None => Item::Damage { followed: false, unfinished: false },
                })
            }
            Found::Damage { unfinished } => {
                let followed = self.resynchronise(expected)?;
                Ok(Item::Damage { followed, unfinished })
            }
        }
    }
}

impl Window for &[u8] {
    type Error = Infallible;

    fn ahead(&mut self, pass: usize) -> Result<&[u8], Infallible> {
        *self = self.get(pass..).unwrap_or_default();
        Ok(self)
    }
}

/// A word at a time: most of a segment that is not full is zeros.
fn leading_zeros(bytes: &[u8]) -> usize {
    let (words, _) = bytes.as_chunks::<16>();
    let whole = words.iter().take_while(|word| **word == [0; 16]).count().saturating_mul(16);
    let rest = bytes.get(whole..).unwrap_or_default();
    whole.saturating_add(rest.iter().take_while(|byte| **byte == 0).count())
}

/// A frame's length.
const LENGTH_BYTES: usize = 4;
/// How far from the expected one a sequence after damage may be.
const PLAUSIBLE: u64 = 1 << 40;
