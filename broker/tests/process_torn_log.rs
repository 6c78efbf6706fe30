//! What a crash leaves half written at the end of the log, and what has gone bad in the middle of it.
#![allow(clippy::unwrap_used, reason = "a test ends where something unexpected happens")]

mod support;

use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::PathBuf;

use broker_admin_api::{RemoveRequest, Role, path};
use serde_json::Value;

use support::broker::Broker;
use support::client::{Client, PUBACK, packet};
use support::eventually;
use support::node::policy;

/// The first bytes of each record in a log segment, and the length of what stands before its body.
const MAGIC: &[u8] = b"DREC";
const HEADER_BYTES: usize = 20;
/// Records start at multiples of this.
const ALIGNMENT: usize = 8;

/// The last segment of a broker's log, with its last record.
struct Tail {
    path: PathBuf,
    record: Vec<u8>,
    /// Where the record starts.
    start: usize,
    /// Where the next one would start.
    end: usize,
}

fn tail(broker: &Broker) -> Tail {
    let segments = fs::read_dir(broker.raw.data_dir.join("log")).unwrap();
    let segments = segments.map(|file| file.unwrap().path());
    let path = segments.filter(|path| path.extension().is_some_and(|e| e == "log")).max().unwrap();
    let content = fs::read(&path).unwrap();
    let is_start = |at: &usize| content[*at..].starts_with(MAGIC);
    let start = (0..content.len()).step_by(ALIGNMENT).rfind(is_start).unwrap();
    let body = u32::from_le_bytes(content[start + 4..start + 8].try_into().unwrap());
    let bytes = HEADER_BYTES + usize::try_from(body).unwrap();
    let record = content[start..start + bytes].to_vec();
    Tail { path, record, start, end: start + bytes.next_multiple_of(ALIGNMENT) }
}

fn kill(broker: &mut Broker) {
    broker.process.signal("KILL");
    broker.process.wait();
}

/// The line that says what was cut.
fn cut(broker: &Broker) -> Value {
    let line =
        broker.process.log("cut an incomplete batch off the log; it had not been acknowledged");
    assert_eq!(line["level"], "WARN");
    line
}

#[test]
fn half_a_record_behind_the_last_is_cut_and_reported_and_the_broker_catches_up() {
    let mut brokers = Broker::cluster(3);
    let torn = brokers.iter().position(|broker| broker.status().raft.role != Role::Leader).unwrap();
    kill(&mut brokers[torn]);
    let (before, wanted) = (policy(&["pump"]), policy(&["pump", "valve"]));
    brokers[(torn + 1) % 3].change_policy(&before, &wanted);

    let tail = tail(&brokers[torn]);
    let half = &tail.record[..tail.record.len() / 2];
    let file = OpenOptions::new().write(true).open(&tail.path).unwrap();
    file.write_all_at(half, tail.end as u64).unwrap();
    brokers[torn].restart();
    let line = cut(&brokers[torn]);
    // Zeros at the end can't be told from what was never written.
    let written = half.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    assert_eq!((&line["offset"], &line["cut_bytes"]), (&tail.end.into(), &written.into()));
    assert_eq!(line["path"], tail.path.to_str().unwrap());

    brokers[torn].until_enforced(&wanted.revision().to_string());
    let mut valve = Client::plain(brokers[torn].process.listener("plain"));
    assert_eq!(valve.connect("valve", Some("valve"), b"secret"), 0);
    let mut subscriber = brokers[(torn + 1) % 3].plain("subscriber");
    subscriber.subscribe("news", 0);
    valve.publish("news", b"back");
    assert_eq!(subscriber.message().1, b"back");
}

#[test]
fn a_log_that_is_damaged_in_the_middle_ends_the_start_with_the_way_out_and_the_others_serve() {
    let mut brokers = Broker::cluster(3);
    let bad = brokers.iter().position(|broker| broker.status().raft.role != Role::Leader).unwrap();
    let good = (bad + 1) % 3;
    let mut publisher = brokers[good].plain("publisher");
    for number in 0..5u8 {
        assert!(publisher.publish_acknowledged("r", &[number]) < 0x80);
    }
    kill(&mut brokers[bad]);
    let segment = tail(&brokers[bad]).path;
    let content = fs::read(&segment).unwrap();
    let is_start = |at: &usize| content[*at..].starts_with(MAGIC);
    let second = (0..content.len()).step_by(ALIGNMENT).filter(is_start).nth(1).unwrap();
    let file = OpenOptions::new().write(true).open(&segment).unwrap();
    file.write_all_at(&[!content[second + HEADER_BYTES + 3]], (second + HEADER_BYTES + 3) as u64)
        .unwrap();
    brokers[bad].try_restart();
    assert_eq!(brokers[bad].process.wait().code(), Some(1));
    let said = format!("{:?}", brokers[bad].process.complaints());
    for part in [segment.to_str().unwrap(), "damaged", "remove this broker", "empty data directory"]
    {
        assert!(said.contains(part), "no {part:?} in {said}");
    }
    assert!(publisher.publish_acknowledged("r", b"without it") < 0x80);

    // The way out, as it says.
    let gone = brokers[good].status().raft.members;
    let gone = gone.into_iter().find(|member| member.name == format!("fleet-{bad}")).unwrap();
    fs::remove_dir_all(&brokers[bad].raw.data_dir).unwrap();
    let request = RemoveRequest { node_id: gone.node_id, expected_membership_log_index: None };
    let request = serde_json::to_string(&request).unwrap();
    eventually("the damaged broker is removed", || {
        let survivors = brokers.iter().enumerate().filter(|(ordinal, _)| *ordinal != bad);
        survivors
            .map(|(_, broker)| broker.call("POST", path::REMOVE, &request).0)
            .find(|c| *c == 200)
    });
    brokers[bad].restart();
    Broker::admit_again(&brokers, bad);
    brokers[bad].until_enforced(&policy(&["pump"]).revision().to_string());
}

#[test]
fn a_log_that_ends_in_the_middle_of_a_record_is_cut_before_it_and_serves() {
    let mut broker = Broker::founded();
    // A change that may be lost, so that the one that made the user `pump` is not at the end.
    let (before, wanted) = (policy(&["pump"]), policy(&["pump", "valve"]));
    broker.change_policy(&before, &wanted);
    kill(&mut broker);
    let tail = tail(&broker);
    let left = tail.record.len() - 3;
    let file = OpenOptions::new().write(true).open(&tail.path).unwrap();
    file.set_len((tail.start + left) as u64).unwrap();
    broker.restart();
    let line = cut(&broker);
    assert_eq!(line["offset"], tail.start, "{line}");
    let cut_bytes = line["cut_bytes"].as_u64().unwrap();
    assert!(cut_bytes > 0 && cut_bytes <= left as u64, "{line}");

    // QoS 1, retained: the acknowledgement says that it is committed.
    let body = [&[0, 1, b'r'][..], &[0, 7, 0], b"kept"].concat();
    let mut publisher = broker.plain("publisher");
    publisher.send(&packet(0x33, &body));
    publisher.expect(PUBACK);
    // What is written behind the cut is read again.
    kill(&mut broker);
    broker.restart();
    let mut subscriber = broker.plain("subscriber");
    subscriber.subscribe("r", 0);
    assert_eq!(subscriber.message(), ("r".to_owned(), b"kept".to_vec()));
}
