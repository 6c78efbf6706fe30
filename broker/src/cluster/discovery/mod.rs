//! Where peers may be found: a fixed list, the addresses behind one DNS name, or what a watch tells
//! (Kubernetes, etcd). IO: resolves.

mod etcd;
mod found;
mod http;
mod kubernetes;
mod slices;

use std::collections::BTreeSet;
use std::net::SocketAddr;

pub use found::Found;

/// Most addresses that one round of discovery takes up; the rest is left for later rounds.
const ADDRESSES_MAX: usize = 64;

/// How a broker finds its peers. It may find itself among them: that is noticed and left alone.
#[derive(Debug, Clone)]
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
    /// What a task watches over.
    Watched(Found),
}

impl Discovery {
    /// One round: every address known now. Names that don't resolve are returned beside them with
    /// the reason; a broker that has not started yet is nothing unusual.
    pub(crate) async fn resolve(&mut self) -> (BTreeSet<SocketAddr>, Vec<(String, String)>) {
        let mut unresolved = Vec::new();
        let targets: Vec<String> = match self {
            Self::Static { peers } => peers.clone(),
            Self::Dns { host, port } => vec![format!("{host}:{port}")],
            Self::Watched(found) => {
                let (targets, problem) = found.now();
                unresolved.extend(problem.map(|problem| ("the watch".to_owned(), problem)));
                targets.into_iter().collect()
            }
        };
        let mut addresses = BTreeSet::new();
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

    /// Waits until another round would find something else, as far as anybody tells.
    pub(crate) async fn changed(&mut self) {
        match self {
            Self::Watched(found) => found.changed().await,
            Self::Static { .. } | Self::Dns { .. } => std::future::pending().await,
        }
    }
}
