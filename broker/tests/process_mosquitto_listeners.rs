//! Listeners of one mosquitto.conf with nothing in common: the real clients of Mosquitto against two of
//! them, each with its own certificate, passwords and rights, one behind a mount point.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::net::SocketAddr;
use std::process::{Command, Output};

use support::client::{CONNACK, Client, DISCONNECT, connect, packet};
use support::eventually;
use support::mosquitto::{Mosquitto, publish};
use support::pki::Pki;
use support::process::free_port;

/// `mosquitto_passwd -b passwd bob bob`, of version 2.0.11.
const BOB: &str = "bob:$7$101$DlWyOvsiGlykPezo$BtZGV7GZpfOKqyc5T2OKbE2gycsJkYI9wvq6ZyIg/HRPHKLmeyRZI0PZ0/pYmNrs8npSiRhd8ef/LD/9SUJkjg==\n";

const NOT_AUTHORIZED: u8 = 0x87;
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;
const QOS_NOT_SUPPORTED: u8 = 0x9B;
const RETAIN_NOT_SUPPORTED: u8 = 0x9A;

fn local(port: u16) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, 1], port))
}

/// Two listeners with TLS, of different authorities, in two folders beside the configuration.
struct Two {
    broker: Mosquitto,
    inner: Pki,
    outer: Pki,
    outer_port: u16,
}

impl Two {
    fn start(more: &str) -> Self {
        let mut broker = Mosquitto::new();
        let folder = |name: &str| {
            std::fs::create_dir(broker.path(name)).unwrap();
            Pki::new(&broker.path(name), 0)
        };
        let (inner, outer) = (folder("inner"), folder("outer"));
        let outer_port = free_port();
        broker.write("inner/passwd", BOB);
        broker.write("inner/acl", "user bob\ntopic plant/a\n");
        broker.write("outer/passwd", &format!("{BOB}{}", BOB.replace("bob:", "eve:")));
        broker.write("outer/acl", "user bob\ntopic readwrite #\nuser eve\ntopic read #\n");
        broker.write(
            "m.conf",
            &format!(
                "per_listener_settings true\n\
                 listener PORT 127.0.0.1\nprotocol mqtt\n\
                 certfile inner/tls.crt\nkeyfile inner/tls.key\n\
                 password_file inner/passwd\nacl_file inner/acl\nmount_point plant/\n\
                 listener {outer_port} 127.0.0.1\n\
                 certfile outer/tls.crt\nkeyfile outer/tls.key\n\
                 password_file outer/passwd\nacl_file outer/acl\n{more}"
            ),
        );
        broker.start(&["-c", "m.conf"]);
        Self { broker, inner, outer, outer_port }
    }

    fn inner_port(&self) -> u16 {
        self.broker.address.port()
    }

    /// Runs a client of Mosquitto; `None` where it is not installed.
    fn run(&self, program: &str, port: u16, ca: &str, arguments: &[&str]) -> Option<Output> {
        let mut command = Command::new(program);
        let port = port.to_string();
        command.args(["-h", "localhost", "-p", &port, "--cafile", ca]).args(arguments);
        match command.current_dir(self.broker.folder.path()).output() {
            Ok(output) => Some(output),
            Err(error) => {
                assert_eq!(error.kind(), std::io::ErrorKind::NotFound, "{program}: {error}");
                eprintln!("{program} is not installed: not tried");
                None
            }
        }
    }
}

const INNER_CA: &str = "inner/ca.crt";
const OUTER_CA: &str = "outer/ca.crt";

#[test]
fn mosquittos_clients_find_each_listeners_own_certificate_passwords_rights_and_topics() {
    let two = Two::start("");
    for (pki, name) in [(&two.inner, INNER_CA), (&two.outer, OUTER_CA)] {
        two.broker.write(name, pki.root_pem());
    }
    let (inside, outside) = (two.inner_port(), two.outer_port);
    let bob = ["-u", "bob", "-P", "bob"];
    let pub_to = |port, ca, user: &[&str], topic: &str| {
        let arguments = [user, &["-V", "5", "-q", "1", "-r", "-t", topic, "-m", topic]].concat();
        two.run("mosquitto_pub", port, ca, &arguments)
    };
    // Each listener shows its own certificate, which the other's authority did not issue.
    let Some(stranger) = pub_to(inside, OUTER_CA, &bob, "a") else { return };
    assert!(!stranger.status.success());
    let eve = ["-u", "eve", "-P", "bob"];
    let refused = pub_to(inside, INNER_CA, &eve, "a").unwrap();
    assert!(!refused.status.success(), "eve is a user of the other listener");
    let denied =
        |output: Output| String::from_utf8_lossy(&output.stderr).contains("Not authorized");
    assert!(denied(pub_to(inside, INNER_CA, &bob, "b").unwrap()));
    assert!(!denied(pub_to(inside, INNER_CA, &bob, "a").unwrap()));
    assert!(!denied(pub_to(outside, OUTER_CA, &bob, "plant/b").unwrap()));
    assert!(denied(pub_to(outside, OUTER_CA, &eve, "plant/c").unwrap()));
    let read = |port, ca, user: &[&str], count: &str| {
        let arguments = [user, &["-t", "#", "-v", "-C", count, "-W", "20"]].concat();
        let output = two.run("mosquitto_sub", port, ca, &arguments).unwrap();
        let mut lines: Vec<String> =
            String::from_utf8(output.stdout).unwrap().lines().map(str::to_owned).collect();
        lines.sort();
        lines
    };
    assert_eq!(read(outside, OUTER_CA, &eve, "2"), ["plant/a a", "plant/b plant/b"]);
    // Behind the mount point, what its rights let through, by the name without it.
    assert_eq!(read(inside, INNER_CA, &bob, "1"), ["a a"]);
}

#[test]
fn hang_up_reads_the_files_of_each_listener_again_and_sessions_keep_to_their_own() {
    let two = Two::start("");
    let client = |port: u16, pki: &Pki, name: &str, user: &str| {
        let mut client = Client::secure(local(port), &pki.device());
        let code = client.connect(name, Some(user), b"bob");
        (code, client)
    };
    let (code, mut inner) = client(two.inner_port(), &two.inner, "inner", "bob");
    assert_eq!(code, 0);
    let (code, mut outer) = client(two.outer_port, &two.outer, "outer", "bob");
    assert_eq!(code, 0);
    assert_eq!(publish(&mut inner, "b", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut outer, "plant/b", false), NO_MATCHING_SUBSCRIBERS);
    let (before, outers) = (inner.server_certificate(), outer.server_certificate());
    assert_ne!(before, outers);
    two.broker.write("inner/acl", "user bob\ntopic plant/b\n");
    two.inner.issue_server();
    two.broker.signal("HUP");
    eventually("the inner listener's new rights are enforced", || {
        (publish(&mut inner, "b", false) == NO_MATCHING_SUBSCRIBERS).then_some(())
    });
    assert_eq!(publish(&mut inner, "a", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut outer, "plant/a", false), NO_MATCHING_SUBSCRIBERS);
    eventually("the inner listener shows its new certificate", || {
        let (_, client) = client(two.inner_port(), &two.inner, "new", "bob");
        (client.server_certificate() != before).then_some(())
    });
    let (_, other) = client(two.outer_port, &two.outer, "other", "bob");
    assert_eq!(other.server_certificate(), outers);
    // A file of one listener that is broken leaves everything as it was, and is named.
    two.broker.write("outer/acl", "usr bob\n");
    two.broker.write("inner/acl", "user bob\ntopic plant/a\n");
    two.outer.write("tls.crt", b"broken");
    two.broker.signal("HUP");
    two.broker.log("outer/acl:1: ");
    two.broker.log("outer/tls.crt");
    assert_eq!(publish(&mut inner, "a", false), NOT_AUTHORIZED);
    assert_eq!(client(two.outer_port, &two.outer, "last", "bob").0, 0);
    two.broker.write("inner/passwd", "# nobody\n");
    two.broker.write("outer/acl", "user bob\ntopic readwrite #\n");
    two.broker.signal("HUP");
    inner.expect(DISCONNECT);
    assert_eq!(publish(&mut outer, "plant/a", false), NO_MATCHING_SUBSCRIBERS);
}

#[test]
fn a_listener_takes_what_its_lines_say_and_the_other_takes_all() {
    let mut broker = Mosquitto::new();
    let strict = free_port();
    broker.write(
        "m.conf",
        &format!(
            "pid_file pid\nmessage_size_limit 3\nlistener PORT 127.0.0.1\nallow_anonymous true\n\
             listener {strict} 127.0.0.1\nmax_qos 1\naccept_protocol_versions 5\n\
             max_topic_alias 4\n"
        ),
    );
    broker.start(&["-c", "m.conf"]);
    let pid = std::fs::read_to_string(broker.path("pid")).unwrap();
    assert!(pid.trim().parse::<u32>().is_ok(), "{pid:?}");
    let mut client = Client::plain(local(strict));
    client.send(&connect("c", None, b"", true));
    // Topic Alias Maximum, Maximum QoS and the rest, in the order of Mosquitto.
    let properties = [0x22, 0, 4, 0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20, 0x24, 1];
    assert_eq!(client.expect(CONNACK).body, [&[0, 0, 13][..], &properties].concat());
    // PUBLISH of QoS 2.
    client.send(&packet(0x34, &[0, 1, b't', 0, 9, 0, b'x']));
    assert_eq!(client.expect(DISCONNECT).body[0], QOS_NOT_SUPPORTED);
    let mut old = Client::plain(local(strict));
    old.send(&[0x10, 13, 0, 4, b'M', b'Q', b'T', b'T', 4, 2, 0, 0, 0, 1, b'o']);
    assert_eq!(old.expect(CONNACK).body, [0, 1]);
    let mut open = broker.client("open", None, b"");
    assert_eq!(publish(&mut open, "t", true), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(open.publish_acknowledged("t", b"four"), 0x95);
    assert_eq!(broker.stop().code(), Some(0));
    assert!(!broker.path("pid").exists());

    broker
        .write("m.conf", "retain_available false\nlistener PORT 127.0.0.1\nallow_anonymous true\n");
    broker.start(&["-c", "m.conf"]);
    let mut client = broker.client("c", None, b"");
    client.send(&packet(0x33, &[0, 1, b't', 0, 9, 0, b'x']));
    assert_eq!(client.expect(DISCONNECT).body[0], RETAIN_NOT_SUPPORTED);
}
