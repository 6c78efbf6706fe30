//! How peers are found: each rule, broken once.

use crate::validate_test::{MINIMAL, refused};
use crate::{Config, ConfigError, Discovery, RawDiscovery, RawStaticPeer};

#[test]
fn static_peers_have_their_own_names_and_ports() {
    let peers = |entries: &[(&str, &str)]| {
        let entries = entries
            .iter()
            .map(|(name, address)| RawStaticPeer {
                name: (*name).to_owned(),
                address: (*address).to_owned(),
            })
            .collect();
        refused(|raw| raw.peers.as_mut().unwrap().discovery = RawDiscovery::Static(entries))
    };
    let error = peers(&[("a", "h:1"), ("a", "h:2")]);
    assert!(matches!(error, ConfigError::DuplicatePeer { .. }), "{error}");
    for address in ["h", ":1", "h:0", "h:x", "h:70000"] {
        let error = peers(&[("a", address)]);
        assert!(matches!(error, ConfigError::PeerAddress { .. }), "{address}: {error}");
    }
}

/// What is said of `[peers.discovery.KIND]` with these lines.
fn discovery(kind: &str, lines: &str) -> Result<Discovery, String> {
    let table = format!("[peers.discovery.{kind}]\n{lines}\n");
    let mut text: String = MINIMAL.to_owned();
    let start = text.find("[peers.discovery").or_else(|| text.find("[[peers.discovery")).unwrap();
    let end = text[start + 1..].find("\n[").map_or(text.len(), |end| start + 1 + end);
    text.replace_range(start..end, &table);
    let config = Config::parse(&text).map_err(|error| error.to_string())?;
    Ok(config.cluster.unwrap().peers.discovery)
}

#[test]
fn peers_found_by_kubernetes_or_etcd_are_checked() {
    let Discovery::Kubernetes(found) =
        discovery("kubernetes", "service = 'fleet-peers'\nport = 7000").unwrap()
    else {
        panic!("kubernetes")
    };
    assert_eq!((found.service.as_str(), found.port, found.server), ("fleet-peers", 7000, None));
    let base = "endpoints = ['https://[::1]:2379', 'https://etcd:2379/']\nca_file = '/ca'\n\
                advertise = '{name}.peers:7000'\n";
    let Discovery::Etcd(found) = discovery("etcd", base).unwrap() else { panic!("etcd") };
    let endpoints: Vec<_> = found.endpoints.iter().map(|server| server.host.as_str()).collect();
    assert_eq!((endpoints, found.lease_seconds), (vec!["::1", "etcd"], 30));
    assert!(found.prefix.starts_with("/dunlin/") && found.prefix.ends_with("/brokers/"));

    let plain = "endpoints = ['http://e:1']\nadvertise = 'h:1'\n";
    let cases = [
        ("kubernetes", "service = 'A'\nport = 1".to_owned(), "discovery.kubernetes.service is"),
        ("kubernetes", "service = 'a'\nport = 0".to_owned(), "discovery.kubernetes.port"),
        ("kubernetes", "service = 'a'\nport = 1\nserver = 'x'".to_owned(), "https://HOST:PORT"),
        ("etcd", "endpoints = []".to_owned(), "at least one member of etcd"),
        ("etcd", "endpoints = ['e:1']".to_owned(), "https://HOST:PORT"),
        ("etcd", "endpoints = ['https://e:1']".to_owned(), "ca_file is missing"),
        ("etcd", base.replace("{name}.peers:7000", "h"), "discovery.etcd.advertise is \"h\""),
        ("etcd", format!("{base}lease_seconds = 1"), "lease_seconds"),
        ("etcd", format!("{base}prefix = 'x'"), "begin it with"),
        ("etcd", format!("{base}username = 'u'"), "username is set and password_file is not"),
        ("etcd", format!("{base}key_file = '/k'"), "key_file is set and certificate_file is not"),
        ("etcd", format!("{plain}username = 'u'\npassword_file = '/p'"), "has no TLS"),
    ];
    for (kind, lines, expected) in cases {
        let error = discovery(kind, &lines).unwrap_err();
        assert!(error.contains(expected), "{lines}: {error}");
    }
}
