//! Deleting the log's beginning: whole sealed segments, the oldest first, each only when a record of the
//! log's own that names it is covered by a signed checkpoint, which whoever calls has seen to.
//!
//! What is not in the log any more is still known where it is needed: each tenant's count at the new
//! beginning, and which key handed over to which. After a stop at any step the log opens and verifies,
//! and the same deletion done again ends it. Never deletes the last two segments, and never decides what
//! is old.

use std::io;
use std::sync::Arc;

use super::catalogue::Closed;
use super::place::Name;
use super::tenants::Tenants;
use super::{Shared, TrailError};
use crate::audit::{Chain, Deletion, handover_of};

/// The next deletions, oldest first, of segments all of whose records are from before `before_us` and
/// none of which is after the record `until`: at most [`DELETIONS_MAX`].
pub(super) fn due(
    shared: &Arc<Shared>,
    before_us: i64,
    until: u64,
) -> Result<Vec<Deletion>, TrailError> {
    let (closed, mut from) = {
        let catalogue = shared.catalogue.lock();
        (catalogue.closed(), catalogue.begins())
    };
    let kept = closed.len().saturating_sub(CLOSED_KEPT);
    let mut due = Vec::new();
    for part in closed.iter().take(kept).take(DELETIONS_MAX) {
        // A segment whose index is not made yet is looked at again later.
        let is_old = shared.index.latest_us(part.name).is_some_and(|latest| latest < before_us);
        if !is_old || part.last > until {
            break;
        }
        let chain = *chain_after(shared, part)?.head();
        due.push(Deletion { from, to: part.last, chain });
        from = part.last.saturating_add(1);
    }
    Ok(due)
}

/// Deletes all records up to `deletion.to`, which must end a segment; done already, it does nothing.
pub(super) fn delete(shared: &Arc<Shared>, deletion: &Deletion) -> Result<(), TrailError> {
    let first_kept = deletion.to.saturating_add(1);
    // Nothing is compressed meanwhile.
    let _tidying = shared.tidying.lock();
    let (closed, begins) = {
        let catalogue = shared.catalogue.lock();
        (catalogue.closed(), catalogue.begins())
    };
    if first_kept > begins {
        let kept = closed.len().saturating_sub(CLOSED_KEPT);
        let part = closed.iter().take(kept).find(|part| part.last == deletion.to);
        let part = part.ok_or(TrailError::Broken { sequence: deletion.to })?;
        if *chain_after(shared, part)?.head() != deletion.chain {
            return Err(TrailError::Broken { sequence: first_kept });
        }
        keep_what_is_needed(shared, begins, deletion)?;
    }
    let removed = shared.catalogue.lock().remove_before(first_kept);
    for name in removed {
        shared.index.forget(name);
        remove(shared, name).map_err(|error| TrailError::io("delete a segment of", error))?;
    }
    if begins < first_kept && begins > 1 {
        // One too many harms nobody.
        let _ = shared.place.disk.remove(&shared.place.begins(begins));
    }
    Ok(())
}

/// Removes a segment's files, and returns when it is durable that they are gone: with the next one's
/// gone and this one's still there the log would have a hole.
fn remove(shared: &Arc<Shared>, name: Name) -> io::Result<()> {
    let place = &shared.place;
    for path in [place.segment(name), place.packed(name)] {
        match place.disk.remove(&path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    place.disk.sync_directory(&place.directory)?;
    // Without its segment it says nothing; the next start removes it too.
    let _ = place.disk.remove(&place.index(name));
    Ok(())
}

/// Reads what goes once more, its chain verified, and keeps beside the new beginning how many records
/// each tenant had and which keys were handed over.
fn keep_what_is_needed(
    shared: &Arc<Shared>,
    begins: u64,
    deletion: &Deletion,
) -> Result<(), TrailError> {
    let mut frames = shared.frames_from(begins);
    let starts = frames.stands_after()?.ok_or(TrailError::Broken { sequence: begins })?;
    let mut tenants = match begins {
        1 => Tenants::default(),
        _ => {
            Tenants::load(&shared.place, &starts).ok_or(TrailError::Beginning { first: begins })?
        }
    };
    let (mut handovers, mut head, mut sequence) = (Vec::new(), *starts.head(), 0);
    while sequence < deletion.to {
        let taken = frames.next(|frame| {
            tenants.follow(frame);
            handovers.extend(handover_of(frame.payload()));
            (head, sequence) = (*frame.hash(), frame.sequence());
        })?;
        taken.ok_or(TrailError::Broken { sequence: deletion.to })?;
    }
    if head != deletion.chain {
        return Err(TrailError::Broken { sequence: deletion.to });
    }
    let chain = Chain::at(head, deletion.to);
    let place = &shared.place;
    let kept = || -> io::Result<()> {
        if !handovers.is_empty() {
            place.add_handovers(&handovers)?;
        }
        let bytes = tenants.to_bytes(&place.installation_id, &chain);
        place.put(&place.begins(deletion.to.saturating_add(1)), &bytes)
    };
    kept().map_err(|error| TrailError::io("keep the counts of", error))
}

/// Where the log stands after the segment, as the one after it says.
fn chain_after(shared: &Arc<Shared>, part: &Closed) -> Result<Chain, TrailError> {
    let read = |error| TrailError::io("read", error);
    Ok(shared.bytes_of(part.next).map_err(read)?.header(&shared.place, part.next)?.chain())
}

/// Besides the one that is written.
const CLOSED_KEPT: usize = 1;
/// Of one round.
const DELETIONS_MAX: usize = 64;
