//! A listener behind a proxy: who is there is who the proxy says.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use support::client::{CONNACK, Client, connect};
use support::metrics::number;
use support::mosquitto::Mosquitto;

/// Version 2 of the header, with the command PROXY. Source: HAProxy's PROXY protocol, section 2.2.
fn version_2(family: u8, addresses: &[u8]) -> Vec<u8> {
    let mut header = b"\r\n\r\n\0\r\nQUIT\n".to_vec();
    header.extend([0x21, family]);
    header.extend(u16::try_from(addresses.len()).unwrap().to_be_bytes());
    header.extend(addresses);
    header
}

/// Headers of both versions and families, with the client that each names.
fn headers() -> [(Vec<u8>, &'static str); 4] {
    let v4 = [192, 0, 2, 9, 198, 51, 100, 1, 0x12, 0x67, 0x07, 0x5B];
    let v6 = |last| [&[0x20, 1, 0x0D, 0xB8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0][..], &[last]].concat();
    let v6 = [v6(9), v6(1), vec![0x12, 0x67, 0x07, 0x5B]].concat();
    [
        (b"PROXY TCP4 192.0.2.7 198.51.100.1 4711 1883\r\n".to_vec(), "192.0.2.7:4711"),
        (b"PROXY TCP6 2001:db8::7 2001:db8::1 4711 1883\r\n".to_vec(), "[2001:db8::7]:4711"),
        (version_2(0x11, &v4), "192.0.2.9:4711"),
        (version_2(0x21, &v6), "[2001:db8::9]:4711"),
    ]
}

fn started(protocol: &str) -> Mosquitto {
    let mut broker = Mosquitto::new();
    broker.write(
        "broker.toml",
        &"data_dir = 'data'\nworkers = 1\n[log]\nlevel = 'debug'\n\
         [limits]\nconnections_per_address_max = 1\n[policy]\n[[listeners]]\nname = 'a'\n\
         protocol = 'PROTOCOL'\naddress = '127.0.0.1'\nport = PORT\nanonymous = true\n\
         proxy_protocol = true\nacknowledge_plaintext = true\n"
            .replace("PROTOCOL", protocol),
    );
    broker.start(&["run", "--config", "broker.toml"]);
    broker
}

#[test]
fn the_client_that_a_proxy_names_is_counted_and_logged_whatever_the_header() {
    let broker = started("mqtt");
    for (header, client) in headers() {
        let connects = |client_id: &str| {
            let mut connection = Client::plain(broker.address);
            connection.send(&[&header[..], &connect(client_id, None, b"", true)].concat());
            (connection.expect(CONNACK).body[1], connection)
        };
        let (accepted, first) = connects("first");
        assert_eq!(accepted, 0, "{client}");
        // Of all connections only those of the same client are one too many.
        let (refused, _second) = connects("second");
        assert_eq!(refused, 0x97, "{client}");
        let line = |text: &str| broker.log_with(&[text, client]);
        line("client has proved itself");
        drop(first);
        line("connection ended");
    }
    let limit = r#"limits_applied_total{limit="connections_per_address"}"#;
    assert_eq!(number(broker.metrics, limit), 4);
}

#[test]
fn a_handshake_that_fails_is_logged_with_the_client_that_the_proxy_names() {
    let broker = started("ws");
    for (header, client) in headers() {
        let mut stranger = Client::plain(broker.address);
        stranger.send(&[&header[..], b"no HTTP\r\n\r\n"].concat());
        stranger.until_closed();
        broker.log_with(&["handshake failed", client]);
    }
}
