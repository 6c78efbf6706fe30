//! Random bytes from the operating system. IO.

use ring::rand::{SecureRandom, SystemRandom};

/// Fills a buffer with random bytes.
///
/// # Panics
/// The operating system has none, after which nothing secret can be made.
pub(crate) fn fill(buffer: &mut [u8]) {
    SystemRandom::new().fill(buffer).expect("invariant: the system gives random bytes");
}

/// A random number below 1.
pub(crate) fn fraction() -> f64 {
    let mut bytes = [0; 4];
    fill(&mut bytes);
    f64::from(u32::from_le_bytes(bytes)) / (f64::from(u32::MAX) + 1.0)
}
