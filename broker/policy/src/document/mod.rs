//! The policy as one dynamic-security document: the JSON file of Mosquitto's plugin. Pure.
//!
//! Both forms are read: that of Mosquitto 2.0, where a client has `password`, `salt` and
//! `iterations`, and that of 2.1, with `encoded_password` and `allowwildcardsubs`. What Mosquitto
//! does not know (several client identifiers, certificates, quotas) stands in an object `dunlin`
//! within the client, which Mosquitto ignores.

mod export;
mod import;

#[cfg(test)]
mod document_test;

pub use export::{DocumentForm, export};
pub use import::{DocumentError, Imported, SkippedEntry, import};
