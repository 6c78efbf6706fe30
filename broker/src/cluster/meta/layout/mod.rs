//! How consensus is laid out on disk and on the wire: this project's own forms, so that another
//! version of openraft with other types reads the same bytes. Pure.
//!
//! Everything is postcard behind a version byte. A form is never changed: a new one gets a new
//! version, and the old one stays readable.

mod log;
mod rpc;

#[cfg(test)]
mod layout_test;

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(super) use log::{LogIdForm, SnapshotMetaForm, VoteForm};

/// Version of every form here.
const VERSION: u8 = 1;

/// A type with a form of its own.
pub(super) trait Layout: Sized {
    type Form: Serialize + DeserializeOwned;

    fn to_form(&self) -> Self::Form;
    fn from_form(form: Self::Form) -> io::Result<Self>;
}

/// Encodes a value in its form.
pub(super) fn encode<T: Layout>(value: &T) -> io::Result<Bytes> {
    encode_form(&value.to_form())
}

/// Decodes a value from its form; what the bytes are goes into the error.
pub(super) fn decode<T: Layout>(what: &str, bytes: &[u8]) -> io::Result<T> {
    T::from_form(decode_form(what, bytes)?)
}

/// Encodes a type that is its own form.
pub(super) fn encode_form<T: Serialize>(form: &T) -> io::Result<Bytes> {
    let bytes = postcard::to_extend(form, vec![VERSION]).map_err(io::Error::other)?;
    Ok(Bytes::from(bytes))
}

/// Decodes a type that is its own form; bytes behind it are left alone.
pub(super) fn decode_form<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, encoded)) => {
            postcard::from_bytes(encoded).map_err(|error| invalid(&format!("{what}: {error}")))
        }
        Some((version, _)) => Err(invalid(&format!(
            "{what} has version {version}, this broker reads version {VERSION}: run a newer one"
        ))),
        None => Err(invalid(&format!("{what} is empty"))),
    }
}

fn invalid(text: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, text)
}

impl<T: Layout> Layout for Option<T> {
    type Form = Option<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.as_ref().map(T::to_form)
    }

    fn from_form(form: Self::Form) -> io::Result<Self> {
        form.map(T::from_form).transpose()
    }
}

impl<T: Layout> Layout for Vec<T> {
    type Form = Vec<T::Form>;

    fn to_form(&self) -> Self::Form {
        self.iter().map(T::to_form).collect()
    }

    fn from_form(form: Self::Form) -> io::Result<Self> {
        form.into_iter().map(T::from_form).collect()
    }
}
