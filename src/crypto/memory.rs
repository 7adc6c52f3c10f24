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
mod tests;
