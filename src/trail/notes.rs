//! The file of every checkpoint that was signed: one note after another, an empty line after each.
//! Derived and appended to; a note that was not finished is no note.

use std::io::{self, BufRead, Read};

use crate::audit::MAX_CHECKPOINT_BYTES;

/// Reads a file of checkpoints, one at a time.
pub struct Notes<R> {
    lines: R,
}

// === impl Notes ===

impl<R: BufRead> Notes<R> {
    /// The notes in `lines`.
    pub fn new(lines: R) -> Self {
        Self { lines }
    }

    /// The next whole note; whether it is one is not looked at. None at the end, before a note that
    /// was not finished, and before one that is too long.
    pub fn next_note(&mut self) -> io::Result<Option<Vec<u8>>> {
        let mut note = Vec::new();
        let mut parts = 0_u8;
        while note.len() <= MAX_CHECKPOINT_BYTES {
            let begins = note.len();
            let most = MAX_CHECKPOINT_BYTES.saturating_add(1) as u64;
            let read = self.lines.by_ref().take(most).read_until(b'\n', &mut note)?;
            let line = note.get(begins..).unwrap_or_default();
            if read == 0 || !line.ends_with(b"\n") {
                return Ok(None);
            }
            if line == b"\n" {
                parts = parts.saturating_add(1);
                // The first empty line is the note's own, the second ends it.
                if parts == 2 {
                    note.truncate(begins);
                    return Ok(Some(note));
                }
            }
        }
        Ok(None)
    }
}
