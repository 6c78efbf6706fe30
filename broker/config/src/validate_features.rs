//! The tables of `raw_features`, checked. Pure.

use crate::error::ConfigError;
use crate::features::Redirect;
use crate::raw_features::RawRedirect;

/// Far from what a Maximum Packet Size or a text may hold.
const SERVER_REFERENCE_BYTES_MAX: usize = 1024;

/// What is wrong with one of those tables.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
#[non_exhaustive]
pub enum FeatureError {
    /// A server reference that can't be sent.
    #[error(
        "redirect.server_reference is {value:?}: name the server that clients are to use, in 1 to \
         {SERVER_REFERENCE_BYTES_MAX} bytes without control characters, as in \
         \"mqtt-b.example:8883\""
    )]
    ServerReference {
        /// As written.
        value: String,
    },
    /// Clients are refused, and told nothing.
    #[error(
        "redirect.refuse_connects is true and redirect.server_reference is not set: name the \
         server that clients are to use, or remove refuse_connects"
    )]
    NoServerReference,
}

pub(crate) fn redirect(raw: &RawRedirect) -> Result<Option<Redirect>, ConfigError> {
    let Some(text) = raw.server_reference.as_deref() else {
        return match raw.refuse_connects {
            true => Err(FeatureError::NoServerReference.into()),
            false => Ok(None),
        };
    };
    let is_sendable = !text.is_empty() && text.len() <= SERVER_REFERENCE_BYTES_MAX;
    if !is_sendable || text.chars().any(char::is_control) {
        return Err(FeatureError::ServerReference { value: text.to_owned() }.into());
    }
    Ok(Some(Redirect { server_reference: text.into(), refuse_connects: raw.refuse_connects }))
}
