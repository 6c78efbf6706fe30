//! Changes to an input, small and large. Pure.

use crate::random::Random;

/// Bytes that are often at the border of something.
const BORDERS: [u8; 12] = [0, 1, 2, 3, 4, 5, 0x7F, 0x80, 0x81, 0xC0, 0xED, 0xFF];
/// Changes made to one input before it is tried.
const CHANGES_MAX: usize = 6;

/// Longest piece that is copied or removed at a time.
const PIECE_BYTES_MAX: usize = 32;

/// Changes `input`, which stays within `bytes_max`. `other` is another input to take pieces of,
/// `words` are what the target's language is made of.
pub(crate) fn mutate(
    input: &mut Vec<u8>,
    other: &[u8],
    words: &[&[u8]],
    bytes_max: usize,
    random: &mut Random,
) {
    for _ in 0..=random.below(CHANGES_MAX) {
        change(input, other, words, random);
    }
    input.truncate(bytes_max);
}

fn change(input: &mut Vec<u8>, other: &[u8], words: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len());
    match random.below(11) {
        0 => with_byte(input, at, |byte| byte ^ 1 << random.below(8)),
        1 => with_byte(input, at, |_| random.number() as u8),
        2 => with_byte(input, at, |_| BORDERS[random.below(BORDERS.len())]),
        3 => with_byte(input, at, |byte| byte.wrapping_add(1 + random.below(4) as u8)),
        4 => with_byte(input, at, |byte| byte.wrapping_sub(1 + random.below(4) as u8)),
        5 => {
            let byte = random.number() as u8;
            insert(input, random, &[byte]);
        }
        6 => {
            let piece = piece(input, random).to_vec();
            insert(input, random, &piece);
        }
        7 => {
            let end = input.len().min(at + 1 + random.below(PIECE_BYTES_MAX));
            input.drain(at.min(end)..end);
        }
        8 => insert(input, random, piece(other, &mut random.clone())),
        9 => input.truncate(at),
        _ => {
            if let Some(word) = random.choose(words) {
                if random.below(3) == 0 {
                    let end = input.len().min(at + word.len());
                    input.splice(at.min(end)..end, word.iter().copied());
                } else {
                    insert(input, random, word);
                }
            }
        }
    }
}

fn with_byte(input: &mut [u8], at: usize, change: impl FnOnce(u8) -> u8) {
    if let Some(byte) = input.get_mut(at) {
        *byte = change(*byte);
    }
}

fn piece<'a>(of: &'a [u8], random: &mut Random) -> &'a [u8] {
    let start = random.below(of.len());
    let end = of.len().min(start + 1 + random.below(PIECE_BYTES_MAX));
    of.get(start..end).unwrap_or_default()
}

fn insert(input: &mut Vec<u8>, random: &mut Random, bytes: &[u8]) {
    let at = random.below(input.len() + 1);
    input.splice(at..at, bytes.iter().copied());
}
