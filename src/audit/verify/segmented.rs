//! A log in segments: of which file each record counts, and whether a file is what its name says.
//!
//! The names give the order and are not believed: each head must say the same. Of files that begin with
//! the same record the last counts, and records of a file from where the next one begins do not count:
//! nobody was told of them. Never opens a file itself.

use super::super::frame::MAX_FRAME_BYTES;
use super::super::segment::{SEGMENT_HEADER_BYTES, SegmentHeader};
use super::framed::{Framed, Window};
use super::{Item, Log};

/// The files of a log, in the order of their names.
pub trait Files {
    /// A file's bytes, from its head on.
    type Window: Window;

    /// The next file; None after the last.
    fn next_file(&mut self) -> NextFile<Self::Window>;
}

/// A file's name and its bytes; None after the last.
pub type NextFile<W> = Result<Option<(FileName, W)>, <W as Window>::Error>;

/// What a file's name says.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct FileName {
    /// The first record.
    pub first: u64,
    /// Which file this is of those that begin with it.
    pub attempt: u32,
}

/// The log in the files of one installation.
pub struct Segmented<F: Files> {
    files: F,
    installation_id: [u8; 16],
    current: Option<Part<F::Window>>,
    following: Option<Part<F::Window>>,
    begun: bool,
}

/// A file, and what was found at its head.
struct Part<W> {
    name: FileName,
    head: Option<SegmentHeader>,
    frames: Framed<W>,
    /// Its records after this one do not count.
    until: u64,
}

// === impl Segmented ===

impl<F: Files> Segmented<F> {
    /// The log of `installation_id` in `files`.
    pub fn new(installation_id: [u8; 16], files: F) -> Self {
        Self { files, installation_id, current: None, following: None, begun: false }
    }

    /// Goes on to the next file that counts; whether there is one.
    fn advance(&mut self) -> Result<bool, <F::Window as Window>::Error> {
        if !self.begun {
            self.begun = true;
            self.following = self.open()?;
        }
        self.current = self.following.take();
        loop {
            self.following = self.open()?;
            let (Some(current), Some(following)) = (&mut self.current, &self.following) else {
                break;
            };
            if following.name.first == current.name.first {
                self.current = self.following.take();
                continue;
            }
            // Where the next file begins this one ends, unless they are out of order.
            let (begins, next) = (current.first(), following.first());
            if next > begins {
                current.until = next.saturating_sub(1);
            }
            break;
        }
        Ok(self.current.is_some())
    }

    fn open(&mut self) -> Result<Option<Part<F::Window>>, <F::Window as Window>::Error> {
        let Some((name, mut window)) = self.files.next_file()? else { return Ok(None) };
        let head = window.ahead(0)?.first_chunk().map(SegmentHeader::parse);
        let head = head.and_then(Result::ok);
        let pass = window.ahead(0)?.len().min(SEGMENT_HEADER_BYTES);
        window.ahead(pass)?;
        Ok(Some(Part { name, head, frames: Framed::new(window), until: u64::MAX }))
    }
}

impl<F: Files> Log for Segmented<F> {
    type Error = <F::Window as Window>::Error;

    fn next(&mut self, expected: u64) -> Result<Item<'_>, Self::Error> {
        let ended = match &mut self.current {
            Some(part) => expected > part.until || part.frames.is_at_end(part.until)?,
            None => true,
        };
        if ended && self.advance()? {
            let part = self.current.as_ref();
            let head = part.and_then(|part| part.head_for(expected));
            return Ok(match head {
                Some(head) if *head.installation_id() == self.installation_id => Item::File {
                    first: head.first_sequence(),
                    head: *head.chain().head(),
                    named: part.is_some_and(Part::is_named),
                },
                Some(_) => Item::Stray { foreign: true },
                None => Item::Stray { foreign: false },
            });
        }
        let more = self.following.is_some();
        match &mut self.current {
            None => Ok(Item::End),
            Some(part) => Ok(match part.frames.next(expected)? {
                // What comes after it is in another file.
                Item::Damage { followed: false, unfinished } if more => {
                    Item::Damage { followed: true, unfinished }
                }
                item => item,
            }),
        }
    }
}

// === impl Part ===

impl<W> Part<W> {
    /// Its first record, by its head if it has one.
    fn first(&self) -> u64 {
        self.head.as_ref().map_or(self.name.first, SegmentHeader::first_sequence)
    }

    /// Whether its head says what its name says.
    fn is_named(&self) -> bool {
        self.head.as_ref().is_some_and(|head| {
            self.name == FileName { first: head.first_sequence(), attempt: head.attempt() }
        })
    }

    /// Its head, where that is no other's than its name says or no other's than is expected.
    fn head_for(&self, expected: u64) -> Option<&SegmentHeader> {
        let head = self.head.as_ref()?;
        let named = FileName { first: head.first_sequence(), attempt: head.attempt() };
        (named == self.name || named.first != expected).then_some(head)
    }
}

const _: () = assert!(SEGMENT_HEADER_BYTES <= MAX_FRAME_BYTES, "a window shows a whole head");
