//! Records of a copied log, given away one at a time as they are found to follow the chain. What the
//! checkpoints say about them is known at the end, as whoever receives them is told.

use crate::audit::verify::{Item, Log};
use crate::audit::{Query, Record};
use crate::trail::Entry;

use super::AuditorError;

/// Which records are given to whom.
pub struct Export<'a> {
    /// Those that are asked for.
    pub query: &'a Query,
    /// With a greater sequence.
    pub after: u64,
    /// Who receives them, in order.
    pub give: &'a mut dyn FnMut(Entry) -> std::io::Result<()>,
}

/// A log that is listened to while it is verified.
pub(super) struct Overheard<'a, L> {
    pub(super) log: L,
    pub(super) export: Option<Export<'a>>,
    /// Not given yet: whether it follows shows only when the one after it is asked for.
    pub(super) last: Option<Entry>,
}

impl<L: Log<Error = AuditorError>> Log for Overheard<'_, L> {
    type Error = AuditorError;

    fn next(&mut self, expected: u64) -> Result<Item<'_>, AuditorError> {
        let Some(export) = &mut self.export else { return self.log.next(expected) };
        if let Some(entry) = self.last.take()
            && entry.sequence.saturating_add(1) == expected
        {
            (export.give)(entry).map_err(AuditorError::Write)?;
        }
        let item = self.log.next(expected)?;
        if let Item::Frame(frame) = &item
            && frame.sequence() == expected
            && expected > export.after
            && let Ok(record) = Record::decode(frame.payload())
            && export.query.holds(&record)
        {
            self.last = Some(Entry { sequence: expected, hash: *frame.hash(), record });
        }
        Ok(item)
    }
}
