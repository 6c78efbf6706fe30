//! The two properties that may repeat: read in place after decoding, or listed for encoding. Pure.

use std::fmt;

use super::primitive::{Reader, Writer};
use super::property::PropertyId;
use crate::types::SubscriptionId;

/// A validated stretch of a property block from the first to the last occurrence of a property
/// that may repeat; others may lie between them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Run<'a> {
    /// From the first occurrence to the end of the block.
    block: &'a [u8],
    /// Bytes of `block` up to the end of the last occurrence.
    span: u32,
    /// How many of those belong to the property.
    own: u32,
}

impl<'a> Run<'a> {
    /// Adds the occurrence at the start of `from`, after which `rest` follows.
    pub(super) const fn extend(&mut self, from: &'a [u8], rest: &'a [u8]) {
        if self.own == 0 {
            self.block = from;
        }
        // A packet is shorter than 2^28 bytes.
        self.own += (from.len() - rest.len()) as u32;
        self.span = (self.block.len() - rest.len()) as u32;
    }

    fn stretch(&self) -> &'a [u8] {
        self.block.get(..self.span as usize).unwrap_or_default()
    }

    /// The stretch when nothing else lies in it.
    fn contiguous(&self) -> Option<&'a [u8]> {
        (self.own == self.span).then(|| self.stretch())
    }
}

/// The next occurrence of `wanted` in a validated stretch, its value still to be read.
fn find_next(reader: &mut Reader<'_>, wanted: PropertyId) -> Option<()> {
    while !reader.is_empty() {
        let id = PropertyId::from_u8(reader.u8("property identifier").ok()?)?;
        if id == wanted {
            return Some(());
        }
        id.skip(reader).ok()?;
    }
    None
}

#[derive(Debug, Clone, Copy)]
enum Repeated<'a, T> {
    Encoded(Run<'a>),
    Listed(&'a [T]),
}

#[derive(Debug, Clone)]
enum Iter<'a, T> {
    Encoded(Reader<'a>),
    Listed(std::slice::Iter<'a, T>),
}

impl<'a, T> Repeated<'a, T> {
    fn iter(&self) -> Iter<'a, T> {
        match self {
            Self::Encoded(run) => Iter::Encoded(Reader::new(run.stretch())),
            Self::Listed(items) => Iter::Listed(items.iter()),
        }
    }

    const fn is_empty(&self) -> bool {
        match self {
            Self::Encoded(run) => run.own == 0,
            Self::Listed(items) => items.is_empty(),
        }
    }
}

/// User Properties: name and value pairs in their order; the same name may appear again.
///
/// After decoding they are a view of the packet; to encode, list pairs. Equality compares pairs.
/// Spec: MQTT 5.0 section 3.3.2.3.7.
#[derive(Clone, Copy)]
pub struct UserProperties<'a>(Repeated<'a, (&'a str, &'a str)>);

impl<'a> UserProperties<'a> {
    /// No User Properties.
    pub const NONE: Self = Self(Repeated::Listed(&[]));

    /// These pairs. Text with U+0000 must not be given.
    #[must_use]
    pub const fn from_pairs(pairs: &'a [(&'a str, &'a str)]) -> Self {
        Self(Repeated::Listed(pairs))
    }

    pub(super) const fn from_run(run: Run<'a>) -> Self {
        Self(Repeated::Encoded(run))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        if let Repeated::Encoded(run) = &self.0
            && let Some(bytes) = run.contiguous()
        {
            return writer.raw(bytes);
        }
        for (name, value) in self.iter() {
            writer.u8(PropertyId::UserProperty as u8);
            writer.text("user property name", name);
            writer.text("user property value", value);
        }
    }

    /// The pairs in their order.
    #[must_use]
    pub fn iter(&self) -> UserPropertiesIter<'a> {
        UserPropertiesIter(self.0.iter())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for UserProperties<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for UserProperties<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for UserProperties<'_> {}

impl fmt::Debug for UserProperties<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for UserProperties<'a> {
    type Item = (&'a str, &'a str);
    type IntoIter = UserPropertiesIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterates over [`UserProperties`].
#[derive(Debug, Clone)]
pub struct UserPropertiesIter<'a>(Iter<'a, (&'a str, &'a str)>);

impl<'a> Iterator for UserPropertiesIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::Listed(items) => items.next().copied(),
            Iter::Encoded(reader) => {
                find_next(reader, PropertyId::UserProperty)?;
                let name = reader.text_with_null("user property name").ok()?;
                Some((name, reader.text_with_null("user property value").ok()?))
            }
        }
    }
}

/// Subscription Identifiers of a PUBLISH from a server. Equality compares the identifiers in order.
///
/// Spec: MQTT 5.0 section 3.3.2.3.8.
#[derive(Clone, Copy)]
pub struct SubscriptionIds<'a>(Repeated<'a, SubscriptionId>);

impl<'a> SubscriptionIds<'a> {
    /// No Subscription Identifiers.
    pub const NONE: Self = Self(Repeated::Listed(&[]));

    /// These identifiers.
    #[must_use]
    pub const fn from_slice(ids: &'a [SubscriptionId]) -> Self {
        Self(Repeated::Listed(ids))
    }

    pub(super) const fn from_run(run: Run<'a>) -> Self {
        Self(Repeated::Encoded(run))
    }

    pub(super) fn write(&self, writer: &mut Writer<'_>) {
        for id in self.iter() {
            writer.u8(PropertyId::SubscriptionIdentifier as u8);
            writer.variable_byte_integer(id.get() as usize);
        }
    }

    /// The identifiers in their order.
    #[must_use]
    pub fn iter(&self) -> SubscriptionIdsIter<'a> {
        SubscriptionIdsIter(self.0.iter())
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl Default for SubscriptionIds<'_> {
    fn default() -> Self {
        Self::NONE
    }
}

impl PartialEq for SubscriptionIds<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for SubscriptionIds<'_> {}

impl fmt::Debug for SubscriptionIds<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

impl<'a> IntoIterator for SubscriptionIds<'a> {
    type Item = SubscriptionId;
    type IntoIter = SubscriptionIdsIter<'a>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Iterates over [`SubscriptionIds`].
#[derive(Debug, Clone)]
pub struct SubscriptionIdsIter<'a>(Iter<'a, SubscriptionId>);

impl Iterator for SubscriptionIdsIter<'_> {
    type Item = SubscriptionId;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.0 {
            Iter::Listed(items) => items.next().copied(),
            Iter::Encoded(reader) => {
                find_next(reader, PropertyId::SubscriptionIdentifier)?;
                SubscriptionId::new(reader.variable_byte_integer("subscription identifier").ok()?)
            }
        }
    }
}
