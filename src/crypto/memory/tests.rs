//! Tests of memory that holds keys.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects)]

use std::cell::RefCell;
use std::fs;

use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

use super::*;
use crate::crypto::tests::in_a_child;

/// What blocks held when they were given back.
struct Witness {
    freed: RefCell<Vec<Vec<u8>>>,
}

// SAFETY: passes on to `System`; it reads a block before it gives it back.
unsafe impl GlobalAlloc for Witness {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the block is live and, in these tests, all written.
        let bytes = unsafe { slice::from_raw_parts(block, layout.size()) };
        self.freed.borrow_mut().push(bytes.to_vec());
        // SAFETY: passed on.
        unsafe { System.dealloc(block, layout) }
    }
}

fn witness() -> WipingAllocator<Witness> {
    WipingAllocator { inner: Witness { freed: RefCell::default() } }
}

fn written(allocator: &WipingAllocator<Witness>, layout: Layout) -> *mut u8 {
    // SAFETY: no layout in these tests is empty.
    let block = unsafe { allocator.alloc(layout) };
    assert!(!block.is_null());
    // SAFETY: the block is as large as this.
    unsafe { ptr::write_bytes(block, 0xAA, layout.size()) };
    block
}

#[test]
fn i05_a_freed_block_is_zero_when_the_system_gets_it() {
    let allocator = witness();
    for bytes in [1, 7, 32, 4096, 1_000_000] {
        let layout = Layout::from_size_align(bytes, 1).unwrap();
        let block = written(&allocator, layout);
        // SAFETY: allocated above, with this layout.
        unsafe { allocator.dealloc(block, layout) };
        assert_eq!(allocator.inner.freed.borrow_mut().pop().unwrap(), vec![0; bytes]);
    }
}

#[test]
fn i05_growing_and_shrinking_leave_a_zero_block_behind_and_keep_the_bytes() {
    let allocator = witness();
    for (old, new) in [(32, 64), (64, 32), (100, 100)] {
        let layout = Layout::from_size_align(old, 8).unwrap();
        let block = written(&allocator, layout);
        // SAFETY: allocated above, with this layout; the new size is not 0.
        let moved = unsafe { allocator.realloc(block, layout, new) };
        assert_eq!(allocator.inner.freed.borrow_mut().pop().unwrap(), vec![0; old]);
        // SAFETY: the smaller of both sizes was copied.
        let kept = unsafe { slice::from_raw_parts(moved, old.min(new)) };
        assert!(kept.iter().all(|byte| *byte == 0xAA));
        // SAFETY: `System` gave it with this layout; the witness would read unwritten bytes.
        unsafe { System.dealloc(moved, Layout::from_size_align(new, 8).unwrap()) };
    }
}

/// Sizes that nothing else locks, so that no other test takes the slot meanwhile.
const ODD: usize = 31 * SLOT_STEP_BYTES;
const ODD_TOO: usize = 29 * SLOT_STEP_BYTES;
const ODD_THREE: usize = 27 * SLOT_STEP_BYTES;

#[test]
fn i05_a_dropped_value_leaves_zeroes_in_its_slot() {
    let locked = Locked::new(|| [0xAA_u8; ODD]);
    assert_eq!(locked.expose(), &[0xAA; ODD]);
    let place = locked.slot.start;
    drop(locked);
    // SAFETY: regions are never unmapped, and only this test uses slots of this size.
    let left = unsafe { place.cast::<[u8; ODD]>().as_ref() };
    assert_eq!(left, &[0; ODD]);
    // The next value of that size comes to lie in the same place.
    assert_eq!(Locked::new(|| [1_u8; ODD]).slot.start, place);
}

#[test]
fn i05_a_value_that_fails_to_be_born_is_wiped() {
    #[derive(Clone, Copy)]
    struct Big([u8; ODD_TOO]);
    impl Default for Big {
        fn default() -> Self {
            Self([0; ODD_TOO])
        }
    }
    let mut place = None;
    let born = Locked::<Big>::born(|value| {
        value.0 = [0xAA; ODD_TOO];
        place = Some(NonNull::from(value).cast::<[u8; ODD_TOO]>());
        Err("no")
    });
    assert_eq!(born.err(), Some("no"));
    // SAFETY: regions are never unmapped, and only this test uses slots of this size.
    let left = unsafe { place.unwrap().as_ref() };
    assert_eq!(left, &[0; ODD_TOO]);
}

#[test]
fn a_locked_value_is_dropped_once() {
    let witness = std::sync::Arc::new(());
    let locked = Locked::new(|| std::sync::Arc::clone(&witness));
    assert_eq!(std::sync::Arc::strong_count(locked.expose()), 2);
    drop(locked);
    assert_eq!(std::sync::Arc::strong_count(&witness), 1);
}

#[test]
fn many_values_share_regions_and_never_overlap() {
    let values: Vec<_> = (0..10_000_u32).map(|n| Locked::new(|| [n; 8])).collect();
    for (n, value) in (0..).zip(&values) {
        assert_eq!(value.expose(), &[n; 8]);
    }
    let mut starts: Vec<_> = values.iter().map(|value| value.slot.start.addr()).collect();
    starts.sort_unstable();
    assert!(starts.windows(2).all(|pair| pair[1].get() - pair[0].get() >= 32));
}

#[test]
fn i03_locked_pages_are_locked_undumped_wiped_on_fork_and_fenced() {
    let locked = Locked::new(|| [0xAA_u8; ODD_THREE]);
    let address = locked.slot.start.addr().get();
    let maps = fs::read_to_string("/proc/self/smaps").unwrap();
    let mut flags = None;
    let (mut fenced_before, mut fenced_behind) = (false, false);
    let (mut before, mut inside) = (String::new(), false);
    for line in maps.lines() {
        if let Some((start, end, rights)) = mapping(line) {
            if inside {
                fenced_behind |= rights == "---p" && flags.is_some();
            }
            inside = (start..end).contains(&address);
            if inside {
                assert_eq!(rights, "rw-p");
                fenced_before = before == "---p";
            }
            before = rights;
        } else if let Some(rest) = line.strip_prefix("VmFlags:").filter(|_| inside) {
            flags = Some(rest.to_owned());
        }
    }
    let flags = flags.expect("the mapping is listed");
    for flag in ["lo", "dd", "wf"] {
        let refused = flag == "lo" && protection().unlocked_bytes > 0;
        assert!(refused || flags.split_whitespace().any(|it| it == flag), "{flag}: {flags}");
    }
    assert!(fenced_before && fenced_behind);
}

/// `start-end rights …` of a line of `smaps` that begins a mapping.
fn mapping(line: &str) -> Option<(usize, usize, String)> {
    let (range, rest) = line.split_once(' ')?;
    let (start, end) = range.split_once('-')?;
    let number = |digits| usize::from_str_radix(digits, 16).ok();
    Some((number(start)?, number(end)?, rest.split(' ').next()?.to_owned()))
}

#[test]
fn i03_core_dumps_are_forbidden() {
    if in_a_child("crypto::memory::tests::i03_core_dumps_are_forbidden") {
        forbid_core_dumps().unwrap();
        let limit = rustix::process::getrlimit(Resource::Core);
        assert_eq!((limit.current, limit.maximum), (Some(0), Some(0)));
        let dumpable = rustix::process::dumpable_behavior().unwrap();
        assert_eq!(dumpable, DumpableBehavior::NotDumpable);
    }
}

#[test]
fn a_lock_that_is_refused_is_counted_and_the_value_lives() {
    if in_a_child("crypto::memory::tests::a_lock_that_is_refused_is_counted_and_the_value_lives") {
        setrlimit(Resource::Memlock, Rlimit { current: Some(0), maximum: Some(0) }).unwrap();
        let none = CapabilitySet::empty();
        let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
        set_capabilities(None, none).unwrap();
        let locked = Locked::new(|| [7_u8; 32]);
        assert_eq!(locked.expose(), &[7; 32]);
        let protection = protection();
        assert_eq!(protection.locked_bytes, 0);
        assert_eq!(protection.unlocked_bytes, REGION_BYTES);
    }
}
