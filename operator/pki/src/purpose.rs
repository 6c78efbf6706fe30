//! What a certificate is for. Pure.

use rcgen::ExtendedKeyUsagePurpose;

/// What an intermediate and the leaves below it are for.
///
/// The extended key usage stands in the intermediate as well as in the leaf: verifiers then refuse
/// a leaf of another purpose even where the whole chain is trusted through the root.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Purpose {
    /// A broker towards MQTT clients and callers of the admin API.
    Server,
    /// A broker towards other brokers of its cluster, as the dialling and as the accepting side.
    Peer,
    /// An MQTT client towards a broker; the common name is the username.
    Client,
    /// The operator towards the brokers' admin API.
    Admin,
}

impl Purpose {
    /// All purposes, in the order in which they are issued.
    pub const ALL: [Self; 4] = [Self::Server, Self::Peer, Self::Client, Self::Admin];

    /// The purpose as a key of the authority's Secret uses it: `server`, `peer`, `client`, `admin`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Server => "server",
            Self::Peer => "peer",
            Self::Client => "client",
            Self::Admin => "admin",
        }
    }

    pub(crate) fn extended_key_usages(self) -> Vec<ExtendedKeyUsagePurpose> {
        match self {
            Self::Server => vec![ExtendedKeyUsagePurpose::ServerAuth],
            Self::Peer => {
                vec![ExtendedKeyUsagePurpose::ServerAuth, ExtendedKeyUsagePurpose::ClientAuth]
            }
            Self::Client | Self::Admin => vec![ExtendedKeyUsagePurpose::ClientAuth],
        }
    }
}

impl std::fmt::Display for Purpose {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
