//! etcd that shows a certificate, and asks for one.

use std::path::{Path, PathBuf};

use broker::cluster::{Discovery, NodeId};
use broker_config::{EtcdPeers, Server};

use crate::certificates::PeerCa;
use crate::discovery::{Etcd, etcd_program, free_addresses, peer, problem, registered};
use crate::links::End;
use crate::node::eventually;

/// A file of this name and content.
fn file(folder: &Path, name: &str, content: &str) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Certificate and key for this machine.
fn identity(folder: &Path, name: &str, ca: &PeerCa) -> (PathBuf, PathBuf) {
    let (certificate, key) = ca.host_pem("127.0.0.1");
    (file(folder, &format!("{name}.crt"), &certificate), file(folder, &format!("{name}.key"), &key))
}

#[tokio::test]
async fn etcd_with_tls_is_asked_with_a_certificate_and_what_is_wrong_with_either_is_named() {
    let Some(program) = etcd_program() else { return };
    let folder = tempfile::tempdir().unwrap();
    let folder = folder.path();
    let (etcd_ca, foreign_ca) = (PeerCa::new(), PeerCa::new());
    let trusted = file(folder, "ca.crt", &etcd_ca.anchor_pem());
    let foreign = file(folder, "foreign-ca.crt", &foreign_ca.anchor_pem());
    let [etcd, mine, other] = [("etcd", &etcd_ca), ("mine", &etcd_ca), ("other", &foreign_ca)]
        .map(|(name, ca)| identity(folder, name, ca));
    let [address, peers] = free_addresses();
    let options =
        [("--cert-file", &etcd.0), ("--key-file", &etcd.1), ("--trusted-ca-file", &trusted)];
    let mut options: Vec<&str> =
        options.iter().flat_map(|(option, path)| [*option, path.to_str().unwrap()]).collect();
    options.push("--client-cert-auth");
    let _etcd = Etcd::spawn(&program, address, peers, &options);

    let ca = PeerCa::new();
    let (a, b) = (peer(&ca, 1, "a").await, peer(&ca, 2, "b").await);
    let asked_by = |end: &End, ca_file: &Path, identity: Option<&(PathBuf, PathBuf)>| EtcdPeers {
        endpoints: vec![Server {
            is_tls: true,
            host: address.ip().to_string(),
            port: address.port(),
        }],
        ca_file: Some(ca_file.to_owned()),
        identity: identity.cloned(),
        ..registered(address, end)
    };
    let untrusted = "is not to be trusted by peers.discovery.etcd.ca_file";
    let distrusted = "name one by peers.discovery.etcd.certificate_file and key_file";
    for (ca_file, identity, says) in [
        (&foreign, Some(&mine), untrusted),
        (&trusted, None, distrusted),
        (&trusted, Some(&other), distrusted),
    ] {
        let discovery = Discovery::etcd(asked_by(&a, ca_file, identity), "a");
        eventually("what is wrong is named", || problem(&discovery).contains(says)).await;
        assert!(problem(&discovery).contains(&address.to_string()), "{}", problem(&discovery));
    }
    for (end, name) in [(&a, "a"), (&b, "b")] {
        let discovery = Discovery::etcd(asked_by(end, &trusted, Some(&mine)), name);
        end.links.set_discovery(discovery);
    }
    eventually("links", || a.links.is_live(NodeId(2)) && b.links.is_live(NodeId(1))).await;
}
