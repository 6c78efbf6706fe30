//! Which code an execution reached: one counter for each edge, put there by the compiler.
//!
//! `make fuzz` compiles with LLVM's sancov pass and inline 8-bit counters. Each object file then
//! calls `__sanitizer_cov_8bit_counters_init` with the bounds of the binary's counters before
//! `main`. Source: clang's SanitizerCoverage documentation.

#![expect(unsafe_code, reason = "the counters are a foreign section of the binary")]

use std::sync::atomic::{AtomicPtr, AtomicU8, AtomicU64, AtomicUsize, Ordering};

static START: AtomicPtr<u8> = AtomicPtr::new(std::ptr::null_mut());
static LENGTH: AtomicUsize = AtomicUsize::new(0);

/// Called before `main`, with the same bounds by every object file.
///
/// # Safety
/// `start` and `stop` are the bounds of a section that lives as long as the process.
#[unsafe(no_mangle)]
pub(crate) unsafe extern "C" fn __sanitizer_cov_8bit_counters_init(start: *mut u8, stop: *mut u8) {
    START.store(start, Ordering::Relaxed);
    LENGTH.store((stop as usize).saturating_sub(start as usize), Ordering::Relaxed);
}

/// The counters, eight at a time: nearly all are 0 in one execution. The compiler aligns the section;
/// what stands outside of whole words is left out.
fn words() -> &'static [AtomicU64] {
    let (start, length) = (START.load(Ordering::Relaxed), LENGTH.load(Ordering::Relaxed));
    if start.is_null() {
        return &[];
    }
    // SAFETY: the section lives as long as the process, and any bytes are an `AtomicU64`.
    unsafe { std::slice::from_raw_parts(start.cast::<AtomicU8>(), length).align_to().1 }
}

/// Whether the binary was compiled with the coverage pass.
#[must_use]
pub fn is_instrumented() -> bool {
    !words().is_empty()
}

/// Sets every counter to 0.
pub(crate) fn reset() {
    for word in words() {
        word.store(0, Ordering::Relaxed);
    }
}

/// What the executions so far have reached.
#[derive(Debug, Default)]
pub(crate) struct Reached {
    /// For each edge a bit for each range of counts it was passed: 1, 2, 3, 4-7, 8-15, 16-31,
    /// 32-127, more.
    ranges: Vec<[u8; 8]>,
    edges: usize,
}

impl Reached {
    /// Adds what was counted since [`reset`]; whether any of it is new.
    pub(crate) fn add(&mut self) -> bool {
        let words = words();
        self.ranges.resize(words.len(), [0; 8]);
        let mut is_new = false;
        for (word, known) in words.iter().zip(&mut self.ranges) {
            let counts = word.load(Ordering::Relaxed);
            if counts == 0 {
                continue;
            }
            for (count, known) in counts.to_ne_bytes().into_iter().zip(known) {
                let range = range_of(count);
                if *known & range != range {
                    self.edges += usize::from(*known == 0);
                    *known |= range;
                    is_new = true;
                }
            }
        }
        is_new
    }

    /// How many edges were passed at least once.
    pub(crate) const fn edges(&self) -> usize {
        self.edges
    }
}

const fn range_of(count: u8) -> u8 {
    match count {
        0 => 0,
        1 => 1,
        2 => 2,
        3 => 4,
        4..=7 => 8,
        8..=15 => 16,
        16..=31 => 32,
        32..=127 => 64,
        128.. => 128,
    }
}
