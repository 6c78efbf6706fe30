//! Three brokers as processes where a quorum is lost for a while, and where many connections want
//! the same client id.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use broker_admin_api::path;

use support::broker::Broker;
use support::client::{CONNACK, Client, DISCONNECT, Packet, connect};
use support::eventually;
use support::process::request;

fn readiness(broker: &Broker) -> (u16, String) {
    let device = broker.pki.device();
    request(broker.process.admin, &device, "GET", path::READYZ, "").unwrap()
}

#[test]
fn a_broker_that_no_quorum_reaches_sends_its_clients_away_until_one_does() {
    let brokers = Broker::cluster(3);
    let (alone, others) = brokers.split_first().unwrap();
    let mut client = alone.plain("c");
    for other in others {
        other.process.signal("STOP");
    }
    assert_eq!(client.expect(DISCONNECT).body[0], 0x8B);
    let (code, why) = eventually("not ready", || {
        let answer = readiness(alone);
        (answer.0 == 503).then_some(answer)
    });
    assert!(code == 503 && why.contains("fenced"), "{why}");
    for other in others {
        other.process.signal("CONT");
    }
    eventually("ready again", || (readiness(alone).0 == 200).then_some(()));
    eventually("clients come in again", || {
        let mut client = Client::try_plain(alone.process.listener("plain")).ok()?;
        (client.connect("c", Some("pump"), b"secret") == 0).then_some(())
    });
}

#[test]
fn of_many_connections_with_one_client_id_one_stays() {
    let brokers = Broker::cluster(3);
    let connect_to = |broker: &Broker| {
        let mut client = Client::plain(broker.process.listener("plain"));
        client.send(&connect("device", Some("pump"), b"secret", false));
        client
    };
    // All at once: nobody waits for its answer.
    let clients: Vec<Client> = (0..8).flat_map(|_| brokers.iter().map(connect_to)).collect();
    let answered = clients.into_iter().map(|mut client| {
        std::thread::spawn(move || {
            let is_granted = |packet: &Packet| packet.kind() == CONNACK && packet.body[1] == 0;
            client.receive().is_some_and(|packet| is_granted(&packet)).then_some(client)
        })
    });
    let answered: Vec<_> = answered.collect();
    let mut granted: Vec<Client> =
        answered.into_iter().filter_map(|client| client.join().unwrap()).collect();
    assert!(!granted.is_empty());
    eventually("one connection is left", || {
        let open: u64 = brokers.iter().map(|broker| broker.status().connections).sum();
        (open == 1).then_some(())
    });
    let sessions: u64 = brokers.iter().map(|broker| broker.status().sessions).sum();
    assert_eq!(sessions, 1);
    // It is the one that a ping comes back to.
    let mut alive = 0;
    for client in &mut granted {
        let told = client.try_send(&[0xC0, 0]).is_ok().then(|| client.receive()).flatten();
        match told {
            Some(packet) if packet.kind() == DISCONNECT => assert_eq!(packet.body[0], 0x8E),
            Some(_) => alive += 1,
            None => {}
        }
    }
    assert_eq!(alive, 1);
}
