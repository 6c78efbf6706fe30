//! In which order the files of a folder are read. Pure.

use std::cmp::Ordering;

const SUFFIX: &str = ".conf";

/// Of these names those of configuration files, in Mosquitto's order: by letter, and of one letter
/// the upper case first: `00.conf`, `A.conf`, `a.conf`, `B.conf`.
pub fn include_order(mut names: Vec<String>) -> Vec<String> {
    names.retain(|name| name.len() > SUFFIX.len() && name.ends_with(SUFFIX));
    names.sort_by(|a, b| compare(a.as_bytes(), b.as_bytes()));
    names
}

fn compare(a: &[u8], b: &[u8]) -> Ordering {
    for (a, b) in a.iter().zip(b) {
        let by_letter = a.to_ascii_uppercase().cmp(&b.to_ascii_uppercase());
        match by_letter.then(a.cmp(b)) {
            Ordering::Equal => {}
            other => return other,
        }
    }
    a.len().cmp(&b.len())
}
