//! Whether records are taken now, and how many calls were told that they are not.
//!
//! Read on every call, so it is a few atomics; written by the log thread and by the one that makes
//! segments. Never decides that a record is durable.

use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering};

use super::TrailError;
use crate::clock::Clock;

/// The most bytes of records that wait on all lanes together.
pub const MAX_WAITING_BYTES: usize = 64 * 1024 * 1024;

/// What a call is about to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Purpose {
    /// Use keys.
    Use,
    /// Anything else, which an operator needs on a full disk too.
    Manage,
}

#[derive(Default)]
pub(super) struct Gate {
    closing: AtomicBool,
    /// There is no segment to write to.
    shut: AtomicBool,
    /// No segment can be made after the one that is written now.
    reserve: AtomicBool,
    waiting_bytes: AtomicUsize,
    refused: AtomicU64,
    /// How many of those outside that must be there are not.
    absent: AtomicUsize,
    untold: AtomicU64,
    untold_since_us: AtomicI64,
}

/// Refusals that no record tells of yet.
#[derive(Clone, Copy)]
pub(super) struct Untold {
    pub(super) count: u64,
    pub(super) since_us: i64,
}

// === impl Gate ===

impl Gate {
    /// Why no record is taken, if none is.
    pub(super) fn refusal(&self, purpose: Purpose) -> Option<TrailError> {
        if self.closing.load(Ordering::SeqCst) {
            return Some(TrailError::Closed);
        }
        if self.shut.load(Ordering::Acquire) {
            return Some(TrailError::Unavailable);
        }
        if self.absent.load(Ordering::Acquire) > 0 {
            return Some(TrailError::Outside);
        }
        let keeps_reserve = purpose == Purpose::Use && self.reserve.load(Ordering::Acquire);
        keeps_reserve.then_some(TrailError::Reserved)
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    pub(super) fn close(&self) {
        self.closing.store(true, Ordering::SeqCst);
    }

    pub(super) fn shut(&self, shut: bool) {
        self.shut.store(shut, Ordering::Release);
    }

    pub(super) fn is_shut(&self) -> bool {
        self.shut.load(Ordering::Acquire)
    }

    /// One more, or one less, of those outside that must be there is not.
    pub(super) fn absent(&self, is_absent: bool) {
        match is_absent {
            true => self.absent.fetch_add(1, Ordering::AcqRel),
            false => self.absent.fetch_sub(1, Ordering::AcqRel),
        };
    }

    pub(super) fn keep_reserve(&self, keep: bool) {
        self.reserve.store(keep, Ordering::Release);
    }

    /// Makes room for `bytes` that wait, if all lanes together may have so many.
    pub(super) fn take_room(&self, bytes: usize) -> Result<(), TrailError> {
        let before = self.waiting_bytes.fetch_add(bytes, Ordering::Relaxed);
        if before.saturating_add(bytes) > MAX_WAITING_BYTES {
            self.give_room(bytes);
            return Err(TrailError::Overloaded);
        }
        Ok(())
    }

    pub(super) fn give_room(&self, bytes: usize) {
        self.waiting_bytes.fetch_sub(bytes, Ordering::Relaxed);
    }

    pub(super) fn waiting_bytes(&self) -> usize {
        self.waiting_bytes.load(Ordering::Relaxed)
    }

    /// Counts calls that are told that they have no record.
    pub(super) fn refuse(&self, count: u64, clock: &dyn Clock) {
        self.refused.fetch_add(count, Ordering::Relaxed);
        if self.untold.fetch_add(count, Ordering::AcqRel) == 0 {
            self.untold_since_us.store(clock.unix_us(), Ordering::Release);
        }
    }

    pub(super) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// What no record tells of, to be told now.
    pub(super) fn take_untold(&self) -> Option<Untold> {
        let since_us = self.untold_since_us.load(Ordering::Acquire);
        let count = self.untold.swap(0, Ordering::AcqRel);
        (count > 0).then_some(Untold { count, since_us })
    }

    /// Takes back what could not be told.
    pub(super) fn put_back(&self, untold: Untold) {
        self.untold.fetch_add(untold.count, Ordering::AcqRel);
        self.untold_since_us.store(untold.since_us, Ordering::Release);
    }
}
