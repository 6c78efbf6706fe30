//! Text of one level, inline when short. Pure.

use std::fmt;

/// Longest text kept in the node itself; with the length byte it fills what a `Box<str>` and its
/// tag need anyway.
const INLINE_BYTES_MAX: usize = 22;

#[derive(Clone)]
pub(super) enum LevelText {
    Inline { len: u8, bytes: [u8; INLINE_BYTES_MAX] },
    Heap(Box<str>),
}

impl LevelText {
    pub(super) const EMPTY: Self = Self::Inline { len: 0, bytes: [0; INLINE_BYTES_MAX] };

    pub(super) fn new(text: &str) -> Self {
        if text.len() > INLINE_BYTES_MAX {
            return Self::Heap(Box::from(text));
        }
        let mut bytes = [0; INLINE_BYTES_MAX];
        bytes[..text.len()].copy_from_slice(text.as_bytes());
        Self::Inline { len: text.len() as u8, bytes }
    }

    #[inline]
    pub(super) fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Inline { len, bytes } => bytes.get(..usize::from(*len)).unwrap_or_default(),
            Self::Heap(text) => text.as_bytes(),
        }
    }

    pub(super) fn as_str(&self) -> &str {
        match self {
            Self::Inline { .. } => std::str::from_utf8(self.as_bytes())
                .expect("invariant: the bytes were copied from a str"),
            Self::Heap(text) => text,
        }
    }
}

impl fmt::Debug for LevelText {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self.as_str(), f)
    }
}
