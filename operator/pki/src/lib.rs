//! Certificate authorities, leaf certificates and their renewal.
//!
//! One root signs four intermediates, one for each [`Purpose`]; an intermediate signs leaves. Every
//! side of the product trusts one intermediate only, so that a certificate made for one purpose
//! opens no other door:
//!
//! | who checks | trust anchor | leaf |
//! |---|---|---|
//! | an MQTT client, of a broker | root (`ca.crt`) | [`Purpose::Server`] |
//! | a broker, of another broker | peer intermediate | [`Purpose::Peer`] |
//! | a broker, of an MQTT client | client intermediate | [`Purpose::Client`] |
//! | the admin API, of the operator | admin intermediate | [`Purpose::Admin`] |
//!
//! The entry points are [`ensure_authority`] ([`given_authority`] for one that somebody else keeps) and [`ensure_leaf`]: what a Secret holds and what is
//! wanted go in, what the Secret shall hold and why comes out. Time is passed in; the only impurity
//! is the random numbers that new keys and serial numbers need. Nothing here reads or writes a
//! Secret or a file.

mod authority;
mod certificate;
mod ensure;
mod error;
mod given;
mod leaf;
mod purpose;
mod renewal;

pub use authority::{Authority, AuthorityRequest, ensure_authority};
pub use certificate::{CertificateFacts, KeyPairPem};
pub use ensure::{Ensured, IssueReason, SecretData};
pub use error::PkiError;
pub use given::given_authority;
pub use leaf::{Leaf, LeafRequest, ensure_leaf};
pub use purpose::Purpose;
pub use renewal::renew_at;

#[cfg(test)]
mod authority_test;
#[cfg(test)]
mod leaf_test;
#[cfg(test)]
mod trust_test;
