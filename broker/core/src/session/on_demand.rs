//! Parts that most sessions never need, without memory until they are changed. Pure.

use std::ops::{Deref, DerefMut};

/// A part of a session that is read as if it were there, and is allocated when it is first
/// changed: an idle session owns a pointer of it.
#[derive(Debug)]
pub(crate) struct OnDemand<T>(Option<Box<T>>);

/// What is read before anything was written.
pub(crate) trait Unwritten: Default + 'static {
    const UNWRITTEN: &'static Self;
}

impl<T: Unwritten> OnDemand<T> {
    /// The part if anything was ever written to it.
    pub(crate) fn written(&mut self) -> Option<&mut T> {
        self.0.as_deref_mut()
    }

    pub(crate) fn into_inner(self) -> T {
        self.0.map_or_else(T::default, |inner| *inner)
    }
}

impl<T> Default for OnDemand<T> {
    fn default() -> Self {
        Self(None)
    }
}

impl<T> From<T> for OnDemand<T> {
    fn from(inner: T) -> Self {
        Self(Some(Box::new(inner)))
    }
}

impl<T: Unwritten> Deref for OnDemand<T> {
    type Target = T;

    fn deref(&self) -> &T {
        self.0.as_deref().unwrap_or(T::UNWRITTEN)
    }
}

impl<T: Unwritten> DerefMut for OnDemand<T> {
    fn deref_mut(&mut self) -> &mut T {
        self.0.get_or_insert_default()
    }
}
