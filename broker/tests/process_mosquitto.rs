//! The broker in place of Mosquitto: started as it is, with its files.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::net::SocketAddr;

use broker_config::{Authentication, RawConfig};
use support::client::{CONNACK, Client, DISCONNECT, connect};
use support::eventually;
use support::mosquitto::{Mosquitto, publish};
use support::pki::Pki;
use support::process::free_port;

/// `mosquitto_passwd -b passwd bob bob`, of version 2.0.11.
const BOB: &str = "bob:$7$101$DlWyOvsiGlykPezo$BtZGV7GZpfOKqyc5T2OKbE2gycsJkYI9wvq6ZyIg/HRPHKLmeyRZI0PZ0/pYmNrs8npSiRhd8ef/LD/9SUJkjg==\n";

/// Not authorized, in MQTT 5.0.
const NOT_AUTHORIZED: u8 = 0x87;
/// The broker ends the connection for its administrator.
const ADMINISTRATIVE_ACTION: u8 = 0x98;
/// Nobody is subscribed.
const NO_MATCHING_SUBSCRIBERS: u8 = 0x10;

#[test]
fn password_and_acl_files_decide_and_hang_up_reads_them_again() {
    let mut broker = Mosquitto::new();
    broker.write("passwd", BOB);
    broker.write("acl", "topic open\nuser bob\ntopic a\npattern home/%u\n");
    broker.write(
        "m.conf",
        "listener PORT 127.0.0.1\nallow_anonymous true\npassword_file passwd\nacl_file acl\n",
    );
    broker.start(&["-c", "m.conf"]);
    for (username, password) in [("bob", &b"wrong"[..]), ("bob", b""), ("eve", b"bob")] {
        assert_eq!(broker.refusal(Some(username), password), NOT_AUTHORIZED, "{username}");
    }
    let mut bob = broker.client("bob's", Some("bob"), b"bob");
    let mut nobody = broker.client("nobody's", None, b"");
    assert_eq!(publish(&mut bob, "a", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut bob, "home/bob", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut bob, "open", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut nobody, "open", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut nobody, "a", false), NOT_AUTHORIZED);

    broker.write("acl", "user bob\ntopic b\n");
    broker.signal("HUP");
    eventually("the new rights are enforced on the connection that stands", || {
        (publish(&mut bob, "b", false) == NO_MATCHING_SUBSCRIBERS).then_some(())
    });
    assert_eq!(publish(&mut bob, "a", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut nobody, "open", false), NOT_AUTHORIZED);

    broker.write("acl", "user bob\ntopic a\ntopc b\n");
    broker.write("passwd", "bob:secret\n");
    broker.signal("HUP");
    broker.log("acl:3: \"topc\" is none of user, topic and pattern");
    assert!(!broker.log("passwd:1: ").contains("secret"));
    assert_eq!(publish(&mut bob, "b", false), NO_MATCHING_SUBSCRIBERS);
    broker.client("bob's too", Some("bob"), b"bob");

    broker.write("acl", "user bob\ntopic a\n");
    broker.write("passwd", "# nobody\n");
    broker.signal("HUP");
    assert_eq!(bob.expect(DISCONNECT).body[0], ADMINISTRATIVE_ACTION);
    assert_eq!(broker.refusal(Some("bob"), b"bob"), NOT_AUTHORIZED);
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn without_a_file_this_machine_comes_in_by_any_name_and_nothing_is_left_behind() {
    let mut broker = Mosquitto::new();
    broker.start(&["-v", "-p", "PORT"]);
    let mut client = Client::plain(broker.address);
    client.send(&connect("c", None, b"", true));
    // Topic Alias Maximum, Maximum Packet Size, Receive Maximum: as Mosquitto sends them.
    let properties = [0x22, 0, 10, 0x27, 0, 0x1E, 0x84, 0x80, 0x21, 0, 20];
    assert_eq!(client.expect(CONNACK).body, [&[0, 0, 11][..], &properties].concat());
    let mut named = broker.client("n", Some("anybody"), b"anything");
    client.subscribe("t", 0);
    assert_eq!(publish(&mut named, "t", false), 0);
    assert_eq!(client.message().0, "t");
    assert_ne!(std::fs::read_dir(broker.path("tmp")).unwrap().count(), 0);
    assert_eq!(broker.stop().code(), Some(0));
    assert_eq!(std::fs::read_dir(broker.path("tmp")).unwrap().count(), 0);
    let names: Vec<_> = std::fs::read_dir(broker.folder.path()).unwrap().collect();
    assert_eq!(names.len(), 1, "{names:?}");
}

#[test]
fn a_configuration_that_can_not_be_honoured_ends_the_program_with_every_line_named() {
    let broker = Mosquitto::new();
    let end = |arguments: &[&str]| {
        let output = broker.command(arguments).output().unwrap();
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    };
    broker.write("m.conf", "lisener PORT\nacl_file acl\npsk_file psk\npersistence maybe\n");
    let (code, said) = end(&["-c", "m.conf"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("m.conf:1: unknown directive \"lisener\""), "{said}");
    assert!(said.contains("\nm.conf:3: psk_file can't be honoured"), "{said}");
    assert!(said.contains("\nm.conf:4: persistence \"maybe\""), "{said}");
    broker.write("m.conf", "listener PORT\nacl_file acl\n");
    let (code, said) = end(&["run", "--mosquitto-conf", "m.conf"]);
    assert_eq!(code, Some(1));
    assert!(said.contains("acl: No such file or directory"), "{said}");
    broker.write("acl", "topic read a/#/b\n");
    let (code, said) = end(&["run", "--mosquitto-conf", "m.conf"]);
    assert_eq!((code, said.contains("acl:1: topic \"a/#/b\"")), (Some(1), true), "{said}");
    assert_eq!(std::fs::read_dir(broker.path("tmp")).unwrap().count(), 0);
    let (code, said) = end(&["run", "--name", "x"]);
    assert_eq!((code, said.contains("--mosquitto-conf FILE")), (Some(1), true), "{said}");
}

#[test]
fn what_is_imported_is_the_configuration_that_runs_and_keeps_what_is_retained() {
    let mut broker = Mosquitto::new();
    let conf = "listener PORT 127.0.0.1\nallow_anonymous true\npersistence true\nuser nobody\n";
    broker.write("m.conf", conf);
    let output = broker.command(&["import-mosquitto", "m.conf"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
    let said = String::from_utf8(output.stderr).unwrap();
    assert!(said.contains("m.conf:4: user: the broker stays the user"), "{said}");
    let text = String::from_utf8(output.stdout).unwrap();
    let raw = RawConfig::parse(&text).unwrap();
    assert_eq!(raw.listeners[0].authentication, [Authentication::Believed]);
    broker.write("broker.toml", &text);
    let checked = broker.command(&["check", "--config", "broker.toml"]).output().unwrap();
    assert_eq!(checked.status.code(), Some(0));
    broker.start(&["run", "--config", "broker.toml"]);
    assert_eq!(publish(&mut broker.client("p", None, b""), "kept", true), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(broker.stop().code(), Some(0));
    // The same folder, by the other way. (Where root runs this, `user` would end the start.)
    broker.write("m.conf", &conf.replace("user nobody\n", ""));
    broker.start(&["-c", "m.conf"]);
    let mut client = broker.client("s", None, b"");
    client.subscribe("#", 0);
    assert_eq!(client.message(), ("kept".to_owned(), b"x".to_vec()));
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn a_certificate_names_its_client_and_its_rights() {
    let mut broker = Mosquitto::new();
    let pki = Pki::new(broker.folder.path(), 0);
    broker.write("acl", "pattern write devices/%u\nuser camera\ntopic extra\n");
    broker.write(
        "m.conf",
        "listener PORT 127.0.0.1\ncertfile tls.crt\nkeyfile tls.key\ncafile client-ca.crt\n\
         require_certificate true\nuse_identity_as_username true\nacl_file acl\n",
    );
    broker.start(&["-c", "m.conf"]);
    let log_in = |name: &str| {
        let mut client = Client::secure(broker.address, &pki.device_named(name));
        assert_eq!(client.connect(name, None, b""), 0);
        client
    };
    let (mut camera, mut unknown) = (log_in("camera"), log_in("unknown"));
    assert_eq!(publish(&mut camera, "devices/camera", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut camera, "extra", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut unknown, "devices/unknown", false), NO_MATCHING_SUBSCRIBERS);
    assert_eq!(publish(&mut unknown, "devices/camera", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut unknown, "extra", false), NOT_AUTHORIZED);
    let mut nameless = Client::secure(broker.address, &pki.device());
    nameless.try_send(&connect("x", None, b"", true)).ok();
    nameless.until_closed();
    // A certificate that can't be read is named, and the old one stays.
    pki.write("tls.crt", b"broken");
    broker.signal("HUP");
    broker.log("tls.crt");
    log_in("third");
    assert_eq!(broker.stop().code(), Some(0));
}

#[test]
fn listeners_keep_their_own_rules_of_who_may_come_in() {
    let mut broker = Mosquitto::new();
    let second = SocketAddr::from(([127, 0, 0, 1], free_port()));
    broker.write("passwd", BOB);
    broker.write("acl", "user bob\ntopic a\n");
    broker.write(
        "m.conf",
        &format!(
            "per_listener_settings true\nlistener PORT 127.0.0.1\nallow_anonymous true\n\
             listener {} 127.0.0.1\npassword_file passwd\nacl_file acl\n",
            second.port()
        ),
    );
    broker.start(&["-c", "m.conf"]);
    let mut inside = broker.client("inside", Some("bob"), b"anything");
    assert_eq!(publish(&mut inside, "everything", false), NO_MATCHING_SUBSCRIBERS);
    let outside = |username, password: &[u8]| {
        let mut client = Client::plain(second);
        let code = client.connect("outside", username, password);
        (code, client)
    };
    assert_eq!(outside(None, b"").0, NOT_AUTHORIZED);
    assert_eq!(outside(Some("bob"), b"anything").0, NOT_AUTHORIZED);
    assert_eq!(outside(Some("anybody"), b"anything").0, NOT_AUTHORIZED);
    let (code, mut bob) = outside(Some("bob"), b"bob");
    assert_eq!(code, 0);
    assert_eq!(publish(&mut bob, "everything", false), NOT_AUTHORIZED);
    assert_eq!(publish(&mut bob, "a", false), NO_MATCHING_SUBSCRIBERS);
}
