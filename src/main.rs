//! `bulla`, with the allocator that wipes.

mod program;

use bulla::crypto::memory::WipingAllocator;
use mimalloc::MiMalloc;

/// Whatever is freed is wiped: plaintext data keys leave nothing behind in the heap.
#[global_allocator]
static ALLOCATOR: WipingAllocator<MiMalloc> = WipingAllocator::over(MiMalloc);

fn main() -> std::process::ExitCode {
    program::run()
}
