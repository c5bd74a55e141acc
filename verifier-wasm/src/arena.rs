//! Memory that is never given back: the verifier keeps nothing between calls, so its instance is thrown away instead.
//!
//! `js/src/engine.ts` makes a new instance when one has grown large. That saves the code of an allocator and of every
//! destructor, a tenth of what a browser downloads.

use core::alloc::{GlobalAlloc, Layout};
use core::arch::wasm32;
use core::cell::Cell;

const PAGE: usize = 65_536;

struct Arena {
    /// The first free address; 0 before the first allocation.
    next: Cell<usize>,
}

#[global_allocator]
static ARENA: Arena = Arena { next: Cell::new(0) };

#[expect(unsafe_code, reason = "a module without the atomics feature has one thread")]
unsafe impl Sync for Arena {}

#[expect(unsafe_code, reason = "an allocator cannot be written without")]
unsafe impl GlobalAlloc for Arena {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let end = wasm32::memory_size(0).wrapping_mul(PAGE);
        // What the module came with is its stack and its constants.
        let free = if self.next.get() == 0 { end } else { self.next.get() };
        let start = free.next_multiple_of(layout.align());
        let next = start.saturating_add(layout.size());
        // Doubled at least: to grow is slow, whatever the amount.
        if next > end && wasm32::memory_grow(0, (next - end).max(end).div_ceil(PAGE)) == usize::MAX {
            return core::ptr::null_mut();
        }
        self.next.set(next);
        start as *mut u8
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}
