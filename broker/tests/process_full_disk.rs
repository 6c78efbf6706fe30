//! A broker whose disk is full: a small file system in memory. Where none can be mounted, the test
//! says so and ends.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use broker_admin_api::{Role, TransferRequest, path};

use support::alone::Alone;
use support::broker::Broker;
use support::client::{CONNACK, Client, connect};
use support::eventually;
use support::metrics::number;
use support::optional::left_out;

/// A file system of 64 MiB, for as long as it is there.
struct SmallDisk(PathBuf);

impl SmallDisk {
    fn mount(path: &Path) -> Option<Self> {
        fs::create_dir_all(path).unwrap();
        let mounted = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=64m", "tmpfs"])
            .arg(path)
            .output();
        match mounted {
            Ok(output) if output.status.success() => Some(Self(path.to_owned())),
            Ok(output) => {
                let why = String::from_utf8_lossy(&output.stderr).into_owned();
                left_out(&format!("no file system can be mounted here: {why}"));
                None
            }
            Err(error) => {
                left_out(&format!("there is no mount: {error}"));
                None
            }
        }
    }

    /// Fills the disk up to its last byte.
    fn fill(&self) {
        let mut file = File::create(self.0.join("others")).unwrap();
        let block = vec![1; 64 << 10];
        while file.write_all(&block).is_ok() {}
        while file.write_all(&[1]).is_ok() {}
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("others")).unwrap();
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // The broker may have files open still: lazily.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

fn client(broker: &Alone, client_id: &str) -> Client {
    eventually("the broker lets a client in", || {
        let mut client = Client::try_plain(broker.address).ok()?;
        client.try_send(&connect(client_id, None, b"", false)).ok()?;
        let answer = client.receive()?;
        (answer.kind() == CONNACK && answer.body[1] == 0).then_some(client)
    })
}

#[test]
fn a_full_disk_refuses_what_must_be_kept_and_all_else_goes_on_until_there_is_room() {
    let mut broker = Alone::new("");
    let data = broker.folder.path().join("data");
    let Some(disk) = SmallDisk::mount(&data) else { return };
    broker.start();
    let mut durable = client(&broker, "durable");
    durable.subscribe("kept", 1);
    durable.ping();
    drop(durable);
    let mut live = Client::plain(broker.address);
    live.send(&connect("live", None, b"", true));
    live.expect(CONNACK);
    live.subscribe("live", 0);
    let mut publisher = client(&broker, "publisher");
    let mut kept = Vec::new();
    let mut number_of = 0..;
    let mut publish = |publisher: &mut Client| {
        let payload = format!("message {}", number_of.next().unwrap()).into_bytes();
        let reason_code = publisher.publish_acknowledged("kept", &payload);
        if reason_code == 0 {
            kept.push(payload);
        }
        reason_code
    };
    assert_eq!(publish(&mut publisher), 0);
    let metric = |name: &str| number(broker.metrics, name);
    assert_eq!(metric("disk_low"), 0);

    disk.fill();
    eventually("what must be kept is refused", || (publish(&mut publisher) == 0x97).then_some(()));
    assert_eq!(metric("disk_low"), 1);
    assert!(metric("messages_dropped_total{reason=\"disk_full\"}") > 0);
    assert_eq!(publisher.publish_acknowledged("live", b"on"), 0);
    assert_eq!(live.message(), ("live".to_owned(), b"on".to_vec()));
    // A session is found, and what it fetches is done with.
    let mut durable = client(&broker, "durable");
    assert_eq!(durable.acknowledged_message(), b"message 0");
    durable.ping_behind_messages();
    drop(durable);

    disk.empty();
    eventually("messages are kept again", || (publish(&mut publisher) == 0).then_some(()));
    assert_eq!(publish(&mut publisher), 0);
    assert_eq!(metric("disk_low"), 0);
    broker.kill();
    broker.start();
    let mut durable = client(&broker, "durable");
    for payload in &kept[1..] {
        assert_eq!(durable.acknowledged_message(), *payload);
    }
    durable.ping();
    broker.kill();
}

/// The broker that leads.
fn leader(brokers: &[Broker]) -> Option<usize> {
    brokers.iter().position(|broker| broker.status().raft.role == Role::Leader)
}

#[test]
fn a_leader_whose_disk_is_full_hands_over_and_the_others_go_on_acknowledging() {
    let mut brokers = Broker::cluster(3);
    let data = tempfile::tempdir().unwrap();
    let Some(disk) = SmallDisk::mount(&data.path().join("small")) else { return };
    // The first broker's data goes to the small disk; then it leads.
    let full = &mut brokers[0];
    full.process.signal("TERM");
    full.process.wait();
    let copied =
        Command::new("cp").arg("-a").arg(full.raw.data_dir.join(".")).arg(&disk.0).status();
    assert!(copied.unwrap().success());
    full.raw.data_dir.clone_from(&disk.0);
    full.restart();
    let to = brokers[0].status().node_id;
    let request = serde_json::to_string(&TransferRequest { to: Some(to) }).unwrap();
    eventually("it leads", || {
        let ordinal = leader(&brokers)?;
        if ordinal != 0 {
            brokers[ordinal].call("POST", path::TRANSFER, &request);
        }
        (ordinal == 0).then_some(())
    });
    let mut durable = Client::plain(brokers[1].process.listener("plain"));
    durable.send(&connect("durable", Some("pump"), b"secret", false));
    durable.expect(CONNACK);
    durable.subscribe("kept", 1);

    disk.fill();
    let mut publisher = brokers[2].plain("publisher");
    let mut kept = Vec::new();
    let mut numbers = 0u32..;
    let mut publish = |kept: &mut Vec<Vec<u8>>| {
        let payload = numbers.next().unwrap().to_be_bytes().to_vec();
        let is_kept = publisher.publish_acknowledged("kept", &payload) < 0x80;
        if is_kept {
            kept.push(payload);
        }
        is_kept
    };
    eventually("another broker leads and acknowledges", || {
        let is_kept = publish(&mut kept);
        (is_kept && leader(&brokers)? != 0).then_some(())
    });
    for _ in 0..20 {
        assert!(publish(&mut kept));
    }
    assert_eq!(brokers[0].metric("disk_low"), 1);

    disk.empty();
    eventually("it follows again", || {
        let status = brokers[0].status();
        (status.raft.caught_up && brokers[0].metric("disk_low") == 0).then_some(())
    });
    for payload in &kept {
        // One that was not acknowledged may have come as well.
        while durable.acknowledged_message() != *payload {}
    }
}
