//! Randomness for keys, salts and IVs: from the operating system, on every call.
//!
//! There is no generator in user space here, because a cloned machine would repeat one. What the
//! system returns is looked at before it is used: all zeroes, or the same bytes as last time, are
//! refused (attack F08).

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use sha2::{Digest, Sha256};
use zeroize::Zeroize;

/// A source of bytes that nobody can predict.
///
/// Passed in everywhere, so that tests can replay it. What production passes is [`OsRandom`].
pub trait Random: Send + Sync + 'static {
    /// Fills all of `bytes`.
    ///
    /// # Errors
    /// The source has none, or what it gave cannot be random. `bytes` then holds nothing of use.
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed>;

    /// Something that two clones of one machine hardly share: the wall clock, in nanoseconds.
    /// It need not be random, nor true. It is mixed into data keys, and decides nothing.
    fn moment(&self) -> u64 {
        0
    }
}

/// The operating system's randomness, asked for on every call.
pub struct OsRandom;

/// Any source, refused as soon as it gives zeroes or repeats itself.
pub struct Watched<R> {
    source: R,
    watch: Watch,
}

/// Why there are no random bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RandomFailed {
    /// The operating system has no randomness to give.
    #[error("the operating system gives no randomness")]
    Unavailable,
    /// The bytes were all zero, or the same as the time before.
    #[error("the randomness is stuck: all zeroes, or the same bytes twice")]
    Stuck,
}

// === impl OsRandom ===

impl Random for OsRandom {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        // One for the whole program, so that a stuck source is seen whichever thread asks.
        static WATCH: Watch = Watch::new();
        getrandom::fill(bytes).map_err(|_| RandomFailed::Unavailable)?;
        WATCH.look(bytes)
    }

    fn moment(&self) -> u64 {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
    }
}

// === impl Watched ===

impl<R: Random> Watched<R> {
    /// Watches `source`.
    pub const fn new(source: R) -> Self {
        Self { source, watch: Watch::new() }
    }
}

impl<R: Random> Random for Watched<R> {
    fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        self.source.fill(bytes)?;
        self.watch.look(bytes)
    }

    fn moment(&self) -> u64 {
        self.source.moment()
    }
}

/// Refuses a draw that is all zeroes. Every key, salt and IV goes through here, whoever passed the
/// source in.
pub(super) fn draw(random: &dyn Random, bytes: &mut [u8]) -> Result<(), RandomFailed> {
    random.fill(bytes)?;
    if is_zero(bytes) {
        return Err(RandomFailed::Stuck);
    }
    Ok(())
}

/// Remembers 64 bits of a digest of the last draw: enough to see a repetition (by chance once in
/// 2^64), too little and too scrambled to say anything about a key.
struct Watch {
    last: AtomicU64,
}

impl Watch {
    const fn new() -> Self {
        Self { last: AtomicU64::new(0) }
    }

    fn look(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
        // A few random bytes may well be zero, or equal to the few before.
        if bytes.len() < WATCHED_BYTES_MIN {
            return Ok(());
        }
        let head = bytes.get(..WATCHED_BYTES_MAX).unwrap_or(bytes);
        let digest: [u8; 32] = Sha256::digest(head).into();
        let Some(now) = digest.first_chunk() else { unreachable!("8 of 32 bytes") };
        let now = u64::from_le_bytes(*now);
        let last = self.last.swap(now, Ordering::Relaxed);
        if last == now || is_zero(bytes) {
            bytes.zeroize();
            return Err(RandomFailed::Stuck);
        }
        Ok(())
    }
}

/// Whether all bytes are zero. In constant time, because what is looked at may become a key.
fn is_zero(bytes: &[u8]) -> bool {
    bytes.iter().fold(0, |seen, byte| seen | byte) == 0
}

/// Shorter draws are not watched.
const WATCHED_BYTES_MIN: usize = 16;
/// Of longer draws, this much goes into the digest: what SHA-256 takes in one step.
const WATCHED_BYTES_MAX: usize = 48;

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use std::sync::atomic::AtomicUsize;

    use super::*;

    /// Gives one byte over and over; after `good` draws, the same one for ever.
    struct Sticks {
        good: usize,
        drawn: AtomicUsize,
    }

    impl Random for Sticks {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
            let drawn = self.drawn.fetch_add(1, Ordering::Relaxed).min(self.good);
            bytes.fill(u8::try_from(drawn).unwrap_or(u8::MAX).saturating_add(1));
            Ok(())
        }
    }

    struct Gives(u8);

    impl Random for Gives {
        fn fill(&self, bytes: &mut [u8]) -> Result<(), RandomFailed> {
            bytes.fill(self.0);
            Ok(())
        }
    }

    #[test]
    fn f08_a_source_that_sticks_is_refused_and_what_it_gave_is_wiped() {
        let watched = Watched::new(Sticks { good: 3, drawn: AtomicUsize::new(0) });
        let mut bytes = [0; 32];
        for _ in 0..4 {
            watched.fill(&mut bytes).unwrap();
        }
        assert_eq!(watched.fill(&mut bytes), Err(RandomFailed::Stuck));
        assert_eq!(bytes, [0; 32]);
    }

    #[test]
    fn f08_zeroes_are_refused_of_any_source() {
        assert_eq!(Watched::new(Gives(0)).fill(&mut [1; 28]), Err(RandomFailed::Stuck));
        assert_eq!(draw(&Gives(0), &mut [1; 28]), Err(RandomFailed::Stuck));
        assert_eq!(draw(&Gives(1), &mut [0; 28]), Ok(()));
    }

    #[test]
    fn a_few_bytes_may_be_zero_or_come_twice() {
        let watched = Watched::new(Gives(0));
        for _ in 0..2 {
            assert_eq!(watched.fill(&mut [1; WATCHED_BYTES_MIN - 1]), Ok(()));
        }
    }

    #[test]
    fn the_operating_system_gives_different_bytes_of_any_length() {
        for length in [1, 15, 16, 47, 48, 49, 6000] {
            let (mut one, mut other) = (vec![0; length], vec![0; length]);
            OsRandom.fill(&mut one).unwrap();
            OsRandom.fill(&mut other).unwrap();
            assert!(length < 16 || one != other, "{length}");
        }
        assert!(OsRandom.moment() > 0);
    }
}
