//! Certificates, keys and trust anchors in use: read from files, reloaded when the files change.
//!
//! Layer: below listeners, workers, peer links and the admin API, which take the configuration
//! current at each new connection from here. A set of files that does not fit together is
//! reported, and what was in use stays in use. IO: files only.

mod client;
mod config;
mod error;
mod files;
mod identity;
mod own;
mod peer;
mod read;
mod store;
mod watch;

#[cfg(test)]
mod own_test;
#[cfg(test)]
mod store_test;

pub(crate) use client::client_config;
pub use error::TlsError;
pub use files::TlsFiles;
pub use identity::{common_name, subject_name};
pub(crate) use peer::{CertificateNames, alert_received, certificate_names, refused_certificate};
pub use peer::{PeerTls, PeerTlsError, peer_server_name};
pub use read::ListenerTls;
pub use store::TlsStore;
pub use watch::{WATCH_INTERVAL, watch};
