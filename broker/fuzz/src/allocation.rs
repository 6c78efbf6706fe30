//! How much memory a target takes: an allocator that counts.

#![expect(unsafe_code, reason = "an allocator is unsafe to be")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// The system's allocator, counting for each thread.
#[derive(Debug, Clone, Copy)]
pub struct CountingAllocator;

#[derive(Debug, Clone, Copy)]
struct Count {
    allocated: usize,
    live: isize,
    peak: isize,
}

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(Count { allocated: 0, live: 0, peak: 0 }) };
}

fn count(allocated: usize, freed: usize) {
    // A thread that ends may free what is left without being counted.
    let _ = COUNT.try_with(|cell| {
        let mut count = cell.get();
        count.allocated = count.allocated.wrapping_add(allocated);
        count.live += allocated as isize - freed as isize;
        count.peak = count.peak.max(count.live);
        cell.set(count);
    });
}

// SAFETY: every call goes to the system's allocator with the arguments it came with.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size(), 0);
        // SAFETY: as the caller promises.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        count(0, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, bytes: usize) -> *mut u8 {
        count(bytes, layout.size());
        // SAFETY: as the caller promises.
        unsafe { System.realloc(memory, layout, bytes) }
    }
}

/// What a piece of work took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Taken {
    /// Bytes allocated, whether freed or not.
    pub allocated: usize,
    /// Most bytes held at one time beyond what was held before.
    pub peak: usize,
}

/// Does the work and says what memory it took on this thread; 0 where [`CountingAllocator`] is not
/// the allocator.
pub fn measure<T>(work: impl FnOnce() -> T) -> (T, Taken) {
    let before = COUNT.get();
    COUNT.set(Count { peak: before.live, ..before });
    let result = work();
    let after = COUNT.get();
    COUNT.set(Count { peak: after.peak.max(before.peak), ..after });
    let taken = Taken {
        allocated: after.allocated.wrapping_sub(before.allocated),
        peak: usize::try_from(after.peak - before.live).unwrap_or(0),
    };
    (result, taken)
}
