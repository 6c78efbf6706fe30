//! `broker.toml` of one broker of the cluster.

use std::path::Path;

use super::node::{Place, Ports};
use super::{CLUSTER_ID, CLUSTER_NAME};

/// Connections, and new ones a second: what a benchmark opens is not what is limited here.
const CONNECTIONS_MAX: u32 = 1_000_000;

/// The file of the broker at `own`; certificates are in `folder`.
pub(super) fn render(
    folder: &Path,
    own: &(Place, Ports),
    all: &[(Place, Ports)],
    workers: u16,
) -> String {
    let (place, ports) = own;
    let (data, folder, address) = (place.data.display(), folder.display(), place.address);
    let peers: String = (0..)
        .zip(all)
        .map(|(ordinal, (place, ports))| {
            let address = format!("{}:{}", place.address, ports.peers);
            format!(
                "[[peers.discovery.static]]\nname = \"{CLUSTER_NAME}-{ordinal}\"\naddress = \"{address}\"\n"
            )
        })
        .collect();
    let listener = |name: &str, protocol: &str, port: u16| {
        let acknowledged = protocol == "mqtt";
        format!(
            "[[listeners]]\nname = \"{name}\"\nprotocol = \"{protocol}\"\naddress = \"{address}\"\nport = {port}\n\
             authentication = [\"password\"]\nacknowledge_plaintext = {acknowledged}\n\
             [listeners.limits]\nconnections = {CONNECTIONS_MAX}\nconnections_per_second = {CONNECTIONS_MAX}\n"
        )
    };
    format!(
        "data_dir = \"{data}\"\nworkers = {workers}\n\
         [cluster]\nname = \"{CLUSTER_NAME}\"\nid = \"{CLUSTER_ID}\"\n\
         [peers]\nlisten = \"{address}:{}\"\n{peers}\
         [admin]\nlisten = \"{address}:{}\"\n\
         [tls]\nserver_certificate = \"{folder}/server.crt\"\nserver_key = \"{folder}/server.key\"\n\
         peer_certificate = \"{folder}/peer-{{ordinal}}.crt\"\npeer_key = \"{folder}/peer-{{ordinal}}.key\"\n\
         peer_ca = \"{folder}/peer-ca.crt\"\nadmin_ca = \"{folder}/admin-ca.crt\"\nclient_ca = \"{folder}/client-ca.crt\"\n\
         {}{}",
        ports.peers,
        ports.admin,
        listener("plain", "mqtt", ports.plain),
        listener("tls", "mqtts", ports.tls),
    )
}
