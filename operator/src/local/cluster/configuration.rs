//! Each broker's configuration file, and the ports in it. IO: writes files, tries ports.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use broker_config::{RawDiscovery, RawStaticPeer};
use operator_core::cluster::ValidatedCluster;
use operator_core::cluster::configuration::{Placement, render};
use operator_core::cluster::names::REPLICAS_MAX;

use super::super::manifest::scoped;
use super::super::ports::{BrokerPorts, PortAllocator};
use super::super::state::{StateDir, write_private};
use super::super::store::Store;
use super::certificates::trust_dir;
use super::record::ClusterRecord;
use crate::error_chain::chain;

/// A broker's configuration as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Configured {
    /// The broker's name.
    pub(super) name: String,
    pub(super) file: PathBuf,
    /// SHA-256 of the file's text.
    pub(super) digest: String,
    pub(super) ports: BrokerPorts,
}

/// What configurations are made from.
pub(super) struct Request<'a> {
    pub(super) state: &'a StateDir,
    pub(super) store: &'a Store,
    pub(super) cluster: &'a ValidatedCluster,
    /// The cluster's name as folders have it.
    pub(super) scoped_name: &'a str,
    /// Instead of the first listener's port.
    pub(super) listener_port_base: Option<u16>,
    /// Ports of brokers that run stay, free or not.
    pub(super) are_running: bool,
}

/// Gives every broker its ports: those it had, while nobody else has them.
///
/// # Errors
/// There is no free port.
pub(super) fn assign_ports(
    request: &Request<'_>,
    record: &mut ClusterRecord,
) -> Result<(), String> {
    let none = || "there is no free port on 127.0.0.1".to_owned();
    let cluster = request.cluster;
    let mut ports = PortAllocator::default();
    if request.are_running {
        for broker in record.ports.values() {
            broker.listeners.values().chain([&broker.peer, &broker.admin]).for_each(|port| {
                ports.reserve(*port);
            });
        }
    }
    // Every broker knows where all others would be: one that is added needs no restart of them.
    for ordinal in 0..REPLICAS_MAX {
        let name = cluster.names.broker(ordinal);
        let before = record.ports.remove(&name).unwrap_or_default();
        let keep = |port: u16| Some(port).filter(|port| request.are_running && *port != 0);
        let peer = match keep(before.peer) {
            Some(port) => port,
            None => ports.any(Some(before.peer)).ok_or_else(none)?,
        };
        if ordinal >= record.replicas {
            record.ports.insert(name, BrokerPorts { peer, ..before });
            continue;
        }
        let mut assigned = BrokerPorts { peer, ..BrokerPorts::default() };
        for (at, listener) in cluster.listeners.iter().enumerate() {
            let own = u16::try_from(listener.port).unwrap_or(0);
            let wanted = request.listener_port_base.filter(|_| at == 0).unwrap_or(own);
            let remembered = before.listeners.get(&listener.name).copied();
            let port = match remembered.filter(|_| request.are_running) {
                Some(port) => port,
                None => ports.listener(remembered, wanted).ok_or_else(none)?,
            };
            assigned.listeners.insert(listener.name.clone(), port);
        }
        assigned.admin = match keep(before.admin) {
            Some(port) => port,
            None => ports.any(Some(before.admin)).ok_or_else(none)?,
        };
        record.ports.insert(name, assigned);
    }
    Ok(())
}

/// Writes every broker's configuration; files that say the same already are left alone.
///
/// # Errors
/// In words: the broker would refuse it, or it can't be written.
pub(super) fn write(
    request: &Request<'_>,
    record: &ClusterRecord,
) -> Result<Vec<Configured>, String> {
    let mut all = Vec::new();
    for ordinal in 0..record.replicas {
        let name = request.cluster.names.broker(ordinal);
        let ports = record.ports.get(&name).cloned().unwrap_or_default();
        let placement = placement(request, record, ordinal, &ports);
        let rendered =
            render(request.cluster, &placement).map_err(|problem| problem.message.clone())?;
        let file = request.state.path(format!("clusters/{}/{name}.toml", request.scoped_name));
        if std::fs::read(&file).ok().as_deref() != Some(rendered.text.as_bytes()) {
            write_private(&file, rendered.text.as_bytes()).map_err(|error| chain(&error))?;
        }
        all.push(Configured { name, file, digest: rendered.digest, ports });
    }
    Ok(all)
}

fn placement(
    request: &Request<'_>,
    record: &ClusterRecord,
    ordinal: u16,
    ports: &BrokerPorts,
) -> Placement {
    let loopback: IpAddr = Placement::loopback();
    let cluster = request.cluster;
    let secret = |name: String| request.store.secret_dir(&cluster.namespace, &name);
    let peers = record.ports.iter().map(|(name, ports)| RawStaticPeer {
        name: name.clone(),
        address: SocketAddr::new(loopback, ports.peer).to_string(),
    });
    let broker = scoped(&cluster.namespace, &cluster.names.broker(ordinal));
    Placement {
        data_dir: request.state.path("data").join(broker),
        server_tls_dir: secret(cluster.names.server_secret()),
        peer_tls_dir: secret(cluster.names.peer_secret(ordinal)),
        trust_dir: request.state.path(trust_dir(request.scoped_name)),
        peer_listen: SocketAddr::new(loopback, ports.peer),
        admin_listen: SocketAddr::new(loopback, ports.admin),
        discovery: RawDiscovery::Static(peers.collect()),
        listener_address: loopback,
        listener_ports: ports.listeners.clone(),
    }
}
