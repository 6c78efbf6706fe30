//! Makes an input that fails shorter. Pure, but for the target.

/// Tries after which it is short enough.
const TRIES_MAX: usize = 2_000;

/// The shortest found of the inputs that still fail: pieces are left out, large ones first.
pub(crate) fn shrink(input: &[u8], mut fails: impl FnMut(&[u8]) -> bool) -> Vec<u8> {
    let mut best = input.to_vec();
    let mut piece = best.len() / 2;
    let mut tries = 0;
    while piece > 0 {
        let mut at = 0;
        while at < best.len() && tries < TRIES_MAX {
            let end = best.len().min(at + piece);
            let shorter = [&best[..at], &best[end..]].concat();
            tries += 1;
            if fails(&shorter) {
                best = shorter;
            } else {
                at = end;
            }
        }
        piece /= 2;
    }
    best
}
