//! A lock that ignores poisoning. Layer: bottom.
//!
//! What these locks guard is changed in single steps that cannot leave it half done, so a panic
//! elsewhere is no reason to stop everyone who comes after.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks, whether or not a holder before panicked.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
