//! postcard behind a version byte, for what consensus stores and sends. Pure.

use std::io;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Version of everything that is encoded here. Older ones stay readable; newer are refused.
const VERSION: u8 = 1;

/// Encodes a value.
pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Bytes> {
    let bytes = postcard::to_extend(value, vec![VERSION]).map_err(io::Error::other)?;
    Ok(Bytes::from(bytes))
}

/// Decodes a value; what the bytes are goes into the error.
pub(super) fn decode<T: DeserializeOwned>(what: &str, bytes: &[u8]) -> io::Result<T> {
    match bytes.split_first() {
        Some((&VERSION, encoded)) => postcard::from_bytes(encoded).map_err(|error| {
            io::Error::new(io::ErrorKind::InvalidData, format!("decode {what}: {error}"))
        }),
        Some((version, _)) => {
            let text = format!(
                "{what} has version {version}, this broker reads version {VERSION}: run a newer one"
            );
            Err(io::Error::new(io::ErrorKind::InvalidData, text))
        }
        None => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{what} is empty"))),
    }
}
