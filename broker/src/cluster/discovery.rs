//! Where peers may be found: a fixed list, or the addresses behind one DNS name. IO: resolves.

use std::collections::BTreeSet;
use std::net::SocketAddr;

/// Most addresses that one round of discovery takes up; the rest is left for later rounds.
const ADDRESSES_MAX: usize = 64;

/// How a broker finds its peers. It may find itself among them: that is noticed and left alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Discovery {
    /// `host:port` of every broker of the cluster.
    Static {
        /// Each is resolved anew at every round, so a name may change its address.
        peers: Vec<String>,
    },
    /// Every address behind one name, as a headless Kubernetes Service has.
    Dns {
        /// The name.
        host: String,
        /// The peers' port, the same for all.
        port: u16,
    },
}

impl Discovery {
    /// One round: every address known now. Names that don't resolve are returned beside them with
    /// the reason; a broker that has not started yet is nothing unusual.
    pub(crate) async fn resolve(&self) -> (BTreeSet<SocketAddr>, Vec<(String, String)>) {
        let targets: Vec<String> = match self {
            Self::Static { peers } => peers.clone(),
            Self::Dns { host, port } => vec![format!("{host}:{port}")],
        };
        let mut addresses = BTreeSet::new();
        let mut unresolved = Vec::new();
        for target in &targets {
            match tokio::net::lookup_host(target.as_str()).await {
                // A name may have an IPv4 and an IPv6 address; the second one found to be the
                // same node is dropped by the handshake.
                Ok(found) => addresses.extend(found.take(ADDRESSES_MAX)),
                Err(error) => unresolved.push((target.clone(), error.to_string())),
            }
        }
        while addresses.len() > ADDRESSES_MAX {
            addresses.pop_last();
        }
        (addresses, unresolved)
    }
}
