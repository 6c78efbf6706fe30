//! SASLprep: how different spellings of a name or a password become the same one. Pure.
//!
//! Spec: RFC 4013.

use std::borrow::Cow;

/// The text in its one spelling; `None` where it holds what SASLprep prohibits (control characters,
/// mixed directions, what Unicode 3.2 did not know) or nothing is left of it.
#[must_use]
pub fn prepare(text: &str) -> Option<Cow<'_, str>> {
    stringprep::saslprep(text).ok().filter(|prepared| !prepared.is_empty())
}
