//! Memory that secrets live in, and memory that they have left.
//!
//! Three things: an allocator that wipes what is given back, locked pages for the keys that stay
//! in memory for long, and the switch that forbids core dumps.
//!
//! * [`WipingAllocator`] zeroes every block before the system gets it back, so that no plaintext
//!   outlives the buffer that held it.
//! * [`Locked`] holds one value in pages that are not swapped (`mlock`), not dumped
//!   (`MADV_DONTDUMP`), empty in a forked child (`MADV_WIPEONFORK`) and fenced by pages that
//!   nobody may touch. Values are small and many, so they share regions: 100,000 KEKs take
//!   16 MiB, not 100,000 pages.
//! * A lock that the system refuses (`RLIMIT_MEMLOCK`) does not stop the program here. It is
//!   counted in [`protection`], and whoever reads the configuration decides.
//!
//! It never hands out the address of a freed slot before that slot was wiped, and it never logs.
//! This file is the only one in the project that may hold unsafe code.
#![allow(unsafe_code)] // Pages and allocators are not to be had without it.

use std::alloc::{GlobalAlloc, Layout, System, handle_alloc_error};
use std::marker::PhantomData;
use std::ptr::{self, NonNull};
use std::slice;

use parking_lot::Mutex;
use rustix::mm::{self, Advice, MapFlags, MprotectFlags, ProtFlags};
use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};

/// A global allocator that zeroes each block before it is given back.
///
/// Growing or shrinking a block always moves it: the system's own `realloc` may move it too, and
/// would leave the old copy as it was.
///
/// ```
/// use bulla::crypto::memory::WipingAllocator;
///
/// #[global_allocator]
/// static ALLOCATOR: WipingAllocator = WipingAllocator::new();
/// ```
pub struct WipingAllocator<A = System> {
    inner: A,
}

/// One value in locked pages, wiped when dropped. Mute: no `Debug`, no `Clone`, no `==`.
///
/// A forked child sees zeroes where the value was, and must not use it. The program never forks
/// without replacing itself at once.
pub struct Locked<T> {
    slot: Slot,
    value: PhantomData<T>,
}

/// How well the locked pages are protected, in bytes of whole regions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Protection {
    /// Bytes that the system keeps out of swap.
    pub locked_bytes: usize,
    /// Bytes that hold secrets all the same, but that the system would not lock.
    pub unlocked_bytes: usize,
    /// Bytes that the system would not keep out of core dumps.
    pub dumpable_bytes: usize,
}

/// Forbids core dumps, and other processes of the same user to read this one's memory.
///
/// # Errors
/// What the system said, when it refused either.
pub fn forbid_core_dumps() -> std::io::Result<()> {
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    Ok(())
}

/// What protects the pages behind [`Locked`] at this moment.
pub fn protection() -> Protection {
    ARENA.lock().protection
}

// === impl WipingAllocator ===

impl WipingAllocator {
    /// Wipes, over the system's allocator.
    pub const fn new() -> Self {
        Self { inner: System }
    }
}

impl<A: GlobalAlloc> WipingAllocator<A> {
    /// Wipes, over another allocator.
    pub const fn over(inner: A) -> Self {
        Self { inner }
    }
}

impl Default for WipingAllocator {
    fn default() -> Self {
        Self::new()
    }
}

// SAFETY: every block comes from `inner` and goes back to it with the layout it was asked for
// with. `realloc` is the trait's own, made of `alloc`, a copy and `dealloc`, and so wipes as well.
unsafe impl<A: GlobalAlloc> GlobalAlloc for WipingAllocator<A> {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // SAFETY: the caller's promise about `layout` is the one that `inner` asks for.
        unsafe { self.inner.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        // SAFETY: as for `alloc`.
        unsafe { self.inner.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        // SAFETY: the caller promises that `block` is a live block of this layout, and nobody
        // reads it after this call.
        unsafe { wipe(block, layout.size()) };
        // SAFETY: `block` came from `inner` with this layout.
        unsafe { self.inner.dealloc(block, layout) }
    }
}

// === impl Locked ===

impl<T> Locked<T> {
    const FITS: () =
        assert!(size_of::<T>() <= SLOT_BYTES_MAX && align_of::<T>() <= SLOT_STEP_BYTES);

    /// Puts what `make` returns into locked pages.
    ///
    /// The value may pass over the stack on its way; whoever makes it from a secret wipes the
    /// stack below afterwards.
    pub fn new(make: impl FnOnce() -> T) -> Self {
        let () = Self::FITS;
        let slot = Slot::take(size_of::<T>());
        // SAFETY: the slot is ours alone, at least as large as `T` and aligned to
        // `SLOT_STEP_BYTES`, which is a multiple of every alignment that `FITS` lets through. If
        // `make` panics, nothing was written and the slot goes back.
        unsafe { slot.start.cast::<T>().write(make()) };
        Self { slot, value: PhantomData }
    }

    /// Lets the value be read where it lies. Nobody outside `crypto` can.
    pub(super) fn expose(&self) -> &T {
        // SAFETY: `new` wrote a `T` there, nothing but `drop` ends it, and the borrow of `self`
        // keeps `drop` and `expose_mut` away.
        unsafe { self.slot.start.cast::<T>().as_ref() }
    }

    pub(super) fn expose_mut(&mut self) -> &mut T {
        // SAFETY: as for `expose`; the exclusive borrow of `self` rules out any other.
        unsafe { self.slot.start.cast::<T>().as_mut() }
    }
}

impl<T: Default> Locked<T> {
    /// Lets `fill` write the value where it will stay, so that it was never anywhere else.
    ///
    /// # Errors
    /// What `fill` returned; whatever it wrote until then is wiped.
    pub fn born<E>(fill: impl FnOnce(&mut T) -> Result<(), E>) -> Result<Self, E> {
        let mut locked = Self::new(T::default);
        fill(locked.expose_mut())?;
        Ok(locked)
    }
}

impl<T> Drop for Locked<T> {
    fn drop(&mut self) {
        // SAFETY: the value was written by `new`, is dropped once, here, and cannot be reached
        // afterwards. `slot` drops next, and wipes the bytes.
        unsafe { ptr::drop_in_place(self.slot.start.cast::<T>().as_ptr()) };
    }
}

// SAFETY: the slot belongs to this value alone, so it may go wherever a `T` may.
unsafe impl<T: Send> Send for Locked<T> {}
// SAFETY: sharing a `Locked<T>` gives out `&T` and nothing more.
unsafe impl<T: Sync> Sync for Locked<T> {}

// === the arena ===

/// Where slots come from. One for the program, because the limit on locked memory is the
/// program's.
static ARENA: Mutex<Arena> = Mutex::new(Arena {
    classes: Vec::new(),
    protection: Protection { locked_bytes: 0, unlocked_bytes: 0, dumpable_bytes: 0 },
});

struct Arena {
    /// One for each slot size in use; two or three in practice.
    classes: Vec<Class>,
    protection: Protection,
}

struct Class {
    slot_bytes: usize,
    free: Vec<NonNull<u8>>,
}

/// A piece of a region, wiped and given back when dropped.
struct Slot {
    start: NonNull<u8>,
    slot_bytes: usize,
}

// SAFETY: the pointers are addresses of free slots in mappings that live as long as the program;
// they are bound to no thread.
unsafe impl Send for Class {}

impl Slot {
    fn take(bytes: usize) -> Self {
        let slot_bytes = bytes.max(1).next_multiple_of(SLOT_STEP_BYTES);
        let start = ARENA.lock().take(slot_bytes);
        Self { start, slot_bytes }
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        // SAFETY: the slot is `slot_bytes` long, readable and writable, and ours until it is
        // given back on the next line.
        unsafe { wipe(self.start.as_ptr(), self.slot_bytes) };
        ARENA.lock().give_back(self.start, self.slot_bytes);
    }
}

impl Arena {
    fn take(&mut self, slot_bytes: usize) -> NonNull<u8> {
        if let Some(start) = self.class(slot_bytes).and_then(|class| class.free.pop()) {
            return start;
        }
        let mut free = self.map_region(slot_bytes);
        let Some(start) = free.pop() else { out_of_memory() };
        match self.class(slot_bytes) {
            Some(class) => class.free = free,
            None => self.classes.push(Class { slot_bytes, free }),
        }
        start
    }

    fn give_back(&mut self, start: NonNull<u8>, slot_bytes: usize) {
        if let Some(class) = self.class(slot_bytes) {
            class.free.push(start);
        }
    }

    fn class(&mut self, slot_bytes: usize) -> Option<&mut Class> {
        self.classes.iter_mut().find(|class| class.slot_bytes == slot_bytes)
    }

    /// Maps `guard ‖ data ‖ guard`, protects the data, and cuts it into slots. The mapping is
    /// kept for good: the caches above are bounded, and a region once locked is worth keeping.
    fn map_region(&mut self, slot_bytes: usize) -> Vec<NonNull<u8>> {
        let page = rustix::param::page_size();
        let bytes = REGION_BYTES.next_multiple_of(page);
        let mapped = bytes.saturating_add(page.saturating_mul(2));
        // SAFETY: a fresh private mapping at an address of the system's choice touches no memory
        // that anybody has.
        let base = unsafe {
            mm::mmap_anonymous(ptr::null_mut(), mapped, ProtFlags::empty(), MapFlags::PRIVATE)
        };
        let Ok(base) = base else { out_of_memory() };
        let data = base.wrapping_byte_add(page);
        // SAFETY: `data..data + bytes` lies inside the mapping made above, which is ours.
        let opened =
            unsafe { mm::mprotect(data, bytes, MprotectFlags::READ | MprotectFlags::WRITE) };
        if opened.is_err() {
            out_of_memory();
        }
        // SAFETY: as above; the advice changes no byte of this process's memory.
        let undumped = unsafe { mm::madvise(data, bytes, Advice::LinuxDontDump) };
        if undumped.is_err() {
            let dumpable = &mut self.protection.dumpable_bytes;
            *dumpable = dumpable.saturating_add(bytes);
        }
        // Given where the kernel knows it (Linux 4.14); without it a child keeps a copy until it
        // replaces itself, so nothing is to be done about a refusal.
        // SAFETY: as above; the mapping is private and anonymous, as this advice asks.
        let _ = unsafe { mm::madvise(data, bytes, Advice::LinuxWipeOnFork) };
        // SAFETY: as above; locking changes no byte.
        let locked = unsafe { mm::mlock(data, bytes) };
        let count = match locked {
            Ok(()) => &mut self.protection.locked_bytes,
            Err(_) => &mut self.protection.unlocked_bytes,
        };
        *count = count.saturating_add(bytes);
        (0..bytes.checked_div(slot_bytes).unwrap_or(0))
            .rev()
            .map(|slot| slot.saturating_mul(slot_bytes))
            .filter_map(|offset| NonNull::new(data.cast::<u8>().wrapping_add(offset)))
            .collect()
    }
}

/// Zeroes `bytes` bytes from `start`, in a way that the compiler may not leave out.
///
/// # Safety
/// The bytes are writable, nobody else uses them meanwhile, and nobody reads a value in them later.
unsafe fn wipe(start: *mut u8, bytes: usize) {
    // SAFETY: the caller's promise.
    unsafe { ptr::write_bytes(start, 0, bytes) };
    // SAFETY: the bytes are writable and were all written on the line above.
    let wiped = unsafe { slice::from_raw_parts(start, bytes) };
    // Without this the zeroes are dead stores before a `free`, and are left out.
    zeroize::optimization_barrier(wiped);
}

/// No page for a key is as fatal as no page for anything else, and ends in the same place.
fn out_of_memory() -> ! {
    handle_alloc_error(Layout::new::<[u8; REGION_BYTES]>())
}

// === limits ===

/// Data of one region. A multiple of every page size in use, and small enough that a few regions
/// fit into the 8 MiB that a system lets a program lock by default.
const REGION_BYTES: usize = 64 * 1024;
/// Slots are multiples of this, and aligned to it.
const SLOT_STEP_BYTES: usize = 32;
/// The largest value that may be locked.
const SLOT_BYTES_MAX: usize = 1024;

const _: () = assert!(REGION_BYTES.is_multiple_of(SLOT_STEP_BYTES));
const _: () = assert!(SLOT_BYTES_MAX <= REGION_BYTES);

#[cfg(test)]
mod tests {
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
        if in_a_child(
            "crypto::memory::tests::a_lock_that_is_refused_is_counted_and_the_value_lives",
        ) {
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
}
